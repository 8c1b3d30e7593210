//! Leaving: before a node stops, the peers it is connected to get what they lack.

use super::{Hub, Link};
use crate::limits;

#[derive(Debug, Default)]
pub(super) struct Leaving {
    since_ms: Option<u64>,
    /// The time of the hub's last input.
    pub(super) now_ms: u64,
}

impl Hub {
    /// Compares with every peer at once, so that what they lack is found now.
    pub(super) fn leave(&mut self, now_ms: u64) {
        self.leaving.since_ms.get_or_insert(now_ms);
        self.links.values_mut().for_each(|link| link.compare_now(now_ms));
        self.presence_leaves(now_ms);
    }

    /// Whether the connected peers have all that is here, as far as can be known; true without peers.
    ///
    /// After [`Input::Leaving`](crate::io::Input::Leaving) a peer has it when both were found equal, or when
    /// it asked for nothing for [`limits::LEAVE_QUIET_MS`]: under load two nodes are never quite equal.
    #[must_use]
    pub fn may_leave(&self, now_ms: u64) -> bool {
        self.links.values().all(|link| self.quiet_at(link).is_some_and(|at| link.is_equal() || at <= now_ms))
    }

    /// When time alone may make [`Hub::may_leave`] true. Nothing while a peer still is owed something, nor for
    /// a time that has been looked at: whoever waits for it would not sleep.
    pub(super) fn leave_wakeup(&self) -> Option<u64> {
        let all: Option<Vec<u64>> = self.links.values().map(|link| self.quiet_at(link)).collect();
        all?.into_iter().max().filter(|at| *at > self.leaving.now_ms)
    }

    fn quiet_at(&self, link: &Link) -> Option<u64> {
        let since = self.leaving.since_ms?.max(link.since_ms);
        link.owed_until_ms().map(|until| until.max(since) + limits::LEAVE_QUIET_MS)
    }
}
