//! The loop that owns the hub: facts in, orders out.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use peat_mesh_core::EndpointId;
use peat_mesh_core::hub::{Faults, PeerView};
use peat_mesh_core::io::{CloseReason, Effect, Event, Input};
use peat_mesh_core::presence::Topology;
use peat_mesh_core::replica::{Job, Source, Work};
use peat_mesh_core::store::Store;
use peat_mesh_core::wire::Changes;
use peat_mesh_core::{ConnId, NodeName};
use peat_mesh_overlay::Mesh;
use tokio::sync::{OwnedSemaphorePermit, broadcast, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::answers::Answers;
use super::joining::Joining;
use super::preparing::Preparing;
use super::presence;
use super::probes::NodeProbes;
use super::waits::Waits;
use super::writer::{Merge, Told};
use crate::connection::{self, ConnEvent, Network};
use crate::discovery::{DiscoveryEvent, PeerInfo, Running};
use crate::handle::Question;

/// How often the view of the peers is renewed while much happens, in milliseconds.
const VIEW_EVERY_MS: u64 = 100;
/// The longest the loop sleeps, in milliseconds.
const SLEEP_MS_MAX: u64 = 60_000;

pub(super) struct Driver {
    pub(super) name: NodeName,
    pub(super) mesh: Mesh,
    pub(super) started: Instant,
    pub(super) network: Network,
    pub(super) discovery: Running,
    pub(super) merges: mpsc::Sender<Merge>,
    pub(super) store: Arc<dyn Store>,
    pub(super) probes: Arc<NodeProbes>,
    pub(super) news: broadcast::Sender<Event>,
    pub(super) peers: watch::Sender<Arc<Vec<PeerView>>>,
    pub(super) topology: watch::Sender<Arc<Topology>>,
    pub(super) faults: watch::Sender<Arc<Faults>>,
}

/// What the loop holds beside its rooms.
struct Desk {
    answers: Answers,
    /// Changes that are read, or wait for room in the writer's channel.
    merges: Preparing,
    /// The last reason for which a dial failed, so that the log says it once.
    dial_failures: HashMap<EndpointId, String>,
    view_due_ms: Option<u64>,
    viewed_ms: u64,
    topology_version: Option<u64>,
    joining: Joining,
    waits: Waits,
    /// Whether discovery has told all peers that it knew at the start.
    is_list_complete: bool,
    /// Who waits until the peers have what they lack.
    leaving: Option<oneshot::Sender<()>>,
}

/// What comes from the rest of the node.
pub(super) struct Orders {
    /// Give the peers what they lack, and say when they have it.
    pub(super) leaving: oneshot::Receiver<oneshot::Sender<()>>,
    /// Stop without more ado.
    pub(super) stop: CancellationToken,
}

impl Driver {
    pub(super) async fn run(
        mut self,
        mut connections: mpsc::Receiver<ConnEvent>,
        mut committed: mpsc::Receiver<Told>,
        mut orders: Orders,
    ) {
        let mut desk = Desk {
            answers: Answers::new(Arc::clone(&self.store)),
            merges: Preparing::new(),
            dial_failures: HashMap::new(),
            view_due_ms: None,
            viewed_ms: 0,
            topology_version: None,
            joining: Joining::default(),
            waits: Waits::default(),
            is_list_complete: false,
            leaving: None,
        };
        let mut may_be_asked_to_leave = true;
        let merges = self.merges.clone();
        let mut listed = self.discovery.listed();
        loop {
            let wakeup = self.wakeup(&desk);
            tokio::select! {
                () = orders.stop.cancelled() => break,
                asked = &mut orders.leaving, if may_be_asked_to_leave => {
                    may_be_asked_to_leave = false;
                    desk.leaving = asked.ok();
                    self.feed(&mut desk, Input::Leaving, None);
                }
                Some(event) = connections.recv() => self.connection_event(&mut desk, event),
                told = committed.recv() => match told {
                    Some(Told::Committed(outcomes)) => self.feed(&mut desk, Input::Committed(outcomes), None),
                    Some(Told::Asked(question)) => self.asked(&mut desk, question),
                    // The writer has stopped, and all that it wrote has been given to the peers.
                    None => break,
                },
                (conn, answer) = desk.answers.next() => {
                    self.feed(&mut desk, Input::Answered { conn, answer }, None);
                }
                () = desk.merges.advance() => {}
                Ok(room) = merges.reserve(), if desk.merges.has_ready() => {
                    if let Some(merge) = desk.merges.take_ready() {
                        room.send(merge);
                    }
                }
                Some(event) = self.discovery.events.recv() => self.discovery_event(&mut desk, event),
                Ok(()) = listed.changed() => desk.view_due_ms = Some(0),
                () = tokio::time::sleep_until(wakeup.into()) => self.feed(&mut desk, Input::Tick, None),
            }
            desk.is_list_complete |= *listed.borrow() && self.discovery.events.is_empty();
            for over in desk.waits.answer(self.now_ms(), self.mesh.hub()) {
                self.feed(&mut desk, over, None);
            }
            self.renew_view(&mut desk);
            if let Some(waiting) = desk.leaving.take_if(|_| self.mesh.hub().may_leave(self.now_ms())) {
                // Who asked may have lost patience.
                let _ = waiting.send(());
            }
        }
        let Self { discovery, network, .. } = self;
        let goodbyes = async {
            discovery.shutdown().await;
            network.shutdown().await;
        };
        // Connections that still send must not wait for somebody to take their news.
        let ignore = async {
            while connections.recv().await.is_some() {}
            std::future::pending::<()>().await
        };
        tokio::select! {
            () = goodbyes => {}
            () = ignore => {}
        }
    }

    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    fn wakeup(&self, desk: &Desk) -> Instant {
        let view = desk.view_due_ms.into_iter().chain(desk.joining.next_wakeup());
        let own = view.chain(desk.waits.next_wakeup());
        let next = self.mesh.next_wakeup().into_iter().chain(own).min();
        let latest = self.now_ms() + SLEEP_MS_MAX;
        // One millisecond more, so that what is due in this one is really due when the loop wakes.
        self.started + Duration::from_millis(next.unwrap_or(latest).min(latest) + 1)
    }

    fn asked(&mut self, desk: &mut Desk, question: Question) {
        let until_ms = question.until.saturating_duration_since(self.started).as_millis() as u64;
        if let Some(input) = desk.waits.open(question, until_ms) {
            self.feed(desk, input, None);
        }
    }

    fn connection_event(&mut self, desk: &mut Desk, event: ConnEvent) {
        match &event.input {
            Input::Admitted { peer, .. } => _ = desk.dial_failures.remove(peer),
            Input::DialFailed { peer, reason } => {
                self.discovery.dial_failed(*peer);
                // Two nodes that dial each other at once give up one of two connections; that is no news.
                if desk.dial_failures.get(peer) != Some(reason) && !reason.contains(connection::IN_USE) {
                    info!(endpoint_id = %peer.short(), "Peer could not be reached, trying on: {reason}");
                    desk.dial_failures.insert(*peer, reason.clone());
                }
            }
            _ => {}
        }
        self.feed(desk, event.input, event.permit);
    }

    fn discovery_event(&mut self, desk: &mut Desk, event: DiscoveryEvent) {
        match event {
            DiscoveryEvent::PeerFound(info) | DiscoveryEvent::PeerUpdated(info) => {
                let PeerInfo { endpoint, name, addresses, details } = info;
                self.probes.set_details(endpoint, Some(details));
                self.feed(desk, Input::PeerSeen { peer: endpoint, name, addresses }, None);
            }
            DiscoveryEvent::PeerLost(peer) => {
                desk.dial_failures.remove(&peer);
                self.probes.set_details(peer, None);
                self.feed(desk, Input::PeerGone { peer }, None);
            }
            DiscoveryEvent::SelfElsewhere { source, addresses } => {
                // An announcement proves nothing: it is said, but the node stays ready.
                warn!(
                    "Another process announces this node's own name by {source} at {addresses:?}. If it is \
                     one of yours: {}",
                    advice(&self.name)
                );
            }
        }
    }

    fn feed(&mut self, desk: &mut Desk, input: Input, mut permit: Option<OwnedSemaphorePermit>) {
        let now_ms = self.now_ms();
        let effects = self.mesh.handle(now_ms, input);
        if effects.iter().any(|effect| matches!(effect, Effect::Notify(_))) {
            // Whoever hears of it finds it so.
            self.renew_topology(desk);
        }
        for effect in effects {
            match effect {
                Effect::Dial { peer, addresses } => self.network.dial(peer, addresses),
                Effect::Send { conn, frame } => self.send(conn, frame),
                Effect::Close { conn, reason } => self.network.close(conn, &reason),
                Effect::Merge { conn, from, changes } => {
                    let merge = merge(conn, &from, changes, permit.take());
                    desk.merges.push(merge, self.mesh.hub().catalog());
                    // At once, when the writer has room; else the loop waits for it.
                    if desk.merges.has_ready()
                        && let Ok(room) = self.merges.try_reserve()
                        && let Some(merge) = desk.merges.take_ready()
                    {
                        room.send(merge);
                    }
                }
                Effect::Answer { conn, requests } => desk.answers.start(conn, requests),
                // The mesh keeps these to itself.
                Effect::Gossip { .. } | Effect::Broadcast { .. } => {}
                Effect::Notify(event) => {
                    self.tell(event);
                    desk.view_due_ms = Some(now_ms);
                }
            }
        }
        desk.view_due_ms.get_or_insert(desk.viewed_ms + VIEW_EVERY_MS);
    }

    fn send(&self, conn: ConnId, frame: Bytes) {
        if !self.network.send(conn, frame) {
            let rule = "it does not take the frames sent to it".to_owned();
            self.network.close(conn, &CloseReason::BrokenRule(rule));
        }
    }

    fn tell(&self, event: Event) {
        match &event {
            Event::PeerConnected { peer, name, addresses } => {
                info!(peer = %name, endpoint_id = %peer.short(), ?addresses, "Peer connected to Iroh");
            }
            Event::PeerDisconnected { peer, name, reason } => {
                info!(peer = %name, endpoint_id = %peer.short(), %reason, "Peer disconnected");
            }
            Event::SelfElsewhere { detail } => {
                let detail = format!(
                    "another process runs with this node's name and secret: {detail}. {}",
                    advice(&self.name)
                );
                // Readiness first: whoever sees the line finds the check failed.
                self.probes.set_self_elsewhere(detail.clone());
                warn!("{detail}");
            }
            other => presence::tell(other, self.now_ms()),
        }
        // Nobody may be listening.
        let _ = self.news.send(event);
    }

    fn renew_topology(&self, desk: &mut Desk) {
        let version = self.mesh.hub().topology_version();
        if desk.topology_version.replace(version) != Some(version) {
            self.topology.send_replace(Arc::new(self.mesh.hub().topology()));
        }
    }

    fn renew_view(&self, desk: &mut Desk) {
        let now_ms = self.now_ms();
        let due = desk.view_due_ms.into_iter().chain(desk.joining.next_wakeup()).min();
        if due.is_some_and(|due| due <= now_ms) {
            (desk.view_due_ms, desk.viewed_ms) = (None, now_ms);
            let views = self.mesh.hub().peers();
            let joined = desk.joining.look(now_ms, &views, desk.is_list_complete).map(str::to_owned);
            self.probes.set_sync(desk.joining.check());
            if let Some(joined) = joined {
                info!(after_ms = now_ms, "Mesh joined: {joined}");
            }
            let faults = self.mesh.hub().faults();
            self.faults.send_if_modified(|old| {
                let changed = **old != faults;
                if changed {
                    *old = Arc::new(faults);
                }
                changed
            });
            self.peers.send_if_modified(|old| {
                let changed = **old != views;
                if changed {
                    *old = Arc::new(views);
                }
                changed
            });
            self.renew_topology(desk);
        }
    }
}

/// What to set when two processes have one name.
fn advice(name: &NodeName) -> String {
    match name.as_str().split_once('/') {
        Some((cluster, host)) => format!(
            "Give each cluster its own PEAT_CLUSTER (here {cluster}), and each node of a cluster its own HOSTNAME \
             (here {host})"
        ),
        None => format!(
            "If the other one is in another cluster, give each cluster its own PEAT_CLUSTER (here not set); if not, \
             give each node its own HOSTNAME (here {name})"
        ),
    }
}

fn merge(conn: ConnId, from: &NodeName, changes: Changes, permit: Option<OwnedSemaphorePermit>) -> Merge {
    let source =
        Source::Peer { conn, name: from.clone(), audience: changes.audience.into(), repair: changes.repair };
    let jobs = changes
        .documents
        .into_iter()
        .map(|(doc, chunks)| Job { doc, work: Work::Merge(chunks), source: source.clone() })
        .collect();
    Merge { jobs, permit }
}
