//! Virtual time: what is to happen goes in with its time, and comes out in order.
//!
//! Two things at the same millisecond happen in the order in which they were put in, so a run depends
//! on nothing but its seed.

use std::collections::BTreeMap;

/// The clock and everything that is still to come.
#[derive(Debug)]
pub(crate) struct Agenda<E> {
    now_ms: u64,
    given_out: u64,
    events: BTreeMap<(u64, u64), E>,
}

impl<E> Agenda<E> {
    pub(crate) fn new() -> Self {
        Self { now_ms: 0, given_out: 0, events: BTreeMap::new() }
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Puts something in. What lies in the past happens now.
    pub(crate) fn at(&mut self, at_ms: u64, event: E) {
        self.given_out += 1;
        self.events.insert((at_ms.max(self.now_ms), self.given_out), event);
    }

    /// Takes the next thing that happens until then, and moves the clock there.
    pub(crate) fn next(&mut self, until_ms: u64) -> Option<E> {
        let first = self.events.first_entry()?;
        let (at_ms, _) = *first.key();
        if at_ms > until_ms {
            return None;
        }
        self.now_ms = at_ms;
        Some(first.remove())
    }

    /// Moves the clock forward when nothing more happens until then.
    pub(crate) fn advance(&mut self, until_ms: u64) {
        self.now_ms = self.now_ms.max(until_ms);
    }

    pub(crate) fn any(&self, is_meant: impl Fn(&E) -> bool) -> bool {
        self.events.values().any(is_meant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_happen_in_the_order_of_their_times_and_then_of_their_coming() {
        let mut agenda = Agenda::new();
        agenda.at(20, "third");
        agenda.at(10, "first");
        agenda.at(10, "second");
        assert_eq!(agenda.next(15), Some("first"));
        assert_eq!(agenda.next(15), Some("second"));
        assert_eq!((agenda.next(15), agenda.now_ms()), (None, 10));
        agenda.advance(15);
        agenda.at(0, "late");
        assert_eq!((agenda.next(15), agenda.now_ms()), (Some("late"), 15));
    }
}
