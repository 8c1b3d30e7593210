//! How a blob of a client gets here: piece by piece to a file of the store, hashed, and on disk with its tag
//! before the client is told.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::stream;
use iroh_blobs::store::fs::options::{InlineOptions, PathOptions};
use tokio::sync::{mpsc, oneshot};

use super::leftovers::{Finishing, Leftovers};
use super::space::{LOOK_EVERY_BYTES, Reservation};
use super::{Inner, failed, store_hash};
use crate::handle::{Blob, BlobError, BlobHash};

/// The content on its way to the store.
///
/// It never tells the store of an error: iroh-blobs 0.104 may panic then. It falls silent, and whoever adds is
/// told and lets go of all of it.
struct Source {
    content: mpsc::Receiver<io::Result<Bytes>>,
    inner: Arc<Inner>,
    bytes: u64,
    /// Room for what has come, and for a little more.
    room: Reservation,
    room_bytes: u64,
    broken: Option<oneshot::Sender<BlobError>>,
    finishing: Arc<Mutex<Option<Finishing>>>,
}

impl Source {
    async fn next(mut self) -> Option<(io::Result<Bytes>, Self)> {
        match self.content.recv().await {
            Some(Ok(piece)) => {
                self.bytes += piece.len() as u64;
                if self.bytes > self.room_bytes {
                    let more = self.bytes - self.room_bytes + LOOK_EVERY_BYTES;
                    if let Err(problem) = self.room.grow(more) {
                        return self.fall_silent(problem).await;
                    }
                    self.room_bytes += more;
                }
                Some((Ok(piece), self))
            }
            Some(Err(problem)) => self.fall_silent(BlobError::Source(problem.to_string())).await,
            None => {
                let finishing = Leftovers::finishing(&self.inner.leftovers);
                *self.finishing.lock().unwrap_or_else(PoisonError::into_inner) = Some(finishing);
                None
            }
        }
    }

    async fn fall_silent<T>(&mut self, problem: BlobError) -> T {
        if let Some(broken) = self.broken.take() {
            // Whoever added may have gone.
            let _ = broken.send(problem);
        }
        std::future::pending().await
    }
}

impl Inner {
    pub(super) async fn add(
        self: &Arc<Self>,
        content: mpsc::Receiver<io::Result<Bytes>>,
        size: Option<u64>,
    ) -> Result<(Blob, bool), BlobError> {
        let room_bytes = size.unwrap_or_default();
        let room = self.space.reserve(room_bytes)?;
        let running = self.leftovers.begin();
        let finishing = Arc::default();
        let (broken, is_broken) = oneshot::channel();
        let source = Source {
            content,
            inner: Arc::clone(self),
            bytes: 0,
            room,
            room_bytes,
            broken: Some(broken),
            finishing: Arc::clone(&finishing),
        };
        let adding = self.store.add_stream(stream::unfold(source, Source::next)).await;
        let held = tokio::select! {
            held = adding.temp_tag() => held.map_err(failed)?,
            Ok(problem) = is_broken => return Err(problem),
        };
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
