//! How a blob of a client gets here: piece by piece to a file of the store, hashed, and on disk with its tag
//! before the client is told.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::stream;
use iroh_blobs::api::RequestError;
use iroh_blobs::store::fs::options::{InlineOptions, PathOptions};
use tokio::sync::mpsc;

use super::leftovers::{Finishing, Leftovers};
use super::space::LOOK_EVERY_BYTES;
use super::{Inner, failed, store_hash};
use crate::handle::{Blob, BlobError, BlobHash};

/// An error of the side that sends the content, as it travels through the store.
#[derive(Debug)]
struct Broke(String);

impl fmt::Display for Broke {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Broke {}

/// The content on its way to the store.
struct Source {
    content: mpsc::Receiver<io::Result<Bytes>>,
    inner: Arc<Inner>,
    bytes: u64,
    looked_at: u64,
    finishing: Arc<Mutex<Option<Finishing>>>,
}

impl Source {
    async fn next(mut self) -> Option<(io::Result<Bytes>, Self)> {
        match self.content.recv().await {
            Some(Ok(piece)) => {
                self.bytes += piece.len() as u64;
                if self.bytes - self.looked_at >= LOOK_EVERY_BYTES {
                    self.looked_at = self.bytes;
                    if self.inner.space.check(0).is_err() {
                        return Some((Err(io::ErrorKind::StorageFull.into()), self));
                    }
                }
                Some((Ok(piece), self))
            }
            Some(Err(problem)) => Some((Err(io::Error::other(Broke(problem.to_string()))), self)),
            None => {
                let finishing = Leftovers::finishing(&self.inner.leftovers);
                *self.finishing.lock().unwrap_or_else(PoisonError::into_inner) = Some(finishing);
                None
            }
        }
    }
}

fn add_failed(problem: RequestError) -> BlobError {
    if let RequestError::Inner { source: iroh_blobs::api::Error::Io(problem), .. } = &problem
        && let Some(Broke(reason)) = problem.get_ref().and_then(|problem| problem.downcast_ref())
    {
        return BlobError::Source(reason.clone());
    }
    failed(problem)
}

impl Inner {
    pub(super) async fn add(
        self: &Arc<Self>,
        content: mpsc::Receiver<io::Result<Bytes>>,
        size: Option<u64>,
    ) -> Result<(Blob, bool), BlobError> {
        self.space.check(size.unwrap_or_default())?;
        let running = self.leftovers.begin();
        let finishing = Arc::default();
        let source = Source {
            content,
            inner: Arc::clone(self),
            bytes: 0,
            looked_at: 0,
            finishing: Arc::clone(&finishing),
        };
        let adding = self.store.add_stream(stream::unfold(source, Source::next)).await;
        let held = adding.temp_tag().await.map_err(add_failed)?;
        running.finished();
        drop(finishing);
        let kept = self.keep(BlobHash(*held.hash().as_bytes())).await?;
        drop(held);
        Ok(kept)
    }
}

/// The files of a blob that is whole.
pub(super) struct Files {
    all: Vec<PathBuf>,
    folder: PathBuf,
}

impl Files {
    pub(super) fn new(paths: &PathOptions, hash: BlobHash, size: u64) -> Self {
        let mut all = Vec::new();
        let InlineOptions { max_data_inlined, .. } = InlineOptions::default();
        if size > max_data_inlined {
            all.push(paths.data_path(&store_hash(hash)));
            let outboard = paths.outboard_path(&store_hash(hash));
            // Small ones are in the index.
            all.extend(outboard.exists().then_some(outboard));
        }
        Self { all, folder: paths.data_path.clone() }
    }

    /// Brings them to disk, their names included.
    pub(super) async fn sync(self) -> io::Result<()> {
        if self.all.is_empty() {
            return Ok(());
        }
        let work = move || {
            for path in &self.all {
                File::open(path)?.sync_all()?;
            }
            File::open(&self.folder)?.sync_all()
        };
        tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
    }
}
