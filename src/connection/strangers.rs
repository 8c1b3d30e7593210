//! Log lines about strangers: every one is named, but a flood of them does not flood the log.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use peat_mesh_core::EndpointId;
use tracing::warn;

use super::handshake::HandshakeError;

/// Lines about strangers in one period.
const LINES_COUNT_MAX: u32 = 10;
/// The length of the period.
const PERIOD: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Strangers(Mutex<Period>);

#[derive(Debug, Default)]
struct Period {
    since: Option<Instant>,
    refused: u32,
}

impl Strangers {
    pub(super) fn refused(&self, who: EndpointId, address: Option<SocketAddr>, why: &HandshakeError) {
        let address = address.map_or_else(|| "an unknown address".to_owned(), |at| at.to_string());
        let (left_out, count) = self.count(Instant::now());
        if left_out > 0 {
            warn!("{left_out} more connections of strangers were refused in the last minute");
        }
        if count <= LINES_COUNT_MAX {
            warn!("Refused a connection from {address}, endpoint_id={}: {why}", who.short());
        }
    }

    /// How many lines were left out in the period that just ended, and the number of this one in its own.
    fn count(&self, now: Instant) -> (u32, u32) {
        let mut period = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left_out = 0;
        if period.since.is_none_or(|since| now.duration_since(since) > PERIOD) {
            left_out = period.refused.saturating_sub(LINES_COUNT_MAX);
            *period = Period { since: Some(now), refused: 0 };
        }
        period.refused += 1;
        (left_out, period.refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_strangers_is_summed_up_after_a_while() {
        let strangers = Strangers::default();
        let start = Instant::now();
        for number in 1..=100 {
            assert_eq!(strangers.count(start), (0, number));
        }
        assert_eq!(strangers.count(start + PERIOD * 2), (90, 1));
        assert_eq!(strangers.count(start + PERIOD * 2), (0, 2));
    }
}
