//! How fast bytes come: over the last seconds, so that it follows what happens and does not jump.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Over which time, in seconds.
const WINDOW_SECS: u64 = 5;
/// In a shorter time than this nothing can be said, in milliseconds.
const SPAN_MS_MIN: u64 = 200;

/// Bytes at some moments of the last seconds.
#[derive(Debug, Default)]
pub(super) struct Rate {
    seen: VecDeque<(Instant, u64)>,
}

impl Rate {
    /// Notes how many bytes there are in all, now.
    pub(super) fn note(&mut self, now: Instant, bytes: u64) {
        // What was checked once more and thrown away has to come again.
        if self.seen.back().is_some_and(|(_, before)| bytes < *before) {
            self.seen.clear();
        }
        self.seen.push_back((now, bytes));
        let window = Duration::from_secs(WINDOW_SECS);
        // The last one before the window stays: it is where the window begins.
        while self.seen.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= window) {
            self.seen.pop_front();
        }
    }

    /// Nothing comes at the moment; what was is no measure of what will be.
    pub(super) fn forget(&mut self) {
        self.seen.clear();
    }

    /// Bytes in a second, when that can be said.
    pub(super) fn bytes_per_second(&self) -> Option<u64> {
        let ((first_at, first), (last_at, last)) = (self.seen.front()?, self.seen.back()?);
        let span = last_at.duration_since(*first_at);
        if span < Duration::from_millis(SPAN_MS_MIN) {
            return None;
        }
        Some(((last - first) as f64 / span.as_secs_f64()) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_of_the_last_seconds() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut rate = Rate::default();
        assert_eq!(rate.bytes_per_second(), None);
        rate.note(at(0), 1_000_000);
        assert_eq!(rate.bytes_per_second(), None);
        rate.note(at(1_000), 1_500_000);
        assert_eq!(rate.bytes_per_second(), Some(500_000));
        for second in 2..=20 {
            rate.note(at(second * 1_000), 1_500_000);
        }
        assert_eq!(rate.bytes_per_second(), Some(0));
        assert!(rate.seen.len() <= 7, "{}", rate.seen.len());
        // A part that was damaged is fetched again.
        rate.note(at(21_000), 10);
        assert_eq!(rate.bytes_per_second(), None);
        rate.forget();
        assert_eq!(rate.bytes_per_second(), None);
    }
}
