//! Connections to peers: QUIC by iroh, closed to everybody who does not hold the formation's secret.
//!
//! In: orders to dial, send and close. Out: [`ConnEvent`]s. A connection is reported only after the
//! formation proof; what a stranger sends is not read past a message of 38 bytes.

mod addresses;
mod endpoint;
mod external;
mod guests;
mod handshake;
mod live;
mod liveness;
mod moves;
mod peer;
mod relays;
mod resolver;
mod strangers;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use iroh::endpoint::Connection;
use iroh::{Endpoint, EndpointAddr, RelayUrl, TransportAddr};
use peat_mesh_core::io::{CloseReason, Input};
use peat_mesh_core::wire::ALPN;
use peat_mesh_core::{ConnId, EndpointId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::debug;

pub use endpoint::BindError;
pub use guests::{Guest, Opener};
pub use live::Live;
pub use relays::{Standing, check as check_relay};

use crate::identity::Identity;

/// Connections that may be in their handshake at once; more are turned away.
const HANDSHAKES_COUNT_MAX: usize = 64;
/// How long a handshake may take, in milliseconds.
const HANDSHAKE_MS_MAX: u64 = 5_000;
/// How long a dial may take, handshake included, in milliseconds.
const DIAL_MS_MAX: u64 = 10_000;
/// Frames that may wait for a connection. The core's window keeps well below it.
const OUTBOX_FRAMES_MAX: usize = 32 * 1024;
/// How long the goodbyes may take, in milliseconds.
const GOODBYE_MS_MAX: u64 = 2_000;
/// How long the endpoint may take to close after that, in milliseconds. A dial that nobody has answered yet
/// takes three probe time-outs at QUIC's initial round-trip time, which are 3 s.
const CLOSE_MS_MAX: u64 = 4_000;

/// What a peer is told, and a dial fails with, when there is another connection of the pair.
pub const IN_USE: &str = "another connection is in use";

/// Something that happened on the network: `Admitted`, `Received`, `Sent`, `Closed` or `DialFailed`.
#[derive(Debug)]
pub struct ConnEvent {
    /// What happened.
    pub input: Input,
    /// The memory that a received frame takes of what its connection may take; to be dropped with it.
    pub permit: Option<OwnedSemaphorePermit>,
}

impl From<Input> for ConnEvent {
    fn from(input: Input) -> Self {
        Self { input, permit: None }
    }
}

/// What the endpoint is made from.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who this node is.
    pub identity: Identity,
    /// Random for this run of the process.
    pub incarnation: u64,
    /// Addresses to bind to; empty for all of IPv4 and, where there is one, IPv6.
    pub bind: Vec<IpAddr>,
    /// The UDP port; 0 takes a free one.
    pub port: u16,
    /// Relays, `http(s)://host[:port]`; with none, no relay is ever contacted.
    pub relays: Vec<String>,
    /// Where this node is reached from outside, `host:port` each.
    pub external: Vec<String>,
    /// What else is spoken on the endpoint, by admitted peers only.
    pub guests: Vec<Guest>,
}

/// The endpoint and all its connections.
#[derive(Debug)]
pub struct Network {
    endpoint: Endpoint,
    shared: Arc<Shared>,
    /// How this node stands with its relays; `None` without any.
    relays: Option<watch::Receiver<Standing>>,
    tasks: JoinSet<()>,
    cancel: CancellationToken,
}

/// What the tasks of connections share.
#[derive(Debug)]
struct Shared {
    identity: Identity,
    incarnation: u64,
    events: mpsc::Sender<ConnEvent>,
    live: Live,
    strangers: strangers::Strangers,
    guests: guests::Guests,
    /// Where every peer is tried beside its own addresses.
    relays: Vec<RelayUrl>,
}

/// Where a peer may be: these addresses, and all relays that this node was given. A relay that somebody else
/// names is never asked.
fn ways_to(
    relays: &[RelayUrl],
    peer: EndpointId,
    addresses: Vec<SocketAddr>,
) -> Result<EndpointAddr, String> {
    let id = iroh::EndpointId::from_bytes(&peer.0).map_err(|_| "its endpoint id is not a key".to_owned())?;
    let addresses = match addresses::usable(addresses) {
        Err(_) if !relays.is_empty() => Vec::new(),
        usable => usable?,
    };
    let relays = relays.iter().cloned().map(TransportAddr::Relay);
    Ok(EndpointAddr::from_parts(id, addresses.into_iter().map(TransportAddr::Ip).chain(relays)))
}

impl Network {
    /// Binds the sockets and starts to take connections.
    ///
    /// # Errors
    /// When a socket cannot be bound.
    pub async fn bind(settings: Settings, events: mpsc::Sender<ConnEvent>) -> Result<Self, BindError> {
        let urls = relays::parse(&settings.relays).map_err(BindError::Relay)?;
        let endpoint = endpoint::bind(&settings, &urls).await?;
        let cancel = CancellationToken::new();
        let mut tasks = JoinSet::new();
        if !settings.external.is_empty() {
            tasks.spawn(external::tell(endpoint.clone(), settings.external.clone(), cancel.clone()));
        }
        let relays = (!urls.is_empty()).then(|| {
            let (standing, seen) = watch::channel(Standing::new(&urls));
            tasks.spawn(relays::watch(endpoint.clone(), standing, cancel.clone()));
            seen
        });
        let shared = Arc::new(Shared {
            identity: settings.identity,
            incarnation: settings.incarnation,
            events,
            live: Live::default(),
            strangers: strangers::Strangers::default(),
            guests: guests::Guests::new(settings.guests),
            relays: urls,
        });
        tasks.spawn(accept(endpoint.clone(), Arc::clone(&shared), cancel.clone()));
        let (live, events, stop) = (shared.live.clone(), shared.events.clone(), cancel.clone());
        tasks.spawn(async move { _ = stop.run_until_cancelled(liveness::watch(live, events)).await });
        tasks.spawn(moves::watch(endpoint.clone(), shared.events.clone(), cancel.clone()));
        Ok(Self { endpoint, shared, relays, tasks, cancel })
    }

    /// The sockets that are really bound.
    #[must_use]
    pub fn bound_addresses(&self) -> Vec<SocketAddr> {
        self.endpoint.bound_sockets()
    }

    /// The admitted connections, for questions about their paths.
    #[must_use]
    pub fn live(&self) -> Live {
        self.shared.live.clone()
    }

    /// How this node stands with its relays; `None` when it has none.
    #[must_use]
    pub fn relays(&self) -> Option<watch::Receiver<Standing>> {
        self.relays.clone()
    }

    /// What opens connections of other protocols to admitted peers.
    #[must_use]
    pub fn opener(&self) -> Opener {
        Opener::new(self.endpoint.clone(), self.shared.live.clone(), self.shared.relays.clone())
    }

    /// Connects to a peer. Ends in `Admitted` or `DialFailed`.
    pub fn dial(&mut self, peer: EndpointId, addresses: Vec<SocketAddr>) {
        while self.tasks.try_join_next().is_some() {}
        let (endpoint, shared) = (self.endpoint.clone(), Arc::clone(&self.shared));
        let cancel = self.cancel.clone();
        self.tasks.spawn(async move {
            let dialing = tokio::time::timeout(
                Duration::from_millis(DIAL_MS_MAX),
                dial(&endpoint, &shared, peer, addresses),
            );
            let reason = match cancel.run_until_cancelled(dialing).await {
                Some(Ok(Ok((connection, proven)))) => {
                    peer::run(&shared, connection, proven, true, &cancel).await;
                    return;
                }
                Some(Ok(Err(reason))) => reason,
                Some(Err(_)) => "no answer in time".to_owned(),
                None => return,
            };
            // Nobody reads any more only when the node is shutting down.
            let _ = shared.events.send(Input::DialFailed { peer, reason }.into()).await;
        });
    }

    /// Gives a frame to a connection. Returns whether there was room for it.
    #[must_use]
    pub fn send(&self, conn: ConnId, frame: Bytes) -> bool {
        // A connection that is gone is reported as such; its frames go with it.
        self.shared
            .live
            .outbox(conn)
            .is_none_or(|outbox| !matches!(outbox.try_send(frame), Err(mpsc::error::TrySendError::Full(_))))
    }

    /// Ends a connection. `Closed` follows.
    pub fn close(&self, conn: ConnId, reason: &CloseReason) {
        if let Some(connection) = self.shared.live.connection(conn) {
            let (code, text) = match reason {
                CloseReason::Duplicate => (peer::DUPLICATE, IN_USE),
                CloseReason::NotNeeded => (peer::NOT_NEEDED, "not needed, there are other neighbours"),
                CloseReason::IdentityElsewhere => {
                    (peer::IDENTITY_ELSEWHERE, "another process has this node's name")
                }
                CloseReason::BrokenRule(rule) => (peer::BROKEN_RULE, rule.as_str()),
            };
            peer::close(&connection, code, text);
        }
    }

    /// Says goodbye to every peer and releases the sockets.
    pub async fn shutdown(mut self) {
        // Without its outbox a connection sends what it has, waits until that has arrived and says goodbye.
        self.shared.live.take_outboxes();
        let time = Duration::from_millis(GOODBYE_MS_MAX);
        let said = tokio::time::timeout(time, self.shared.live.until_empty()).await.is_ok();
        self.cancel.cancel();
        let time = Duration::from_millis(CLOSE_MS_MAX);
        let closed = tokio::time::timeout(time, self.endpoint.close()).await.is_ok();
        if !said || !closed {
            debug!("some peers did not take the goodbye in time");
        }
        self.tasks.shutdown().await;
    }
}

async fn dial(
    endpoint: &Endpoint,
    shared: &Shared,
    peer: EndpointId,
    addresses: Vec<SocketAddr>,
) -> Result<(Connection, handshake::Proven), String> {
    let address = ways_to(&shared.relays, peer, addresses)?;
    let connection =
        endpoint.connect(address, ALPN).await.map_err(|problem| handshake::in_words(&n0_chain(&problem)))?;
    match handshake::dial(shared, &connection).await {
        Ok(proven) => Ok((connection, proven)),
        Err(problem) => {
            peer::close(&connection, problem.close_code(), problem.told());
            Err(problem.to_string())
        }
    }
}

/// An error and its causes in one line.
fn n0_chain(problem: &dyn std::error::Error) -> String {
    let mut text = problem.to_string();
    let mut cause = problem.source();
    while let Some(problem) = cause {
        let next = problem.to_string();
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = problem.source();
    }
    text
}

async fn accept(endpoint: Endpoint, shared: Arc<Shared>, cancel: CancellationToken) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_COUNT_MAX));
    let mut tasks = JoinSet::new();
    while let Some(Some(incoming)) = cancel.run_until_cancelled(endpoint.accept()).await {
        while tasks.try_join_next().is_some() {}
        if handshakes.available_permits() < HANDSHAKES_COUNT_MAX / 2 && !incoming.remote_addr_validated() {
            // Under pressure a dialer has to show first that it is where it says; a made-up address cannot.
            if let Err(problem) = incoming.retry() {
                debug!(cause = %problem, "a dialer could not be asked to come again");
            }
            continue;
        }
        let Ok(permit) = Arc::clone(&handshakes).try_acquire_owned() else {
            incoming.refuse();
            continue;
        };
        let (shared, cancel) = (Arc::clone(&shared), cancel.clone());
        tasks.spawn(async move {
            let taken = cancel.run_until_cancelled(take(&shared, incoming)).await;
            drop(permit);
            match taken.flatten() {
                Some(Taken::Peer(connection, proven)) => {
                    peer::run(&shared, connection, proven, false, &cancel).await;
                }
                Some(Taken::Guest(visit)) => visit.run(&shared.live, &cancel).await,
                None => {}
            }
        });
    }
    tasks.shutdown().await;
}

/// Who dialled.
enum Taken {
    /// A peer that has shown that it is a member.
    Peer(Connection, handshake::Proven),
    /// An admitted peer that speaks another protocol.
    Guest(guests::Visit),
}

/// The handshake with whoever dialled; `None` when it is no member.
async fn take(shared: &Shared, incoming: iroh::endpoint::Incoming) -> Option<Taken> {
    let deadline = tokio::time::Instant::now() + Duration::from_millis(HANDSHAKE_MS_MAX);
    let connection = match incoming.accept() {
        Ok(accepting) => tokio::time::timeout_at(deadline, accepting).await.ok()?.ok()?,
        Err(problem) => {
            debug!(cause = %problem, "an incoming connection came to nothing");
            return None;
        }
    };
    let proven = if connection.alpn() == ALPN {
        let proven = tokio::time::timeout_at(deadline, handshake::accept(shared, &connection)).await;
        let proven = proven.unwrap_or(Err(handshake::HandshakeError::TooSlow));
        proven.map(|proven| Taken::Peer(connection.clone(), proven))
    } else {
        guests::receive(shared, &connection).await.map(Taken::Guest)
    };
    match proven {
        Ok(taken) => Some(taken),
        Err(problem) => {
            let address = liveness::path(&connection).address;
            let stranger = EndpointId(*connection.remote_id().as_bytes());
            if problem.is_strange() {
                shared.strangers.refused(stranger, address, &problem);
            }
            peer::close(&connection, problem.close_code(), problem.told());
            None
        }
    }
}
