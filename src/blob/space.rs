//! How much of the disk blobs take: what they leave to documents, and what they may take in all.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::handle::{BlobCounts, BlobError, BlobHash};

/// Bytes that blobs leave free on their disk.
const RESERVE_BYTES: u64 = 32 * 1024 * 1024;
/// After so many bytes of a blob the disk is looked at again.
pub(super) const LOOK_EVERY_BYTES: u64 = 1024 * 1024;

pub(super) fn full() -> BlobError {
    BlobError::Full { reserve_bytes: RESERVE_BYTES }
}

/// The disk of a folder, and what of it is taken.
#[derive(Debug)]
pub(super) struct Space {
    folder: PathBuf,
    bytes_max: Option<u64>,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    blobs: HashMap<BlobHash, u64>,
    /// Of all blobs.
    bytes: u64,
    /// Of what is on its way.
    reserved: u64,
}

impl Taken {
    fn keep(&mut self, hash: BlobHash, bytes: u64) {
        let before = self.blobs.insert(hash, bytes).unwrap_or_default();
        self.bytes = self.bytes - before + bytes;
    }
}

impl Space {
    /// The space of a folder; `bytes_max` is what all blobs may take in it.
    pub(super) fn new(folder: PathBuf, bytes_max: Option<u64>) -> Self {
        Self { folder, bytes_max, taken: Mutex::default() }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether so many bytes fit on the disk.
    pub(super) fn check(&self, bytes: u64) -> Result<(), BlobError> {
        // A file system that does not say how much is free has to say when it is full.
        let free = rustix::fs::statvfs(&self.folder).map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
        match free {
            Ok(free) if free < bytes.saturating_add(RESERVE_BYTES) => Err(full()),
            _ => Ok(()),
        }
    }

    /// Room for so many bytes that are about to come, until the result is dropped.
    pub(super) fn reserve(self: &Arc<Self>, bytes: u64) -> Result<Reservation, BlobError> {
        let mut reservation = Reservation { space: Arc::clone(self), bytes: 0 };
        reservation.grow(bytes)?;
        Ok(reservation)
    }

    /// Notes how much a blob takes.
    pub(super) fn keep(&self, hash: BlobHash, bytes: u64) {
        self.taken().keep(hash, bytes);
    }

    /// What is taken.
    pub(super) fn counts(&self) -> BlobCounts {
        let taken = self.taken();
        let blobs = taken.blobs.len() as u64;
        BlobCounts { blobs, bytes: taken.bytes, bytes_max: self.bytes_max, ..BlobCounts::default() }
    }

    /// Notes that a blob is gone.
    pub(super) fn gone(&self, hash: BlobHash) {
        let mut taken = self.taken();
        let before = taken.blobs.remove(&hash).unwrap_or_default();
        taken.bytes -= before;
    }
}

/// Room that is kept free for what is on its way.
#[derive(Debug)]
pub(super) struct Reservation {
    space: Arc<Space>,
    bytes: u64,
}

impl Reservation {
    /// Makes room for more.
    pub(super) fn grow(&mut self, bytes: u64) -> Result<(), BlobError> {
        self.space.check(bytes)?;
        let mut taken = self.space.taken();
        if let Some(max_bytes) = self.space.bytes_max
            && taken.bytes.saturating_add(taken.reserved).saturating_add(bytes) > max_bytes
        {
            return Err(BlobError::Quota { max_bytes });
        }
        taken.reserved = taken.reserved.saturating_add(bytes);
        self.bytes = self.bytes.saturating_add(bytes);
        Ok(())
    }

    /// Notes how much the blob takes that has come into this room, and gives the room back: at no moment do its bytes
    /// count twice, or not at all.
    pub(super) fn keep(mut self, hash: BlobHash, bytes: u64) {
        let mut taken = self.space.taken();
        taken.keep(hash, bytes);
        taken.reserved = taken.reserved.saturating_sub(self.bytes);
        drop(taken);
        self.bytes = 0;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut taken = self.space.taken();
        taken.reserved = taken.reserved.saturating_sub(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blobs_and_what_is_on_its_way_take_no_more_than_they_may() {
        let space = Arc::new(Space::new(std::env::temp_dir(), Some(1_000)));
        let [a, b] = [1, 2].map(|byte| BlobHash([byte; 32]));
        space.keep(a, 300);
        space.keep(a, 400);
        let mut coming = space.reserve(500).unwrap();
        assert!(matches!(coming.grow(101), Err(BlobError::Quota { max_bytes: 1_000 })));
        coming.grow(100).unwrap();
        assert!(space.reserve(1).is_err());
        space.keep(b, 600);
        drop(coming);
        assert!(space.reserve(1).is_err());
        space.gone(a);
        space.gone(a);
        assert!(space.reserve(400).is_ok());
        assert!(space.reserve(u64::MAX).is_err());
    }

    #[test]
    fn what_was_on_its_way_counts_once_when_it_is_kept() {
        let space = Arc::new(Space::new(std::env::temp_dir(), Some(1_000)));
        let room = space.reserve(600).unwrap();
        let other = space.reserve(300).unwrap();
        room.keep(BlobHash([1; 32]), 500);
        assert!(space.reserve(201).is_err());
        drop(space.reserve(200).unwrap());
        drop(other);
        assert!(space.reserve(500).is_ok());
        assert_eq!(space.counts().bytes, 500);
    }
}
