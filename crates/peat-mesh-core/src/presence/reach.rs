//! Who can be reached: the nodes at the ends of links that both ends vouch for.

use std::collections::{BTreeMap, BTreeSet};

use super::table::{Held, Table};
use super::view::LinkState;
use crate::id::EndpointId;

/// What is known of the links.
pub(super) struct Ends<'a> {
    pub(super) me: EndpointId,
    /// This node's own links: to whom, and whether anything comes from there.
    pub(super) mine: &'a BTreeMap<EndpointId, bool>,
    pub(super) table: &'a Table,
}

impl Ends<'_> {
    /// The link between two nodes of which `a` is said to have one.
    ///
    /// This node's own end is what it sees itself. A peer that has not spoken of it yet does not contradict:
    /// the connection was made a moment ago.
    pub(super) fn link(&self, a: EndpointId, b: EndpointId) -> LinkState {
        match (self.end(a, b), self.end(b, a)) {
            (Some(true), Some(true)) => LinkState::Up,
            (Some(false), _) | (_, Some(false)) => LinkState::Silent,
            (Some(true), None) | (None, Some(true)) if a == self.me || b == self.me => {
                if self.mine.contains_key(if a == self.me { &b } else { &a }) {
                    LinkState::Up
                } else {
                    LinkState::Down
                }
            }
            (Some(true), None) if self.may_be_unlisted(b) => LinkState::Up,
            (None, Some(true)) if self.may_be_unlisted(a) => LinkState::Up,
            _ => LinkState::Down,
        }
    }

    /// Whether `of` has a link to `to`, and hears it.
    fn end(&self, of: EndpointId, to: EndpointId) -> Option<bool> {
        if of == self.me {
            return self.mine.get(&to).copied();
        }
        let held = self.table.nodes.get(&of).filter(|held| held.record.is_here)?;
        held.record.link(to.tag()).map(|link| !link.is_silent)
    }

    fn may_be_unlisted(&self, node: EndpointId) -> bool {
        let held = self.table.nodes.get(&node);
        held.is_some_and(|held| held.record.is_here && held.record.has_more_links())
    }
}

/// All nodes that this one reaches, itself included. A link of which neither end has said anything for long
/// does not count.
pub(super) fn reachable(ends: &Ends<'_>, is_fresh: impl Fn(&Held) -> bool) -> BTreeSet<EndpointId> {
    let nodes = &ends.table.nodes;
    let mut next_to: BTreeMap<EndpointId, Vec<EndpointId>> = BTreeMap::new();
    let mut join = |a: EndpointId, b: EndpointId| {
        next_to.entry(a).or_default().push(b);
        next_to.entry(b).or_default().push(a);
    };
    for peer in ends.mine.keys() {
        if ends.link(ends.me, *peer) == LinkState::Up {
            join(ends.me, *peer);
        }
    }
    for (node, held) in nodes.iter().filter(|(node, held)| **node != ends.me && held.record.is_here) {
        for link in &held.record.links {
            let Some(peer) = ends.table.tags.get(&link.peer).filter(|peer| **peer != ends.me) else {
                continue;
            };
            let spoken = is_fresh(held) || nodes.get(peer).is_some_and(&is_fresh);
            if spoken && ends.link(*node, *peer) == LinkState::Up {
                join(*node, *peer);
            }
        }
    }
    let mut reached = BTreeSet::from([ends.me]);
    let mut edge = vec![ends.me];
    while let Some(node) = edge.pop() {
        for peer in next_to.get(&node).into_iter().flatten() {
            if reached.insert(*peer) {
                edge.push(*peer);
            }
        }
    }
    reached
}
