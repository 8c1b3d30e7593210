//! What somebody at this node asks: which peers hold a document, and whether all are in step.
//!
//! A question is open from [`Input::Ask`](crate::io::Input::Ask) to [`Input::AskOver`](crate::io::Input::AskOver),
//! and whoever asks looks at the answer as it grows. Peers that connect meanwhile are asked, too.

use std::collections::BTreeMap;

use super::link::Link;
use super::{Hub, PeerView};
use crate::heads::Heads;
use crate::id::{ConnId, DocId, EndpointId, NodeName};
use crate::io::About;
use crate::limits;
use crate::wire::Frame;

/// What is known of one peer and some heads of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Holding {
    /// It has them on disk.
    Yes,
    /// It was asked and has not said so yet.
    NotYet,
    /// It was not asked, because the document may not go to it over its link.
    OutOfScope,
    /// It was not asked, because there are more heads than a frame names.
    TooManyHeads,
    /// It is not connected.
    NotConnected,
}

#[derive(Debug, Default)]
pub(super) struct Asks {
    open: BTreeMap<u64, Asked>,
    /// Links over which a question has not gone out yet.
    to_ask: Vec<(ConnId, u64)>,
    version: u64,
}

#[derive(Debug)]
enum Asked {
    Document {
        doc: DocId,
        heads: Heads,
        confirmed: BTreeMap<EndpointId, NodeName>,
    },
    /// With how many comparisons had begun on each link.
    Step(BTreeMap<ConnId, u64>),
}

impl Asks {
    /// Links have changed: answers may be others now.
    pub(super) fn note_change(&mut self) {
        self.version += 1;
    }
}

impl Hub {
    pub(super) fn ask(&mut self, ask: u64, about: About) {
        self.asks.note_change();
        let asked = match about {
            About::Document { doc, heads } => {
                self.asks.to_ask.extend(self.links.keys().map(|conn| (*conn, ask)));
                Asked::Document { doc, heads, confirmed: BTreeMap::new() }
            }
            About::Step => {
                Asked::Step(self.links.iter().map(|(conn, link)| (*conn, link.steps.asked_count())).collect())
            }
        };
        self.asks.open.insert(ask, asked);
    }

    pub(super) fn ask_over(&mut self, ask: u64) {
        self.asks.open.remove(&ask);
        self.asks.to_ask.retain(|(_, waiting)| *waiting != ask);
    }

    /// A link was made: open questions go to it, too.
    pub(super) fn asks_meet(&mut self, conn: ConnId) {
        self.asks.note_change();
        let documents = self.asks.open.iter().filter(|(_, asked)| matches!(asked, Asked::Document { .. }));
        self.asks.to_ask.extend(documents.map(|(ask, _)| (conn, *ask)));
    }

    /// A peer says that it holds what a question names.
    pub(super) fn confirmed(&mut self, conn: ConnId, id: u64) {
        let Some(link) = self.links.get(&conn) else { return };
        // A question that is over by now is no fault of the peer.
        if let Some(Asked::Document { confirmed, .. }) = self.asks.open.get_mut(&id)
            && confirmed.insert(link.peer, link.name.clone()).is_none()
        {
            self.asks.note_change();
        }
    }

    /// Sends questions over links that have room for them.
    pub(super) fn ask_due(&mut self) {
        if self.asks.to_ask.is_empty() {
            return;
        }
        for (conn, ask) in std::mem::take(&mut self.asks.to_ask) {
            let (Some(link), Some(Asked::Document { doc, heads, confirmed })) =
                (self.links.get(&conn), self.asks.open.get_mut(&ask))
            else {
                continue;
            };
            if !link.crossing.is_settled() || link.unsent_bytes > limits::SEND_WINDOW_BYTES {
                self.asks.to_ask.push((conn, ask));
                continue;
            }
            if confirmed.contains_key(&link.peer) || !link.crossing.may_send(doc) {
                continue;
            }
            let is_here = self.catalog.heads(doc).is_some_and(|here| heads.are_among(here));
            let all = self.scopes.catalog(&self.catalog, &link.crossing).summary(crate::catalog::Prefix::ALL);
            let inbound = self.inbound.get(&link.name).copied().unwrap_or_default();
            if is_here && link.is_strictly_in_step(all, inbound) {
                confirmed.insert(link.peer, link.name.clone());
                self.asks.note_change();
            } else if heads.as_slice().len() <= limits::HEADS_COUNT_MAX {
                let frame = Frame::Confirm { id: ask, doc: doc.clone(), heads: heads.clone() };
                self.send(conn, frame.encode());
            }
        }
    }

    /// Lets links compare soon on which somebody waits for both ends to be equal.
    pub(super) fn hurry(&mut self, now_ms: u64) {
        let steps = self.asks.open.values().filter_map(|asked| match asked {
            Asked::Step(begun) => Some(begun),
            Asked::Document { .. } => None,
        });
        let waiting: Vec<&BTreeMap<ConnId, u64>> = steps.collect();
        if waiting.is_empty() {
            return;
        }
        for (conn, link) in &mut self.links {
            let inbound = self.inbound.get(&link.name).copied().unwrap_or_default();
            let all = self.scopes.catalog(&self.catalog, &link.crossing).summary(crate::catalog::Prefix::ALL);
            let is_strict = link.is_strictly_in_step(all, inbound);
            if !waiting.iter().all(|begun| is_strict && is_fresh(begun, *conn, link)) {
                link.hurry(now_ms, inbound);
            }
        }
    }

    /// Changes whenever the answer to an open question about a document may have.
    #[must_use]
    pub fn asks_version(&self) -> u64 {
        self.asks.version
    }

    /// How many peers hold what a question about a document names.
    #[must_use]
    pub fn confirmed_count(&self, ask: u64) -> usize {
        match self.asks.open.get(&ask) {
            Some(Asked::Document { confirmed, .. }) => confirmed.len(),
            _ => 0,
        }
    }

    /// Those peers, connected or not.
    #[must_use]
    pub fn confirmed_by(&self, ask: u64) -> Vec<NodeName> {
        match self.asks.open.get(&ask) {
            Some(Asked::Document { confirmed, .. }) => confirmed.values().cloned().collect(),
            _ => Vec::new(),
        }
    }

    /// Whether every connected peer that may have the document holds what a question names.
    #[must_use]
    pub fn is_held_by_all(&self, ask: u64) -> bool {
        let Some(Asked::Document { doc, confirmed, .. }) = self.asks.open.get(&ask) else { return false };
        self.links.values().all(|link| {
            let is_out = link.crossing.is_settled() && !link.crossing.may_send(doc);
            is_out || confirmed.contains_key(&link.peer)
        })
    }

    /// Every known peer, and whether it holds what a question names: with a question about everything, whether it is
    /// equal to this node now.
    #[must_use]
    pub fn holding(&self, ask: u64) -> Vec<(PeerView, Holding)> {
        let of = |view: &PeerView| {
            let link = view.conn.and_then(|conn| Some((conn, self.links.get(&conn)?)));
            let (doc, heads, confirmed) = match (self.asks.open.get(&ask), link) {
                (Some(Asked::Document { doc, heads, confirmed }), _) => (doc, heads, confirmed),
                (Some(Asked::Step(begun)), Some((conn, link)))
                    if view.sync.in_step && is_fresh(begun, conn, link) =>
                {
                    return Holding::Yes;
                }
                (_, Some(_)) => return Holding::NotYet,
                (_, None) => return Holding::NotConnected,
            };
            let link = link.map(|(_, link)| link);
            match link {
                _ if confirmed.contains_key(&view.peer) => Holding::Yes,
                None => Holding::NotConnected,
                Some(link) if link.crossing.is_settled() && !link.crossing.may_send(doc) => {
                    Holding::OutOfScope
                }
                Some(_) if heads.as_slice().len() > limits::HEADS_COUNT_MAX => Holding::TooManyHeads,
                Some(_) => Holding::NotYet,
            }
        };
        self.peers().into_iter().map(|view| (of(&view), view)).map(|(of, view)| (view, of)).collect()
    }

    /// Whether this node and every connected peer are equal, by comparisons that began after the question.
    #[must_use]
    pub fn is_in_step(&self, ask: u64) -> bool {
        let Some(Asked::Step(begun)) = self.asks.open.get(&ask) else { return false };
        self.links.iter().all(|(conn, link)| {
            is_fresh(begun, *conn, link)
                && link.is_strictly_in_step(self.summary_for(link), self.inbound_of(link))
        })
    }
}

fn is_fresh(begun: &BTreeMap<ConnId, u64>, conn: ConnId, link: &Link) -> bool {
    link.steps.was_equal_after(begun.get(&conn).copied().unwrap_or_default())
}

#[cfg(test)]
mod tests;
