//! Since when nothing refers to a blob, on a clock that no jump of the wall clock can hurry.
//!
//! Time in which the node ran is measured by the clock that only goes forward. Time between two runs can only be
//! told by the wall clock, which may be wrong then and right now, or the other way round (a board without a battery
//! begins in 1970). So it counts for half of the grace time at most, and never backwards: for the other half the
//! node has been running.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// How long a node has been running and how long it was off, over all its runs.
///
/// ```text
///  0        8
/// +--------+--------+
/// | ran_ms | off_ms |
/// +--------+--------+
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Worn {
    pub(super) ran_ms: u64,
    pub(super) off_ms: u64,
}

impl Worn {
    pub(super) fn pack(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.ran_ms.to_le_bytes());
        bytes[8..].copy_from_slice(&self.off_ms.to_le_bytes());
        bytes
    }

    pub(super) fn unpack(bytes: &[u8]) -> Option<Self> {
        let (ran_ms, off_ms) = bytes.split_first_chunk()?;
        let off_ms = off_ms.try_into().ok()?;
        Some(Self { ran_ms: u64::from_le_bytes(*ran_ms), off_ms: u64::from_le_bytes(off_ms) })
    }

    /// What is left of the grace time of a blob that nothing refers to since `since`, in milliseconds.
    pub(super) fn left_ms(self, since: Self, grace_ms: u64) -> u64 {
        let ran_ms = self.ran_ms.saturating_sub(since.ran_ms);
        let off_ms = self.off_ms.saturating_sub(since.off_ms).min(grace_ms / 2);
        grace_ms.saturating_sub(ran_ms.saturating_add(off_ms))
    }
}

/// The clock of this run.
#[derive(Debug)]
pub(super) struct Clock {
    /// When the run began.
    base: Worn,
    started: Instant,
}

impl Clock {
    /// Goes on from what was written, and from what the wall clock showed then, in milliseconds since 1970.
    pub(super) fn resume(written: Option<(Worn, u64)>, wall_ms: u64) -> Self {
        let (mut base, then_ms) = written.unwrap_or((Worn::default(), wall_ms));
        base.off_ms = base.off_ms.saturating_add(wall_ms.saturating_sub(then_ms));
        Self { base, started: Instant::now() }
    }

    pub(super) fn now(&self) -> Worn {
        Worn { ran_ms: self.base.ran_ms.saturating_add(self.ran_ms()), ..self.base }
    }

    /// How long this run has lasted.
    pub(super) fn ran_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }
}

pub(super) fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: u64 = 1_000;

    fn worn(ran_ms: u64, off_ms: u64) -> Worn {
        Worn { ran_ms, off_ms }
    }

    #[test]
    fn time_off_counts_for_half_of_the_grace_time_at_most() {
        let since = worn(50, 70);
        let left = |ran, off| worn(50 + ran, 70 + off).left_ms(since, GRACE);
        assert_eq!(left(0, 0), 1_000);
        assert_eq!(left(400, 0), 600);
        assert_eq!(left(400, 100), 500);
        assert_eq!(left(400, u64::MAX - 70), 100);
        assert_eq!(left(500, 5_000), 0);
        assert_eq!(left(u64::MAX - 50, 0), 0);
        assert_eq!(worn(0, 0).left_ms(since, GRACE), 1_000, "a clock that went back");
    }

    #[test]
    fn a_wall_clock_that_jumps_back_gives_no_time_and_takes_none() {
        let written = Some((worn(10, 20), 5_000));
        assert_eq!(Clock::resume(written, 6_000).base, worn(10, 1_020));
        assert_eq!(Clock::resume(written, 4_000).base, worn(10, 20));
        assert_eq!(Clock::resume(None, 4_000).base, worn(0, 0));
    }

    #[test]
    fn what_is_written_has_the_bytes_that_are_drawn() {
        let packed = worn(0x0102, 3).pack();
        assert_eq!(packed, [2, 1, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Worn::unpack(&packed), Some(worn(0x0102, 3)));
        assert_eq!(Worn::unpack(&packed[..15]), None);
    }
}
