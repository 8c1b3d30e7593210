//! Trying again: a few times, each after a longer wait, and from the start of the count when there was progress.

use std::time::Duration;

use super::error::ClientError;
use super::progress::Progress;

/// Attempts after the first one without any progress.
const AGAIN_COUNT_MAX: u32 = 5;
/// Wait before the first of them, in seconds; each later one waits twice as long.
const WAIT_SECS_FIRST: u64 = 1;

#[derive(Debug, Default)]
pub(super) struct Attempts {
    failed: u32,
    bytes: u64,
    /// The node was there, so that it may come back when it is not.
    is_reached: bool,
}

impl Attempts {
    /// Whether it is worth trying again. Then it says so, and has waited. `bytes` is how far it came.
    pub(super) async fn again(&mut self, problem: &ClientError, bytes: u64, progress: &Progress) -> bool {
        if bytes > self.bytes {
            self.failed = 0;
        }
        self.bytes = self.bytes.max(bytes);
        self.is_reached |= !matches!(problem, ClientError::NoNode { .. });
        if !problem.may_pass() || !self.is_reached || self.failed == AGAIN_COUNT_MAX {
            return false;
        }
        let secs = WAIT_SECS_FIRST << self.failed;
        self.failed += 1;
        let count = self.failed;
        progress.tell(&format!("{problem}. Trying again in {secs} s ({count} of {AGAIN_COUNT_MAX})"));
        tokio::time::sleep(Duration::from_secs(secs)).await;
        true
    }
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;

    use super::*;

    fn broken() -> ClientError {
        ClientError::Refused { status: StatusCode::BAD_GATEWAY, sentence: "it broke off".to_owned() }
    }

    fn gone() -> ClientError {
        let address = "http://127.0.0.1:1".parse().unwrap();
        ClientError::NoNode { address, reason: "refused".to_owned() }
    }

    #[tokio::test(start_paused = true)]
    async fn what_breaks_without_progress_is_given_up_after_some_time() {
        let progress = Progress::new("x", None);
        let mut attempts = Attempts::default();
        let began = tokio::time::Instant::now();
        for _ in 0..AGAIN_COUNT_MAX {
            assert!(attempts.again(&broken(), 0, &progress).await);
        }
        assert!(!attempts.again(&broken(), 0, &progress).await);
        assert_eq!(began.elapsed().as_secs(), 1 + 2 + 4 + 8 + 16);
    }

    #[tokio::test(start_paused = true)]
    async fn progress_begins_the_count_again() {
        let progress = Progress::new("x", None);
        let mut attempts = Attempts::default();
        for bytes in 1..100 {
            assert!(attempts.again(&broken(), bytes, &progress).await);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_never_was_there_is_not_waited_for_and_one_that_went_is() {
        let progress = Progress::new("x", None);
        assert!(!Attempts::default().again(&gone(), 0, &progress).await);
        let mut attempts = Attempts::default();
        assert!(attempts.again(&broken(), 0, &progress).await);
        assert!(attempts.again(&gone(), 0, &progress).await);
        let refused = ClientError::Refused { status: StatusCode::NOT_FOUND, sentence: "no".to_owned() };
        assert!(!attempts.again(&refused, 0, &progress).await);
    }
}
