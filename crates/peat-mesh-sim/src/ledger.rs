//! What was written in the world and what clients were told of it: commits in, the document that has to
//! be there in the end out.
//!
//! The ledger knows nothing of CRDTs. It keeps for each change which others its node had then (the
//! change's past). So it can say of any set of changes which of them nobody has built on, whether the
//! document lives, and which keys it must show and which it must not.

use std::collections::{BTreeMap, BTreeSet};

use peat_mesh_core::heads::{ChangeHash, Heads};
use peat_mesh_core::replica::Written;
use peat_mesh_core::{DocId, NodeName};

use crate::authored::{self, Authored};
use crate::site::{Op, Planned};

/// What a change did, as far as it can be checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Added a key to the document that nobody else writes.
    Root(String),
    /// Added such a key to the object `nested`.
    Nested(String),
    /// Deleted the document.
    Delete,
    /// Anything; the document's content is not checked.
    Free,
}

#[derive(Debug)]
struct Made {
    op: Option<Op>,
    by: NodeName,
    mark: Mark,
    /// It removed all it knew of, because its client saw no document.
    replaced_all: bool,
    past: BTreeSet<usize>,
    hash: ChangeHash,
    checksum: [u8; 4],
    acknowledged: bool,
    /// The only copy went with a disk.
    lost: bool,
}

#[derive(Debug, Default)]
struct History {
    made: Vec<Made>,
    by_author: BTreeMap<(Vec<u8>, u64), usize>,
}

/// The document that a set of changes has to make.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Expected {
    /// Whether it is there.
    pub(crate) lives: bool,
    /// Its heads.
    pub(crate) heads: Option<Heads>,
    /// Keys that it shows, and what their value is.
    pub(crate) root: BTreeMap<String, usize>,
    /// Keys that `nested` shows.
    pub(crate) nested: BTreeMap<String, usize>,
    /// Keys that may be in `nested` or not: one node removed the whole object while another wrote into
    /// it.
    pub(crate) nested_open: BTreeSet<String>,
    /// The content is not known here.
    pub(crate) free: bool,
}

/// Everything that was ever committed.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    documents: BTreeMap<DocId, History>,
    pub(crate) violations: Vec<String>,
}

impl Ledger {
    /// Notes what one job of a commit wrote on a node whose changes of the document are `known`.
    pub(crate) fn committed(
        &mut self,
        by: &NodeName,
        doc: &DocId,
        known: &mut BTreeSet<usize>,
        written: &Written,
        plan: Option<&Planned>,
        is_local: bool,
    ) {
        let Some(changes) = authored::changes(&written.new) else {
            self.violations.push(format!("{by} committed something to {doc} that is no change"));
            return;
        };
        let history = self.documents.entry(doc.clone()).or_default();
        if !is_local {
            for change in changes {
                match history.by_author.get(&(change.actor.clone(), change.seq)) {
                    Some(number) if history.made[*number].checksum == change.checksum => {
                        known.insert(*number);
                    }
                    _ => self.violations.push(format!("{by} took a change to {doc} that nobody made")),
                }
            }
            return;
        }
        let [Authored { actor, seq, checksum }] = &changes[..] else {
            self.violations.push(format!("{by} made {} changes to {doc} for one request", changes.len()));
            return;
        };
        let [hash] = written.heads.as_slice() else {
            self.violations.push(format!("{by} has several heads of {doc} after a write of its own"));
            return;
        };
        let number = history.made.len();
        if history.by_author.insert((actor.clone(), *seq), number).is_some() {
            self.violations.push(format!("{by} gave number {seq} to two changes of {doc}"));
        }
        history.made.push(Made {
            op: plan.map(|plan| plan.op),
            by: by.clone(),
            mark: plan.map_or(Mark::Free, |plan| plan.mark.clone()),
            replaced_all: plan.is_some_and(|plan| plan.saw_nothing) && !known.is_empty(),
            past: known.clone(),
            hash: *hash,
            checksum: *checksum,
            acknowledged: false,
            lost: false,
        });
        known.insert(number);
    }

    /// A client was told that its write is safe.
    pub(crate) fn acknowledge(&mut self, doc: &DocId, op: Op) {
        let made = self.documents.get_mut(doc).into_iter().flat_map(|history| &mut history.made);
        made.filter(|made| made.op == Some(op)).for_each(|made| made.acknowledged = true);
    }

    /// Checks that a frame carries nothing that was not committed before.
    pub(crate) fn sent(&mut self, by: &NodeName, doc: &DocId, chunks: &[u8]) {
        let Some(changes) = authored::changes(chunks) else {
            self.violations.push(format!("{by} sent something of {doc} that is no change"));
            return;
        };
        let history = self.documents.entry(doc.clone()).or_default();
        for change in changes {
            let made = history.by_author.get(&(change.actor, change.seq)).map(|at| &history.made[*at]);
            if made.is_none_or(|made| made.checksum != change.checksum) {
                self.violations.push(format!("{by} sent a change of {doc} that is on no disk"));
            }
        }
    }

    /// A disk is gone: what no other one has is lost, and nobody is to blame.
    pub(crate) fn disk_lost(&mut self, doc_is_known: impl Fn(&DocId, usize) -> bool) {
        for (doc, history) in &mut self.documents {
            for (number, made) in history.made.iter_mut().enumerate() {
                made.lost |= !doc_is_known(doc, number);
            }
        }
    }

    /// All documents of which a change was ever committed.
    pub(crate) fn documents(&self) -> impl Iterator<Item = &DocId> {
        self.documents.keys()
    }

    /// Acknowledged writes that are not among the `known` changes of a document.
    pub(crate) fn missing(&self, doc: &DocId, known: &BTreeSet<usize>) -> Vec<String> {
        let made = self.documents.get(doc).into_iter().flat_map(|history| history.made.iter().enumerate());
        made.filter(|(number, made)| made.acknowledged && !made.lost && !known.contains(number))
            .map(|(_, made)| format!("{:?} of {} to {doc} was acknowledged and is gone", made.mark, made.by))
            .collect()
    }

    /// Acknowledged writes of a document that are on none of the disks.
    pub(crate) fn nowhere(&self, doc: &DocId, is_known: impl Fn(usize) -> bool) -> Vec<String> {
        let made = self.documents.get(doc).into_iter().flat_map(|history| history.made.iter().enumerate());
        made.filter(|(number, made)| made.acknowledged && !made.lost && !is_known(*number))
            .map(|(_, made)| {
                format!("{:?} of {} to {doc} was acknowledged and is on no disk", made.mark, made.by)
            })
            .collect()
    }

    /// The hashes of some changes.
    pub(crate) fn hashes(&self, doc: &DocId, known: &BTreeSet<usize>) -> Vec<ChangeHash> {
        let history = self.documents.get(doc);
        history
            .into_iter()
            .flat_map(|history| known.iter().map(|number| history.made[*number].hash))
            .collect()
    }

    /// The document that these changes make.
    pub(crate) fn expected(&self, doc: &DocId, known: &BTreeSet<usize>) -> Expected {
        let mut expected = Expected::default();
        let Some(history) = self.documents.get(doc) else { return expected };
        let made: BTreeMap<usize, &Made> = known.iter().map(|at| (*at, &history.made[*at])).collect();
        let built_on: BTreeSet<usize> = made.values().flat_map(|made| &made.past).copied().collect();
        let newest = || made.iter().filter(|(number, _)| !built_on.contains(number)).map(|(_, made)| made);
        expected.lives = newest().any(|made| made.mark != Mark::Delete);
        expected.heads = Some(Heads::new(newest().map(|made| made.hash).collect()));
        expected.free = made.values().any(|made| made.mark == Mark::Free);
        for (number, change) in &made {
            let mut replaced = made.iter().filter(|(_, other)| other.replaced_all);
            let is_removed = replaced.clone().any(|(_, other)| other.past.contains(number));
            // Whoever replaced all without having seen this change may have removed the object it is in.
            let is_open = replaced.any(|(other, _)| other != number && !change.past.contains(other));
            let value = change.op.map_or(0, |op| op.0);
            match &change.mark {
                _ if is_removed => {}
                Mark::Root(key) => _ = expected.root.insert(key.clone(), value),
                Mark::Nested(key) if is_open => _ = expected.nested_open.insert(key.clone()),
                Mark::Nested(key) => _ = expected.nested.insert(key.clone(), value),
                Mark::Delete | Mark::Free => {}
            }
        }
        expected
    }
}
