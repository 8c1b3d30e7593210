//! One host name and when to look it up.
//!
//! What comes in are the times and answers of lookups and the wish for a fresh one; what goes out is when
//! the next is due and the last good answer.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::{LOOKUP_EVERY_MS, LOOKUP_GAP_MS};

/// Longest wait before a name that does not resolve is tried again, in milliseconds.
const LOOKUP_RETRY_MS_MAX: u64 = LOOKUP_EVERY_MS;

/// The state of one host name.
#[derive(Debug)]
pub(super) struct Lookup {
    /// `None` while a lookup is under way.
    due: Option<Instant>,
    started: Option<Instant>,
    /// A fresh answer was asked for while a lookup was under way.
    wanted: bool,
    answered: bool,
    failures: u32,
    addresses: Vec<SocketAddr>,
}

impl Lookup {
    /// A host that was never looked up, due at once.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            due: Some(now),
            started: None,
            wanted: false,
            answered: false,
            failures: 0,
            addresses: Vec::new(),
        }
    }

    /// When to start the next lookup; `None` while one is under way.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The last good answer.
    pub(super) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Whether a lookup has ended, with an address or without.
    pub(super) fn is_answered(&self) -> bool {
        self.answered
    }

    pub(super) fn is_unresolved(&self) -> bool {
        self.failures > 0
    }

    pub(super) fn started(&mut self, now: Instant) {
        self.due = None;
        self.started = Some(now);
        self.wanted = false;
    }

    /// Asks for a fresh answer as soon as the gap between lookups allows.
    pub(super) fn wanted(&mut self) {
        self.wanted = true;
        if let Some(due) = self.due {
            self.due = Some(self.earliest().map_or(due, |earliest| earliest.min(due)));
        }
    }

    /// Takes a good answer; true when the name did not resolve before.
    pub(super) fn resolved(&mut self, now: Instant, mut addresses: Vec<SocketAddr>) -> bool {
        // Many name servers turn the order around with each answer, which is no change.
        addresses.sort_unstable();
        self.addresses = addresses;
        let again = std::mem::take(&mut self.failures) > 0;
        self.finish(now, LOOKUP_EVERY_MS);
        again
    }

    /// Takes note of a lookup without answer and keeps the last one; true when it is the first such.
    pub(super) fn unresolved(&mut self, now: Instant) -> bool {
        let wait_ms = LOOKUP_GAP_MS.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        self.finish(now, wait_ms.min(LOOKUP_RETRY_MS_MAX));
        self.failures == 1
    }

    fn finish(&mut self, now: Instant, wait_ms: u64) {
        self.answered = true;
        self.due = Some(now + Duration::from_millis(wait_ms));
        if self.wanted {
            self.wanted();
        }
    }

    fn earliest(&self) -> Option<Instant> {
        self.started.map(|started| started + Duration::from_millis(LOOKUP_GAP_MS))
    }
}
