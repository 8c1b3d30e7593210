//! How fast blobs may go: a limit on bytes per second, one for each direction, shared by all blobs of the node.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use iroh::endpoint::{RecvStream, VarInt};
use tokio::time::Instant;

/// So much time may be made up for after a pause.
const BURST: Duration = Duration::from_millis(50);
/// Shorter waits are saved up.
const WAIT_MIN: Duration = Duration::from_millis(2);

/// A limit.
#[derive(Debug)]
pub(super) struct Pace {
    bytes_per_second: Option<u64>,
    /// When all that was let through has passed.
    free_at: Mutex<Instant>,
}

impl Pace {
    /// `None` is no limit.
    pub(super) fn new(bytes_per_second: Option<u64>) -> Self {
        Self { bytes_per_second, free_at: Mutex::new(Instant::now()) }
    }

    /// Waits until so many bytes may pass.
    pub(super) async fn pass(&self, bytes: usize) {
        let wait = self.take(bytes, Instant::now());
        if wait >= WAIT_MIN {
            tokio::time::sleep(wait).await;
        }
    }

    fn take(&self, bytes: usize, now: Instant) -> Duration {
        let Some(rate) = self.bytes_per_second else {
            return Duration::ZERO;
        };
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        let start = now.checked_sub(BURST).map_or(*free_at, |earliest| earliest.max(*free_at));
        let nanos = bytes as u128 * 1_000_000_000 / u128::from(rate.max(1));
        *free_at = start + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        free_at.saturating_duration_since(now)
    }
}

/// A stream from a peer that is read no faster than the limit, which holds back the peer.
#[derive(Debug)]
pub(super) struct Paced {
    pub(super) stream: RecvStream,
    pub(super) pace: Arc<Pace>,
}

impl iroh_blobs::util::RecvStream for Paced {
    async fn recv_bytes(&mut self, len: usize) -> io::Result<Bytes> {
        self.pace.pass(len).await;
        iroh_blobs::util::RecvStream::recv_bytes(&mut self.stream, len).await
    }

    async fn recv_bytes_exact(&mut self, len: usize) -> io::Result<Bytes> {
        self.pace.pass(len).await;
        iroh_blobs::util::RecvStream::recv_bytes_exact(&mut self.stream, len).await
    }

    async fn recv_exact(&mut self, target: &mut [u8]) -> io::Result<()> {
        self.pace.pass(target.len()).await;
        iroh_blobs::util::RecvStream::recv_exact(&mut self.stream, target).await
    }

    fn stop(&mut self, code: VarInt) -> io::Result<()> {
        Ok(self.stream.stop(code)?)
    }

    fn id(&self) -> u64 {
        self.stream.id().index()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_pass_at_the_rate_and_a_pause_is_made_up_for_only_a_little() {
        let pace = Pace::new(Some(1_000_000));
        let start = Instant::now() + Duration::from_secs(3600);
        // An hour of pause is worth 50 ms.
        assert_eq!(pace.take(50_000, start), Duration::ZERO);
        assert_eq!(pace.take(1_000_000, start), Duration::from_secs(1));
        assert_eq!(pace.take(500_000, start), Duration::from_millis(1_500));
        assert_eq!(pace.take(0, start + Duration::from_secs(1)), Duration::from_millis(500));
        assert_eq!(Pace::new(None).take(usize::MAX, start), Duration::ZERO);
    }
}
