//! Files of uploads that did not come to their end. The store leaves them where they are; here they are
//! removed: all of them before the store is opened, and those that nobody writes to after an upload failed.
//! So are, when the store is opened, the files of blobs that its index does not know: a crash leaves them,
//! since a blob's files are there a little before the index knows it.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tracing::{debug, warn};

use crate::handle::BlobHash;

/// Between two looks at files that are still in use.
const AGAIN: Duration = Duration::from_millis(500);
/// So many looks, then the files wait for the next failed upload.
const LOOKS_COUNT_MAX: u32 = 20;

/// How the names of a blob's files end.
const PARTS: [&str; 4] = ["data", "obao4", "sizes4", "bitfield"];

/// Removes every file in the folder. Returns how many.
pub(super) fn remove_all(folder: &Path) -> io::Result<usize> {
    let mut removed = 0;
    for name in names(folder)? {
        fs::remove_file(folder.join(name))?;
        removed += 1;
    }
    Ok(removed)
}

/// Removes the files of blobs that are not among the known ones, which are hashes in hex. Returns how many.
pub(super) fn remove_unknown(folder: &Path, known: &HashSet<String>) -> io::Result<usize> {
    let mut removed = 0;
    for name in names(folder)? {
        let path = folder.join(name);
        let is_part = path.extension().is_some_and(|end| PARTS.iter().any(|part| end == *part));
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let is_unknown = stem.is_some_and(|stem| stem.parse::<BlobHash>().is_ok() && !known.contains(stem));
        if is_part && is_unknown {
            fs::remove_file(path)?;
            removed += 1;
        }
    }
    Ok(removed)
}

fn names(folder: &Path) -> io::Result<Vec<OsString>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect()
}

/// The folder, and who is using it.
#[derive(Debug)]
pub(super) struct Leftovers {
    folder: PathBuf,
    /// Uploads under way.
    running: AtomicUsize,
    /// Those of them whose content is all here. Their files may be closed and still needed.
    finishing: AtomicUsize,
    wanted: Notify,
}

impl Leftovers {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, running: AtomicUsize::new(0), finishing: AtomicUsize::new(0), wanted: Notify::new() }
    }

    pub(super) fn begin(self: &Arc<Self>) -> Running {
        self.running.fetch_add(1, Ordering::SeqCst);
        Running { leftovers: Arc::clone(self), finished: false }
    }

    /// To be called when the content is all here, and undone by dropping the result.
    pub(super) fn finishing(self: &Arc<Self>) -> Finishing {
        self.finishing.fetch_add(1, Ordering::SeqCst);
        Finishing(Arc::clone(self))
    }

    /// Waits until an upload has left something.
    pub(super) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Removes what nobody uses; looks again for a while when something is in use.
    pub(super) async fn sweep(self: &Arc<Self>) {
        for _ in 0..LOOKS_COUNT_MAX {
            let this = Arc::clone(self);
            match tokio::task::spawn_blocking(move || this.look()).await {
                Ok(Ok(0)) => return,
                Ok(Ok(_)) => tokio::time::sleep(AGAIN).await,
                Ok(Err(problem)) => {
                    let folder = self.folder.display();
                    warn!("what uploads that broke off left in {folder} could not be removed: {problem}");
                    return;
                }
                Err(_) => return,
            }
        }
    }

    /// Removes what can be removed, and says how much could not.
    fn look(&self) -> io::Result<usize> {
        let names = names(&self.folder)?;
        let open = open_files();
        // A file that was closed before it was listed is of an upload that was finishing then.
        let is_still = self.finishing.load(Ordering::SeqCst) == 0;
        let nobody = self.running.load(Ordering::SeqCst) == 0;
        let mut left = 0;
        for name in names {
            let is_free = open.as_ref().map_or(nobody, |open| !open.contains(&name));
            if !is_still || !is_free {
                left += 1;
                continue;
            }
            match fs::remove_file(self.folder.join(&name)) {
                // An upload that has come to its end since it was listed has moved it to its place.
                Err(problem) if problem.kind() == io::ErrorKind::NotFound => continue,
                removed => removed?,
            }
            debug!(file = %name.display(), "removed what an upload that broke off has left");
        }
        Ok(left)
    }
}

/// The names of the files that this process has open; `None` where the system does not tell.
fn open_files() -> Option<HashSet<OsString>> {
    let mut open = HashSet::new();
    for entry in fs::read_dir("/proc/self/fd").ok()? {
        // One that was closed a moment ago has no link any more.
        let target = entry.ok().and_then(|entry| fs::read_link(entry.path()).ok());
        open.extend(target.and_then(|target| Some(target.file_name()?.to_owned())));
    }
    Some(open)
}

/// An upload under way. Unless it has finished, it leaves something.
#[derive(Debug)]
pub(super) struct Running {
    leftovers: Arc<Leftovers>,
    finished: bool,
}

impl Running {
    pub(super) fn finished(mut self) {
        self.finished = true;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.leftovers.running.fetch_sub(1, Ordering::SeqCst);
        if !self.finished {
            self.leftovers.wanted.notify_one();
        }
    }
}

/// An upload whose content is all here.
#[derive(Debug)]
pub(super) struct Finishing(Arc<Leftovers>);

impl Drop for Finishing {
    fn drop(&mut self) {
        self.0.finishing.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn only_files_that_nobody_uses_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let leftovers = Arc::new(Leftovers::new(folder.path().to_owned()));
        fs::write(folder.path().join("left.temp"), "x").unwrap();
        let _open = File::create(folder.path().join("open.temp")).unwrap();
        let running = leftovers.begin();
        let finishing = leftovers.finishing();
        assert_eq!(leftovers.look().unwrap(), 2, "an upload is about to finish");
        drop(finishing);
        assert_eq!(leftovers.look().unwrap(), 1, "a file is open");
        assert_eq!(names(folder.path()).unwrap(), ["open.temp"]);
        running.finished();
    }

    #[test]
    fn only_files_of_unknown_blobs_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let [known, unknown] = ["a", "b"].map(|digit| digit.repeat(64));
        for name in [&known, &unknown] {
            for part in PARTS {
                fs::write(folder.path().join(format!("{name}.{part}")), "x").unwrap();
            }
        }
        fs::write(folder.path().join(format!("{unknown}.mine")), "x").unwrap();
        fs::write(folder.path().join("README.data"), "x").unwrap();
        assert_eq!(remove_unknown(folder.path(), &HashSet::from([known])).unwrap(), 4);
        assert_eq!(names(folder.path()).unwrap().len(), 6);
    }
}
