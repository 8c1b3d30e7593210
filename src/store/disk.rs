//! A disk for tests that loses what was not synced, and fails when it is told to.
//!
//! The files are real ones and stand for the page cache: what a killed process leaves. Beside them, for the database and for
//! the log, is kept what has really reached the disk: what was there at the last sync, and of the writes since then any
//! part, block by block, when the power is lost.

mod tests;

use std::cell::RefCell;
use std::io;
use std::ops::Bound;

use ::redb::{BackendError, StorageBackend};

/// Asked again and again for a number at random.
pub(super) type Chance<'a> = &'a mut dyn FnMut() -> u64;

#[derive(Debug)]
enum Step {
    Write(u64, Vec<u8>),
    SetLen(u64),
}

/// One file as the disk has it.
#[derive(Debug, Default)]
pub(super) struct Disk {
    durable: Vec<u8>,
    unsynced: Vec<Step>,
    /// Whether writes are refused, as when there is no space.
    pub(super) is_full: bool,
    /// Whether the next sync fails.
    pub(super) fails_sync: bool,
}

impl Disk {
    fn new(durable: Vec<u8>) -> Self {
        Self { durable, ..Self::default() }
    }

    fn take(&mut self, step: Step) -> io::Result<()> {
        if self.is_full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.unsynced.push(step);
        Ok(())
    }

    /// What a sync that fails was to write stays to be written.
    fn sync(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.fails_sync) {
            return Err(io::Error::other("the disk does not answer"));
        }
        for step in self.unsynced.drain(..) {
            apply(&mut self.durable, &step);
        }
        Ok(())
    }

    /// What is there after the power was lost, when the disk writes blocks of so many bytes as a whole.
    fn lose_power(&mut self, chance: Chance<'_>, block: usize) -> &[u8] {
        let (all, none) = (chance().is_multiple_of(4), chance().is_multiple_of(4));
        for step in self.unsynced.drain(..) {
            let Step::Write(offset, data) = &step else {
                apply(&mut self.durable, &step);
                continue;
            };
            let mut from = 0;
            while from < data.len() {
                let at = *offset as usize + from;
                let to = data.len().min((at / block + 1) * block - *offset as usize);
                if all || !none && chance().is_multiple_of(2) {
                    apply(&mut self.durable, &Step::Write(at as u64, data[from..to].to_vec()));
                }
                from = to;
            }
        }
        (self.is_full, self.fails_sync) = (false, false);
        &self.durable
    }
}

fn apply(bytes: &mut Vec<u8>, step: &Step) {
    match step {
        Step::SetLen(len) => bytes.resize(*len as usize, 0),
        Step::Write(at, data) => {
            let end = *at as usize + data.len();
            bytes.resize(bytes.len().max(end), 0);
            bytes[*at as usize..end].copy_from_slice(data);
        }
    }
}

/// The disk under the database and the log of a store.
#[derive(Debug, Default)]
pub(super) struct Disks {
    pub(super) database: Disk,
    pub(super) log: Disk,
    /// Whether the process is killed when it syncs the log.
    pub(super) dies_at_sync: bool,
}

thread_local! {
    /// The disk under the store that this thread uses; without one, files are what they are.
    static DISKS: RefCell<Option<Disks>> = const { RefCell::new(None) };
}

/// Does something with the disk of this thread, if there is one.
pub(super) fn with<T>(act: impl FnOnce(&mut Disks) -> T) -> Option<T> {
    DISKS.with_borrow_mut(|disks| disks.as_mut().map(act))
}

/// What the disk says of a write to the log.
pub(super) fn log_is_written(offset: u64, bytes: &[u8]) -> io::Result<()> {
    with(|disks| disks.log.take(Step::Write(offset, bytes.to_vec()))).unwrap_or(Ok(()))
}

/// What it says of a sync of the log.
pub(super) fn log_is_synced() -> io::Result<()> {
    let sync = |disks: &mut Disks| {
        if std::mem::take(&mut disks.dies_at_sync) {
            // Whoever is killed here writes nothing any more.
            (disks.database.is_full, disks.log.is_full) = (true, true);
            return Err(io::Error::other("killed"));
        }
        disks.log.sync()
    };
    with(sync).unwrap_or(Ok(()))
}

/// The database's file, with the disk under it.
#[derive(Debug)]
pub(super) struct Tap<B>(pub(super) B);

fn tap(act: impl FnOnce(&mut Disk) -> io::Result<()>) -> io::Result<()> {
    with(|disks| act(&mut disks.database)).unwrap_or(Ok(()))
}

impl<B: StorageBackend> StorageBackend for Tap<B> {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        tap(|disk| disk.take(Step::SetLen(len)))?;
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        tap(Disk::sync)?;
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        tap(|disk| disk.take(Step::Write(offset, data.to_vec())))?;
        self.0.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.0.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.query_lock_range(start, end)
    }
}
