//! What a read may show: a document's history and who knew of what in, everything that must not be out.
//!
//! A value that a node surely had may be missing from a read only if somebody may have removed or replaced it: a
//! write that was not before it. So nothing is reported that could have come about by right.

use std::collections::BTreeMap;

use super::document::{Doc, Read};
use super::flat::{Flat, Leaf, around};
use super::past::Pasts;
use super::set::Set;
use super::{Promise, Violation};

pub(super) fn judge(doc: &Doc<'_>, pasts: &Pasts, violations: &mut Vec<Violation>) {
    let mut judge = Judge { doc, pasts, excuses: BTreeMap::new(), violations };
    for number in 0..doc.reads.len() {
        judge.read(number);
    }
    judge.convergence();
}

struct Judge<'a> {
    doc: &'a Doc<'a>,
    pasts: &'a Pasts,
    /// For a place and a write, the line from which on the write may be gone from the place.
    excuses: BTreeMap<(&'a str, usize), usize>,
    violations: &'a mut Vec<Violation>,
}

impl<'a> Judge<'a> {
    fn report(&mut self, promise: Promise, line: usize, what: String) {
        self.violations.push(Violation { promise, line, what });
    }

    fn read(&mut self, number: usize) {
        let read = &self.doc.reads[number];
        let mut known = self.pasts.before_read[number].clone();
        known.add(&self.pasts.shown[number]);
        if read.op.settled.is_some() {
            known.add(&self.pasts.surviving);
        }
        match &read.found {
            Some(found) => {
                self.phantoms(read, found);
                self.deletes(number, &known);
                for place in self.doc.places() {
                    self.place(number, found, place, &known);
                }
            }
            None => self.absence(number, &known),
        }
    }

    /// Everything that is read was put by somebody before.
    fn phantoms(&mut self, read: &Read<'_>, found: &Flat) {
        for (place, leaf) in &found.leaves {
            let values = match leaf {
                Leaf::Register(value) => std::slice::from_ref(value),
                Leaf::List(values) => &values[..],
                Leaf::Tagged => continue,
            };
            for value in values {
                if self.is_written(place, value, read.op.ended) {
                    continue;
                }
                let what = format!("{} shows {place} = {value}, which nobody had put", read.op);
                self.violations.push(Violation { promise: Promise::NoPhantoms, line: read.op.ended, what });
            }
        }
    }

    fn is_written(&self, place: &str, value: &String, until: usize) -> bool {
        let before = self.doc.writes.iter().filter(|write| write.op.invoked < until);
        before.filter_map(|write| write.put.as_ref()?.leaves.get(place)).any(|leaf| match leaf {
            Leaf::Register(put) => put == value,
            Leaf::List(put) => put.contains(value),
            Leaf::Tagged => true,
        })
    }

    /// A document that is there has a write that no known delete knew of.
    fn deletes(&mut self, number: usize, known: &Set) {
        let read = &self.doc.reads[number];
        let deletes = known.iter().filter(|write| self.doc.writes[*write].put.is_none());
        for delete in deletes {
            let past = &self.pasts.of_write[delete];
            let mut puts = self.doc.writes.iter().enumerate().filter(|(_, write)| write.put.is_some());
            if puts.all(|(put, write)| past.contains(put) || write.op.invoked >= read.op.ended) {
                let what = format!(
                    "{} shows a document that {} deleted{}; whoever wrote to it was known to the delete",
                    read.op,
                    self.doc.writes[delete].op,
                    self.why(number, delete).1,
                );
                return self.report(Promise::Deletes, read.op.ended, what);
            }
        }
    }

    /// A known put is there unless somebody who may have known it deleted the document.
    fn absence(&mut self, number: usize, known: &Set) {
        let read = &self.doc.reads[number];
        for put in known.iter().filter(|put| self.surely_writes(*put)) {
            let write = &self.doc.writes[put];
            let is_deleted = self.doc.writes.iter().enumerate().any(|(delete, by)| {
                by.put.is_none()
                    && !self.pasts.of_write[put].contains(delete)
                    && by.op.invoked < read.op.ended
                    && by.op.ended > write.op.invoked
            });
            if !is_deleted {
                let (promise, why) = self.why(number, put);
                let what = format!("{} finds no document, though {} wrote it{why}", read.op, write.op);
                return self.report(promise, read.op.ended, what);
            }
        }
    }

    fn surely_writes(&self, put: usize) -> bool {
        let flat = self.doc.writes[put].put.as_ref();
        flat.into_iter().flat_map(Flat::registers).any(|(place, value)| self.is_own(put, place, value))
    }

    /// Whether the write surely made an operation for this value: nobody else did whom it did not come before.
    fn is_own(&self, put: usize, place: &str, value: &str) -> bool {
        let is_exact = self.doc.writes[put].over.is_some();
        if is_exact {
            return self.doc.may_write(put, place, value);
        }
        let others = self.doc.puts.get(place).and_then(|values| values.get(value));
        others.is_some_and(|all| {
            all.iter().all(|other| {
                *other == put
                    || self.pasts.of_write[*other].contains(put)
                    || !self.doc.may_write(*other, place, value)
            })
        })
    }

    /// What one place shows is not older than what is known.
    fn place(&mut self, number: usize, found: &Flat, place: &'a str, known: &Set) {
        let read = &self.doc.reads[number];
        let shown = match found.leaves.get(place) {
            Some(Leaf::Register(value)) => Some(&value[..]),
            Some(_) => return,
            None => None,
        };
        let writers: Vec<usize> =
            shown.map(|value| self.doc.writers(place, value, read.op.ended)).unwrap_or_default();
        let Some(values) = self.doc.puts.get(place) else { return };
        for (value, puts) in values.iter().filter(|(value, _)| shown != Some(&value[..])) {
            for put in puts.iter().copied().filter(|put| known.contains(*put)) {
                if !self.is_own(put, place, value) {
                    continue;
                }
                let past = &self.pasts.of_write[put];
                let is_older = shown.is_none() || writers.iter().all(|writer| past.contains(*writer));
                if writers.is_empty() && shown.is_some() || !is_older {
                    continue;
                }
                if self.gone_from(place, put, shown.is_none()) < read.op.ended {
                    continue;
                }
                let (promise, why) = self.why(number, put);
                let by = writers.first().map(|writer| format!(" of {}", self.doc.writes[*writer].op));
                let what = format!(
                    "{} shows {place} {}{}, though {} had put {value}{why}",
                    read.op,
                    shown.map_or_else(|| "missing".to_owned(), |shown| format!("= {shown}")),
                    by.unwrap_or_default(),
                    self.doc.writes[put].op,
                );
                return self.report(promise, read.op.ended, what);
            }
        }
    }

    /// The line from which on what a put wrote at a place may be gone; `missing` when nothing came in its stead.
    fn gone_from(&mut self, place: &'a str, put: usize, missing: bool) -> usize {
        if missing && let Some(line) = self.excuses.get(&(place, put)) {
            return *line;
        }
        let written = &self.doc.writes[put];
        let outlived = self.outlived(place, put);
        let may_remove = |other: usize| {
            let by = &self.doc.writes[other];
            let Some(flat) = &by.put else { return false };
            if other == put || self.pasts.of_write[put].contains(other) || outlived.contains(other) {
                return false;
            }
            // An object around the place was removed or replaced: that takes along what is written into it at
            // the same time.
            let takes_along = around(place).any(|outer| {
                !flat.objects.contains(outer)
                    && (by.over.as_ref().is_none_or(|over| over.objects.contains(outer))
                        || flat.leaves.contains_key(outer))
            });
            if takes_along || !missing {
                return takes_along;
            }
            let had = by
                .over
                .as_ref()
                .is_none_or(|over| over.leaves.contains_key(place) || over.objects.contains(place));
            let may_know = by.op.ended > written.op.invoked;
            flat.objects.contains(place) || (!flat.leaves.contains_key(place) && had && may_know)
        };
        let lines = (0..self.doc.writes.len()).filter(|other| may_remove(*other));
        let line = lines.map(|other| self.doc.writes[other].op.invoked).min().unwrap_or(usize::MAX);
        if missing {
            self.excuses.insert((place, put), line);
        }
        line
    }

    /// The writes beside which what a put wrote at a place was seen: they have not removed it.
    fn outlived(&self, place: &str, put: usize) -> Set {
        let mut outlived = Set::default();
        let value = self.doc.writes[put].put.as_ref().and_then(|flat| flat.leaves.get(place));
        for (number, read) in self.doc.reads.iter().enumerate() {
            let found = read.found.as_ref().and_then(|flat| flat.leaves.get(place));
            if let Some(Leaf::Register(shown)) = found
                && found == value
                && self.doc.writers(place, shown, read.op.ended) == [put]
            {
                outlived.add(&self.pasts.before_read[number]);
                outlived.add(&self.pasts.shown[number]);
            }
        }
        outlived
    }

    /// Why the node of a read has to have a write, and what promise that is.
    fn why(&self, number: usize, write: usize) -> (Promise, String) {
        let read = &self.doc.reads[number];
        let by = &self.doc.writes[write];
        if by.acknowledged_at == Some(read.place) && by.op.ended < read.op.invoked {
            return (
                Promise::ReadYourWrites,
                format!(", which this node had acknowledged in line {}", by.op.ended),
            );
        }
        let mut earlier = self.doc.reads.iter().zip(&self.pasts.shown);
        let earlier = earlier.find(|(other, shown)| {
            other.place == read.place && other.op.ended < read.op.invoked && shown.contains(write)
        });
        if let Some((other, _)) = earlier {
            return (Promise::MonotonicReads, format!(", which {} had shown at this node", other.op));
        }
        if self.pasts.shown[number].contains(write) {
            let why = ", which comes before something that this read shows";
            return (Promise::CausalOrder, why.to_owned());
        }
        if self.pasts.before_read[number].contains(write) {
            return (Promise::MonotonicReads, ", which this node had before".to_owned());
        }
        (Promise::Durability, ", and all nodes have come to rest since".to_owned())
    }

    /// What is read while everything is at rest is the same everywhere.
    fn convergence(&mut self) {
        let mut firsts: BTreeMap<usize, usize> = BTreeMap::new();
        for (number, read) in self.doc.reads.iter().enumerate() {
            let Some(settled) = read.op.settled else { continue };
            let first = &self.doc.reads[*firsts.entry(settled).or_insert(number)];
            if (read.version, &read.found) != (first.version, &first.found) {
                let what = format!(
                    "{} and {} find different documents though all nodes have come to rest: version {} and {}",
                    first.op,
                    read.op,
                    first.version.unwrap_or("none"),
                    read.version.unwrap_or("none"),
                );
                self.report(Promise::Convergence, read.op.ended, what);
            }
        }
    }
}
