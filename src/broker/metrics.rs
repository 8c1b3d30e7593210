//! What a monitoring system scrapes: the state of the node as numbers, in the OpenMetrics text format.
//!
//! Every value is read at the moment of the scrape; nothing is counted beside the node's own work.

use std::fmt::Write;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use peat_mesh_core::hub::{Faults, PeerState};
use peat_mesh_core::presence::{NodeState, Topology};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::error::ApiError;
use crate::handle::{BlobCounts, Handle, Peer};

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Peers that get numbers of their own; those with a connection first.
const PEERS_COUNT_MAX: usize = 256;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PeerLabel {
    peer: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RuleLabel {
    rule: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CheckLabel {
    check: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

pub(super) async fn metrics(State(handle): State<Handle>) -> Result<Response, ApiError> {
    let documents: u64 = handle.collections().await?.iter().map(|(_, count)| count).sum();
    let mut registry = Registry::with_prefix("peat");
    node(&handle, registry.sub_registry_with_prefix("node"));
    let store = registry.sub_registry_with_prefix("store");
    store.register("documents", "Documents in the store", ConstGauge::new(documents as i64));
    let changes = ConstCounter::new(handle.last_seq()?);
    store.register("changes", "Changes written since the store was made", changes);
    peers(&handle.peers(), registry.sub_registry_with_prefix("peer"));
    faults(&handle.faults(), registry.sub_registry_with_prefix("mesh"));
    formation(&handle.topology(), registry.sub_registry_with_prefix("formation"));

    blobs(&handle.blobs().counts(), registry.sub_registry_with_prefix("blob"));

    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = encode(&mut text, &registry);
    if let Some(bytes) = resident_bytes() {
        let end = text.trim_end().trim_end_matches("# EOF").len();
        text.truncate(end);
        let _ = write!(
            text,
            "# HELP process_resident_memory_bytes Memory of the process\n\
             # TYPE process_resident_memory_bytes gauge\n\
             process_resident_memory_bytes {bytes}\n# EOF\n"
        );
    }
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}

fn node(handle: &Handle, registry: &mut Registry) {
    let labels = vec![
        ("node_id", handle.name().to_string()),
        ("endpoint_id", handle.endpoint_id().to_string()),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
    ];
    registry.register("build", "The node and its version", Info::new(labels));
    let uptime = ConstGauge::new(handle.uptime().as_secs_f64());
    registry.register_with_unit("uptime", "Time since the start", Unit::Seconds, uptime);
    let checks = Family::<CheckLabel, Gauge>::default();
    for check in handle.checks() {
        checks.get_or_create(&CheckLabel { check: check.name }).set(check.ok.into());
    }
    registry.register("ready_check", "Conditions of being ready: 1 holds, 0 does not", checks);
}

fn faults(faults: &Faults, registry: &mut Registry) {
    let broken = Family::<RuleLabel, Counter>::default();
    for (rule, count) in &faults.broken_rules {
        broken.get_or_create(&RuleLabel { rule: rule.as_str() }).inc_by(*count);
    }
    registry.register("broken_rules", "Connections that ended because the peer broke a rule", broken);
    let quarantined = ConstGauge::new(faults.quarantined.len() as i64);
    registry.register("quarantined", "Documents of peers that are refused as they send them", quarantined);
}

fn formation(topology: &Topology, registry: &mut Registry) {
    let states = Family::<StateLabel, Gauge>::default();
    for state in [NodeState::Reachable, NodeState::Unreachable, NodeState::Left] {
        let count = topology.nodes.iter().filter(|node| node.state == state).count();
        states.get_or_create(&StateLabel { state: state.as_str() }).set(count as i64);
    }
    registry.register("nodes", "Known nodes of the formation by state, this one included", states);
}

fn peers(peers: &[Peer], registry: &mut Registry) {
    let states = Family::<StateLabel, Gauge>::default();
    for state in
        [PeerState::Connected, PeerState::Dialing, PeerState::Waiting, PeerState::Known, PeerState::Lost]
    {
        let count = peers.iter().filter(|peer| peer.view.state == state).count();
        states.get_or_create(&StateLabel { state: state.as_str() }).set(count as i64);
    }
    registry.register("count", "Known peers by state", states);

    let connected = Family::<PeerLabel, Gauge>::default();
    let in_step = Family::<PeerLabel, Gauge>::default();
    let to_send = Family::<PeerLabel, Gauge>::default();
    let to_merge = Family::<PeerLabel, Gauge>::default();
    let rtt = Family::<PeerLabel, Gauge<f64, std::sync::atomic::AtomicU64>>::default();
    let loss = Family::<PeerLabel, Gauge<f64, std::sync::atomic::AtomicU64>>::default();
    let silent = Family::<PeerLabel, Gauge>::default();
    let mut order: Vec<&Peer> = peers.iter().collect();
    order.sort_by_key(|peer| peer.view.state != PeerState::Connected);
    for Peer { view, path, .. } in order.into_iter().take(PEERS_COUNT_MAX) {
        let name = view.name.as_ref().map_or_else(|| view.peer.to_string(), ToString::to_string);
        let label = PeerLabel { peer: name };
        connected.get_or_create(&label).set((view.state == PeerState::Connected).into());
        silent.get_or_create(&label).set(view.silent_since_ms.is_some().into());
        in_step.get_or_create(&label).set(view.in_step.into());
        to_send.get_or_create(&label).set(view.documents_to_send as i64);
        to_merge.get_or_create(&label).set(view.documents_to_merge as i64);
        if let Some(path) = path {
            rtt.get_or_create(&label).set(path.measure.rtt_us as f64 / 1_000_000.0);
            loss.get_or_create(&label).set(f64::from(path.measure.loss_per_mille) / 1_000.0);
        }
    }
    registry.register("connected", "Whether the peer is connected", connected);
    registry.register("in_step", "Whether both had the same at the last comparison", in_step);
    registry.register("documents_to_send", "Documents waiting to be sent to the peer", to_send);
    registry.register("documents_to_merge", "Changes of the peer that are not on disk yet", to_merge);
    registry.register_with_unit("round_trip", "Round-trip time to the peer", Unit::Seconds, rtt);
    registry.register_with_unit("loss", "Share of lost packets", Unit::Ratios, loss);
    registry.register("silent", "Whether the peer is connected and nothing comes from it", silent);
}

/// Resident memory of this process, where the system tells.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

fn blobs(counts: &BlobCounts, registry: &mut Registry) {
    let gauge = |number: u64| ConstGauge::new(i64::try_from(number).unwrap_or(i64::MAX));
    registry.register("blobs", "Blobs on this node, parts of some included", gauge(counts.blobs));
    registry.register_with_unit(
        "stored",
        "Bytes that blobs take on the disk",
        Unit::Bytes,
        gauge(counts.bytes),
    );
    if let Some(max) = counts.bytes_max {
        let help = "Bytes that blobs may take on the disk (PEAT_BLOB_MAX_BYTES)";
        registry.register_with_unit("stored_max", help, Unit::Bytes, gauge(max));
    }
    registry.register("fetches", "Blobs that are being fetched or waited for", gauge(counts.fetches));
    registry.register("damaged", "Blobs that are damaged on the disk of this node", gauge(counts.damaged));
    let repaired = ConstCounter::new(counts.repaired);
    registry.register("repaired", "Damaged blobs that were mended with the bytes of a peer", repaired);
    let collected = ConstCounter::new(counts.collected);
    registry.register("collected", "Blobs that were dropped because nothing referred to them", collected);
    let collected = ConstCounter::new(counts.collected_bytes);
    registry.register_with_unit("collected", "Bytes of such blobs", Unit::Bytes, collected);
    let sent = ConstCounter::new(counts.sent_bytes);
    registry.register_with_unit("sent", "Bytes of blobs sent to peers", Unit::Bytes, sent);
    let received = ConstCounter::new(counts.received_bytes);
    registry.register_with_unit("received", "Bytes of blobs that came from peers", Unit::Bytes, received);
}
