//! Scoped links: what may cross, and which documents both ends compare.
//!
//! A node with a scope for a peer says it right after admission and exchanges nothing else until the peer
//! has said its own. What may go out is what this end sends and the other takes, and so on the way back;
//! both ends come to the same. Compared are the documents that may cross in one direction at least, by the
//! fingerprints of a catalog with only those. Links with the same set share one.
//!
//! A collection that crosses in one direction and is changed where it arrives stays different. So that this
//! costs little, the receiving end asks for a document at one state of the other end once in a while only.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use super::reconcile::Reply;
use super::{Hub, Rule};
use crate::answer::Request;
use crate::catalog::{Catalog, Position, Prefix};
use crate::heads::Heads;
use crate::id::{ConnId, DocId};
use crate::limits;
use crate::scope::{Collections, LinkScopes, Scope};
use crate::wire::{Digest, Frame, RangeItems, Want, WantStage};

/// How long a document that stays different is not asked for again, in milliseconds.
const ASK_AGAIN_MS: u64 = 60_000;

/// What may cross one link.
#[derive(Debug)]
pub(super) enum Crossing {
    /// Everything: neither end has said anything else.
    Open,
    /// This end has bounds, and the other end has not answered yet. Nothing crosses.
    Asked(Scope),
    /// Both ends have said what they allow.
    Bound(Bounds),
}

/// What both ends allow.
#[derive(Debug)]
pub(super) struct Bounds {
    /// What may go to the peer.
    out: Collections,
    /// What may come from it.
    into: Collections,
    /// What is compared.
    pub(super) compared: Collections,
    /// Documents that came and may not.
    refused: u64,
    refused_last: Option<DocId>,
    /// At which state of the peer a document that only comes in was asked for.
    asked: HashMap<Position, Digest>,
    asked_since_ms: u64,
}

impl Bounds {
    fn new(now_ms: u64, mine: &Scope, theirs: &Scope) -> Self {
        let (out, into) = (mine.send.and(&theirs.receive), mine.receive.and(&theirs.send));
        let compared = out.or(&into);
        Self {
            out,
            into,
            compared,
            refused: 0,
            refused_last: None,
            asked: HashMap::new(),
            asked_since_ms: now_ms,
        }
    }
}

impl Crossing {
    /// Whether anything may cross at all by now.
    pub(super) fn is_settled(&self) -> bool {
        !matches!(self, Self::Asked(_))
    }

    pub(super) fn may_send(&self, doc: &DocId) -> bool {
        match self {
            Self::Open => true,
            Self::Asked(_) => false,
            Self::Bound(bounds) => bounds.out.has(doc),
        }
    }

    pub(super) fn may_receive(&self, doc: &DocId) -> bool {
        match self {
            Self::Open => true,
            Self::Asked(_) => false,
            Self::Bound(bounds) => bounds.into.has(doc),
        }
    }

    /// The question for a document whose heads here are these.
    pub(super) fn want(&self, doc: DocId, heads: Heads) -> Want {
        // What may not go to the peer cannot be used to find the common past: it is not asked back.
        let stage = if self.may_send(&doc) { WantStage::Heads } else { WantStage::Last };
        Want { doc, stage, heads, have: Vec::new() }
    }

    /// In words, for people.
    pub(super) fn describe(&self) -> Option<String> {
        match self {
            Self::Open => None,
            Self::Asked(mine) => Some(format!("{mine}, the peer has not said its own yet")),
            Self::Bound(bounds) => Some(format!("send={} receive={}", bounds.out, bounds.into)),
        }
    }

    /// What the peer did against the bounds, in words.
    pub(super) fn complaint(&self) -> Option<String> {
        let Self::Bound(Bounds { refused, refused_last: Some(doc), into, .. }) = self else { return None };
        Some(format!(
            "it sent {refused} documents that may not come in over this link, such as {doc}; they were dropped. \
             Allowed are: {into}"
        ))
    }

    /// Takes out what may not come in.
    pub(super) fn admit(&mut self, documents: &mut Vec<(DocId, Bytes)>) {
        let Self::Bound(bounds) = self else {
            if !self.is_settled() {
                // Sent before the peer knew of the bounds: no fault of it, and compared again.
                documents.clear();
            }
            return;
        };
        documents.retain(|(doc, _)| {
            let is_allowed = bounds.into.has(doc);
            if !is_allowed {
                bounds.refused += 1;
                bounds.refused_last = Some(doc.clone());
            }
            is_allowed
        });
    }

    /// Takes out of an answer to a comparison what may not cross.
    pub(super) fn cut(&mut self, now_ms: u64, catalog: &Catalog, theirs: &[RangeItems], reply: &mut Reply) {
        if matches!(self, Self::Open) {
            return;
        }
        reply.whole.retain(|doc| self.may_send(doc));
        let theirs: HashMap<Position, Digest> =
            theirs.iter().flat_map(|range| &range.items).map(|(at, digest)| (*at, *digest)).collect();
        let mut offers = Vec::new();
        for frame in &mut reply.frames {
            if let Frame::Want(wants) = frame {
                let all = std::mem::take(wants);
                wants.extend(all.into_iter().filter_map(|want| {
                    let at = Position::of(&want.doc);
                    if !self.may_receive(&want.doc) {
                        // Only the other end may ask, when it sees the state here.
                        offers.push(at);
                        return None;
                    }
                    let is_new =
                        self.may_send(&want.doc) || self.is_worth_asking(now_ms, at, theirs.get(&at));
                    is_new.then(|| self.want(want.doc, want.heads))
                }));
            }
        }
        reply.frames.retain(|frame| !matches!(frame, Frame::Want(wants) if wants.is_empty()));
        offers.sort_unstable();
        for at in offers.chunks(limits::RANGES_PER_FRAME_MAX) {
            let one = |at: &Position| {
                let entry = catalog.at(*at)?;
                Some(RangeItems {
                    prefix: Prefix::of(*at, Prefix::DEPTH_MAX),
                    items: vec![(*at, entry.digest(*at))],
                })
            };
            reply.frames.push(Frame::Items(at.iter().filter_map(one).collect()));
        }
    }

    fn is_worth_asking(&mut self, now_ms: u64, at: Position, theirs: Option<&Digest>) -> bool {
        let (Self::Bound(bounds), Some(theirs)) = (self, theirs) else { return true };
        if now_ms >= bounds.asked_since_ms + ASK_AGAIN_MS
            || bounds.asked.len() >= limits::SCOPE_ASKED_COUNT_MAX
        {
            bounds.asked.clear();
            bounds.asked_since_ms = now_ms;
        }
        bounds.asked.insert(at, *theirs) != Some(*theirs)
    }
}

/// The scopes of a node, and the catalogs for them.
#[derive(Debug, Default)]
pub(super) struct Scopes {
    pub(super) links: LinkScopes,
    catalogs: BTreeMap<Collections, Catalog>,
}

impl Scopes {
    /// What is compared on a link.
    pub(super) fn catalog<'a>(&'a self, all: &'a Catalog, crossing: &Crossing) -> &'a Catalog {
        match crossing {
            Crossing::Bound(bounds) => self.catalogs.get(&bounds.compared).unwrap_or(all),
            _ => all,
        }
    }

    /// A document has new heads.
    pub(super) fn set(&mut self, doc: &DocId, heads: &Heads) {
        for (collections, catalog) in &mut self.catalogs {
            if collections.has(doc) {
                catalog.set(doc.clone(), heads.clone());
            }
        }
    }
}

impl Hub {
    /// Sets what may cross to which peers. For links that are made later.
    pub fn set_link_scopes(&mut self, links: LinkScopes) {
        self.scopes.links = links;
    }

    /// A link was made: says its scope, if it has one. One that is kept beside the overlay of a large formation
    /// has, even if everything may cross it: so both ends know.
    pub(super) fn say_scope(&mut self, conn: ConnId) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        let kept = (link.is_kept && self.peers.keeps_neighbours()).then_some(Scope::ALL);
        if let Some(scope) = self.scopes.links.of(&link.name).cloned().or(kept) {
            link.crossing = Crossing::Asked(scope.clone());
            self.say(conn, &Frame::Scope(scope));
        }
    }

    /// The peer has said its scope.
    pub(super) fn scope_said(&mut self, now_ms: u64, conn: ConnId, theirs: &Scope) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        let mine = match &link.crossing {
            Crossing::Asked(mine) => mine.clone(),
            Crossing::Open => Scope::ALL,
            Crossing::Bound(_) => {
                let reason = "a second scope on one connection".to_owned();
                return self.close_broken(now_ms, conn, Rule::Opening, reason);
            }
        };
        let answers = matches!(link.crossing, Crossing::Open);
        let bounds = Bounds::new(now_ms, &mine, theirs);
        if bounds.compared != Collections::All && !self.scopes.catalogs.contains_key(&bounds.compared) {
            let mut part = Catalog::default();
            self.catalog.for_each(Prefix::ALL, &mut |_, entry| {
                if bounds.compared.has(&entry.doc) {
                    part.set(entry.doc.clone(), entry.heads.clone());
                }
            });
            self.scopes.catalogs.insert(bounds.compared.clone(), part);
        }
        link.crossing = Crossing::Bound(bounds);
        link.begin_again(now_ms);
        if answers {
            self.say(conn, &Frame::Scope(mine));
        }
    }

    /// Drops catalogs that no link needs any more.
    pub(super) fn forget_scopes(&mut self) {
        let links = &self.links;
        self.scopes.catalogs.retain(|collections, _| {
            links.values().any(
                |link| matches!(&link.crossing, Crossing::Bound(bounds) if bounds.compared == *collections),
            )
        });
    }

    /// Sends to a peer what it asked for, as far as it may have it.
    pub(super) fn wanted(&mut self, now_ms: u64, conn: ConnId, wants: Vec<Want>) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        // What is not here is not worth remembering, so the catalog bounds what a peer can ask for.
        for want in wants {
            let heads = self.catalog.heads(&want.doc);
            let is_vain = heads.is_none() || self.unsendable.rests(now_ms, &want.doc, heads);
            if !is_vain && link.crossing.may_send(&want.doc) {
                link.ask(Request::Want(want));
            }
        }
        self.pump(conn);
    }
}
