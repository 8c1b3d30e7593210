//! Opening the folder of blobs: a folder comes in, an open store goes out, or an [`OpenError`] that names the
//! folder and says what to do.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::StreamExt;
use iroh_blobs::Hash;
use iroh_blobs::api::blobs::BlobStatus;
use iroh_blobs::store::fs::FsStore;
use iroh_blobs::store::fs::options::Options;
use peat_mesh_core::store::Store;
use tracing::{debug, info};

use super::references::References;
use super::{Opened, PARTIAL, WHOLE, collect, leftovers, rpc_failed};
use crate::config::Attachments;
use crate::handle::{BlobError, BlobHash};

/// The store's index, within the folder.
const INDEX: &str = "blobs.db";
/// A grace time below this may be meant in other units, and is told of; in seconds.
const GRACE_SECS_SHORT: u64 = 3_600;

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
        "the blobs in {} cannot be opened: {reason}. If they are damaged, move the folder away to start without blobs \
         (peers still give those that they have), or restore a backup",
        path.display()
    )]
    Store {
        /// The folder.
        path: PathBuf,
        /// The cause in words.
        reason: String,
    },
    /// The index of what documents name cannot be opened.
    #[error(
        "the index of the blobs that documents name, {}, cannot be opened: {reason}. Move it away, if \
         that means that it is damaged: it is made anew from the documents, and only blobs that are pinned and that no \
         document names any more lose their pin. Anything else, such as a full disk, is to be mended first",
        path.display()
    )]
    References {
        /// The file.
        path: PathBuf,
        /// The cause in words.
        reason: String,
    },
}

/// The lock of the document store, which is opened first, keeps a second process out.
pub(super) async fn open(
    folder: &Path,
    documents: Arc<dyn Store>,
    attachments: Attachments,
) -> Result<Opened, OpenError> {
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
    let grace_secs = attachments.grace_secs;
    if (1..GRACE_SECS_SHORT).contains(&grace_secs) {
        info!(
            "PEAT_BLOB_GRACE_SECS={grace_secs}: a blob that no document names is dropped after {grace_secs} seconds. 7 \
             days are 604800"
        );
    }
    let references = References::open(folder, documents, attachments)?;
    let store = FsStore::load_with_opts(folder.join(INDEX), options).await;
    let broken = |reason| OpenError::Store { path: folder.to_owned(), reason };
    let store = store.map_err(|problem| broken(format!("{problem:#}")))?;
    let known = store.blobs().list().hashes().await.map_err(|problem| broken(format!("{problem:#}")))?;
    let known = known.iter().map(Hash::to_hex).collect();
    let removed = leftovers::remove_unknown(&paths.data_path, &known).map_err(wrong)?;
    if removed > 0 {
        debug!(files = removed, "removed files of blobs that the index does not know");
    }
    let held = held(&store).await.map_err(|problem| broken(problem.to_string()))?;
    let (folder, tagging) = (folder.to_owned(), Arc::clone(&tagging));
    Ok(Opened { held, store, folder, paths, collector, tagging, references })
}

/// The blobs with a tag, and how many bytes of them are here.
async fn held(store: &FsStore) -> Result<Vec<(BlobHash, u64)>, BlobError> {
    let mut held = Vec::new();
    for (prefix, is_whole) in [(WHOLE, true), (PARTIAL, false)] {
        let tags = store.tags().list_prefix(prefix).await.map_err(rpc_failed)?;
        for tag in tags.collect::<Vec<_>>().await {
            let hash = tag.map_err(rpc_failed)?.hash;
            let bytes = match store.status(hash).await.map_err(rpc_failed)? {
                BlobStatus::Complete { size } => size,
                BlobStatus::Partial { .. } if !is_whole => {
                    store.observe(hash).await.map_err(super::failed)?.total_bytes()
                }
                _ => continue,
            };
            held.push((BlobHash(*hash.as_bytes()), bytes));
        }
    }
    Ok(held)
}
