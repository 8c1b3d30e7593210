//! The log beside the database: small commits are on disk here before the database itself writes its pages.
//!
//! A commit of redb writes a dozen pages and more for one small document. So a small commit is appended here, with one
//! write and one fsync, and only then shown to readers by a commit of redb that is not durable yet. Now and then one that
//! is durable takes over all of them, and the log starts again at its beginning. Opening the store brings back what
//! the database has not taken over: see [`Log::open`].
//!
//! ```text
//!  0       4        8           16        24        40
//! +-------+--------+-----------+---------+---------+------------------------+------------------+
//! | magic | bytes  | seq       | store   | digest  | the writes,            | zeros, up to the |
//! | PMLG  | of the | before it | u64     | 16      | see `record`           | next 4,096 bytes |
//! |       | writes | u64       |         |         |                        |                  |
//! +-------+--------+-----------+---------+---------+------------------------+------------------+
//! ```
//! Numbers are little endian. `store` is the number of the database that the log belongs to. The digest is the beginning of
//! SHA-256 over the place in the file (u64), what stands before the digest, and the writes.
//!
//! A record is synced before the next one is written. So only the last one can be half written, and a whole one behind one
//! that is not whole is damage. No two records share a block of 4,096 bytes: one damaged block is one damaged record.

mod record;
#[cfg(test)]
mod tests;

use std::fs::{self, File, OpenOptions};
#[cfg(test)]
use std::io::ErrorKind;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use peat_mesh_core::store::DocWrite;
use sha2::{Digest, Sha256};

use super::open::{self, OpenError};

/// The name of the file within its folder.
pub(super) const FILE: &str = "documents.wal";
const NEW_FILE: &str = "documents.wal.new";
/// How long the file is, always.
const FILE_BYTES: usize = 1024 * 1024;
/// Larger commits are better written to the database at once.
const RECORD_BYTES_MAX: usize = 128 * 1024;
/// After so many records the database should take over, when nobody waits.
const SETTLE_RECORDS_COUNT: usize = 64;
/// The same in bytes of the file.
const SETTLE_BYTES: usize = FILE_BYTES / 2;
const BLOCK_BYTES: usize = 4096;
const MAGIC: &[u8; 4] = b"PMLG";
const HEADER_BYTES: usize = 40;
const DIGEST_AT: usize = 24;

/// A log that is open for appending.
#[derive(Debug)]
pub(super) struct Log {
    file: File,
    /// The number of the database.
    store: u64,
    /// Where the next record goes.
    end: usize,
    /// Where the record begins whose commit is not over.
    begun: Option<usize>,
    records_count: usize,
    /// Whether what is in the file has to be taken over before anything is appended.
    is_closed: bool,
    #[cfg(test)]
    failing: bool,
}

/// The log in the hands of one commit. What was appended and not confirmed is taken back at the end, however that comes.
#[derive(Debug)]
pub(super) struct Turn<'a>(MutexGuard<'a, Log>);

impl<'a> Turn<'a> {
    pub(super) fn new(log: &'a Mutex<Log>) -> Self {
        Self(log.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Deref for Turn<'_> {
    type Target = Log;

    fn deref(&self) -> &Log {
        &self.0
    }
}

impl DerefMut for Turn<'_> {
    fn deref_mut(&mut self) -> &mut Log {
        &mut self.0
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.take_back();
    }
}

/// One commit, as it is in the log.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The sequence number before it.
    pub(super) after: u64,
    pub(super) writes: Vec<DocWrite>,
}

impl Log {
    /// Opens the log in a folder. Returns what the database, which has everything up to `last_seq`, does not have yet.
    ///
    /// When there is something, it is written and synced once more, since whoever was stopped may not have come to that; and
    /// [`Log::append`] takes nothing before [`Log::restart`], so nothing is ever written behind it.
    ///
    /// # Errors
    /// When there is no log or it cannot be read, is damaged, or does not go with the database.
    pub(super) fn open(folder: &Path, store: u64, last_seq: u64) -> Result<(Self, Vec<Entry>), OpenError> {
        let path = folder.join(FILE);
        let failed = |source| OpenError::io(&path, source);
        let mut file = OpenOptions::new().read(true).write(true).open(&path).map_err(failed)?;
        let len = file.metadata().map_err(failed)?.len();
        if len != FILE_BYTES as u64 {
            let reason = format!("it has {len} bytes and should have {FILE_BYTES}");
            return Err(OpenError::LogDamaged { path, reason });
        }
        let mut bytes = vec![0; FILE_BYTES];
        file.read_exact(&mut bytes).map_err(failed)?;
        let (found, end) = read(&bytes, store, last_seq, &path)?;
        let is_closed = !found.is_empty();
        let mut log = Self {
            file,
            store,
            end: 0,
            begun: None,
            records_count: 0,
            is_closed,
            #[cfg(test)]
            failing: false,
        };
        if is_closed {
            log.write(&bytes[..end]).map_err(failed)?;
        }
        Ok((log, found))
    }

    /// Makes an empty log in a folder, under another name until it is whole and on disk.
    pub(super) fn create(folder: &Path) -> Result<(), OpenError> {
        let new_path = folder.join(NEW_FILE);
        let failed = |source| OpenError::io(&new_path, source);
        let file = File::create(&new_path).map_err(failed)?;
        // Without blocks of the disk: those come with what is written.
        file.set_len(FILE_BYTES as u64).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        fs::rename(&new_path, folder.join(FILE)).map_err(failed)?;
        open::sync_folder(folder).map_err(|source| OpenError::io(folder, source))
    }

    /// Appends a commit and returns when it is on disk. Says whether it took it: it does not when the commit is large or
    /// the log is full. `after` is the sequence number before the commit.
    ///
    /// When the commit is over, [`Log::confirm`] says so.
    ///
    /// # Errors
    /// When the disk refuses. What is in the file is not known then, and nothing more is taken before
    /// [`Log::restart`].
    pub(super) fn append(&mut self, after: u64, writes: &[DocWrite]) -> io::Result<bool> {
        if self.is_closed || FILE_BYTES - self.end < BLOCK_BYTES {
            return Ok(false);
        }
        let bytes_max = RECORD_BYTES_MAX.min(FILE_BYTES - self.end) - HEADER_BYTES;
        let Some(body) = record::encode(writes, bytes_max) else { return Ok(false) };
        let mut bytes = Vec::with_capacity((HEADER_BYTES + body.len()).next_multiple_of(BLOCK_BYTES));
        bytes.extend(MAGIC);
        bytes.extend((body.len() as u32).to_le_bytes());
        bytes.extend(after.to_le_bytes());
        bytes.extend(self.store.to_le_bytes());
        bytes.extend(digest(self.end, &bytes, &body));
        bytes.extend(body);
        bytes.resize(bytes.len().next_multiple_of(BLOCK_BYTES), 0);
        self.begun = Some(self.end);
        if let Err(problem) = self.write(&bytes) {
            self.is_closed = true;
            return Err(problem);
        }
        self.end += bytes.len();
        Ok(true)
    }

    /// The commit that was appended can be read from the database.
    pub(super) fn confirm(&mut self) {
        self.begun = None;
        self.records_count += 1;
    }

    /// The commit that was appended has failed after all: nobody is to find it at the next start, if the disk
    /// allows that much. Nothing is taken after it.
    fn take_back(&mut self) {
        let Some(at) = self.begun.take() else { return };
        (self.end, self.is_closed) = (at, true);
        if let Err(problem) = self.write(&[0; BLOCK_BYTES]) {
            tracing::warn!(cause = %problem, "a commit that failed could not be taken back from the log");
        }
    }

    /// Writes at the end and syncs.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        #[cfg(test)]
        if self.failing {
            return Err(ErrorKind::StorageFull.into());
        }
        #[cfg(test)]
        super::disk::log_is_written(self.end as u64, bytes)?;
        self.file.seek(SeekFrom::Start(self.end as u64))?;
        self.file.write_all(bytes)?;
        #[cfg(test)]
        super::disk::log_is_synced()?;
        self.file.sync_data()
    }

    /// The database is durable with everything that is in the log: the next record goes to its beginning.
    pub(super) fn restart(&mut self) {
        (self.end, self.begun, self.records_count, self.is_closed) = (0, None, 0, false);
    }

    /// Whether the database should take over what is here, when nobody waits.
    pub(super) fn wants_settling(&self) -> bool {
        self.records_count >= SETTLE_RECORDS_COUNT || self.end >= SETTLE_BYTES
    }

    /// Makes every write fail as on a full disk.
    #[cfg(test)]
    pub(super) fn fail_writes(&mut self) {
        self.failing = true;
    }
}

fn digest(at: usize, header: &[u8], body: &[u8]) -> [u8; 16] {
    let hash = Sha256::new().chain_update((at as u64).to_le_bytes()).chain_update(header).chain_update(body);
    let mut digest = [0; 16];
    digest.copy_from_slice(&hash.finalize()[..16]);
    digest
}

/// A record whose digest is right.
struct Whole<'a> {
    after: u64,
    store: u64,
    body: &'a [u8],
}

impl<'a> Whole<'a> {
    fn read(bytes: &'a [u8], at: usize) -> Option<Self> {
        let (header, rest) = bytes.get(at..)?.split_first_chunk::<HEADER_BYTES>()?;
        let number = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&header[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        if header[..4] != *MAGIC {
            return None;
        }
        let len = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
        let body = rest.get(..len)?;
        let is_whole = digest(at, &header[..DIGEST_AT], body) == header[DIGEST_AT..];
        is_whole.then(|| Self { after: number(8), store: number(16), body })
    }

    fn blocks_bytes(&self) -> usize {
        (HEADER_BYTES + self.body.len()).next_multiple_of(BLOCK_BYTES)
    }
}

/// The records that continue a database with everything up to `last_seq`, and where the last of them ends.
fn read(bytes: &[u8], store: u64, last_seq: u64, path: &Path) -> Result<(Vec<Entry>, usize), OpenError> {
    let damaged = |reason: String| OpenError::LogDamaged { path: path.to_owned(), reason };
    let of_another = || OpenError::LogOfAnother { path: path.to_owned() };
    let mut found: Vec<Entry> = Vec::new();
    let (mut at, mut seq) = (0, last_seq);
    let mut last_after = None;
    while let Some(record) = Whole::read(bytes, at) {
        if record.store != store || record.after > seq {
            return Err(of_another());
        }
        // What is left of an earlier round.
        if last_after.is_some_and(|last| record.after <= last) {
            break;
        }
        last_after = Some(record.after);
        // What is below was taken over already.
        if record.after == seq {
            let writes = record::decode(record.body)
                .ok_or_else(|| damaged(format!("the record at byte {at} makes no sense")))?;
            seq = writes.last().map_or(seq, |write| write.seq);
            found.push(Entry { after: record.after, writes });
        }
        at += record.blocks_bytes();
    }
    for behind in (at..bytes.len()).step_by(BLOCK_BYTES).skip(1) {
        match Whole::read(bytes, behind) {
            Some(record) if record.store != store => return Err(of_another()),
            Some(record) if record.after >= seq => {
                let reason =
                    format!("the record at byte {at} is not whole, and one at byte {behind} follows it");
                return Err(damaged(reason));
            }
            _ => {}
        }
    }
    Ok((found, at))
}
