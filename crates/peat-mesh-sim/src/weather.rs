//! How bad the network is.

use std::ops::RangeInclusive;

/// How bad the network is. Times are in milliseconds, probabilities between 0 and 1 for each frame or
/// dial.
#[derive(Debug, Clone)]
pub struct Weather {
    /// How long a frame is under way.
    pub latency_ms: RangeInclusive<u64>,
    /// Frames that never arrive.
    pub lost: f64,
    /// Frames that arrive twice.
    pub duplicated: f64,
    /// Frames that are overtaken by later ones.
    pub reordered: f64,
    /// Frames that hold up all that follow, as a lost packet does on a stream.
    pub delayed: f64,
    /// Frames on which the connection breaks.
    pub broken: f64,
    /// Dials that fail though the peer is there.
    pub dial_fails: f64,
    /// How long an end of a dead connection believes that it lives.
    pub silence_ms: RangeInclusive<u64>,
    /// How fast frames leave a node, per connection.
    pub bytes_per_ms: u64,
}

impl Weather {
    /// Everything arrives, in order.
    #[must_use]
    pub fn calm() -> Self {
        Self {
            latency_ms: 1..=3,
            lost: 0.0,
            duplicated: 0.0,
            reordered: 0.0,
            delayed: 0.0,
            broken: 0.0,
            dial_fails: 0.0,
            silence_ms: 500..=5_000,
            bytes_per_ms: 100_000,
        }
    }

    /// Each kind of fault, now and then.
    #[must_use]
    pub fn rough() -> Self {
        Self {
            latency_ms: 1..=60,
            lost: 0.05,
            duplicated: 0.05,
            reordered: 0.1,
            delayed: 0.0,
            broken: 0.005,
            dial_fails: 0.2,
            silence_ms: 200..=9_000,
            bytes_per_ms: 2_000,
        }
    }

    /// As QUIC streams are over poor links: all that arrives arrives once and in order, but late; and connections break.
    #[must_use]
    pub fn streams() -> Self {
        Self {
            latency_ms: 5..=80,
            delayed: 0.03,
            broken: 0.002,
            dial_fails: 0.1,
            silence_ms: 200..=9_000,
            bytes_per_ms: 2_000,
            ..Self::calm()
        }
    }
}
