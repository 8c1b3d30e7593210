//! How much of the disk blobs leave alone, so that documents can still be written when blobs have filled it.

use std::path::PathBuf;

use crate::handle::BlobError;

/// Bytes that blobs leave free on their disk.
const RESERVE_BYTES: u64 = 32 * 1024 * 1024;
/// After so many bytes of a blob the disk is looked at again.
pub(super) const LOOK_EVERY_BYTES: u64 = 1024 * 1024;

pub(super) fn full() -> BlobError {
    BlobError::Full { reserve_bytes: RESERVE_BYTES }
}

/// The disk of a folder.
#[derive(Debug)]
pub(super) struct Space(PathBuf);

impl Space {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// Whether so many bytes fit.
    pub(super) fn check(&self, bytes: u64) -> Result<(), BlobError> {
        // A file system that does not say how much is free has to say when it is full.
        let free = rustix::fs::statvfs(&self.0).map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
        match free {
            Ok(free) if free < bytes.saturating_add(RESERVE_BYTES) => Err(full()),
            _ => Ok(()),
        }
    }
}
