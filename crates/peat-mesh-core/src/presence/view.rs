//! The formation as it looks from one node.

use std::collections::BTreeMap;

use super::reach::Ends;
use super::{Label, Measure, Table};
use crate::id::{EndpointId, NodeName, NodeTag};

/// Where a node stands, seen from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeState {
    /// Nothing was computed yet.
    Unknown,
    /// A chain of links leads to it.
    Reachable,
    /// None does: it is off, or the way to it is cut.
    Unreachable,
    /// It has said goodbye.
    Left,
}

impl NodeState {
    /// The state in one word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Reachable => "reachable",
            Self::Unreachable => "unreachable",
            Self::Left => "left",
        }
    }
}

/// Where a link stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// Both ends hear each other.
    Up,
    /// There is a connection, and one end hears nothing.
    Silent,
    /// Only one end says that there is one.
    Down,
}

impl LinkState {
    /// The state in one word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Silent => "silent",
            Self::Down => "down",
        }
    }
}

/// Every known node, in the order of the names. Times are milliseconds of this node's clock; what was before
/// it began is less than zero.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Topology {
    /// The nodes.
    pub nodes: Vec<NodeView>,
}

/// What is known of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeView {
    /// Who.
    pub node: EndpointId,
    /// Its name.
    pub name: NodeName,
    /// What it does in the formation.
    pub role: Label,
    /// The version of its program.
    pub version: Label,
    /// Whether it is the node that is asked.
    pub is_self: bool,
    /// Where it stands.
    pub state: NodeState,
    /// Since when.
    pub since_ms: i64,
    /// When it was started.
    pub started_ms: i64,
    /// When it last spoke of itself.
    pub spoke_ms: i64,
    /// Its links, as it last told of them.
    pub links: Vec<LinkView>,
}

/// One link of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkView {
    /// To whom.
    pub tag: NodeTag,
    /// The same, when the peer is known.
    pub peer: Option<(EndpointId, NodeName)>,
    /// Where it stands, by what both ends say.
    pub state: LinkState,
    /// What the node measured.
    pub measure: Measure,
}

impl LinkView {
    fn name(&self) -> (Option<&NodeName>, NodeTag) {
        (self.peer.as_ref().map(|(_, name)| name), self.tag)
    }
}

impl Table {
    /// The formation as it looks from `me`.
    pub(crate) fn topology(&self, me: EndpointId, mine: &BTreeMap<EndpointId, bool>) -> Topology {
        let ends = Ends { me, mine, table: self };
        let view = |(node, held): (&EndpointId, &super::table::Held)| {
            let record = &held.record;
            let link = |link: &super::Link| {
                let peer = self.tags.get(&link.peer).and_then(|peer| Some((*peer, self.nodes.get(peer)?)));
                LinkView {
                    tag: link.peer,
                    state: peer.map_or(LinkState::Down, |(peer, _)| ends.link(*node, peer)),
                    peer: peer.map(|(peer, held)| (peer, held.record.name.clone())),
                    measure: link.measure.clone(),
                }
            };
            let mut links: Vec<LinkView> = record.links.iter().map(link).collect();
            links.sort_by(|a, b| a.name().cmp(&b.name()));
            NodeView {
                node: *node,
                name: record.name.clone(),
                role: record.role.clone(),
                version: record.version.clone(),
                is_self: *node == me,
                state: held.state,
                since_ms: held.since_ms,
                started_ms: held.made_ms() - record.uptime_ms as i64,
                spoke_ms: held.made_ms(),
                links,
            }
        };
        let mut nodes: Vec<NodeView> = self.nodes.iter().map(view).collect();
        nodes.sort_by(|a, b| (&a.name, a.node).cmp(&(&b.name, b.node)));
        Topology { nodes }
    }
}
