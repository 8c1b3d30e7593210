//! What peers want to be told: "I hold these heads of this document on disk".
//!
//! A question is answered at once when the document has the heads now, which the catalog says. Otherwise it is
//! kept, and looked at again after each commit that touches the document. When the document has other heads, those
//! that are asked for may be in their past: then the document is read, beside the writer, from what is on disk.

use std::collections::{HashSet, VecDeque};

use super::Hub;
use crate::answer::Request;
use crate::heads::Heads;
use crate::id::{ConnId, DocId};
use crate::io::Effect;
use crate::limits;
use crate::wire::Frame;

/// What a peer wants to be told, on one link.
#[derive(Debug, Default)]
pub(super) struct Questions {
    waiting: VecDeque<Question>,
    /// Heads that they name together.
    heads_count: usize,
    is_reading: bool,
}

#[derive(Debug)]
struct Question {
    id: u64,
    doc: DocId,
    heads: Heads,
    /// Changes of the peer that had come before it: they are most likely what it is about.
    after: u64,
    /// Whether the document was not read as it is now.
    is_unread: bool,
}

impl Questions {
    fn push(&mut self, question: Question) {
        self.heads_count += question.heads.as_slice().len();
        self.waiting.push_back(question);
        while self.waiting.len() > limits::CONFIRMS_PER_LINK_MAX
            || self.heads_count > limits::CONFIRM_HEADS_PER_LINK_MAX
        {
            let Some(oldest) = self.waiting.pop_front() else { return };
            self.heads_count -= oldest.heads.as_slice().len();
        }
    }

    /// Takes out those for which `is_held`.
    fn take(&mut self, mut is_held: impl FnMut(&mut Question) -> bool) -> Vec<u64> {
        let mut held = Vec::new();
        let heads_count = &mut self.heads_count;
        self.waiting.retain_mut(|question| {
            let is_held = is_held(question);
            if is_held {
                *heads_count -= question.heads.as_slice().len();
                held.push(question.id);
            }
            !is_held
        });
        held
    }

    /// The next documents to be read. `merged` is how many of the peer's changes are on disk.
    fn next_reads(&mut self, merged: u64) -> Vec<Request> {
        if self.is_reading {
            return Vec::new();
        }
        let due = self.waiting.iter_mut().filter(|question| question.is_unread && question.after <= merged);
        let reads: Vec<Request> = due
            .take(limits::ANSWER_BATCH_DOCUMENTS_MAX)
            .map(|question| {
                question.is_unread = false;
                let Question { id, doc, heads, .. } = question;
                Request::Holds { id: *id, doc: doc.clone(), heads: heads.clone() }
            })
            .collect();
        self.is_reading = !reads.is_empty();
        reads
    }
}

impl Hub {
    pub(super) fn confirm_asked(&mut self, conn: ConnId, id: u64, doc: DocId, heads: Heads) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        // What may not come in over this link is nothing that the peer gets to know of here.
        if heads.is_empty() || !link.crossing.may_receive(&doc) {
            return;
        }
        let here = self.catalog.heads(&doc);
        if here.is_some_and(|here| heads.are_among(here)) {
            return self.confirm(conn, vec![id]);
        }
        let after = self.inbound.get(&link.name).map_or(0, |inbound| inbound.received);
        link.questions.push(Question { id, doc, heads, after, is_unread: here.is_some() });
        self.read_for_questions(conn);
    }

    /// Whether any peer waits to be told something.
    pub(super) fn is_asked(&self) -> bool {
        self.links.values().any(|link| !link.questions.waiting.is_empty())
    }

    /// Looks again at the questions about documents that a commit has touched.
    pub(super) fn questions_after_commit(&mut self, touched: &HashSet<DocId>) {
        let mut held = Vec::new();
        for (conn, link) in &mut self.links {
            let ids = link.questions.take(|question| {
                if !touched.contains(&question.doc) {
                    return false;
                }
                question.is_unread = true;
                self.catalog.heads(&question.doc).is_some_and(|here| question.heads.are_among(here))
            });
            held.push((*conn, ids));
        }
        for (conn, ids) in held {
            self.confirm(conn, ids);
            self.read_for_questions(conn);
        }
    }

    /// Documents were read: by the number of the question, whether what it names is there.
    pub(super) fn questions_read(&mut self, conn: ConnId, held: &[(u64, bool)]) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        link.questions.is_reading = false;
        let held: HashSet<u64> = held.iter().filter(|(_, is_held)| *is_held).map(|(id, _)| *id).collect();
        let ids = link.questions.take(|question| held.contains(&question.id));
        self.confirm(conn, ids);
        self.read_for_questions(conn);
    }

    fn read_for_questions(&mut self, conn: ConnId) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        let merged = self.inbound.get(&link.name).map_or(0, |inbound| inbound.merged);
        let requests = link.questions.next_reads(merged);
        if !requests.is_empty() {
            self.effects.push(Effect::Answer { conn, requests });
        }
    }

    fn confirm(&mut self, conn: ConnId, ids: Vec<u64>) {
        for id in ids {
            // A peer that asks and does not read the answers gets no more of them.
            let is_read = |link: &super::Link| link.unsent_bytes <= limits::SEND_WINDOW_BYTES;
            if self.links.get(&conn).is_some_and(is_read) {
                self.send(conn, Frame::Confirmed { id }.encode());
            }
        }
    }
}

#[cfg(test)]
mod tests;
