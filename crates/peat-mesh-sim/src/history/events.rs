//! What the streams of changes told: in order, each change, and the same to everyone.

use std::collections::BTreeMap;

use super::book::Book;
use super::document::{Doc, Write};
use super::{Event, History, Promise, Record, Violation};

/// A node on one of its disks.
type Place = (usize, usize);

/// A change as it was told.
#[derive(Debug, Clone)]
pub(super) struct Tell<'a> {
    pub(super) event: &'a Event,
    pub(super) node: usize,
    pub(super) line: usize,
    /// Changes before it may have been folded.
    folds: bool,
}

/// What lay before a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before<'a> {
    /// The document was never there.
    Nothing,
    /// It was deleted.
    Deleted,
    /// It had this version.
    Version(&'a str),
}

#[derive(Debug)]
struct Stream<'a> {
    node: usize,
    name: &'a str,
    /// The last number that came, or after which the stream starts.
    at: Option<u64>,
    folds: bool,
}

/// All that was told.
#[derive(Debug, Default)]
pub(super) struct Told<'a> {
    by_number: BTreeMap<Place, BTreeMap<u64, Tell<'a>>>,
    /// The line from which on somebody listened, and whether to all from the first change on.
    listened: BTreeMap<Place, (usize, bool)>,
    all: Vec<Tell<'a>>,
    /// The disk that each node ends with.
    disks: Vec<usize>,
}

impl<'a> Told<'a> {
    pub(super) fn new(history: &'a History, book: &Book<'a>, violations: &mut Vec<Violation>) -> Self {
        let disks = (0..book.nodes.len()).map(|node| book.disk(node, usize::MAX)).collect();
        let mut told = Self { disks, ..Self::default() };
        let mut streams = BTreeMap::new();
        for (index, record) in history.records.iter().enumerate() {
            let line = index + 1;
            match record {
                Record::Stream { stream, node, since } => {
                    let Some(at) = book.nodes.iter().position(|known| known == node) else { continue };
                    let place = (at, book.disk(at, line));
                    let first = told.listened.entry(place).or_insert((line, false));
                    first.1 |= *since == Some(0);
                    let folds = since.is_some();
                    streams.insert(*stream, Stream { node: at, name: node, at: *since, folds });
                }
                Record::Resync { stream, since } => {
                    if let Some(stream) = streams.get_mut(stream) {
                        (stream.at, stream.folds) = (Some(*since), true);
                    }
                }
                Record::Event(event) => match streams.get_mut(&event.stream) {
                    Some(stream) => told.event(event, stream, line, book, violations),
                    None => violations.push(Violation {
                        promise: Promise::Record,
                        line,
                        what: format!(
                            "line {line} has an event of stream {}, which was never opened",
                            event.stream
                        ),
                    }),
                },
                _ => {}
            }
        }
        told
    }

    fn event(
        &mut self,
        event: &'a Event,
        stream: &mut Stream<'a>,
        line: usize,
        book: &Book<'_>,
        violations: &mut Vec<Violation>,
    ) {
        let mut wrong = |what: String| violations.push(Violation { promise: Promise::Events, line, what });
        let (name, seq) = (stream.name, event.seq);
        if let Some(at) = stream.at.filter(|at| *at >= seq) {
            wrong(format!(
                "stream {} of {name} tells change {seq} of {} (line {line}) after it had come to {at}",
                event.stream, event.doc
            ));
        }
        stream.at = Some(seq);
        let tell = Tell { event, node: stream.node, line, folds: stream.folds };
        let place = (stream.node, book.disk(stream.node, line));
        let known = self.by_number.entry(place).or_default().entry(seq).or_insert_with(|| tell.clone());
        let content = |event: &Event| (event.doc.clone(), event.action.clone(), event.version.clone());
        if content(known.event) != content(event) {
            wrong(format!(
                "{name} tells change {seq} as {} of {} with version {} (line {line}), and told it as {} of {} with \
                 version {} (line {})",
                event.action,
                event.doc,
                event.version,
                known.event.action,
                known.event.doc,
                known.event.version,
                known.line
            ));
        }
        self.all.push(tell);
    }

    fn is_gone(&self, (node, disk): Place) -> bool {
        self.disks.get(node).is_none_or(|last| *last != disk)
    }

    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    /// What was told of a document.
    pub(super) fn of(&self, doc: &str) -> impl Iterator<Item = &Tell<'a>> {
        self.all.iter().filter(move |tell| tell.event.doc == doc)
    }

    /// What a document was at a node right before it got this version there, if every change in between was told.
    pub(super) fn before(&self, place: Place, doc: &str, version: &str) -> Option<Before<'a>> {
        let tells = self.by_number.get(&place)?;
        let is_meant = |event: &Event| event.doc == doc && event.version == version;
        let mut wanted = *tells.iter().find(|(_, tell)| is_meant(tell.event))?.0;
        for (seq, tell) in tells.range(..wanted).rev() {
            if *seq != wanted - 1 {
                return None;
            }
            wanted = *seq;
            if tell.event.doc == doc {
                let is_put = tell.event.action == "put";
                return Some(if is_put { Before::Version(&tell.event.version) } else { Before::Deleted });
            }
        }
        (wanted == 1).then_some(Before::Nothing)
    }
}

/// Each acknowledged change was told by its node, as itself or folded into a later one of the same document; and
/// the last thing that was told of a document is what is read in the end.
pub(super) fn check_all_are_told(doc: &Doc<'_>, told: &Told<'_>, violations: &mut Vec<Violation>) {
    for write in &doc.writes {
        // What nobody had heard of a disk before it was gone will not be told any more.
        let Some(place) = write.acknowledged_at.filter(|place| !told.is_gone(*place)) else { continue };
        let Some((since, all)) = told.listened.get(&place) else { continue };
        if (*all || write.op.invoked > *since) && !is_told(doc, write, place, told) {
            violations.push(Violation {
                promise: Promise::Events,
                line: write.op.ended,
                what: format!(
                    "{} was acknowledged, and no stream of that node told it or a later one",
                    write.op
                ),
            });
        }
    }
    for read in doc.reads.iter().filter(|read| read.op.settled.is_some()) {
        let Some(tells) = told.by_number.get(&read.place) else { continue };
        let mut newest = tells.values().rev().filter(|tell| tell.line < read.op.ended);
        let Some(tell) = newest.find(|tell| tell.event.doc == doc.name) else { continue };
        let is_same = match read.version {
            Some(version) => tell.event.action == "put" && tell.event.version == version,
            None => tell.event.action == "delete",
        };
        if !is_same {
            violations.push(Violation {
                promise: Promise::Events,
                line: read.op.ended,
                what: format!(
                    "{} found version {}, and the last event there was change {} ({}, version {}, line {})",
                    read.op,
                    read.version.unwrap_or("none"),
                    tell.event.seq,
                    tell.event.action,
                    tell.event.version,
                    tell.line
                ),
            });
        }
    }
}

fn is_told(doc: &Doc<'_>, write: &Write<'_>, place: Place, told: &Told<'_>) -> bool {
    let Some(tells) = told.by_number.get(&place) else { return false };
    let of_doc = || tells.values().filter(|tell| tell.event.doc == doc.name);
    if let Some(version) = write.version
        && of_doc().any(|tell| tell.event.version == version)
    {
        return true;
    }
    if write.version.is_none()
        && of_doc().any(|tell| tell.event.action == "delete" && tell.line > write.op.invoked)
    {
        return true;
    }
    // Folded: a later change of the document came, and a number before it was left out.
    let earlier =
        tells.iter().rev().find(|(_, tell)| tell.line < write.op.invoked).map_or(0, |(seq, _)| *seq);
    of_doc().filter(|tell| tell.line > write.op.invoked && tell.folds && tell.event.seq > earlier).any(
        |tell| {
            let come = tells.range(earlier + 1..=tell.event.seq).count() as u64;
            come < tell.event.seq - earlier
        },
    )
}
