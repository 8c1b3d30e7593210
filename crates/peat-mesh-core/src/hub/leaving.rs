//! Leaving: before a node stops, the peers it is connected to get what they lack.

use super::{Hub, Link};
use crate::limits;

impl Hub {
    /// Compares with every peer at once, so that what they lack is found now.
    pub(super) fn leave(&mut self, now_ms: u64) {
        self.leaving_since_ms.get_or_insert(now_ms);
        self.links.values_mut().for_each(|link| link.compare_now(now_ms));
    }

    /// Whether the connected peers have all that is here, as far as can be known; true without peers.
    ///
    /// After [`Input::Leaving`](crate::io::Input::Leaving) a peer has it when both were found equal, or when
    /// it asked for nothing for [`limits::LEAVE_QUIET_MS`]: under load two nodes are never quite equal.
    #[must_use]
    pub fn may_leave(&self, now_ms: u64) -> bool {
        self.links.values().all(|link| self.quiet_at(link).is_some_and(|at| link.is_equal() || at <= now_ms))
    }

    /// When time alone may make [`Hub::may_leave`] true.
    pub(super) fn leave_wakeup(&self) -> Option<u64> {
        self.leaving_since_ms?;
        self.links.values().filter_map(|link| self.quiet_at(link)).max()
    }

    fn quiet_at(&self, link: &Link) -> Option<u64> {
        let since = self.leaving_since_ms?.max(link.since_ms);
        link.owed_until_ms().map(|until| until.max(since) + limits::LEAVE_QUIET_MS)
    }
}
