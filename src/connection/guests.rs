//! Other protocols on the same endpoint, such as the one for blobs: open to admitted peers and to nobody
//! else.
//!
//! A peer is admitted while it has a connection on which it proved that it is a member. The key of a
//! connection is the key of the node, so a second connection with the same key is the same member. When
//! the last admitted connection of a peer ends, its other ones are closed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use iroh::endpoint::{ConnectOptions, Connection, VarInt};
use iroh::{Endpoint, RelayUrl};
use peat_mesh_core::EndpointId;
use peat_mesh_core::presence::Measure;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::handshake::HandshakeError;
use super::live::Live;
use super::{DIAL_MS_MAX, Shared, endpoint, handshake, peer};

/// Connections of other protocols that one peer may have here at once.
const PEER_CONNECTIONS_COUNT_MAX: usize = 8;
/// Connections of other protocols over all peers.
const CONNECTIONS_COUNT_MAX: usize = 128;
/// Streams of one connection that may fill their windows at once.
const FULL_STREAMS_COUNT: u32 = 4;
/// How long a connection may be ahead of the proof that its peer is just giving, in milliseconds.
const AHEAD_MS_MAX: u64 = 1_000;

/// Another protocol on the endpoint.
#[derive(Debug, Clone)]
pub struct Guest {
    /// How it is named in the TLS handshake.
    pub alpn: &'static [u8],
    /// Where connections of admitted peers go. What does not fit is closed.
    pub connections: mpsc::Sender<Connection>,
    /// Streams that a peer may have open on one of them.
    pub streams_count_max: u32,
}

/// The protocols, and how many connections they have.
#[derive(Debug)]
pub(super) struct Guests {
    all: Vec<Guest>,
    places: Arc<Places>,
}

type Places = Mutex<HashMap<EndpointId, usize>>;

/// One connection's place among those that there may be.
#[derive(Debug)]
struct Place {
    peer: EndpointId,
    places: Arc<Places>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = places.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                places.remove(&self.peer);
            }
        }
    }
}

impl Guests {
    pub(super) fn new(all: Vec<Guest>) -> Self {
        Self { all, places: Arc::default() }
    }

    fn place(&self, peer: EndpointId) -> Option<Place> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let own = places.get(&peer).copied().unwrap_or_default();
        if own >= PEER_CONNECTIONS_COUNT_MAX || places.values().sum::<usize>() >= CONNECTIONS_COUNT_MAX {
            return None;
        }
        places.insert(peer, own + 1);
        Some(Place { peer, places: Arc::clone(&self.places) })
    }
}

/// A connection of another protocol, handed on and watched.
#[derive(Debug)]
pub(super) struct Visit {
    connection: Connection,
    place: Place,
}

/// Hands a connection on when its peer is admitted. Nothing is read from it before that.
pub(super) async fn receive(shared: &Shared, connection: &Connection) -> Result<Visit, HandshakeError> {
    let peer = EndpointId(*connection.remote_id().as_bytes());
    let ahead = Duration::from_millis(AHEAD_MS_MAX);
    if tokio::time::timeout(ahead, shared.live.until_admitted(peer, true)).await.is_err() {
        return Err(HandshakeError::NotAdmitted);
    }
    let guests = &shared.guests;
    let place = guests.place(peer).ok_or(HandshakeError::TooMany)?;
    let guest = guests.all.iter().find(|guest| guest.alpn == connection.alpn());
    if let Some(guest) = guest {
        connection.set_max_concurrent_bi_streams(VarInt::from_u32(guest.streams_count_max));
    }
    let sent = guest.map(|guest| guest.connections.try_send(connection.clone()));
    if !matches!(sent, Some(Ok(()))) {
        return Err(HandshakeError::TooMany);
    }
    Ok(Visit { connection: connection.clone(), place })
}

impl Visit {
    /// Waits for the end of the connection, and ends it when its peer is admitted no longer.
    pub(super) async fn run(self, live: &Live, cancel: &CancellationToken) {
        tokio::select! {
            _ = self.connection.closed() => {}
            () = live.until_admitted(self.place.peer, false) => {
                peer::close(&self.connection, peer::NO_MEMBER, "not connected any more");
            }
            () = cancel.cancelled() => peer::close(&self.connection, peer::GOODBYE, "goodbye"),
        }
    }
}

/// Opens connections of other protocols to admitted peers.
#[derive(Debug, Clone)]
pub struct Opener {
    endpoint: Endpoint,
    live: Live,
    relays: Vec<RelayUrl>,
}

impl Opener {
    pub(super) fn new(endpoint: Endpoint, live: Live, relays: Vec<RelayUrl>) -> Self {
        Self { endpoint, live, relays }
    }

    /// The peers that are connected and admitted now.
    #[must_use]
    pub fn peers(&self) -> Vec<EndpointId> {
        self.live.peers()
    }

    /// What was measured on the way to one of them.
    #[must_use]
    pub fn measure(&self, peer: EndpointId) -> Measure {
        self.live.measure(peer).unwrap_or_default()
    }

    /// Opens a connection to one of them.
    ///
    /// # Errors
    /// In words, when the peer is not connected or does not answer in time.
    pub async fn open(&self, peer: EndpointId, alpn: &[u8]) -> Result<Connection, String> {
        if !self.live.is_admitted(peer) {
            return Err("it is not connected".to_owned());
        }
        let address = super::ways_to(&self.relays, peer, self.live.address(peer).into_iter().collect())?;
        let time = Duration::from_millis(DIAL_MS_MAX);
        let options = ConnectOptions::new().with_transport_config(endpoint::transport(FULL_STREAMS_COUNT));
        let opening = async {
            let in_words = |problem: String| handshake::in_words(&problem);
            let connecting = self.endpoint.connect_with_opts(address, alpn, options).await;
            let connecting = connecting.map_err(|problem| in_words(super::n0_chain(&problem)))?;
            connecting.await.map_err(|problem| in_words(super::n0_chain(&problem)))
        };
        tokio::time::timeout(time, opening).await.map_err(|_| "no answer in time".to_owned())?
    }
}
