//! What goes into the [`Hub`](crate::hub::Hub) and what comes out of it.
//!
//! An [`Input`] is a fact: something that happened. An [`Effect`] is an order: something to be done.
//! Times are milliseconds of a clock that only runs forward, given in by the caller.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use bytes::Bytes;

use crate::answer::{Answer, Request};
use crate::heads::Heads;
use crate::hub::Rule;
use crate::id::{ConnId, DocId, EndpointId, NodeName};
use crate::presence::Measure;
use crate::replica::Outcome;
use crate::wire::{Changes, Frame, Hello};

/// Something that happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Input {
    /// Time has passed; see [`Hub::next_wakeup`](crate::hub::Hub::next_wakeup).
    Tick,
    /// Discovery found a peer or has newer addresses of it.
    PeerSeen {
        /// Who.
        peer: EndpointId,
        /// Its name when discovery knows it.
        name: Option<NodeName>,
        /// Where it can be dialled.
        addresses: Vec<SocketAddr>,
    },
    /// No source of discovery has the peer any more.
    PeerGone {
        /// Who.
        peer: EndpointId,
    },
    /// This node no longer has one of its own addresses. Connections that used it cannot be told from the others,
    /// so all connected peers are dialled; the new connections take the place of the old ones.
    AddressLost,
    /// A dial came to nothing.
    DialFailed {
        /// Who was dialled.
        peer: EndpointId,
        /// Why, in words.
        reason: String,
    },
    /// A connection passed the formation proof.
    Admitted {
        /// Its number.
        conn: ConnId,
        /// Who is at the other end.
        peer: EndpointId,
        /// What it said of itself.
        hello: Hello,
        /// Whether this node dialled.
        dialed: bool,
        /// Where it is.
        address: Option<SocketAddr>,
    },
    /// A frame came in.
    Received {
        /// On which connection.
        conn: ConnId,
        /// The frame.
        frame: Frame,
    },
    /// Bytes of an earlier [`Effect::Send`] have left this process.
    Sent {
        /// On which connection.
        conn: ConnId,
        /// What they count for, see [`crate::limits::frame_cost_bytes`].
        bytes: usize,
    },
    /// A connection is gone.
    Closed {
        /// Which.
        conn: ConnId,
        /// How it ended.
        why: Closed,
    },
    /// A commit is over: what became of the jobs in it.
    Committed(Vec<Outcome>),
    /// The outcome of an [`Effect::Answer`].
    Answered {
        /// For which connection.
        conn: ConnId,
        /// What to send.
        answer: Answer,
    },
    /// Nothing at all has come over a connection for longer than is normal for it. It is not closed.
    Silent {
        /// Which.
        conn: ConnId,
    },
    /// Something has come again.
    Heard {
        /// On which connection.
        conn: ConnId,
    },
    /// The path of a connection was measured.
    Measured {
        /// Which connection.
        conn: ConnId,
        /// What was found.
        measure: Measure,
    },
    /// Which peers this node is to be connected to.
    Neighbours {
        /// Those; `None` is all of them.
        wanted: Option<BTreeSet<EndpointId>>,
        /// Those of them that stay, and are not there for a message or two only.
        neighbours: BTreeSet<EndpointId>,
        /// Whether there are more than it may connect to, so that connections to others are let go.
        is_large: bool,
    },
    /// Another node knows where a peer is reached.
    PeerHeard {
        /// Who.
        peer: EndpointId,
        /// Where it can be dialled.
        addresses: Vec<SocketAddr>,
    },
    /// The overlay has a message for a connected peer.
    Tell {
        /// For whom.
        peer: EndpointId,
        /// The message.
        bytes: Bytes,
    },
    /// The overlay brought a frame, and passes it on by itself.
    Delivered {
        /// The neighbour it came from.
        peer: EndpointId,
        /// The frame.
        frame: Frame,
    },
    /// What was to be broadcast was not: the neighbours have to be compared with.
    NotBroadcast,
    /// What a peer sent breaks a rule of the overlay.
    Broke {
        /// Who.
        peer: EndpointId,
        /// Which rule, in words.
        rule: String,
    },
    /// Somebody asks, and will look at the answer until [`Input::AskOver`], see [`Hub`](crate::hub::Hub).
    Ask {
        /// The number of the question, another one for each.
        ask: u64,
        /// What it is about.
        about: About,
    },
    /// Nobody waits for the answer to a question any more.
    AskOver {
        /// The number of the question.
        ask: u64,
    },
    /// This node is about to stop: peers get what they lack now. See
    /// [`Hub::may_leave`](crate::hub::Hub::may_leave).
    Leaving,
}

/// What somebody asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// Which peers hold these heads of a document on disk: [`Hub::holding`](crate::hub::Hub::holding).
    Document {
        /// The document.
        doc: DocId,
        /// Its heads.
        heads: Heads,
    },
    /// Whether this node and its peers are equal now: [`Hub::is_in_step`](crate::hub::Hub::is_in_step).
    Step,
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Closed {
    /// The peer stopped on purpose.
    Goodbye,
    /// One of two connections of a pair was given up, by the peer or by this node.
    Duplicate,
    /// The peer does not need this connection: the formation is large, and it has other neighbours.
    NotNeeded,
    /// The peer says that another process with this node's name took this node's place.
    IdentityElsewhere,
    /// The peer broke a rule of the wire, and the connection was ended for it.
    Broke {
        /// Which kind of rule.
        rule: Rule,
        /// What it did, in words.
        reason: String,
    },
    /// Anything else: time-out, reset. In words.
    Lost(String),
}

/// Something to be done.
#[derive(Debug)]
pub enum Effect {
    /// Connect to a peer; ends in `Admitted` or `DialFailed`.
    Dial {
        /// Who.
        peer: EndpointId,
        /// Where it may be.
        addresses: Vec<SocketAddr>,
    },
    /// Send an encoded frame; `Sent` tells when it has left.
    Send {
        /// On which connection.
        conn: ConnId,
        /// The frame.
        frame: Bytes,
    },
    /// End a connection; `Closed` follows.
    Close {
        /// Which.
        conn: ConnId,
        /// What to tell the peer.
        reason: CloseReason,
    },
    /// Apply changes that came from a peer; their outcomes come back in `Committed`.
    Merge {
        /// On which connection they came.
        conn: ConnId,
        /// From whom.
        from: NodeName,
        /// The changes.
        changes: Changes,
    },
    /// Read documents in order to send them; ends in `Answered`.
    Answer {
        /// For which connection.
        conn: ConnId,
        /// Which documents, and what the peer has of them.
        requests: Vec<Request>,
    },
    /// Give a message of a peer to the overlay.
    Gossip {
        /// Who sent it.
        peer: EndpointId,
        /// Whether the sender knows of more peers than it may connect to.
        is_large: bool,
        /// The message.
        bytes: Bytes,
    },
    /// Give an encoded frame to all nodes, by the overlay.
    Broadcast {
        /// The frame.
        frame: Bytes,
    },
    /// Tell whoever listens.
    Notify(Event),
}

/// Why this node ends a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseReason {
    /// There is another connection to the same peer.
    Duplicate,
    /// The formation is large, and the peer is none of this node's neighbours.
    NotNeeded,
    /// A newer process with the peer's identity has connected.
    IdentityElsewhere,
    /// The peer broke a rule; in words.
    BrokenRule(String),
}

/// News about peers for operators and subscribers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A peer was admitted and is in use.
    PeerConnected {
        /// Who.
        peer: EndpointId,
        /// Its name.
        name: NodeName,
        /// Addresses it is reached at.
        addresses: Vec<SocketAddr>,
    },
    /// A peer that was connected is not any more.
    PeerDisconnected {
        /// Who.
        peer: EndpointId,
        /// Its name.
        name: NodeName,
        /// Why, in words.
        reason: String,
    },
    /// A peer sends a document in a form that is refused here. Its other documents flow on.
    Quarantined {
        /// Who sends it so.
        peer: NodeName,
        /// Which document.
        document: DocId,
        /// Why it was refused, in words.
        reason: String,
        /// The size of what was refused, in bytes.
        bytes: u64,
    },
    /// A document of this node cannot be sent to a peer. Told once for each state of the document.
    Unsendable {
        /// To whom.
        peer: NodeName,
        /// Which document.
        document: DocId,
        /// Why, in words.
        reason: String,
    },
    /// Another process runs with this node's name and secret.
    SelfElsewhere {
        /// How that was noticed, in words.
        detail: String,
    },
    /// No chain of links leads to a node any more.
    NodeUnreachable {
        /// Who.
        node: NodeRef,
        /// Since when, on the hub's clock.
        since_ms: u64,
    },
    /// A node can be reached that was unreachable, had left or was not known.
    NodeReachable {
        /// Who.
        node: NodeRef,
        /// How long it was unreachable, in milliseconds.
        after_ms: Option<u64>,
    },
    /// A node has said goodbye.
    NodeLeft {
        /// Who.
        node: NodeRef,
    },
    /// Nodes that were reachable are not any more: they are off, or the formation is cut between them and
    /// here. What was lost at about the same time is one event.
    Partition {
        /// Who was lost; not all of them when there are very many.
        nodes: Vec<NodeRef>,
        /// How many were lost.
        count: usize,
        /// Since when the first of them, on the hub's clock.
        since_ms: u64,
        /// Other nodes that can be reached now.
        reachable: usize,
        /// All that cannot be reached now.
        unreachable: usize,
    },
    /// Nodes that were unreachable are not any more.
    Healed {
        /// Who was found; not all of them when there are very many.
        nodes: Vec<NodeRef>,
        /// How many were found.
        count: usize,
        /// How long the first of them was unreachable, in milliseconds.
        after_ms: u64,
        /// Other nodes that can be reached now.
        reachable: usize,
        /// All that cannot be reached now.
        unreachable: usize,
    },
}

/// A node in an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRef {
    /// Who.
    pub node: EndpointId,
    /// Its name.
    pub name: NodeName,
}
