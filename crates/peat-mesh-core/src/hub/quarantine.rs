//! Changes of peers that the replica refused, so that the same ones are not tried again and again.
//!
//! An entry stands for a document as one peer sends it, and holds the hashes of the bytes that were refused. The same
//! bytes from the same peer are dropped before anybody reads them, and their connection stays: all other documents
//! flow on over it. The document comes from another peer, or from this one when it sends something that can be
//! taken; then the entry goes. Entries are in memory only: a node that starts anew tries once more.

use std::collections::BTreeMap;

use super::reconcile::Reply;
use super::{Hub, Rule};
use crate::catalog::{Catalog, Position};
use crate::id::{ConnId, DocId, NodeName};
use crate::io::Event;
use crate::limits;
use crate::replica::{Chunks, WriteError, Written};
use crate::wire::{Changes, Digest, Frame, RangeItems};

/// A document that a peer sends in a form that is refused here.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quarantined {
    /// Which document.
    pub document: DocId,
    /// Who sends it so.
    pub peer: NodeName,
    /// Why it was refused, in words.
    pub reason: String,
    /// Since when, on the hub's clock.
    pub since_ms: u64,
    /// When it last came, on the hub's clock.
    pub last_ms: u64,
    /// How often it came.
    pub times: u64,
    /// The size of what was refused last, in bytes.
    pub bytes: u64,
}

#[derive(Debug)]
struct Entry {
    view: Quarantined,
    hashes: Vec<[u8; 32]>,
    /// The peer's state of the document, where it told.
    state: Option<Digest>,
    /// When it last was asked for, or let send, the document.
    asked_ms: u64,
}

/// All entries.
#[derive(Debug, Default)]
pub(super) struct Quarantine {
    /// By peer, then by position, so that what a comparison names is found.
    peers: BTreeMap<NodeName, BTreeMap<Position, Entry>>,
}

impl Quarantine {
    pub(super) fn has_any(&self, peer: &NodeName) -> bool {
        self.peers.contains_key(peer)
    }

    /// Takes in what was refused; says whether the document is new here.
    fn add(&mut self, now_ms: u64, peer: &NodeName, doc: &DocId, chunks: &Chunks, reason: &str) -> bool {
        let at = Position::of(doc);
        if self.peers.get(peer).is_none_or(|documents| !documents.contains_key(&at)) {
            self.make_room(peer);
        }
        let documents = self.peers.entry(peer.clone()).or_default();
        let is_new = !documents.contains_key(&at);
        let entry = documents.entry(at).or_insert_with(|| Entry {
            view: Quarantined {
                document: doc.clone(),
                peer: peer.clone(),
                reason: String::new(),
                since_ms: now_ms,
                last_ms: now_ms,
                times: 0,
                bytes: 0,
            },
            hashes: Vec::new(),
            state: None,
            asked_ms: now_ms,
        });
        let view = &mut entry.view;
        (view.last_ms, view.times, view.bytes) = (now_ms, view.times + 1, chunks.bytes);
        view.reason = reason.chars().take(limits::REASON_BYTES_MAX / 4).collect();
        if !entry.hashes.contains(&chunks.hash) && entry.hashes.len() < limits::QUARANTINE_HASHES_COUNT_MAX {
            entry.hashes.push(chunks.hash);
        }
        is_new
    }

    /// Lets the entry go that came longest ago: one of this peer when it has its share, else one of the peer that
    /// has most.
    fn make_room(&mut self, peer: &NodeName) {
        let own = self.peers.get(peer).map_or(0, BTreeMap::len);
        let all: usize = self.peers.values().map(BTreeMap::len).sum();
        let from = if own >= limits::QUARANTINE_PER_PEER_COUNT_MAX {
            Some(peer.clone())
        } else if all >= limits::QUARANTINE_COUNT_MAX {
            self.peers.iter().max_by_key(|(_, documents)| documents.len()).map(|(name, _)| name.clone())
        } else {
            None
        };
        let Some(from) = from else { return };
        let oldest = self.peers.get(&from).and_then(|documents| {
            documents.iter().min_by_key(|(_, entry)| entry.view.last_ms).map(|(at, _)| *at)
        });
        if let Some(at) = oldest {
            self.remove(&from, at);
        }
    }

    fn remove(&mut self, peer: &NodeName, at: Position) {
        if let Some(documents) = self.peers.get_mut(peer) {
            documents.remove(&at);
            if documents.is_empty() {
                self.peers.remove(peer);
            }
        }
    }

    /// The peer sent a form of the document that was taken.
    pub(super) fn release(&mut self, peer: &NodeName, doc: &DocId) {
        if self.has_any(peer) {
            self.remove(peer, Position::of(doc));
        }
    }

    /// Takes out of what a peer sent all that was refused before.
    pub(super) fn filter(&mut self, now_ms: u64, peer: &NodeName, changes: &mut Changes) {
        let Some(documents) = self.peers.get_mut(peer) else { return };
        changes.documents.retain(|(doc, chunks)| {
            let Some(entry) = documents.get_mut(&Position::of(doc)) else { return true };
            // A document of which ever new forms are refused is left alone for a while.
            let is_full = entry.hashes.len() >= limits::QUARANTINE_HASHES_COUNT_MAX;
            if is_full && now_ms >= entry.view.last_ms + limits::QUARANTINE_REST_MS {
                entry.hashes.clear();
                return true;
            }
            let is_known = is_full || entry.hashes.contains(&Chunks::of(chunks).hash);
            if is_known {
                entry.view.times += 1;
                if !is_full {
                    entry.view.last_ms = now_ms;
                }
            }
            !is_known
        });
    }

    /// Takes out of the answer to a comparison the questions for what was refused, unless the peer has another state
    /// of it by now; once in a while it is asked all the same.
    pub(super) fn cut(&mut self, now_ms: u64, peer: &NodeName, theirs: &[RangeItems], reply: &mut Reply) {
        let Some(documents) = self.peers.get_mut(peer) else { return };
        let mut useless = Vec::new();
        for (at, digest) in theirs.iter().flat_map(|range| &range.items) {
            let Some(entry) = documents.get_mut(at) else { continue };
            if entry.state == Some(*digest) && now_ms < entry.asked_ms + limits::QUARANTINE_ASK_MS {
                useless.push(*at);
            } else {
                (entry.state, entry.asked_ms) = (Some(*digest), now_ms);
            }
        }
        if useless.is_empty() {
            return;
        }
        for frame in &mut reply.frames {
            match frame {
                Frame::Fetch(positions) => positions.retain(|at| !useless.contains(at)),
                Frame::Want(wants) => wants.retain(|want| !useless.contains(&Position::of(&want.doc))),
                _ => {}
            }
        }
        reply.frames.retain(|frame| match frame {
            Frame::Fetch(positions) => !positions.is_empty(),
            Frame::Want(wants) => !wants.is_empty(),
            _ => true,
        });
    }
}

/// Quarantined documents and what a peer is told about them.
impl Quarantine {
    /// Makes the peer ask, instead of sending what was refused: it is told of some other state of the document. Once
    /// in a while it is let send it.
    pub(super) fn claim(&mut self, now_ms: u64, peer: &NodeName, catalog: &Catalog, frames: &mut [Frame]) {
        let Some(documents) = self.peers.get_mut(peer) else { return };
        for (at, entry) in documents.iter_mut().filter(|(at, _)| catalog.at(**at).is_none()) {
            let mut is_meant = false;
            for frame in frames.iter_mut() {
                let is_due = now_ms >= entry.asked_ms + limits::QUARANTINE_ASK_MS;
                is_meant |= claim(frame, *at, !is_due);
            }
            if is_meant && now_ms >= entry.asked_ms + limits::QUARANTINE_ASK_MS {
                entry.asked_ms = now_ms;
            }
        }
    }
}

/// Whether a frame speaks of the place of a document that is not here; then, if wanted, it says that one is.
fn claim(frame: &mut Frame, at: Position, is_wanted: bool) -> bool {
    match frame {
        Frame::Items(ranges) => {
            let Some(range) = ranges.iter_mut().find(|range| range.prefix.contains(at)) else { return false };
            if is_wanted && range.items.len() < limits::ITEMS_PER_FRAME_MAX {
                range.items.push((at, Digest([0; 8])));
            }
            true
        }
        Frame::Ranges(groups) => {
            let Some(group) = groups.iter_mut().find(|group| group.prefix.contains(at)) else { return false };
            let number = (0..16).find(|number| group.prefix.part(*number).contains(at)).unwrap_or(0);
            let part = &mut group.parts[number];
            if part.is_some() {
                return false;
            }
            if is_wanted {
                *part = Some([0xff; 4]);
            }
            true
        }
        _ => false,
    }
}

impl Hub {
    /// The documents that peers send in a form that is refused here.
    #[must_use]
    pub fn quarantined(&self) -> Vec<Quarantined> {
        let entries = self.quarantine.peers.values().flat_map(BTreeMap::values);
        entries.map(|entry| entry.view.clone()).collect()
    }

    /// Notes what the replica said to changes of a peer. A refusal ends the connection, once for each document, unless
    /// the peer only passed them on.
    pub(super) fn judge(
        &mut self,
        now_ms: u64,
        conn: ConnId,
        peer: &NodeName,
        (doc, result): (&DocId, &Result<Written, WriteError>),
        is_passed_on: bool,
    ) {
        let (reason, chunks) = match result {
            Err(WriteError::Refused { reason, chunks: Some(chunks), .. }) => (reason, chunks),
            Ok(written) if written.seq.is_some() && !written.missing => {
                return self.quarantine.release(peer, doc);
            }
            _ => return,
        };
        if !self.quarantine.add(now_ms, peer, doc, chunks, reason) {
            return;
        }
        self.notify(Event::Quarantined {
            peer: peer.clone(),
            document: doc.clone(),
            reason: reason.to_owned(),
            bytes: chunks.bytes,
        });
        if is_passed_on {
            return;
        }
        let told = format!("it sent changes that were refused: document {doc}: {reason}");
        self.close_broken(now_ms, conn, Rule::Changes, told);
    }
}
