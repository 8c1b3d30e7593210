//! The latest record of every node, and since when each can be reached or not.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::reach::{self, Ends};
use super::{Link, NodeState, Record};
use crate::id::{EndpointId, NodeTag};
use crate::limits;

/// How many neighbours of a record's origin pass it on to a node to which it has no link.
const PASSED_ON_BY_COUNT: usize = 2;

/// What is known of one node.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) record: Record,
    /// When the record came here.
    pub(super) received_ms: u64,
    pub(super) state: NodeState,
    /// Since when it is in this state; before this node's clock began for what others have seen earlier.
    pub(super) since_ms: i64,
    /// The state that was told last, and since when it was in it.
    pub(super) told: (NodeState, i64),
}

impl Held {
    pub(super) fn age_ms(&self, now_ms: u64) -> u64 {
        self.record.age_ms.saturating_add(now_ms.saturating_sub(self.received_ms))
    }

    /// When the record was made, on this node's clock.
    pub(super) fn made_ms(&self) -> i64 {
        self.received_ms as i64 - self.record.age_ms as i64
    }
}

/// What became of a record that came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// It is newer than what was here, and says something else.
    Changed,
    /// It is newer and says the same: its node lives.
    Refreshed,
    /// What was here is as new or newer, or there is no room.
    Old,
}

/// What has become of a node since it was last told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It is there, and was not known or had left.
    Came,
    /// It said goodbye.
    Left,
    /// It was reachable and is not any more.
    Lost,
    /// It was lost, at this time, and is reachable.
    Found { lost_ms: i64 },
}

/// The records of all nodes. Does nothing by itself; times are those of the caller's clock.
#[derive(Debug, Default)]
pub struct Table {
    pub(super) nodes: BTreeMap<EndpointId, Held>,
    /// Links name their far ends by tag.
    pub(super) tags: HashMap<NodeTag, EndpointId>,
}

impl Table {
    /// The record of a node as it can be passed on now.
    #[must_use]
    pub fn record(&self, now_ms: u64, node: EndpointId) -> Option<Record> {
        let held = self.nodes.get(&node)?;
        Some(Record { age_ms: held.age_ms(now_ms), ..held.record.clone() })
    }

    /// What is held of a node, with the age that it came with.
    pub(crate) fn latest(&self, node: EndpointId) -> Option<&Record> {
        self.nodes.get(&node).map(|held| &held.record)
    }

    /// Everybody there is a record of.
    pub fn origins(&self) -> impl Iterator<Item = EndpointId> {
        self.nodes.keys().copied()
    }

    /// How many nodes there is a record of.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// How often a record is made anew in a formation of this size, in milliseconds.
    #[must_use]
    pub fn refresh_ms(&self) -> u64 {
        limits::PRESENCE_REFRESH_MS_MIN.max(self.nodes.len() as u64 * limits::PRESENCE_REFRESH_MS_PER_NODE)
    }

    /// Takes a record if it is newer than what is here.
    pub fn offer(&mut self, now_ms: u64, record: Record) -> Offer {
        if let Some(held) = self.nodes.get_mut(&record.origin) {
            if record.stamp <= held.record.stamp {
                return Offer::Old;
            }
            let is_same = held.record.says_the_same(&record);
            (held.record, held.received_ms) = (record, now_ms);
            return if is_same { Offer::Refreshed } else { Offer::Changed };
        }
        let age_ms = record.age_ms;
        if age_ms >= limits::PRESENCE_FORGET_MS || !self.make_room() {
            return Offer::Old;
        }
        self.tags.entry(record.origin.tag()).or_insert(record.origin);
        // Whether it can be reached is found out in a moment; if not, it was last here when it said this.
        let (state, since_ms) = (NodeState::Unknown, now_ms as i64 - age_ms as i64);
        let held = Held { state, since_ms, told: (state, since_ms), received_ms: now_ms, record };
        self.nodes.insert(held.record.origin, held);
        Offer::Changed
    }

    /// Whether `peer` gets this record without `me` passing it on: from its origin, over a link that the origin
    /// hears, or from two neighbours of the origin that have a link to `peer`. If `me` is such a neighbour
    /// itself, those with smaller tags come first. Two, because one link may have broken a moment ago.
    pub(crate) fn is_told_by_others(&self, record: &Record, me: EndpointId, peer: EndpointId) -> bool {
        let is_heard = |link: Option<&Link>| link.is_some_and(|link| !link.is_silent);
        if is_heard(record.link(peer.tag())) {
            return true;
        }
        let is_neighbour = is_heard(record.link(me.tag()));
        let comes_first = |link: &&Link| {
            !link.is_silent && link.peer != me.tag() && (!is_neighbour || link.peer < me.tag())
        };
        let tells = |link: &&Link| {
            let says = |of: NodeTag, to: NodeTag| {
                let held = self.tags.get(&of).and_then(|node| self.nodes.get(node));
                held.is_some_and(|held| held.record.is_here && is_heard(held.record.link(to)))
            };
            says(link.peer, peer.tag()) && says(peer.tag(), link.peer)
        };
        record.links.iter().filter(comes_first).filter(tells).count() >= PASSED_ON_BY_COUNT
    }

    /// A peer has closed its connection with a goodbye.
    pub(crate) fn said_goodbye(&mut self, node: EndpointId, incarnation: u64) {
        if let Some(held) = self.nodes.get_mut(&node)
            && held.record.stamp.incarnation == incarnation
        {
            held.record.is_here = false;
        }
    }

    fn make_room(&mut self) -> bool {
        if self.nodes.len() < limits::PRESENCE_RECORDS_COUNT_MAX {
            return true;
        }
        let is_away = |held: &&Held| held.state == NodeState::Unreachable || held.state == NodeState::Left;
        let oldest = self.nodes.values().filter(is_away).min_by_key(|held| held.since_ms);
        let Some(oldest) = oldest.map(|held| held.record.origin) else { return false };
        self.remove(oldest);
        true
    }

    fn remove(&mut self, node: EndpointId) {
        self.nodes.remove(&node);
        if self.tags.get(&node.tag()) == Some(&node) {
            self.tags.remove(&node.tag());
        }
    }

    /// Drops whoever has been away for long. Returns whether anybody was.
    pub(crate) fn forget(&mut self, now_ms: u64, me: EndpointId) -> bool {
        let is_over = |held: &&Held| {
            let is_away = matches!(held.state, NodeState::Unreachable | NodeState::Left);
            is_away && now_ms as i64 - held.since_ms >= limits::PRESENCE_FORGET_MS as i64
        };
        let over: Vec<EndpointId> =
            self.nodes.values().filter(is_over).map(|held| held.record.origin).collect();
        let over: Vec<EndpointId> = over.into_iter().filter(|node| *node != me).collect();
        over.iter().for_each(|node| self.remove(*node));
        !over.is_empty()
    }

    /// Finds out who can be reached over links that both ends vouch for. `mine` are this node's own links:
    /// to whom, and whether anything comes from there.
    pub(crate) fn look(&mut self, now_ms: u64, me: EndpointId, mine: &BTreeMap<EndpointId, bool>) {
        let stale_ms = limits::PRESENCE_STALE_PERIODS * self.refresh_ms();
        let reached: BTreeSet<EndpointId> = {
            let is_fresh = |held: &Held| held.age_ms(now_ms) <= stale_ms;
            reach::reachable(&Ends { me, mine, table: self }, is_fresh)
        };
        for (node, held) in &mut self.nodes {
            let state = if !held.record.is_here {
                NodeState::Left
            } else if *node == me || reached.contains(node) {
                NodeState::Reachable
            } else {
                NodeState::Unreachable
            };
            if state == held.state {
                continue;
            }
            // What was never seen otherwise is so since it last spoke.
            if held.state != NodeState::Unknown || state == NodeState::Reachable {
                held.since_ms = now_ms as i64;
            }
            if held.state == NodeState::Unknown && state != NodeState::Reachable {
                held.since_ms = held.made_ms();
            }
            held.state = state;
        }
    }

    /// What is not told yet. Who was out of reach from the first is no loss.
    pub(crate) fn turns(&self, me: EndpointId) -> Vec<(EndpointId, Turn)> {
        let turn = |(node, held): (&EndpointId, &Held)| {
            let (told, since_ms) = held.told;
            let turn = match (told, held.state) {
                (NodeState::Unknown | NodeState::Left, NodeState::Reachable) => Turn::Came,
                (NodeState::Unreachable, NodeState::Reachable) => Turn::Found { lost_ms: since_ms },
                (NodeState::Reachable, NodeState::Unreachable) => Turn::Lost,
                (NodeState::Reachable | NodeState::Unreachable, NodeState::Left) => Turn::Left,
                _ => return None,
            };
            (*node != me).then_some((*node, turn))
        };
        self.nodes.iter().filter_map(turn).collect()
    }

    /// Notes that the state of a node was told. Returns since when it is in it.
    pub(crate) fn told(&mut self, node: EndpointId) -> i64 {
        self.nodes.get_mut(&node).map_or(0, |held| {
            held.told = (held.state, held.since_ms);
            held.since_ms
        })
    }

    /// Known nodes other than `me` that can be reached, and that cannot.
    pub(crate) fn counts(&self, me: EndpointId) -> (usize, usize) {
        let count =
            |state| self.nodes.iter().filter(|(node, held)| **node != me && held.state == state).count();
        (count(NodeState::Reachable), count(NodeState::Unreachable))
    }
}
