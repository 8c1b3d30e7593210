//! Durations, and what they come to.

use std::time::Duration;

use serde_json::{Value, json};

/// Measured durations.
#[derive(Debug, Default)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    pub(crate) fn push(&mut self, sample: Duration) {
        self.0.push(sample);
    }

    /// Milliseconds below which this share of the samples lies.
    fn quantile_ms(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let index = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
        sorted.get(index).map_or(f64::NAN, |sample| sample.as_secs_f64() * 1_000.0)
    }

    pub(crate) fn median_ms(&self) -> f64 {
        self.quantile_ms(0.5)
    }

    /// Prints a line of a table and returns the same as JSON.
    pub(crate) fn report(&self, what: &str) -> Value {
        let (p50, p99, max) = (self.median_ms(), self.quantile_ms(0.99), self.quantile_ms(1.0));
        println!("{what:<44} p50 {p50:>7.3} ms   p99 {p99:>7.3} ms   max {max:>7.3} ms   n {}", self.0.len());
        json!({"what": what, "p50_ms": p50, "p99_ms": p99, "max_ms": max, "count": self.0.len()})
    }
}
