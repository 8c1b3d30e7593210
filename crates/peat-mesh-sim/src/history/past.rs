//! Who knew of what: a document's part of a history in, for each write and read the writes that its node surely
//! had then out.
//!
//! A node surely has a write when it has acknowledged it, or has shown it, or has shown or acknowledged a write
//! whose own node surely had it. More may be there; nothing here says that something is not.

use std::collections::BTreeMap;

use super::document::{Doc, Moment};
use super::flat::Flat;
use super::set::Set;

/// Each round of looking finds what a write learned from another that was answered after it.
const ROUNDS: usize = 3;

/// The causal past of everything in a document's history.
#[derive(Debug)]
pub(super) struct Pasts {
    /// For each write what its node had before it.
    pub(super) of_write: Vec<Set>,
    /// For each read what its node had when it was asked.
    pub(super) before_read: Vec<Set>,
    /// For each read what its answer shows, with the pasts of that.
    pub(super) shown: Vec<Set>,
    /// What some node has on the disk that it ends with.
    pub(super) surviving: Set,
}

impl Pasts {
    pub(super) fn new(doc: &Doc<'_>) -> Self {
        let mut pasts = Self {
            of_write: vec![Set::default(); doc.writes.len()],
            before_read: vec![Set::default(); doc.reads.len()],
            shown: vec![Set::default(); doc.reads.len()],
            surviving: Set::default(),
        };
        (0..ROUNDS).for_each(|_| pasts.look(doc));
        pasts
    }

    fn look(&mut self, doc: &Doc<'_>) {
        let mut known = vec![Set::default(); doc.nodes.len()];
        let mut of_version: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (number, write) in doc.writes.iter().enumerate() {
            if let Some(version) = write.version {
                of_version.entry(version).or_default().push(number);
            }
        }
        for (number, write) in doc.writes.iter().enumerate() {
            if let Some(over) = &write.over {
                let shown = self.shows(doc, Some(over), write.op.ended);
                self.of_write[number].add(&shown);
            }
        }
        for (line, moment) in &doc.moments {
            match *moment {
                Moment::Invoked(write) => {
                    let before = self.closed(&known[doc.writes[write].op.node]);
                    self.of_write[write].add(&before);
                }
                Moment::Written(write) => {
                    let more = self.with_past(write);
                    known[doc.writes[write].op.node].add(&more);
                }
                Moment::Asked(read) => self.before_read[read] = self.closed(&known[doc.reads[read].op.node]),
                Moment::Read(read) => {
                    let Some(Read { found, version, node }) = Read::of(doc, read) else { continue };
                    let mut shown = match found {
                        None => self.absence(doc, &self.before_read[read], *line),
                        found => self.shows(doc, found, *line),
                    };
                    for write in version.and_then(|version| of_version.get(version)).into_iter().flatten() {
                        shown.add(&self.with_past(*write));
                    }
                    known[node].add(&shown);
                    self.shown[read] = shown;
                }
                Moment::Told { node, version } => {
                    for write in of_version.get(version).into_iter().flatten() {
                        known[node].add(&self.with_past(*write));
                    }
                    let shown = self.shows(doc, doc.contents.get(version), *line);
                    known[node].add(&shown);
                }
                Moment::Lost { node } => known[node].clear(),
            }
        }
        self.surviving.clear();
        known.iter().for_each(|known| self.surviving.add(&self.closed(known)));
    }

    fn with_past(&self, write: usize) -> Set {
        let mut set = self.of_write[write].clone();
        set.insert(write);
        set
    }

    fn closed(&self, known: &Set) -> Set {
        let mut set = known.clone();
        known.iter().for_each(|write| set.add(&self.of_write[write]));
        set
    }

    /// What is surely in a document that reads like this: of each value one of its writers, with its past.
    fn shows(&self, doc: &Doc<'_>, content: Option<&Flat>, until: usize) -> Set {
        let mut shown = Set::default();
        for (place, value) in content.into_iter().flat_map(Flat::registers) {
            let common = self.common(&doc.writers(place, value, until));
            shown.add(&common);
        }
        shown
    }

    /// A document that was there and is not any more was deleted by one of those who did not know less.
    fn absence(&self, doc: &Doc<'_>, before: &Set, until: usize) -> Set {
        let is_put = |write: &usize| doc.writes[*write].put.is_some();
        if !before.iter().any(|write| is_put(&write)) {
            return Set::default();
        }
        let deletes = (0..doc.writes.len()).filter(|write| !is_put(write));
        self.common(&deletes.filter(|write| doc.writes[*write].op.invoked < until).collect::<Vec<_>>())
    }

    /// What all of these have in common: themselves, if it is one, and their pasts.
    fn common(&self, writes: &[usize]) -> Set {
        let mut all = writes.iter().map(|write| self.with_past(*write));
        let Some(mut common) = all.next() else { return Set::default() };
        all.for_each(|set| common.keep(&set));
        common
    }
}

struct Read<'a> {
    found: Option<&'a Flat>,
    version: Option<&'a str>,
    node: usize,
}

impl<'a> Read<'a> {
    fn of(doc: &'a Doc<'_>, read: usize) -> Option<Self> {
        let read = doc.reads.get(read)?;
        Some(Self { found: read.found.as_ref(), version: read.version, node: read.op.node })
    }
}
