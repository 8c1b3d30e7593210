//! The data folder: made when it is not there, and never somewhere else without saying so.

use std::io;
use std::path::{Path, PathBuf};

use tracing::info;

use crate::config::DataFolder;

/// Why there is no data folder.
#[derive(Debug, thiserror::Error)]
#[error(
    "the data folder {path} cannot be used: {cause}. Set PEAT_DATA_DIR to a folder this user may write to"
)]
pub struct FolderError {
    path: String,
    #[source]
    cause: io::Error,
}

/// The folder to use, made if need be.
pub(super) fn prepare(folder: &DataFolder) -> Result<PathBuf, FolderError> {
    let made = make(&folder.path);
    match (made, &folder.fallback) {
        (Ok(()), _) => Ok(folder.path.clone()),
        (Err(cause), Some(fallback)) => {
            make(fallback).map_err(|cause| wrong(fallback, cause))?;
            info!(
                "PEAT_DATA_DIR is not set and {} cannot be used ({cause}); data is kept in {}",
                folder.path.display(),
                fallback.display()
            );
            Ok(fallback.clone())
        }
        (Err(cause), None) => Err(wrong(&folder.path, cause)),
    }
}

fn wrong(path: &Path, cause: io::Error) -> FolderError {
    FolderError { path: path.display().to_string(), cause }
}

fn make(path: &Path) -> io::Result<()> {
    std::fs::create_dir_all(path)?;
    // A folder that is there may still be read-only.
    let probe = path.join(".peat-writable");
    std::fs::write(&probe, b"")?;
    std::fs::remove_file(&probe)
}
