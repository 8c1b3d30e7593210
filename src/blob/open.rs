//! Opening the folder of blobs: a folder comes in, an open store goes out, or an [`OpenError`] that names the
//! folder and says what to do.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use iroh_blobs::Hash;
use iroh_blobs::store::fs::FsStore;
use iroh_blobs::store::fs::options::Options;
use tracing::debug;

use super::{Opened, collect, leftovers};

/// The store's index, within the folder.
const INDEX: &str = "blobs.db";

/// Why the store of blobs could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The folder cannot be made or written.
    #[error(
        "the folder for blobs {} cannot be used: {source}; make it writable for the user that runs this node, \
         or move it away",
        path.display()
    )]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// What is in the folder cannot be opened.
    #[error(
        "the blobs in {} cannot be opened: {reason}. Move the folder away to start without blobs (peers still \
         give those that they have), or restore a backup",
        path.display()
    )]
    Store {
        /// The folder.
        path: PathBuf,
        /// The cause in words.
        reason: String,
    },
}

/// The lock of the document store, which is opened first, keeps a second process out.
pub(super) async fn open(folder: &Path) -> Result<Opened, OpenError> {
    let (collector, gc, tagging) = collect::pair();
    let options = Options { gc: Some(gc), ..Options::new(folder) };
    let paths = options.path.clone();
    let wrong = |source| OpenError::Folder { path: folder.to_owned(), source };
    for path in [&paths.data_path, &paths.temp_path] {
        fs::create_dir_all(path).map_err(wrong)?;
    }
    let removed = leftovers::remove_all(&paths.temp_path).map_err(wrong)?;
    if removed > 0 {
        debug!(files = removed, "removed what uploads that broke off have left");
    }
    let store = FsStore::load_with_opts(folder.join(INDEX), options).await;
    let broken = |reason| OpenError::Store { path: folder.to_owned(), reason };
    let store = store.map_err(|problem| broken(format!("{problem:#}")))?;
    let known = store.blobs().list().hashes().await.map_err(|problem| broken(format!("{problem:#}")))?;
    let known = known.iter().map(Hash::to_hex).collect();
    let removed = leftovers::remove_unknown(&paths.data_path, &known).map_err(wrong)?;
    if removed > 0 {
        debug!(files = removed, "removed files of blobs that the index does not know");
    }
    Ok(Opened { store, folder: folder.to_owned(), paths, collector, tagging: Arc::clone(&tagging) })
}
