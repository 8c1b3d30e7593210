//! Connections that come and go, and which of two stays.

use std::net::SocketAddr;

use super::Hub;
use super::link::Link;
use crate::id::{ConnId, EndpointId};
use crate::io::{CloseReason, Closed, Event};
use crate::wire::Hello;

/// Two connections of one pair that are made within this time of each other were dialled at once, in
/// milliseconds.
pub(super) const RACE_MS: u64 = 5_000;

/// How long the connection that is kept may come later than the end of the one that is given up, in
/// milliseconds. Several round trips of a slow link that loses packets.
const SWITCH_MS_MAX: u64 = 5_000;

/// A connection that was just admitted.
pub(super) struct Arrival {
    pub(super) conn: ConnId,
    pub(super) peer: EndpointId,
    pub(super) hello: Hello,
    pub(super) dialed: bool,
    pub(super) address: Option<SocketAddr>,
}

impl Hub {
    pub(super) fn admitted(&mut self, now_ms: u64, arrival: Arrival) {
        let Arrival { conn, peer, hello, dialed, address } = arrival;
        if peer == self.me {
            let at = address.map(|at| format!(" at {at}")).unwrap_or_default();
            self.close(conn, CloseReason::IdentityElsewhere);
            self.notify(Event::SelfElsewhere { detail: format!("it connected to this node{at}") });
            return;
        }
        if !dialed && self.keeps_away(now_ms, conn, peer) {
            return;
        }
        if !self.has_room_for(peer) {
            self.close(conn, CloseReason::NotNeeded);
            return;
        }
        let old = self.peers.conn(peer).and_then(|old| Some((old, self.links.get(&old)?)));
        let mut fresh = self.switching.remove(&peer).is_none();
        if let Some((old, link)) = old {
            let restarted = link.incarnation != hello.incarnation;
            let preferred = link.dialed == (self.me < peer);
            // Both dialled at once: the connection that the smaller id made stays. Later than that, a
            // peer that dials again has lost the old one.
            let raced = link.dialed != dialed && now_ms < link.since_ms + RACE_MS;
            if !restarted && raced && preferred {
                self.close(conn, CloseReason::Duplicate);
                return;
            }
            if restarted {
                let name = link.name.clone();
                self.close(old, CloseReason::IdentityElsewhere);
                self.notify(Event::PeerDisconnected {
                    peer,
                    name,
                    reason: "a newer process of this node has connected".to_owned(),
                });
            } else {
                fresh = false;
                self.close(old, CloseReason::Duplicate);
            }
        }
        let Hello { name, incarnation } = hello;
        self.links.insert(conn, Link::new(now_ms, peer, name.clone(), incarnation, dialed));
        self.presence_meets(now_ms, conn);
        if let Some(link) = self.links.get_mut(&conn) {
            link.is_kept = self.peers.is_kept(peer);
        }
        self.asks_meet(conn);
        self.say_scope(conn);
        let addresses = self.peers.connected(now_ms, peer, conn, name.clone(), address);
        if fresh {
            self.notify(Event::PeerConnected { peer, name, addresses });
        }
    }

    pub(super) fn closed(&mut self, now_ms: u64, conn: ConnId, why: Closed) {
        let Some(link) = self.links.remove(&conn) else {
            return;
        };
        self.forget_inbound(&link.name);
        self.asks.note_change();
        self.links_changed(now_ms);
        if why == Closed::Goodbye {
            self.presence_goodbye(link.peer, link.incarnation);
        }
        self.forget_scopes();
        let reason = match &why {
            Closed::Goodbye => "it said goodbye".to_owned(),
            Closed::NotNeeded => "it has other neighbours in this large formation".to_owned(),
            Closed::Duplicate => "another connection to it is in use".to_owned(),
            Closed::IdentityElsewhere => {
                let detail = format!("{} was connected to by a newer process with this name", link.name);
                self.notify(Event::SelfElsewhere { detail });
                "it found another process with this node's name".to_owned()
            }
            Closed::Broke { reason, .. } | Closed::Lost(reason) => reason.clone(),
        };
        if self.peers.conn(link.peer) == Some(conn) {
            self.peers.disconnected(now_ms, link.peer, &why, reason.clone(), &mut self.rng);
            if why == Closed::Duplicate {
                self.switching.insert(link.peer, (now_ms + SWITCH_MS_MAX, link.name));
            } else {
                self.notify(Event::PeerDisconnected { peer: link.peer, name: link.name, reason });
            }
        }
    }
}
