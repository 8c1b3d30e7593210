//! Giving back the space of blobs without a tag: when asked, and never by the clock.
//!
//! The store's own collector runs in a loop: it asks a callback what to protect, collects, and begins
//! again. The callback here does not answer before somebody wants something collected; when it is asked the
//! next time, that run is over.

use std::sync::Arc;
use std::time::Duration;

use iroh_blobs::store::{GcConfig, ProtectCb, ProtectOutcome};
use tokio::sync::{Mutex, OwnedRwLockWriteGuard, RwLock, mpsc, oneshot};

use crate::handle::BlobError;

/// Requests that may wait for a run; they share it.
const ASKS_COUNT_MAX: usize = 256;
/// What the store's loop waits between two questions.
const PAUSE: Duration = Duration::from_millis(1);
/// What the loop of a store that nobody uses any more waits.
const NEVER: Duration = Duration::from_secs(24 * 3600);

enum Ask {
    Collect(oneshot::Sender<()>),
    End,
}

/// Asks for runs.
#[derive(Debug)]
pub(super) struct Collector {
    asks: mpsc::Sender<Ask>,
}

impl Collector {
    /// Waits for a run that began after this call.
    pub(super) async fn collect(&self) -> Result<(), BlobError> {
        let (done, over) = oneshot::channel();
        let ended = || BlobError::Store("deleting has ended; restart this node".to_owned());
        self.asks.send(Ask::Collect(done)).await.map_err(|_| ended())?;
        over.await.map_err(|_| ended())
    }

    /// Ends the loop of a store that has been closed.
    pub(super) fn end(&self) {
        // A full channel means that a run is under way, which ends the loop as well.
        let _ = self.asks.try_send(Ask::End);
    }
}

/// What the callback holds.
struct Desk {
    asks: mpsc::Receiver<Ask>,
    /// Whoever waits for the present run.
    waiting: Vec<oneshot::Sender<()>>,
    /// Nobody sets a tag while a run looks at them.
    tagging: Option<OwnedRwLockWriteGuard<()>>,
}

/// A collector, what the store needs for it, and the lock that setting a tag takes for reading.
pub(super) fn pair() -> (Collector, GcConfig, Arc<RwLock<()>>) {
    let (asks, asked) = mpsc::channel(ASKS_COUNT_MAX);
    let tagging = Arc::new(RwLock::new(()));
    let desk = Arc::new(Mutex::new(Desk { asks: asked, waiting: Vec::new(), tagging: None }));
    let lock = Arc::clone(&tagging);
    let wait: ProtectCb = Arc::new(move |_| {
        let (desk, lock) = (Arc::clone(&desk), Arc::clone(&lock));
        Box::pin(async move { next(&mut *desk.lock().await, lock).await })
    });
    (Collector { asks }, GcConfig { interval: PAUSE, add_protected: Some(wait) }, tagging)
}

/// Ends the run before and waits until there is something for the next one.
async fn next(desk: &mut Desk, lock: Arc<RwLock<()>>) -> ProtectOutcome {
    desk.tagging = None;
    for done in desk.waiting.drain(..) {
        // Whoever asked may be gone.
        let _ = done.send(());
    }
    match desk.asks.recv().await {
        Some(Ask::Collect(done)) => desk.waiting.push(done),
        Some(Ask::End) => return ProtectOutcome::Continue,
        None => {
            tokio::time::sleep(NEVER).await;
            return ProtectOutcome::Abort;
        }
    }
    while let Ok(Ask::Collect(done)) = desk.asks.try_recv() {
        desk.waiting.push(done);
    }
    desk.tagging = Some(lock.write_owned().await);
    ProtectOutcome::Continue
}
