//! How long a peer may take nothing and say nothing. A connection whose path is cut ends long before; this is for a
//! peer that is there and does not do its part.

use crate::limits;

/// What is awaited of one peer, and since when.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// Since when nothing has left, though something is unsent.
    unsent_since_ms: Option<u64>,
    /// Since when a question has no answer.
    asked_since_ms: Option<u64>,
}

impl Patience {
    /// Something was given to the connection.
    pub(super) fn gave(&mut self, now_ms: u64) {
        self.unsent_since_ms.get_or_insert(now_ms);
    }

    /// Something has left. While more is unsent, a question may be behind it, and has time.
    pub(super) fn left(&mut self, now_ms: u64, unsent_bytes: usize) {
        self.unsent_since_ms = (unsent_bytes > 0).then_some(now_ms);
        if unsent_bytes > 0 {
            self.asked_since_ms = self.asked_since_ms.map(|_| now_ms);
        }
    }

    /// The peer was asked.
    pub(super) fn asked(&mut self, now_ms: u64) {
        self.asked_since_ms.get_or_insert(now_ms);
    }

    /// It said something about documents.
    pub(super) fn heard(&mut self) {
        self.asked_since_ms = None;
    }

    fn not_reading_at_ms(&self) -> Option<u64> {
        Some(self.unsent_since_ms? + limits::NOT_READING_MS_MAX)
    }

    fn not_answering_at_ms(&self) -> Option<u64> {
        Some(self.asked_since_ms? + limits::NOT_ANSWERING_MS_MAX)
    }

    /// When it is over.
    pub(super) fn until_ms(&self) -> Option<u64> {
        self.not_reading_at_ms().into_iter().chain(self.not_answering_at_ms()).min()
    }

    /// What the peer failed to do by now, in words.
    pub(super) fn is_over(&self, now_ms: u64) -> Option<(super::Rule, String)> {
        if self.not_reading_at_ms().is_some_and(|at_ms| at_ms <= now_ms) {
            let secs = limits::NOT_READING_MS_MAX / 1_000;
            return Some((
                super::Rule::NotReading,
                format!("it took nothing of what was sent to it for {secs} s"),
            ));
        }
        self.not_answering_at_ms().filter(|at_ms| *at_ms <= now_ms)?;
        let secs = limits::NOT_ANSWERING_MS_MAX / 1_000;
        Some((super::Rule::NotAnswering, format!("it said nothing to a comparison for {secs} s")))
    }
}
