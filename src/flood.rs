//! Log lines about strangers: each is told, but a flood of them does not flood the log.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines in one period.
const LINES_COUNT_MAX: u32 = 10;
/// The length of the period.
const PERIOD: Duration = Duration::from_secs(60);

/// Counts lines, and leaves some out.
#[derive(Debug, Default)]
pub(crate) struct Flood(Mutex<Period>);

#[derive(Debug, Default)]
struct Period {
    since: Option<Instant>,
    lines: u32,
}

/// What to do about one more line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Lines that were left out in the period that just ended; 0 in all other cases.
    pub(crate) left_out: u32,
    /// Whether to write this one.
    pub(crate) is_told: bool,
}

impl Flood {
    /// There is one more line to write.
    pub(crate) fn next(&self, now: Instant) -> Verdict {
        let mut period = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left_out = 0;
        if period.since.is_none_or(|since| now.duration_since(since) > PERIOD) {
            left_out = period.lines.saturating_sub(LINES_COUNT_MAX);
            *period = Period { since: Some(now), lines: 0 };
        }
        period.lines += 1;
        Verdict { left_out, is_told: period.lines <= LINES_COUNT_MAX }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_summed_up_after_a_while() {
        let flood = Flood::default();
        let start = Instant::now();
        for number in 1..=100 {
            assert_eq!(flood.next(start), Verdict { left_out: 0, is_told: number <= LINES_COUNT_MAX });
        }
        assert_eq!(flood.next(start + PERIOD * 2), Verdict { left_out: 90, is_told: true });
        assert_eq!(flood.next(start + PERIOD * 2), Verdict { left_out: 0, is_told: true });
    }
}
