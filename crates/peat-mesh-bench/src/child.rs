//! The hidden side of the bench: a process that runs one node and takes orders, a line each, on its input.
//!
//! It answers each with a line of JSON. When its input ends, so does it: a bench that is killed leaves nobody.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use peat_mesh::config::Config;
use peat_mesh::discovery::fixed::StaticPeer;
use peat_mesh::handle::{BlobState, FetchStep};
use peat_mesh::identity::FormationSecret;
use peat_mesh::service::Service;
use peat_mesh_core::NodeName;
use peat_mesh_core::hub::{PeerState, PeerView};
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;

use crate::fill;
use crate::nodes::Failed;
use crate::process::{answer, orders};

/// The hidden argument.
pub(crate) const ARGUMENT: &str = "node";
pub(crate) const SECRET: &str = "BENCH_SECRET";
pub(crate) const NAME: &str = "BENCH_NAME";
pub(crate) const FOLDER: &str = "BENCH_FOLDER";
pub(crate) const PEERS: &str = "BENCH_PEERS";
/// What `PEAT_BLOB_BANDWIDTH` says, in bytes per second.
pub(crate) const BANDWIDTH: &str = "BENCH_BLOB_BANDWIDTH";

const GRACE: Duration = Duration::from_secs(2);
/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(600);

pub(crate) async fn run() -> Result<(), Failed> {
    let variable = |name: &str| std::env::var(name).map_err(|_| format!("{name} is not set"));
    let secret = FormationSecret::parse(&variable(SECRET)?)?;
    let peers = StaticPeer::parse_list(&variable(PEERS)?).map_err(|problems| problems.join("; "))?;
    let name = NodeName::new(&variable(NAME)?)?;
    let mut config = Config::on_loopback(secret, name, PathBuf::from(variable(FOLDER)?), peers);
    if let Ok(rate) = variable(BANDWIDTH) {
        config.blob_limits.bytes_per_second_max = Some(rate.parse()?);
    }
    let service = Service::start(config, GRACE).await?;
    answer(&json!({"http": service.address(), "quic": service.handle().bound_addresses()}))?;
    let mut coming = orders();
    while let Some(order) = coming.recv().await {
        let done = tokio::time::timeout(PATIENCE, obey(&service, &order)).await;
        match done {
            Ok(Ok(done)) => answer(&done)?,
            Ok(Err(problem)) => answer(&json!({"error": problem.to_string()}))?,
            Err(_) => {
                answer(&json!({"error": format!("{order:?} took more than {} s", PATIENCE.as_secs())}))?
            }
        }
    }
    service.shutdown().await;
    Ok(())
}

async fn obey(service: &Service, order: &str) -> Result<Value, Failed> {
    let mut words = order.split(' ');
    let name = words.next().unwrap_or_default();
    if name == "fetch" {
        return fetch(service, words.next().unwrap_or_default()).await;
    }
    let numbers = words.map(str::parse).collect::<Result<Vec<usize>, _>>()?;
    match (name, numbers.as_slice()) {
        ("fill", [from, count, step, round, at_once]) => {
            let begun = Instant::now();
            let documents = (0..*count).map(|index| from + index * step);
            let bytes = fill::write(service.handle(), documents, *round, *at_once).await?;
            Ok(json!({"bytes": bytes, "s": begun.elapsed().as_secs_f64()}))
        }
        ("grow", [count]) => {
            let begun = Instant::now();
            let bytes = fill::grow(service.handle(), *count).await?;
            Ok(json!({"bytes": bytes, "s": begun.elapsed().as_secs_f64()}))
        }
        ("holds", [seq]) => holds(service, *seq as u64).await,
        ("connected", [count]) => until(service, *count, |_| true).await,
        ("in-step", [count]) => until(service, *count, |peer| peer.in_step).await,
        ("compared", [count]) => {
            let now_ms = uptime_ms(service);
            let is_fresh = |at_ms: u64| at_ms >= now_ms;
            until(service, *count, |peer| peer.in_step && peer.in_step_at_ms.is_some_and(is_fresh)).await
        }
        _ => Err(format!("there is no order {order:?}").into()),
    }
}

/// Fetches a blob as `POST /api/v1/blobs/{hash}/fetch` does, and waits until it is whole.
async fn fetch(service: &Service, hash: &str) -> Result<Value, Failed> {
    let blobs = service.handle().blobs();
    let hash = hash.parse()?;
    let begun = Instant::now();
    let mut state = blobs.request(hash).await?;
    while !matches!(state, BlobState::Complete { .. }) {
        if let Some(mut progress) = blobs.progress(hash) {
            // It may end with an error when the fetch is over; the state says how.
            let last = progress.wait_for(|fetching| fetching.step.is_last()).await;
            if let Ok(fetching) = last
                && let FetchStep::Ended { reason } = &fetching.step
            {
                return Err(format!("the fetch was given up: {reason}").into());
            }
        }
        state = blobs.state(hash).await?;
    }
    Ok(json!({"s": begun.elapsed().as_secs_f64()}))
}

fn uptime_ms(service: &Service) -> u64 {
    u64::try_from(service.handle().uptime().as_millis()).unwrap_or(u64::MAX)
}

/// Waits for a number of changes; the answer says how long that is after the first peer connected.
async fn holds(service: &Service, seq: u64) -> Result<Value, Failed> {
    let mut changes = service.handle().changes();
    let mut last = service.handle().last_seq()?;
    while last < seq {
        last = match changes.recv().await {
            Ok(change) => change.seq,
            Err(RecvError::Lagged(_)) => service.handle().last_seq()?,
            Err(RecvError::Closed) => return Err("the node has ended".into()),
        };
    }
    let now_ms = uptime_ms(service);
    let peers = service.handle().watch_peers().borrow().clone();
    let since_ms = peers.iter().filter(|peer| is_connected(peer)).map(|peer| peer.since_ms).min();
    Ok(json!({"ms": now_ms - since_ms.unwrap_or(0).min(now_ms), "seq": last}))
}

fn is_connected(peer: &PeerView) -> bool {
    peer.state == PeerState::Connected
}

/// Waits until so many peers are connected and like this; the answer says for the last one how many
/// milliseconds after the connection it was first found equal, by this node's clock.
async fn until(service: &Service, count: usize, like: impl Fn(&PeerView) -> bool) -> Result<Value, Failed> {
    let is_like = |peer: &&PeerView| is_connected(peer) && like(peer);
    let mut peers = service.handle().watch_peers();
    let found = peers.wait_for(|peers| peers.iter().filter(is_like).count() >= count).await?;
    let equal_ms =
        |peer: &PeerView| peer.in_step_at_ms.unwrap_or(peer.since_ms).saturating_sub(peer.since_ms);
    let ms = found.iter().filter(is_like).map(equal_ms).max();
    Ok(json!({"ms": ms}))
}
