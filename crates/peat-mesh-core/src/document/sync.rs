//! Exchange with peers: what they sent in, what is new of it out; what they have in, what they lack out.

use std::collections::{HashMap, HashSet, VecDeque};

use automerge::legacy::OpType;
use automerge::{ActorId, Automerge, Change, ChangeHash, ReadDoc};
use bytes::Bytes;

use super::chunks::{self, Kind};
use super::{Document, DocumentError};
use crate::limits;

/// What [`Document::merge`] did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Merged {
    /// The raw bytes of the changes that were new here, in causal order; empty when there were none.
    pub new: Bytes,
    /// Some changes were left out because what they build on is not here.
    pub missing: bool,
}

impl Document {
    /// Applies what a peer sent: one or more Automerge chunks (a whole saved document, or changes, one
    /// after the other), of which some may be known already and some may lack what they build on. The
    /// latter are not kept; the caller asks for what is missing.
    ///
    /// # Errors
    /// When anything in it cannot be read, or contradicts itself or what is here. Then nothing of it was
    /// applied.
    pub fn merge(&mut self, chunks: &[u8]) -> Result<Merged, DocumentError> {
        let mut pieces = chunks::split(chunks)?.into_iter().peekable();
        let mut taken = None;
        if self.automerge.is_empty() && pieces.peek().is_some_and(|piece| piece.kind == Kind::Document) {
            // Nothing is here yet: the loaded document is the document.
            taken = pieces.next().map(|piece| chunks::document(piece.bytes)).transpose()?;
        }
        let base = taken.as_ref().unwrap_or(&self.automerge);
        let mut offered = Vec::new();
        for piece in pieces {
            match piece.kind {
                Kind::Change => offered.push(chunks::change(piece)?),
                Kind::Document => {
                    let other = chunks::document(piece.bytes)?;
                    offered.extend(chunks::guarded(|| Ok(base.get_changes_added(&other)))?);
                }
            }
        }
        let (ready, missing) = ready(base, offered);

        let mut new = Vec::new();
        let next = match taken {
            None if ready.is_empty() => None,
            None => Some(apply(base.clone(), &ready)?),
            Some(doc) => {
                let changes = chunks::guarded(|| Ok(doc.get_changes(&[])))?;
                refuse_marks(&changes)?;
                check_numbers(&Automerge::new(), &changes)?;
                changes.iter().for_each(|change| new.extend_from_slice(change.raw_bytes()));
                Some(apply(doc, &ready)?)
            }
        };
        ready.iter().for_each(|change| new.extend_from_slice(change.raw_bytes()));
        if let Some(mut next) = next {
            next.set_actor(self.actor.clone());
            self.automerge = next;
            self.bytes += new.len();
        }
        Ok(Merged { new: new.into(), missing })
    }

    /// Whether the change with this hash is here.
    #[must_use]
    pub fn knows(&self, hash: &ChangeHash) -> bool {
        self.automerge.get_missing_deps(&[*hash]).is_empty()
    }

    /// The changes that a peer lacks which has `have` and all before it; hashes that are unknown here are
    /// ignored. In causal order, cut into pieces of about `piece_bytes`; a piece holds at least one
    /// change.
    #[must_use]
    pub fn changes_since(&self, have: &[ChangeHash], piece_bytes: usize) -> Vec<Bytes> {
        self.next_changes(have, piece_bytes, usize::MAX).0
    }

    /// The same, but no more than about `bytes_target` in all and at least one piece. When there is more, also what
    /// such a peer has after these pieces: the newest changes of it.
    #[must_use]
    pub fn next_changes(
        &self,
        have: &[ChangeHash],
        piece_bytes: usize,
        bytes_target: usize,
    ) -> (Vec<Bytes>, Option<Vec<ChangeHash>>) {
        let known: Vec<ChangeHash> = have.iter().filter(|hash| self.knows(hash)).copied().collect();
        let mut newest: HashSet<ChangeHash> = known.iter().copied().collect();
        let (mut pieces, mut bytes_in_all) = (Vec::new(), 0);
        let mut piece: Vec<u8> = Vec::new();
        for change in self.automerge.get_changes(&known) {
            let bytes = change.raw_bytes();
            if !piece.is_empty() && piece.len() + bytes.len() > piece_bytes {
                pieces.push(std::mem::take(&mut piece).into());
                if bytes_in_all >= bytes_target {
                    let mut newest: Vec<ChangeHash> = newest.into_iter().collect();
                    newest.sort_unstable();
                    return (pieces, Some(newest));
                }
            }
            bytes_in_all += bytes.len();
            piece.extend_from_slice(bytes);
            change.deps().iter().for_each(|dep| _ = newest.remove(dep));
            newest.insert(change.hash());
        }
        if !piece.is_empty() {
            pieces.push(piece.into());
        }
        (pieces, None)
    }

    /// At most [`limits::HAVE_COUNT_MAX`] hashes that say what is here, so that a peer whose heads are
    /// unknown here finds the common past in one step: the heads, then all hashes if they are few, else
    /// the newest and then ever fewer of the older ones.
    #[must_use]
    pub fn have(&self) -> Vec<ChangeHash> {
        let mut have = self.automerge.get_heads();
        have.truncate(limits::HAVE_COUNT_MAX);
        let all = self.automerge.get_changes_meta(&[]);
        let mut named: HashSet<ChangeHash> = have.iter().copied().collect();
        let mut back = 1;
        while have.len() < limits::HAVE_COUNT_MAX && back <= all.len() {
            let hash = all[all.len() - back].hash;
            if named.insert(hash) {
                have.push(hash);
            }
            back += if all.len() <= limits::HAVE_COUNT_MAX || back < HAVE_NEWEST_COUNT {
                1
            } else {
                back / HAVE_STEP_DIVISOR
            };
        }
        have
    }
}

/// So many of the newest changes are all named in [`Document::have`].
const HAVE_NEWEST_COUNT: usize = limits::HAVE_COUNT_MAX / 2;
/// Before those, the distance from the newest grows by one part in this many from name to name: ten
/// million changes take about 100 names.
const HAVE_STEP_DIVISOR: usize = 8;

/// Automerge counts operations in 32 bits and panics above.
const OP_NUMBER_MAX: u64 = u32::MAX as u64;

/// The changes that are new here and have all that they build on, in causal order, and whether others
/// were left out.
fn ready(base: &Automerge, offered: Vec<Change>) -> (Vec<Change>, bool) {
    let knows = |hash: &ChangeHash| base.get_missing_deps(&[*hash]).is_empty();
    let mut seen = HashSet::new();
    let mut waits: Vec<usize> = Vec::new();
    let mut waiting: HashMap<ChangeHash, Vec<usize>> = HashMap::new();
    let mut new: Vec<Option<Change>> = Vec::new();
    let mut order = VecDeque::new();
    for change in offered {
        let hash = change.hash();
        if !seen.insert(hash) || knows(&hash) {
            continue;
        }
        let index = new.len();
        let deps: HashSet<&ChangeHash> = change.deps().iter().filter(|dep| !knows(dep)).collect();
        for dep in &deps {
            waiting.entry(**dep).or_default().push(index);
        }
        if deps.is_empty() {
            order.push_back(index);
        }
        waits.push(deps.len());
        new.push(Some(change));
    }

    let mut ready = Vec::with_capacity(new.len());
    while let Some(index) = order.pop_front() {
        let Some(change) = new[index].take() else { continue };
        for next in waiting.remove(&change.hash()).unwrap_or_default() {
            waits[next] -= 1;
            if waits[next] == 0 {
                order.push_back(next);
            }
        }
        ready.push(change);
    }
    let missing = ready.len() < new.len();
    (ready, missing)
}

/// Applies to a copy, so that a failure (or a panic) half-way leaves no trace.
///
/// Automerge does not keep the bytes of a change but makes them again when asked. A change that another
/// program wrote in a form of its own would come out with another hash: peers could never get it from
/// here, and what is saved could not be loaded. So all that was applied must come out as it went in.
fn apply(mut doc: Automerge, changes: &[Change]) -> Result<Automerge, DocumentError> {
    if changes.is_empty() {
        return Ok(doc);
    }
    check_numbers(&doc, changes)?;
    refuse_marks(changes)?;
    chunks::guarded(move || {
        let before = doc.get_heads();
        doc.apply_changes(changes.iter().cloned())?;
        let again: HashSet<ChangeHash> = doc.get_changes(&before).iter().map(Change::hash).collect();
        if changes.iter().all(|change| again.contains(&change.hash())) {
            Ok(doc)
        } else {
            Err(chunks::bad("a change is not in the form in which Automerge writes it"))
        }
    })
}

/// Nothing here makes marks (formatted stretches of text) or shows them, and Automerge takes marks that
/// make a saved document impossible to load.
fn refuse_marks(changes: &[Change]) -> Result<(), DocumentError> {
    chunks::guarded(|| {
        let marks = |change: &Change| {
            let operations = change.decode().operations;
            operations.iter().any(|op| matches!(op.action, OpType::MarkBegin(_) | OpType::MarkEnd(_)))
        };
        if changes.iter().any(marks) {
            return Err(chunks::bad("marks in a text are not taken"));
        }
        Ok(())
    })
}

/// What is numbered in a change must follow from what it builds on: its place among the changes of its
/// actor, and its first operation. Automerge makes them so and relies on it without looking.
fn check_numbers(doc: &Automerge, changes: &[Change]) -> Result<(), DocumentError> {
    let mut made: HashMap<ChangeHash, (&ActorId, u64, u64)> = HashMap::new();
    for change in changes {
        let mut last_op = 0;
        let mut follows = change.seq() == 1;
        for dep in change.deps() {
            let (same_actor, seq, max_op) = match made.get(dep) {
                Some((actor, seq, max_op)) => (*actor == change.actor_id(), *seq, *max_op),
                None => match doc.get_change_meta_by_hash(dep) {
                    Some(meta) => (*meta.actor == *change.actor_id(), meta.seq, meta.max_op),
                    None => continue,
                },
            };
            last_op = last_op.max(max_op);
            follows |= same_actor && seq.checked_add(1) == Some(change.seq());
        }
        if !follows {
            return Err(chunks::bad("a change does not follow the one before it of its actor"));
        }
        if change.start_op().get() != last_op + 1 {
            return Err(chunks::bad("the operations of a change do not follow what it builds on"));
        }
        let max_op = last_op + change.len() as u64;
        if max_op > OP_NUMBER_MAX {
            return Err(chunks::bad("a change with an operation number above 32 bits"));
        }
        made.insert(change.hash(), (change.actor_id(), change.seq(), max_op));
    }
    Ok(())
}
