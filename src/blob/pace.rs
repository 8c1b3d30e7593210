//! How fast blobs may go: a limit on bytes per second, one for each direction, shared by all blobs of the node.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use iroh::endpoint::{RecvStream, VarInt};
use tokio::sync::Mutex;
use tokio::time::Instant;

/// So much time may be made up for after a pause.
const BURST: Duration = Duration::from_millis(50);
/// Shorter waits are saved up.
const WAIT_MIN: Duration = Duration::from_millis(2);

/// Whether a stream waits for the limit, so that its peer is not to blame when nothing comes.
pub(super) type Held = Arc<AtomicBool>;

/// A limit.
#[derive(Debug)]
pub(super) struct Pace {
    bytes_per_second: Option<u64>,
    /// When all that was let through has passed. Locked by the one who waits next.
    free_at: Mutex<Instant>,
}

impl Pace {
    /// `None` is no limit.
    pub(super) fn new(bytes_per_second: Option<u64>) -> Self {
        Self { bytes_per_second, free_at: Mutex::new(Instant::now()) }
    }

    /// Waits until so many bytes may pass. Whoever gives up waiting has taken nothing of what others may pass.
    pub(super) async fn pass(&self, bytes: usize) {
        let Some(rate) = self.bytes_per_second else { return };
        let mut free_at = self.free_at.lock().await;
        let now = Instant::now();
        let passed_at = passed_at(*free_at, bytes, rate, now);
        let wait = passed_at.saturating_duration_since(now);
        if wait >= WAIT_MIN {
            tokio::time::sleep(wait).await;
        }
        *free_at = passed_at;
    }
}

/// When so many bytes have passed, of which the first may begin at `free_at`.
fn passed_at(free_at: Instant, bytes: usize, rate: u64, now: Instant) -> Instant {
    let start = now.checked_sub(BURST).map_or(free_at, |earliest| earliest.max(free_at));
    let nanos = bytes as u128 * 1_000_000_000 / u128::from(rate.max(1));
    start + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// A stream from a peer that is read no faster than the limit, which holds back the peer.
#[derive(Debug)]
pub(super) struct Paced {
    pub(super) stream: RecvStream,
    pub(super) pace: Arc<Pace>,
    /// Set while this waits for the limit.
    pub(super) held: Held,
}

impl Paced {
    async fn pass(&self, bytes: usize) {
        let _held = Holding::new(&self.held);
        self.pace.pass(bytes).await;
    }
}

struct Holding<'a>(&'a AtomicBool);

impl<'a> Holding<'a> {
    fn new(held: &'a AtomicBool) -> Self {
        held.store(true, Ordering::Relaxed);
        Self(held)
    }
}

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl iroh_blobs::util::RecvStream for Paced {
    async fn recv_bytes(&mut self, len: usize) -> io::Result<Bytes> {
        self.pass(len).await;
        iroh_blobs::util::RecvStream::recv_bytes(&mut self.stream, len).await
    }

    async fn recv_bytes_exact(&mut self, len: usize) -> io::Result<Bytes> {
        self.pass(len).await;
        iroh_blobs::util::RecvStream::recv_bytes_exact(&mut self.stream, len).await
    }

    async fn recv_exact(&mut self, target: &mut [u8]) -> io::Result<()> {
        self.pass(target.len()).await;
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

    #[tokio::test(start_paused = true)]
    async fn bytes_pass_at_the_rate_and_a_pause_is_made_up_for_only_a_little() {
        let pace = Pace::new(Some(1_000_000));
        tokio::time::advance(Duration::from_secs(3600)).await;
        let start = Instant::now();
        // An hour of pause is worth 50 ms.
        for (bytes, millis) in [(50_000, 0), (1_000_000, 1_000), (500_000, 1_500), (0, 1_500)] {
            pace.pass(bytes).await;
            assert_eq!(start.elapsed().as_millis(), millis);
        }
        Pace::new(None).pass(usize::MAX).await;
        assert_eq!(start.elapsed().as_millis(), 1_500);
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_waiting_takes_nothing_from_the_others() {
        let pace = Pace::new(Some(1_000_000));
        let start = Instant::now();
        for _ in 0..100 {
            let waiting = tokio::time::timeout(Duration::from_millis(1), pace.pass(10_000_000)).await;
            assert!(waiting.is_err());
        }
        pace.pass(1_000_000).await;
        let millis = start.elapsed().as_millis();
        assert!((1_000..=1_110).contains(&millis), "{millis}");
    }
}
