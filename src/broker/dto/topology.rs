//! The formation as JSON: who is there, over which links, and who was lost or found.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use peat_mesh_core::document::print_moment;
use peat_mesh_core::io::{Event, NodeRef};
use peat_mesh_core::limits;
use peat_mesh_core::presence::{self, LinkView, Measure, NodeState, NodeView};
use serde::Serialize;

use crate::handle::Handle;

#[derive(Debug, Serialize)]
pub(in crate::broker) struct Topology {
    /// The node that was asked: everything is as it looks from there.
    node_id: String,
    as_of: String,
    formation: Formation,
    nodes: Vec<Node>,
}

#[derive(Debug, Default, Serialize)]
struct Formation {
    known: usize,
    reachable: usize,
    unreachable: usize,
    left: usize,
}

#[derive(Debug, Serialize)]
struct Node {
    node_id: String,
    endpoint_id: String,
    /// What is before the slash of the name.
    cluster: Option<String>,
    role: String,
    version: String,
    is_self: bool,
    state: &'static str,
    /// Since when it is in this state.
    since: String,
    unreachable_since: Option<String>,
    started_at: String,
    uptime_secs: Option<u64>,
    /// When it last spoke of itself.
    heard_at: String,
    links: Vec<Link>,
}

#[derive(Debug, Serialize)]
struct Link {
    /// The name, or the start of the endpoint id while the name is not known.
    peer: String,
    state: &'static str,
    path: &'static str,
    address: Option<SocketAddr>,
    rtt_ms: Option<f64>,
    /// The share of packets that were lost.
    loss: f64,
}

impl Topology {
    pub(in crate::broker) fn new(handle: &Handle) -> Self {
        let mut topology = presence::Topology::clone(&handle.topology());
        measure_now(handle, &mut topology.nodes);
        let nodes = &topology.nodes;
        let count = |state| nodes.iter().filter(|node| node.state == state).count();
        Self {
            node_id: handle.name().to_string(),
            as_of: moment(handle, handle.uptime().as_millis() as i64),
            formation: Formation {
                known: nodes.len(),
                reachable: count(NodeState::Reachable),
                unreachable: count(NodeState::Unreachable),
                left: count(NodeState::Left),
            },
            nodes: nodes.iter().map(|node| Node::new(handle, node)).collect(),
        }
    }
}

/// This node's own links are shown as they are at the moment.
fn measure_now(handle: &Handle, nodes: &mut [NodeView]) {
    let Some(own) = nodes.iter_mut().find(|node| node.is_self) else { return };
    let now: BTreeMap<_, _> =
        handle.peers().into_iter().filter_map(|peer| Some((peer.view.peer, peer.path?.measure))).collect();
    for link in &mut own.links {
        let measure = link.peer.as_ref().and_then(|(peer, _)| now.get(peer));
        if let Some(measure) = measure {
            link.measure.clone_from(measure);
        }
    }
}

impl Node {
    fn new(handle: &Handle, view: &NodeView) -> Self {
        let name = view.name.as_str();
        let is_running = view.state == NodeState::Reachable;
        let uptime_ms = handle.uptime().as_millis() as i64 - view.started_ms;
        Self {
            node_id: name.to_owned(),
            endpoint_id: view.node.to_string(),
            cluster: name.split_once('/').map(|(cluster, _)| cluster.to_owned()),
            role: view.role.to_string(),
            version: view.version.to_string(),
            is_self: view.is_self,
            state: view.state.as_str(),
            since: moment(handle, view.since_ms),
            unreachable_since: (view.state == NodeState::Unreachable).then(|| moment(handle, view.since_ms)),
            started_at: moment(handle, view.started_ms),
            uptime_secs: is_running.then(|| u64::try_from(uptime_ms / 1_000).unwrap_or_default()),
            heard_at: moment(handle, view.spoke_ms),
            links: view.links.iter().map(Link::new).collect(),
        }
    }
}

impl Link {
    fn new(view: &LinkView) -> Self {
        let LinkView { tag, peer, state, measure, .. } = view;
        let peer = peer.as_ref().map(|(_, name)| name.to_string());
        Self {
            peer: peer.unwrap_or_else(|| data_encoding::HEXLOWER.encode(&tag.0)),
            state: state.as_str(),
            path: measure.path.as_str(),
            address: measure.address,
            rtt_ms: rtt_ms(measure),
            loss: loss(measure),
        }
    }
}

/// Round-trip time in milliseconds; nothing while it is not known.
pub(in crate::broker) fn rtt_ms(measure: &Measure) -> Option<f64> {
    (measure.rtt_us > 0).then(|| measure.rtt_us as f64 / 1_000.0)
}

pub(in crate::broker) fn loss(measure: &Measure) -> f64 {
    f64::from(measure.loss_per_mille) / 1_000.0
}

pub(super) fn moment(handle: &Handle, since_start_ms: i64) -> String {
    print_moment(handle.wall_clock_ms(since_start_ms))
}

/// Nodes that were lost or found, as an event.
#[derive(Debug, Serialize)]
pub(in crate::broker) struct FormationNews {
    /// The same as [`FormationNews::name`] on a WebSocket.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(flatten)]
    body: Body,
    #[serde(skip)]
    name: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Body {
    Node {
        node: String,
        endpoint_id: String,
        state: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        since: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        after_ms: Option<u64>,
    },
    Turn {
        nodes: Vec<String>,
        count: usize,
        #[serde(skip_serializing_if = "Option::is_none")]
        since: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        after_ms: Option<u64>,
        reachable: usize,
        unreachable: usize,
    },
}

impl FormationNews {
    /// `None` for other news.
    pub(in crate::broker) fn new(handle: &Handle, event: &Event) -> Option<Self> {
        let names = |nodes: &[NodeRef]| nodes.iter().map(|node| node.name.to_string()).collect();
        let since = |since_ms: u64| Some(moment(handle, i64::try_from(since_ms).unwrap_or(i64::MAX)));
        let one = |node: &NodeRef, state, since, after_ms| {
            let NodeRef { node, name } = node;
            Body::Node { node: name.to_string(), endpoint_id: node.to_string(), state, since, after_ms }
        };
        let (name, body) = match event {
            Event::NodeUnreachable { node, since_ms } => {
                ("node", one(node, NodeState::Unreachable.as_str(), since(*since_ms), None))
            }
            Event::NodeReachable { node, after_ms } => {
                ("node", one(node, NodeState::Reachable.as_str(), None, *after_ms))
            }
            Event::NodeLeft { node } => ("node", one(node, NodeState::Left.as_str(), None, None)),
            Event::Partition { nodes, count, since_ms, reachable, unreachable } => {
                let (count, reachable, unreachable) = (*count, *reachable, *unreachable);
                let (nodes, since) = (names(nodes), since(*since_ms));
                ("partition", Body::Turn { nodes, count, since, after_ms: None, reachable, unreachable })
            }
            Event::Healed { nodes, count, after_ms, reachable, unreachable } => {
                let (count, reachable, unreachable) = (*count, *reachable, *unreachable);
                let (nodes, after_ms) = (names(nodes), Some(*after_ms));
                ("healed", Body::Turn { nodes, count, since: None, after_ms, reachable, unreachable })
            }
            _ => return None,
        };
        Some(Self { kind: None, body, name })
    }

    /// The nodes that are unreachable now, for a reader that missed how it came to that.
    pub(in crate::broker) fn lost(handle: &Handle) -> Vec<Self> {
        let topology = handle.topology();
        let lost = topology.nodes.iter().filter(|node| node.state == NodeState::Unreachable);
        let news = |view: &NodeView| {
            let body = Body::Node {
                node: view.name.to_string(),
                endpoint_id: view.node.to_string(),
                state: view.state.as_str(),
                since: Some(moment(handle, view.since_ms)),
                after_ms: None,
            };
            Self { kind: None, body, name: "node" }
        };
        lost.take(limits::PARTITION_NAMES_MAX).map(news).collect()
    }

    pub(in crate::broker) fn typed(self) -> Self {
        Self { kind: Some(self.name), ..self }
    }

    /// What it is, in one word: the type of an SSE event.
    pub(in crate::broker) fn name(&self) -> &'static str {
        self.name
    }
}
