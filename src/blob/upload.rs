//! How a blob of a client gets here: piece by piece to a file of the store, hashed, and on disk with its tag
//! before the client is told.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bao_tree::BaoTree;
use bytes::Bytes;
use futures_util::stream;
use iroh_blobs::store::fs::options::{InlineOptions, PathOptions};
use tokio::sync::{mpsc, oneshot};

use super::damage::GROUP;
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
    whole: Arc<Mutex<Option<Whole>>>,
}

/// What is held from the end of the content until the blob is stored.
struct Whole {
    _finishing: Finishing,
    room: Reservation,
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
                let whole = Whole { _finishing: finishing, room: self.room };
                *self.whole.lock().unwrap_or_else(PoisonError::into_inner) = Some(whole);
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
        let whole = Arc::<Mutex<_>>::default();
        let (broken, is_broken) = oneshot::channel();
        let source = Source {
            content,
            inner: Arc::clone(self),
            bytes: 0,
            room,
            room_bytes,
            broken: Some(broken),
            whole: Arc::clone(&whole),
        };
        let adding = self.store.add_stream(stream::unfold(source, Source::next)).await;
        let held = tokio::select! {
            held = adding.temp_tag() => held.map_err(failed)?,
            Ok(problem) = is_broken => return Err(problem),
        };
        running.finished();
        let whole: Option<Whole> = whole.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Until the blob itself is counted, others have to see its bytes.
        let room = whole.map(|whole| whole.room);
        let kept = self.keep_in(BlobHash(*held.hash().as_bytes()), room).await?;
        drop(held);
        Ok(kept)
    }
}

/// The files of a blob that is whole.
pub(super) struct Files {
    /// With what each holds, in bytes.
    all: Vec<(PathBuf, u64)>,
    folder: PathBuf,
}

impl Files {
    pub(super) fn new(paths: &PathOptions, hash: BlobHash, size: u64) -> Self {
        let mut all = Vec::new();
        // Small ones are in the index.
        let InlineOptions { max_data_inlined, max_outboard_inlined } = InlineOptions::default();
        if size > max_data_inlined {
            all.push((paths.data_path(&store_hash(hash)), size));
        }
        let outboard_size = BaoTree::new(size, GROUP).outboard_size();
        if outboard_size > max_outboard_inlined {
            all.push((paths.outboard_path(&store_hash(hash)), outboard_size));
        }
        Self { all, folder: paths.data_path.clone() }
    }

    /// Brings them to disk, their names included.
    pub(super) async fn sync(self) -> io::Result<()> {
        if self.all.is_empty() {
            return Ok(());
        }
        let work = move || {
            for (path, _) in &self.all {
                File::open(path)?.sync_all()?;
            }
            File::open(&self.folder)?.sync_all()
        };
        tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
    }

    /// Whether one of them is not there, or too short. What cannot be looked at may be there.
    pub(super) async fn are_lost(self) -> io::Result<bool> {
        tokio::task::spawn_blocking(move || self.look()).await.map_err(io::Error::other)?
    }

    fn look(&self) -> io::Result<bool> {
        // Without the folder, as when its disk is not mounted, nothing is known of what is in it.
        fs::metadata(&self.folder)?;
        for (path, bytes) in &self.all {
            match fs::symlink_metadata(path) {
                Ok(found) if !found.is_file() => {
                    return Err(io::Error::other(format!("{} is no file", path.display())));
                }
                Ok(found) if found.len() >= *bytes => {}
                Ok(_) => return Ok(true),
                Err(problem) if problem.kind() == ErrorKind::NotFound => return Ok(true),
                Err(problem) => return Err(problem),
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_lost_when_they_are_not_there_or_too_short_and_not_when_they_cannot_be_looked_at() {
        const SIZE: u64 = 8 * 1024 * 1024;
        let folder = tempfile::tempdir().unwrap();
        let (paths, hash) = (PathOptions::new(folder.path()), BlobHash([1; 32]));
        let files = Files::new(&paths, hash, SIZE);
        let [(data, _), (outboard, outboard_size)] = &files.all[..] else { panic!("{:?}", files.all) };
        assert!(files.look().is_err(), "there is no folder");
        fs::create_dir(&paths.data_path).unwrap();
        assert!(files.look().unwrap());
        File::create(data).unwrap().set_len(SIZE).unwrap();
        assert!(files.look().unwrap(), "the outboard is not there");
        File::create(outboard).unwrap().set_len(*outboard_size).unwrap();
        assert!(!files.look().unwrap());
        File::create(data).unwrap().set_len(SIZE - 1).unwrap();
        assert!(files.look().unwrap(), "it is cut");
        fs::remove_file(data).unwrap();
        std::os::unix::fs::symlink(data, data).unwrap();
        assert!(files.look().is_err(), "it is something else");
        assert!(Files::new(&paths, hash, 16 * 1024).all.is_empty());
    }
}
