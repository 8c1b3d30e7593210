//! Documents that cannot be read to be sent, or have a change that fits no frame: told once, not at each comparison.

use std::collections::BTreeMap;

use super::Hub;
use crate::answer::AnswerError;
use crate::heads::Heads;
use crate::id::{ConnId, DocId};
use crate::io::Event;
use crate::limits;

/// At which state a document could not be sent, and until when it is not read again.
#[derive(Debug, Default)]
pub(super) struct Unsendable(BTreeMap<DocId, (Heads, u64)>);

impl Unsendable {
    /// Whether reading it would lead to nothing.
    pub(super) fn rests(&self, now_ms: u64, doc: &DocId, heads: Option<&Heads>) -> bool {
        self.0.get(doc).is_some_and(|(at, until_ms)| Some(at) == heads && now_ms < *until_ms)
    }

    /// Returns whether that is news.
    fn add(&mut self, doc: &DocId, heads: Heads, until_ms: u64) -> bool {
        if self.0.len() >= limits::UNSENDABLE_COUNT_MAX && !self.0.contains_key(doc) {
            self.0.pop_first();
        }
        let old = self.0.insert(doc.clone(), (heads.clone(), until_ms));
        old.is_none_or(|(at, _)| at != heads)
    }
}

impl Hub {
    pub(super) fn unsendable(&mut self, now_ms: u64, conn: ConnId, failed: Vec<(DocId, AnswerError)>) {
        for (doc, problem) in failed {
            let Some(link) = self.links.get_mut(&conn) else { return };
            let reason = problem.to_string();
            link.unsendable = Some(format!("{doc} cannot be sent to it: {reason}"));
            let peer = link.name.clone();
            // What the store could not give it may give a moment later; a change that is too large stays so.
            let rest_ms = match problem {
                AnswerError::TooLarge { .. } => limits::UNSENDABLE_REST_MS,
                _ => 0,
            };
            let Some(heads) = self.catalog.heads(&doc).cloned() else { continue };
            if self.unsendable.add(&doc, heads, now_ms + rest_ms) {
                self.notify(Event::Unsendable { peer, document: doc, reason });
            }
        }
    }
}
