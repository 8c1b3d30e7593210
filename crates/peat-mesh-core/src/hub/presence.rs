//! Presence: what this node says of itself, how records spread, and who is lost and found.
//!
//! A record that is newer goes on to every link whose peer is not its origin, not the sender, and not told by
//! others anyway (see [`Table::is_told_by_others`]). So in a full mesh each node gets a record once. What a
//! full window keeps back stays on the link's list and goes later.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use rand::RngExt;

use super::{Hub, Link};
use crate::id::{ConnId, EndpointId};
use crate::io::{Event, NodeRef};
use crate::limits;
use crate::presence::{self, Me, Measure, Offer, Record, Stamp, Table, Topology, Turn};
use crate::wire::Frame;

/// What a hub knows of presence.
#[derive(Debug, Default)]
pub(super) struct Presence {
    table: Table,
    me: Option<Me>,
    is_leaving: bool,
    sequence: u64,
    /// When something of this node's own has to be told.
    own_due_ms: Option<u64>,
    refresh_due_ms: u64,
    /// When a record was last made because of a quality alone, and because of an earlier run.
    quality_told_ms: u64,
    outbid_ms: Option<u64>,
    /// What nodes say of their links has changed.
    is_stale: bool,
    /// When it is told what has become of nodes.
    settle_ms: Option<u64>,
    /// Counts what [`Hub::topology`] shows.
    version: u64,
}

/// What a link knows of presence.
#[derive(Debug, Default)]
pub(super) struct LinkPresence {
    pub(super) silent_since_ms: Option<u64>,
    pub(super) measure: Measure,
    /// Whose records are to be sent …
    pending: BTreeSet<EndpointId>,
    /// … once this node's own is among them, in which the link is listed.
    is_greeted: bool,
}

impl Hub {
    /// A hub that tells the formation of itself; without this it only listens and passes on.
    #[must_use]
    pub fn announcing(mut self, me: Me) -> Self {
        self.presence.refresh_due_ms = u64::MAX;
        self.presence.own_due_ms = Some(me.started_ms);
        self.presence.me = Some(me);
        self
    }

    /// The formation as it looks from here.
    #[must_use]
    pub fn topology(&self) -> Topology {
        self.presence.table.topology(self.me, &self.own_links())
    }

    /// Changes when [`Hub::topology`] does.
    #[must_use]
    pub fn topology_version(&self) -> u64 {
        self.presence.version
    }

    /// This node's links: to whom, and whether anything comes from there. One of two connections that was
    /// given up counts until it is known whether the other one comes. Connections over which the overlay says a
    /// word or two do not count: in a large formation they come and go all the time.
    fn own_links(&self) -> BTreeMap<EndpointId, bool> {
        let switching = self.switching.keys().map(|peer| (*peer, true));
        let is_passing = |link: &Link| link.gossips && !link.is_apart() && self.peers.is_passing(link.peer);
        let links = self.links.values().filter(|link| !is_passing(link));
        let links = links.map(|link| (link.peer, link.presence.silent_since_ms.is_none()));
        switching.chain(links).collect()
    }

    pub(super) fn presence_wakeup(&self) -> Option<u64> {
        let Presence { me, own_due_ms, refresh_due_ms, settle_ms, .. } = &self.presence;
        let refresh = me.is_some().then_some(*refresh_due_ms);
        own_due_ms.iter().chain(settle_ms).copied().chain(refresh).min()
    }

    /// A connection is in use: its peer gets all that is known here, but not what it says of itself.
    pub(super) fn presence_meets(&mut self, now_ms: u64, conn: ConnId) {
        if let Some(link) = self.links.get_mut(&conn) {
            let (peer, me, incarnation) = (link.peer, self.me, link.incarnation);
            let table = &self.presence.table;
            // A record of an earlier run of the peer goes back to it, so that it can outbid it.
            let is_its_own = |node: &EndpointId| {
                table.latest(*node).is_some_and(|record| record.stamp.incarnation == incarnation)
            };
            link.presence.pending =
                table.origins().filter(|node| *node != me && (*node != peer || !is_its_own(node))).collect();
        }
        self.links_changed(now_ms);
    }

    /// A connection came, went, fell silent or was heard again.
    pub(super) fn links_changed(&mut self, now_ms: u64) {
        self.presence.is_stale = true;
        self.own_changed(now_ms + limits::PRESENCE_COALESCE_MS);
    }

    fn own_changed(&mut self, due_ms: u64) {
        if self.presence.me.is_some() {
            let due = self.presence.own_due_ms.get_or_insert(due_ms);
            *due = due_ms.min(*due);
        }
    }

    pub(super) fn silent(&mut self, now_ms: u64, conn: ConnId) {
        if let Some(link) = self.links.get_mut(&conn) {
            link.presence.silent_since_ms.get_or_insert(now_ms);
            self.links_changed(now_ms);
        }
    }

    pub(super) fn heard(&mut self, now_ms: u64, conn: ConnId) {
        if let Some(link) = self.links.get_mut(&conn)
            && link.presence.silent_since_ms.take().is_some()
        {
            self.links_changed(now_ms);
        }
    }

    pub(super) fn measured(&mut self, now_ms: u64, conn: ConnId, measure: Measure) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        link.presence.measure = measure;
        let (new, peer) = (&link.presence.measure, link.peer.tag());
        let told = self.presence.table.latest(self.me).and_then(|record| record.link(peer));
        let old = told.map(|link| link.measure.clone()).unwrap_or_default();
        if new.is_another_path(&old) {
            self.own_changed(now_ms + limits::PRESENCE_COALESCE_MS);
        } else if new.is_another_quality(&old) {
            let due_ms = self.presence.quality_told_ms + limits::PRESENCE_QUALITY_EVERY_MS;
            self.own_changed(due_ms.max(now_ms + limits::PRESENCE_COALESCE_MS));
        }
    }

    /// A peer has said goodbye on its connection.
    pub(super) fn presence_goodbye(&mut self, peer: EndpointId, incarnation: u64) {
        self.presence.table.said_goodbye(peer, incarnation);
        self.presence.is_stale = true;
    }

    /// This node is about to stop: everybody hears it while there are links.
    pub(super) fn presence_leaves(&mut self, now_ms: u64) {
        self.presence.is_leaving = true;
        self.own_changed(now_ms);
    }

    pub(super) fn presence_received(&mut self, now_ms: u64, from: ConnId, records: Vec<Record>) {
        for record in records {
            let (origin, stamp) = (record.origin, record.stamp);
            if origin == self.me {
                self.outbid(now_ms, stamp);
                continue;
            }
            let Some(link) = self.links.get_mut(&from) else { return };
            let known = self.presence.table.latest(origin).map(|known| known.stamp);
            let is_another_run = known.is_some_and(|known| known.incarnation != stamp.incarnation);
            if known.is_none_or(|known| known <= stamp) {
                link.presence.pending.remove(&origin);
            } else if is_another_run {
                // The run that wins here may be over; its node can outbid it when it hears of it.
                link.presence.pending.insert(origin);
            }
            let is_first_hand = link.peer == origin;
            match self.presence.table.offer(now_ms, record) {
                Offer::Old => continue,
                Offer::Changed => self.presence.is_stale = true,
                Offer::Refreshed => {}
            }
            self.presence.version += 1;
            self.pass_on(from, origin, is_another_run && !is_first_hand);
        }
    }

    /// Somebody holds a record of this node that is not of this run, or not of this node at all. If it would
    /// win, the next record gets a higher epoch.
    fn outbid(&mut self, now_ms: u64, stamp: Stamp) {
        let Some(me) = &mut self.presence.me else { return };
        let own = Stamp { epoch: me.epoch, incarnation: me.incarnation, sequence: self.presence.sequence };
        if stamp > own {
            me.epoch = (stamp.epoch + 1).min(limits::PRESENCE_MS_MAX);
            let last = self.presence.outbid_ms.replace(now_ms);
            // Two processes of one name would outbid each other for ever.
            let wait_ms =
                last.map_or(0, |last| (last + limits::PRESENCE_OUTBID_EVERY_MS).saturating_sub(now_ms));
            self.presence.refresh_due_ms = now_ms + wait_ms.max(limits::PRESENCE_COALESCE_MS);
        }
    }

    /// Puts a record on the list of every link that may not have it. Of another run than the one that was
    /// known it is not believed that its node still tells anybody of it: that goes to all.
    fn pass_on(&mut self, from: ConnId, origin: EndpointId, to_all: bool) {
        let table = &self.presence.table;
        let Some(record) = table.latest(origin) else { return };
        for (conn, link) in &mut self.links {
            let has_it = if link.peer == origin {
                // It does not know what an earlier run has left behind.
                link.incarnation == record.stamp.incarnation
            } else {
                *conn == from || !to_all && table.is_told_by_others(record, self.me, link.peer)
            };
            if !has_it {
                link.presence.pending.insert(origin);
            }
        }
    }

    /// What time alone makes necessary, and what waits for room.
    pub(super) fn presence_due(&mut self, now_ms: u64) {
        let Presence { own_due_ms, refresh_due_ms, settle_ms, .. } = self.presence;
        let refresh = self.presence.me.is_some() && refresh_due_ms <= now_ms;
        if refresh || own_due_ms.is_some_and(|due| due <= now_ms) {
            self.speak(now_ms, refresh);
        }
        if refresh {
            // Silence, too, changes what is known.
            self.presence.is_stale = true;
            self.presence.table.forget(now_ms, self.me);
        }
        if std::mem::take(&mut self.presence.is_stale) {
            let mine = self.own_links();
            self.presence.table.look(now_ms, self.me, &mine);
            self.presence.version += 1;
            if self.presence.table.turns(self.me).is_empty() || self.presence.is_leaving {
                self.presence.settle_ms = None;
            } else {
                self.presence.settle_ms.get_or_insert(now_ms + limits::PARTITION_SETTLE_MS);
            }
        }
        if settle_ms.is_some() && self.presence.settle_ms.is_some_and(|settle| settle <= now_ms) {
            self.presence.settle_ms = None;
            self.tell_turns(now_ms);
        }
        self.flush_presence(now_ms);
    }

    /// Makes a record of this node if there is anything new to say, or if it is time to.
    fn speak(&mut self, now_ms: u64, refresh: bool) {
        self.presence.own_due_ms = None;
        let Some(me) = &self.presence.me else { return };
        let mut links: BTreeMap<EndpointId, presence::Link> = BTreeMap::new();
        for (peer, is_heard) in self.own_links() {
            let link = presence::Link { peer: peer.tag(), is_silent: !is_heard, measure: Measure::default() };
            links.insert(peer, link);
        }
        for link in self.links.values() {
            if let Some(told) = links.get_mut(&link.peer) {
                told.measure = link.presence.measure.clone();
            }
        }
        let mut links: Vec<presence::Link> = links.into_values().collect();
        let links_total = links.len() as u64;
        // When there are too many, those in trouble are the news.
        links.sort_by_key(|link| (!link.is_silent, link.peer));
        links.truncate(limits::LINKS_PER_RECORD_MAX);
        links.sort_by_key(|link| link.peer);
        links.dedup_by_key(|link| link.peer);
        let record = Record {
            origin: self.me,
            name: me.name.clone(),
            role: me.role.clone(),
            version: me.version.clone(),
            stamp: Stamp {
                epoch: me.epoch,
                incarnation: me.incarnation,
                sequence: self.presence.sequence + 1,
            },
            is_here: !self.presence.is_leaving,
            age_ms: 0,
            uptime_ms: now_ms.saturating_sub(me.started_ms),
            links_total,
            links,
        };
        let old = self.presence.table.latest(self.me);
        if !refresh && old.is_some_and(|old| record.says_the_same(old)) {
            self.greet(false);
            return;
        }
        self.presence.sequence += 1;
        self.presence.quality_told_ms = now_ms;
        self.presence.version += 1;
        self.presence.table.offer(now_ms, record);
        self.presence.is_stale = true;
        let period_ms = self.presence.table.refresh_ms();
        self.presence.refresh_due_ms =
            now_ms + period_ms - period_ms / 10 + self.rng.random_range(0..=period_ms / 5);
        self.greet(true);
    }

    /// Puts this node's own record on the list of all links, or of those that have none yet.
    fn greet(&mut self, all: bool) {
        for link in self.links.values_mut() {
            let first = !std::mem::replace(&mut link.presence.is_greeted, true);
            if first || all {
                link.presence.pending.insert(self.me);
            }
        }
    }

    /// Says what has become of nodes since it was last said.
    fn tell_turns(&mut self, now_ms: u64) {
        let turns = self.presence.table.turns(self.me);
        let (reachable, unreachable) = self.presence.table.counts(self.me);
        let (mut lost, mut found) = (Vec::new(), Vec::new());
        let (mut lost_ms, mut found_ms) = (i64::MAX, i64::MAX);
        for (number, (node, turn)) in turns.into_iter().enumerate() {
            let since_ms = self.presence.table.told(node);
            let Some(record) = self.presence.table.latest(node) else { continue };
            let node = NodeRef { node, name: record.name.clone() };
            let on_clock = |ms: i64| u64::try_from(ms).unwrap_or_default();
            let event = match turn {
                Turn::Came => Event::NodeReachable { node, after_ms: None },
                Turn::Left => Event::NodeLeft { node },
                Turn::Lost => {
                    lost.push(node.clone());
                    lost_ms = lost_ms.min(since_ms);
                    Event::NodeUnreachable { node, since_ms: on_clock(since_ms) }
                }
                Turn::Found { lost_ms } => {
                    found.push(node.clone());
                    found_ms = found_ms.min(lost_ms);
                    Event::NodeReachable { node, after_ms: Some(on_clock(now_ms as i64 - lost_ms)) }
                }
            };
            if number < limits::PARTITION_NAMES_MAX {
                self.notify(event);
            }
        }
        let (lost_count, found_count) = (lost.len(), found.len());
        lost.truncate(limits::PARTITION_NAMES_MAX);
        found.truncate(limits::PARTITION_NAMES_MAX);
        if lost_count > 0 {
            let since_ms = u64::try_from(lost_ms).unwrap_or_default();
            self.notify(Event::Partition {
                nodes: lost,
                count: lost_count,
                since_ms,
                reachable,
                unreachable,
            });
        }
        if found_count > 0 {
            let after_ms = u64::try_from(now_ms as i64 - found_ms).unwrap_or_default();
            self.notify(Event::Healed { nodes: found, count: found_count, after_ms, reachable, unreachable });
        }
    }

    /// Sends records to the links that lack them and have room.
    fn flush_presence(&mut self, now_ms: u64) {
        let is_mute = self.presence.me.is_none();
        let is_waiting = |link: &super::Link| {
            let may_be_told = link.presence.is_greeted || is_mute;
            may_be_told
                && !link.presence.pending.is_empty()
                && link.unsent_bytes < limits::PRESENCE_WINDOW_BYTES
        };
        while let Some((conn, link)) = self.links.iter_mut().find(|(_, link)| is_waiting(link)) {
            let conn = *conn;
            let mut records = Vec::new();
            while records.len() < limits::PRESENCE_RECORDS_PER_FRAME_MAX
                && let Some(origin) = link.presence.pending.pop_first()
            {
                records.extend(self.presence.table.record(now_ms, origin));
            }
            if !records.is_empty() {
                self.send(conn, Frame::Presence(records).encode());
            }
        }
    }
}
