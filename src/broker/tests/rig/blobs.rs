//! Blobs that do what a test has set up.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};
use tokio::sync::{mpsc, watch};

use crate::handle::{
    Blob, BlobCounts, BlobError, BlobHash, BlobPage, BlobState, Blobs, FetchStep, Fetching, Holder, Kept,
    Reading,
};

/// A piece of content, or why there is none.
type Piece = Result<&'static str, &'static str>;

/// A node that has one blob or a part of it, or none, and takes none.
#[derive(Debug)]
pub(in crate::broker::tests) struct Staged {
    pub(in crate::broker::tests) state: Mutex<BlobState>,
    pub(in crate::broker::tests) fetch: Mutex<Option<watch::Sender<Fetching>>>,
    pub(in crate::broker::tests) kept: Mutex<Kept>,
    pub(in crate::broker::tests) is_damaged: AtomicBool,
    pub(in crate::broker::tests) holders: Mutex<Vec<Holder>>,
    /// The size of what can be read, and the pieces that come of it.
    pub(in crate::broker::tests) reading: Mutex<Option<(u64, Vec<Piece>)>>,
}

impl Default for Staged {
    fn default() -> Self {
        let state = Mutex::new(BlobState::Absent);
        let (fetch, kept, is_damaged) = (Mutex::default(), Mutex::default(), AtomicBool::default());
        Self { state, fetch, kept, is_damaged, holders: Mutex::default(), reading: Mutex::default() }
    }
}

impl Staged {
    /// A step of the fetch; the first one begins it, and those who watch are told.
    pub(in crate::broker::tests) fn step(&self, fetching: Fetching) {
        let mut fetch = self.fetch.lock().unwrap();
        match &*fetch {
            Some(sender) => _ = sender.send_replace(fetching),
            None => *fetch = Some(watch::channel(fetching).0),
        }
    }
}

impl Blobs for Staged {
    fn add(
        &self,
        _: mpsc::Receiver<io::Result<Bytes>>,
        _: Option<u64>,
    ) -> BoxFuture<'_, Result<(Blob, bool), BlobError>> {
        Box::pin(async { Err(BlobError::Full { reserve_bytes: 0 }) })
    }

    fn state(&self, _: BlobHash) -> BoxFuture<'_, Result<BlobState, BlobError>> {
        Box::pin(async { Ok(*self.state.lock().unwrap()) })
    }

    fn holders(&self, _: BlobHash) -> BoxFuture<'_, Vec<Holder>> {
        Box::pin(async { self.holders.lock().unwrap().clone() })
    }

    fn request(&self, hash: BlobHash) -> BoxFuture<'_, Result<BlobState, BlobError>> {
        let state = *self.state.lock().unwrap();
        if !matches!(state, BlobState::Complete { .. }) {
            let step = FetchStep::Looking;
            self.step(Fetching { hash, step, size: None, have_bytes: 0, from: Vec::new() });
        }
        Box::pin(async move { Ok(state) })
    }

    fn cancel(&self, _: BlobHash) -> BoxFuture<'_, Result<bool, BlobError>> {
        let was = self.fetch.lock().unwrap().take().is_some();
        Box::pin(async move { Ok(was) })
    }

    fn progress(&self, _: BlobHash) -> Option<watch::Receiver<Fetching>> {
        self.fetch.lock().unwrap().as_ref().map(watch::Sender::subscribe)
    }

    fn open(&self, hash: BlobHash) -> BoxFuture<'_, Result<Reading, BlobError>> {
        let staged = self.reading.lock().unwrap().take();
        Box::pin(async move {
            let (size, pieces) = staged.ok_or(BlobError::NotFound { hash, asked: 0 })?;
            let pieces = pieces.into_iter().map(|piece| match piece {
                Ok(text) => Ok(Bytes::from_static(text.as_bytes())),
                Err(reason) => Err(io::Error::other(reason)),
            });
            // What came before is sent while the next one is waited for.
            let content = stream::iter(pieces).then(async |piece| {
                tokio::task::yield_now().await;
                piece
            });
            let content = content.boxed();
            Ok(Reading { blob: Blob { hash, size }, content: Box::new(|_| content) })
        })
    }

    fn is_damaged(&self, _: BlobHash) -> bool {
        self.is_damaged.load(Ordering::Relaxed)
    }

    fn counts(&self) -> BlobCounts {
        BlobCounts::default()
    }

    fn kept(&self, _: BlobHash) -> BoxFuture<'_, Result<Kept, BlobError>> {
        Box::pin(async { Ok(*self.kept.lock().unwrap()) })
    }

    fn delete(&self, _: BlobHash) -> BoxFuture<'_, Result<bool, BlobError>> {
        Box::pin(async { Ok(false) })
    }

    fn list(&self, _: Option<BlobHash>, _: usize) -> BoxFuture<'_, Result<BlobPage, BlobError>> {
        Box::pin(async { Ok(BlobPage { count: 0, blobs: Vec::new(), next: None }) })
    }
}
