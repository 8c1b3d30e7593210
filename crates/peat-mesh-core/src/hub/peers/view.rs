//! What the table shows of a peer.

use std::net::SocketAddr;

use super::{Peer, Status};
use crate::hub::LinkSync;
use crate::id::{ConnId, EndpointId, NodeName};

/// Where a peer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerState {
    /// A connection is in use.
    Connected,
    /// A dial is under way.
    Dialing,
    /// The next dial is waiting for its time.
    Waiting,
    /// Not connected because the formation is large and others are this node's neighbours.
    Known,
    /// Not connected, and discovery does not know it (any more).
    Lost,
}

impl PeerState {
    /// The state in one word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Dialing => "dialing",
            Self::Waiting => "waiting",
            Self::Known => "known",
            Self::Lost => "lost",
        }
    }
}

/// What is known of a peer now.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerView {
    /// Its endpoint id.
    pub peer: EndpointId,
    /// Its name, once known.
    pub name: Option<NodeName>,
    /// Where it stands.
    pub state: PeerState,
    /// Its connection.
    pub conn: Option<ConnId>,
    /// Addresses it was found or reached at.
    pub addresses: Vec<SocketAddr>,
    /// Since when it is in this state, on the caller's clock.
    pub since_ms: u64,
    /// When it is dialled next, on the caller's clock.
    pub next_dial_ms: Option<u64>,
    /// The last thing that went wrong with it, in words.
    pub last_error: Option<String>,
    /// What may cross its link, in words; `None` without bounds.
    pub scope: Option<String>,
    /// Whether the last comparison found both sides equal and nothing has been on its way since.
    pub in_step: bool,
    /// When both sides were last found equal, on the caller's clock.
    pub in_step_at_ms: Option<u64>,
    /// Documents waiting to be sent to it.
    pub documents_to_send: u64,
    /// Changes that came from it and are not on disk here yet.
    pub documents_to_merge: u64,
    /// Changes that came from it over this connection.
    pub documents_received: u64,
    /// Changes that were lacking here, came by a comparison over this connection, and are on disk.
    pub documents_repaired: u64,
    /// Bytes sent to it over this connection.
    pub bytes_sent: u64,
    /// Bytes on their way to it.
    pub bytes_unsent: u64,
    /// Since when nothing at all has come from it over its connection, on the caller's clock.
    pub silent_since_ms: Option<u64>,
    /// How far both have come in being equal.
    pub sync: LinkSync,
}

impl Peer {
    pub(super) fn view(&self, id: EndpointId, is_relayed: bool) -> PeerView {
        let (state, conn, next_dial_ms) = match self.status {
            Status::Live(conn) => (PeerState::Connected, Some(conn), None),
            Status::Dialing => (PeerState::Dialing, None, None),
            Status::Idle { dial_at_ms } if self.can_be_dialed(is_relayed) => {
                (PeerState::Waiting, None, Some(dial_at_ms.max(self.account.until_ms)))
            }
            Status::Idle { .. } => (PeerState::Lost, None, None),
        };
        PeerView {
            peer: id,
            name: self.name.clone(),
            state,
            conn,
            addresses: self.addresses(),
            since_ms: self.since_ms,
            next_dial_ms,
            last_error: self.last_error.clone(),
            scope: None,
            in_step: false,
            in_step_at_ms: None,
            documents_to_send: 0,
            documents_to_merge: 0,
            documents_received: 0,
            documents_repaired: 0,
            bytes_sent: 0,
            bytes_unsent: 0,
            silent_since_ms: None,
            sync: LinkSync::default(),
        }
    }
}
