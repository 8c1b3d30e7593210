//! One document's part of a history: who wrote what, and who read what.

use std::collections::{BTreeMap, BTreeSet};

use super::book::{Book, Op, Outcome};
use super::events::{Before, Told};
use super::flat::{Flat, Leaf};
use super::{Promise, Request, Summary, Violation};

/// A put or a delete that may have been done.
#[derive(Debug)]
pub(super) struct Write<'a> {
    pub(super) op: &'a Op<'a>,
    /// What was put; nothing for a delete.
    pub(super) put: Option<Flat>,
    /// What it replaced, if that is known.
    pub(super) over: Option<Flat>,
    pub(super) version: Option<&'a str>,
    /// The node, and which of its disks.
    pub(super) acknowledged_at: Option<(usize, usize)>,
}

/// A read that was answered.
#[derive(Debug)]
pub(super) struct Read<'a> {
    pub(super) op: &'a Op<'a>,
    pub(super) found: Option<Flat>,
    pub(super) version: Option<&'a str>,
    /// The node, and which of its disks.
    pub(super) place: (usize, usize),
}

/// Something that tells what a node had.
#[derive(Debug, Clone, Copy)]
pub(super) enum Moment<'a> {
    Invoked(usize),
    Written(usize),
    Asked(usize),
    Read(usize),
    Told { node: usize, version: &'a str },
    Lost { node: usize },
}

/// One document.
#[derive(Debug)]
pub(super) struct Doc<'a> {
    pub(super) name: &'a str,
    pub(super) nodes: &'a [&'a str],
    pub(super) writes: Vec<Write<'a>>,
    pub(super) reads: Vec<Read<'a>>,
    /// In the order of the lines.
    pub(super) moments: Vec<(usize, Moment<'a>)>,
    /// What a version holds.
    pub(super) contents: BTreeMap<&'a str, Flat>,
    /// For each place and value the puts that had it.
    pub(super) puts: BTreeMap<String, BTreeMap<String, Vec<usize>>>,
}

/// Sorts a history by documents.
pub(super) fn documents<'a>(
    book: &'a Book<'a>,
    told: &Told<'a>,
    violations: &mut Vec<Violation>,
) -> Vec<Doc<'a>> {
    let mut by_name: BTreeMap<&str, Vec<&Op<'_>>> = BTreeMap::new();
    book.ops.iter().for_each(|op| by_name.entry(op.doc).or_default().push(op));
    by_name.into_iter().map(|(name, ops)| Doc::new(name, &ops, book, told, violations)).collect()
}

impl<'a> Doc<'a> {
    fn new(
        name: &'a str,
        ops: &[&'a Op<'a>],
        book: &'a Book<'a>,
        told: &Told<'a>,
        violations: &mut Vec<Violation>,
    ) -> Self {
        let mut doc = Self {
            name,
            nodes: &book.nodes,
            writes: Vec::new(),
            reads: Vec::new(),
            moments: Vec::new(),
            contents: BTreeMap::new(),
            puts: BTreeMap::new(),
        };
        ops.iter().for_each(|op| doc.add(op, book));
        let tells = told.of(name);
        doc.moments.extend(
            tells.map(|tell| (tell.line, Moment::Told { node: tell.node, version: &tell.event.version[..] })),
        );
        doc.moments.extend(book.lost.iter().map(|(line, node)| (*line, Moment::Lost { node: *node })));
        doc.moments.sort_by_key(|(line, _)| *line);
        doc.compare_versions(violations);
        doc.find_what_was_replaced(told);
        for (number, write) in doc.writes.iter().enumerate() {
            for (place, value) in write.put.iter().flat_map(Flat::registers) {
                let values = doc.puts.entry(place.to_owned()).or_default();
                values.entry(value.to_owned()).or_default().push(number);
            }
        }
        doc
    }

    fn add(&mut self, op: &'a Op<'a>, book: &Book<'_>) {
        let place = (op.node, book.disk(op.node, op.ended));
        // An answer that was under way while the disk was changed says nothing of the new one.
        let is_same_disk = book.disk(op.node, op.invoked) == place.1;
        let is_acknowledged = matches!(op.outcome, Outcome::Ok(_)) && is_same_disk;
        let (answer, over) = match op.outcome {
            Outcome::Ok(answer) => (Some(answer), answer.over.as_ref()),
            Outcome::Unknown(over) => (None, over),
            Outcome::Fail => return,
        };
        let version = answer.and_then(|answer| answer.version.as_deref());
        let put = match op.request {
            Request::Get => {
                let Some(answer) = answer else { return };
                if is_same_disk {
                    self.moments.push((op.invoked, Moment::Asked(self.reads.len())));
                    self.moments.push((op.ended, Moment::Read(self.reads.len())));
                }
                let found = answer.value.as_ref().map(Flat::new);
                self.reads.push(Read { op, found, version, place });
                return;
            }
            Request::Put { value } => Some(Flat::new(value)),
            Request::Delete => None,
        };
        self.moments.push((op.invoked, Moment::Invoked(self.writes.len())));
        if is_acknowledged {
            self.moments.push((op.ended, Moment::Written(self.writes.len())));
        }
        let acknowledged_at = is_acknowledged.then_some(place);
        self.writes.push(Write { op, put, over: over.map(Flat::new), version, acknowledged_at });
    }

    /// One version is one content, wherever and however often it is seen.
    fn compare_versions(&mut self, violations: &mut Vec<Violation>) {
        let mut seen: BTreeMap<&str, &Op<'_>> = BTreeMap::new();
        let is_plain = |flat: &Flat| !flat.leaves.values().any(|leaf| *leaf == Leaf::Tagged);
        let puts = self.writes.iter().map(|write| (write.op, write.version, write.put.as_ref()));
        let puts = puts.filter(|(_, _, put)| put.is_some_and(is_plain));
        let reads = self.reads.iter().map(|read| (read.op, read.version, read.found.as_ref()));
        let mut all: Vec<_> = puts.chain(reads).collect();
        all.sort_by_key(|(op, ..)| op.ended);
        for (op, version, content) in all {
            let (Some(version), Some(content)) = (version, content) else { continue };
            let known = self.contents.entry(version).or_insert_with(|| content.clone());
            let first = seen.entry(version).or_insert(op);
            if known != content {
                violations.push(Violation {
                    promise: Promise::Versions,
                    line: op.ended,
                    what: format!("{op} and {first} have version {version} of it with different contents"),
                });
            }
        }
    }

    /// Where the events of a node tell without a gap what came before a put, and its content was seen somewhere.
    fn find_what_was_replaced(&mut self, told: &Told<'a>) {
        let mut of_version: BTreeMap<&str, usize> = BTreeMap::new();
        self.writes
            .iter()
            .filter_map(|write| write.version)
            .for_each(|v| *of_version.entry(v).or_default() += 1);
        for write in self.writes.iter_mut().filter(|write| write.put.is_some() && write.over.is_none()) {
            let (Some(place), Some(version)) = (write.acknowledged_at, write.version) else { continue };
            if of_version.get(version) != Some(&1) {
                continue;
            }
            write.over = match told.before(place, self.name, version) {
                Some(Before::Nothing) => Some(Flat::default()),
                Some(Before::Version(before)) => self.contents.get(before).cloned(),
                Some(Before::Deleted) | None => None,
            };
        }
    }

    /// Whether a write made an operation for this value, as far as is known.
    pub(super) fn may_write(&self, write: usize, place: &str, value: &str) -> bool {
        let write = &self.writes[write];
        let is_old =
            |over: &Flat| matches!(over.leaves.get(place), Some(Leaf::Register(old)) if old == value);
        !write.over.as_ref().is_some_and(is_old)
    }

    /// The puts that a reader up to this line may have this value from.
    pub(super) fn writers(&self, place: &str, value: &str, until: usize) -> Vec<usize> {
        let all = self.puts.get(place).and_then(|values| values.get(value)).map_or(&[][..], |all| all);
        let all: Vec<usize> = all.iter().copied().filter(|at| self.writes[*at].op.invoked < until).collect();
        let sure: Vec<usize> = all.iter().copied().filter(|at| self.may_write(*at, place, value)).collect();
        if sure.is_empty() { all } else { sure }
    }

    /// All places of the document that hold a register in some put.
    pub(super) fn places(&self) -> BTreeSet<&str> {
        self.puts.keys().map(|place| &place[..]).collect()
    }

    pub(super) fn count(&self, summary: &mut Summary) {
        let acknowledged = self.writes.iter().filter(|write| write.acknowledged_at.is_some()).count();
        summary.documents += 1;
        summary.acknowledged += acknowledged;
        summary.unknown += self.writes.len() - acknowledged;
        summary.reads += self.reads.len();
        summary.exact += self.writes.iter().filter(|write| write.over.is_some()).count();
    }
}
