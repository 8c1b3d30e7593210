//! Messages between neighbours, as bytes.
//!
//! They are those of `iroh-gossip`, in its encoding (postcard), without what both sides know anyway: the topic,
//! of which there is one, and the hash of an update that is sent whole. Updates are announced by the first 8 bytes
//! of their hashes, as nearly always the receiver has them; otherwise it asks for the rest. `iroh-gossip` keeps the fields of its
//! messages to itself, so what comes in is checked in a copy of their layout first, and only then becomes one.

use std::net::SocketAddr;

use bytes::Bytes;
use iroh_gossip::proto;
use peat_mesh_core::EndpointId;
use serde::{Deserialize, Serialize};

use crate::limits;

/// The one topic. It never goes over the wire and is no secret.
pub(crate) const TOPIC: [u8; 32] = *b"peat-mesh/1 one overlay for all.";

/// A node, as the protocol names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Key(pub(crate) [u8; 32]);

impl From<EndpointId> for Key {
    fn from(id: EndpointId) -> Self {
        Self(id.0)
    }
}

impl From<Key> for EndpointId {
    fn from(key: Key) -> Self {
        Self(key.0)
    }
}

/// The hash of an update.
pub(crate) type UpdateId = [u8; 32];

/// Its beginning: enough to tell that it is one of those that are here.
pub(crate) type Hint = [u8; 8];

pub(crate) fn hint_of(id: &UpdateId) -> Hint {
    let mut hint = [0; 8];
    hint.copy_from_slice(&id[..8]);
    hint
}

/// Why bytes of a neighbour are not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GossipError {
    /// They do not follow the layout.
    #[error("a gossip message cannot be read: {0}")]
    Layout(postcard::Error),
    /// There is more of something than may be.
    #[error("a gossip message has {count} {what}, at most {max} are allowed")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// How much.
        count: usize,
        /// How much may be.
        max: usize,
    },
    /// It announces ever more updates that do not come.
    #[error("it announced more than {max} updates that never came")]
    Missing {
        /// How many may be missing.
        max: usize,
    },
}

/// What a message is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// Who is whose neighbour.
    Members,
    /// An update.
    Update,
    /// Announcements of updates, and what mends the tree.
    Mending,
}

impl Topic {
    /// By its first byte.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        match bytes.first() {
            Some(0) => Self::Members,
            Some(1) => Self::Update,
            _ => Self::Mending,
        }
    }
}

/// What goes over the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Message {
    /// About who is whose neighbour.
    Members(Members),
    /// An update; its hash is left out.
    Update { content: Bytes, scope: Scope },
    /// Do not push to me, somebody else does.
    Prune,
    /// Push to me, and the update with this hash now.
    Graft { id: Option<UpdateId>, hops: u16 },
    /// I have these updates.
    Announce(Vec<(UpdateId, u16)>),
    /// I have the updates whose hashes begin so.
    Hint(Vec<(Hint, u16)>),
    /// What are the hashes that begin so?
    Spell(Vec<Hint>),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Members {
    Join(Option<Bytes>),
    ForwardJoin(Node, u16),
    Shuffle(Key, Vec<Node>, u16),
    ShuffleReply(Vec<Node>),
    Neighbour(Priority, Option<Bytes>),
    Disconnect { is_alive: bool, obsolete: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Priority {
    High,
    Low,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Node {
    id: Key,
    addresses: Option<Bytes>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Scope {
    Swarm(u16),
    Neighbours,
}

/// The layout of `iroh_gossip::proto::Message`.
#[derive(Serialize, Deserialize)]
struct Full {
    topic: [u8; 32],
    message: FullMessage,
}

#[derive(Serialize, Deserialize)]
enum FullMessage {
    Members(Members),
    Gossip(FullGossip),
}

#[derive(Serialize, Deserialize)]
enum FullGossip {
    Update { id: UpdateId, content: Bytes, scope: Scope },
    Prune,
    Graft { id: Option<UpdateId>, hops: u16 },
    Announce(Vec<(UpdateId, u16)>),
}

impl Message {
    /// Reads and checks what a neighbour sent.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, GossipError> {
        let (message, rest): (Self, _) = postcard::take_from_bytes(bytes).map_err(GossipError::Layout)?;
        most("bytes after its end", rest.len(), 0)?;
        message.check()?;
        Ok(message)
    }

    pub(crate) fn encode(&self) -> Bytes {
        postcard::to_allocvec(self).expect("plain data can be encoded in memory").into()
    }

    pub(crate) fn from_proto(message: &proto::Message<Key>) -> Self {
        let bytes = postcard::to_allocvec(message).expect("plain data can be encoded in memory");
        let full: Full =
            postcard::from_bytes(&bytes).expect("the layout is that of iroh-gossip, see the tests");
        match full.message {
            FullMessage::Members(members) => Self::Members(members),
            FullMessage::Gossip(FullGossip::Update { content, scope, .. }) => Self::Update { content, scope },
            FullMessage::Gossip(FullGossip::Prune) => Self::Prune,
            FullMessage::Gossip(FullGossip::Graft { id, hops }) => Self::Graft { id, hops },
            FullMessage::Gossip(FullGossip::Announce(ids)) => Self::Announce(ids),
        }
    }

    /// `None` for what only this crate speaks of.
    pub(crate) fn into_proto(self) -> Option<proto::Message<Key>> {
        let message = match self {
            Self::Hint(_) | Self::Spell(_) => return None,
            Self::Members(members) => FullMessage::Members(members),
            Self::Update { content, scope } => FullMessage::Gossip(FullGossip::Update {
                id: *blake3::hash(&content).as_bytes(),
                content,
                scope,
            }),
            Self::Prune => FullMessage::Gossip(FullGossip::Prune),
            Self::Graft { id, hops } => FullMessage::Gossip(FullGossip::Graft { id, hops }),
            Self::Announce(ids) => FullMessage::Gossip(FullGossip::Announce(ids)),
        };
        let bytes = postcard::to_allocvec(&Full { topic: TOPIC, message })
            .expect("plain data can be encoded in memory");
        Some(postcard::from_bytes(&bytes).expect("the layout is that of iroh-gossip, see the tests"))
    }

    /// What a neighbour would send to name a node.
    pub(crate) fn told_of(node: EndpointId) -> Self {
        Self::Members(Members::ShuffleReply(vec![Node { id: node.into(), addresses: None }]))
    }

    pub(crate) fn is_about_members(&self) -> bool {
        matches!(self, Self::Members(_))
    }

    /// Puts what this node knows of the sender's addresses in the place of what it says itself: it rarely
    /// knows how others reach it.
    pub(crate) fn set_sender_addresses(&mut self, addresses: &[SocketAddr]) {
        if let Self::Members(Members::Join(data) | Members::Neighbour(_, data)) = self {
            *data = (!addresses.is_empty()).then(|| encode_addresses(addresses));
        }
    }

    fn check(&self) -> Result<(), GossipError> {
        match self {
            Self::Members(members) => members.check(),
            Self::Update { content, scope } => {
                most("bytes of an update", content.len(), limits::PAYLOAD_BYTES_MAX)?;
                match scope {
                    Scope::Swarm(hops) => check_hops(*hops),
                    // Nobody sends these.
                    Scope::Neighbours => most("updates for neighbours only", 1, 0),
                }
            }
            Self::Prune => Ok(()),
            Self::Graft { hops, .. } => check_hops(*hops),
            Self::Announce(ids) => {
                most("announcements", ids.len(), limits::ANNOUNCED_PER_MESSAGE_MAX)?;
                ids.iter().try_for_each(|(_, hops)| check_hops(*hops))
            }
            Self::Hint(hints) => {
                most("announcements", hints.len(), limits::ANNOUNCED_PER_MESSAGE_MAX)?;
                hints.iter().try_for_each(|(_, hops)| check_hops(*hops))
            }
            Self::Spell(hints) => most("questions", hints.len(), limits::ANNOUNCED_PER_MESSAGE_MAX),
        }
    }
}

impl Members {
    fn check(&self) -> Result<(), GossipError> {
        match self {
            Self::Join(data) | Self::Neighbour(_, data) => check_data(data.as_ref()),
            Self::ForwardJoin(node, steps) => {
                check_data(node.addresses.as_ref())?;
                most("steps", (*steps).into(), limits::WALK_STEPS_MAX.into())
            }
            Self::Shuffle(_, nodes, steps) => {
                check_nodes(nodes)?;
                most("steps", (*steps).into(), limits::WALK_STEPS_MAX.into())
            }
            Self::ShuffleReply(nodes) => check_nodes(nodes),
            Self::Disconnect { .. } => Ok(()),
        }
    }
}

fn check_nodes(nodes: &[Node]) -> Result<(), GossipError> {
    most("nodes", nodes.len(), limits::NODES_PER_MESSAGE_MAX)?;
    nodes.iter().try_for_each(|node| check_data(node.addresses.as_ref()))
}

fn check_data(data: Option<&Bytes>) -> Result<(), GossipError> {
    most("bytes of addresses", data.map_or(0, Bytes::len), limits::ADDRESSES_BYTES_MAX)
}

fn check_hops(hops: u16) -> Result<(), GossipError> {
    most("hops", hops.into(), limits::HOPS_MAX.into())
}

fn most(what: &'static str, count: usize, max: usize) -> Result<(), GossipError> {
    if count > max { Err(GossipError::TooMuch { what, count, max }) } else { Ok(()) }
}

/// The hash by which an update is announced.
pub(crate) fn update_id(content: &[u8]) -> UpdateId {
    *blake3::hash(content).as_bytes()
}

fn encode_addresses(addresses: &[SocketAddr]) -> Bytes {
    let addresses = &addresses[..addresses.len().min(limits::ADDRESSES_PER_NODE_MAX)];
    postcard::to_allocvec(addresses).expect("plain data can be encoded in memory").into()
}

/// Addresses that came along with a node's id; none when they cannot be read.
pub(crate) fn decode_addresses(data: &[u8]) -> Vec<SocketAddr> {
    let mut addresses: Vec<SocketAddr> = postcard::from_bytes(data).unwrap_or_default();
    addresses.truncate(limits::ADDRESSES_PER_NODE_MAX);
    addresses
}

#[cfg(test)]
mod tests;
