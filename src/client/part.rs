//! What has come of a blob: in `<file>.part` until it is whole and right, or in a stream that cannot be taken back.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use axum::body::Bytes;
use blake3::Hasher;
use tokio::task::{block_in_place, spawn_blocking, yield_now};

use super::error::ClientError;
use super::progress::Progress;
use crate::handle::BlobHash;

/// What is added to the name of a file while it is not whole.
const ENDING: &str = ".part";
/// Bytes of a file that are read at once.
const READ_BYTES: usize = 1024 * 1024;

pub(super) struct Part {
    out: Out,
    hasher: Hasher,
    bytes: u64,
}

enum Out {
    /// `part` becomes `target` when it is right.
    File { file: File, part: PathBuf, target: PathBuf },
    /// Standard output, a device or a pipe. It is gone after a write that was not waited for.
    Stream { out: Option<Box<dyn Write + Send>>, path: PathBuf },
}

impl Part {
    /// Opens the place for what is to become `target`; `-` is standard output. Nobody else writes there meanwhile.
    pub(super) async fn open(target: &Path) -> Result<Self, ClientError> {
        let out = if target == Path::new("-") {
            Out::Stream { out: Some(Box::new(io::stdout())), path: "standard output".into() }
        } else {
            let named = target.to_owned();
            // Opening a pipe waits for who reads from it.
            let opened = spawn_blocking(move || out(&named)).await;
            opened.unwrap_or_else(|problem| Err(ClientError::file(target, problem)))?
        };
        Ok(Self { out, hasher: Hasher::new(), bytes: 0 })
    }

    /// How many bytes have come.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reads what an earlier run has left.
    pub(super) async fn take_up(&mut self, progress: &Progress) -> Result<(), ClientError> {
        let Out::File { file, part, .. } = &mut self.out else {
            return Ok(());
        };
        let mut piece = vec![0; READ_BYTES];
        loop {
            let read = block_in_place(|| {
                let read = file.read(&mut piece)?;
                self.hasher.update(&piece[..read]);
                io::Result::Ok(read)
            });
            match read.map_err(|problem| ClientError::file(part.clone(), problem))? {
                0 => return Ok(()),
                read => {
                    self.bytes += read as u64;
                    progress.add(read);
                }
            }
            // So that Ctrl-C is heard.
            yield_now().await;
        }
    }

    pub(super) async fn append(&mut self, piece: Bytes) -> Result<(), ClientError> {
        match &mut self.out {
            Out::File { file, part, .. } => block_in_place(|| {
                file.write_all(&piece).map_err(|problem| ClientError::file(part.clone(), problem))?;
                self.hasher.update(&piece);
                Ok(())
            })?,
            Out::Stream { out, path } => {
                let failed = |problem: io::Error| stream_failed(path, &problem);
                let mut stream = out.take().ok_or_else(|| failed(io::ErrorKind::BrokenPipe.into()))?;
                let written = piece.clone();
                // Whoever reads takes as long as it likes, and Ctrl-C is heard meanwhile.
                let writing = spawn_blocking(move || {
                    stream.write_all(&written)?;
                    stream.flush()?;
                    Ok(stream)
                });
                let written = writing.await.unwrap_or_else(|problem| Err(io::Error::other(problem)));
                *out = Some(written.map_err(failed)?);
                block_in_place(|| self.hasher.update(&piece));
            }
        }
        self.bytes += piece.len() as u64;
        Ok(())
    }

    /// Throws away what has come. `false` when that is not possible.
    pub(super) fn begin_again(&mut self) -> Result<bool, ClientError> {
        match &mut self.out {
            Out::File { file, part, .. } => {
                let emptied = file.set_len(0).and_then(|()| file.rewind());
                emptied.map_err(|problem| ClientError::file(part.clone(), problem))?;
            }
            Out::Stream { .. } if self.bytes > 0 => return Ok(false),
            Out::Stream { .. } => {}
        }
        self.hasher.reset();
        self.bytes = 0;
        Ok(true)
    }

    /// Whether what has come is this blob, all of it.
    pub(super) fn is(&self, hash: BlobHash) -> bool {
        *self.hasher.finalize().as_bytes() == hash.0
    }

    /// Brings it to disk and gives it its name.
    pub(super) fn finish(&mut self) -> Result<(), ClientError> {
        block_in_place(|| match &mut self.out {
            Out::File { file, part, target } => {
                file.sync_all().map_err(|problem| ClientError::file(part.clone(), problem))?;
                fs::rename(part, &*target).map_err(|problem| ClientError::file(target.clone(), problem))
            }
            // Each piece was flushed.
            Out::Stream { .. } => Ok(()),
        })
    }

    /// The name of what has come and stays for the next run, if there is any.
    pub(super) fn leave(self) -> Option<PathBuf> {
        let Out::File { part, .. } = self.out else {
            return None;
        };
        if self.bytes > 0 {
            return Some(part);
        }
        // An empty one is of no use; one that cannot be removed does no harm.
        let _ = fs::remove_file(part);
        None
    }
}

fn out(target: &Path) -> Result<Out, ClientError> {
    match fs::metadata(target) {
        Ok(found) if found.is_dir() => {
            return Err(ClientError::file(target, "this is a folder; give the name of a file in it to -o"));
        }
        Ok(found) if !found.is_file() => {
            let out = File::options().write(true).open(target);
            let out = out.map_err(|problem| ClientError::file(target, problem))?;
            return Ok(Out::Stream { out: Some(Box::new(out)), path: target.to_owned() });
        }
        _ => {}
    }
    // What a link leads to is replaced, and not the link.
    let target = fs::canonicalize(target).unwrap_or_else(|_| target.to_owned());
    let mut part = OsString::from(&target);
    part.push(ENDING);
    let part = PathBuf::from(part);
    let file = locked(&part)?;
    Ok(Out::File { file, part, target })
}

/// Opens a file, or makes it, so that nobody else writes into it.
fn locked(part: &Path) -> Result<File, ClientError> {
    loop {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(part);
        let file = file.map_err(|problem| ClientError::file(part, problem))?;
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            return Err(ClientError::file(
                part,
                "another process is getting this file; wait until it is done",
            ));
        }
        // Whoever had it locked may just have given it its name: then it is whole, and not to be touched.
        if is_at(&file, part) {
            return Ok(file);
        }
    }
}

/// Whether a file that is open is the one with this name.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

fn stream_failed(path: &Path, problem: &io::Error) -> ClientError {
    match problem.kind() {
        io::ErrorKind::BrokenPipe => ClientError::OutputClosed,
        _ => ClientError::file(path, problem),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_got_another_name_is_not_taken_for_the_one_that_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let [part, target] = ["map.part", "map"].map(|name| folder.path().join(name));
        let file = locked(&part).unwrap();
        assert!(is_at(&file, &part));
        assert!(locked(&part).is_err());
        fs::rename(&part, &target).unwrap();
        assert!(!is_at(&file, &part));
        let other = locked(&part).unwrap();
        assert!(is_at(&other, &part) && !is_at(&file, &part));
    }
}
