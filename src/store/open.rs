//! Opening the file, or creating it when there is none.
//!
//! A folder comes in; an open database goes out, or an [`OpenError`] that says which file and what to do.
//! A file that exists is never replaced and, when it is refused, not changed. A new file gets its name
//! only when it is whole and on disk; so a file that exists and is empty is always damage.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use ::redb::backends::{FileBackend, InMemoryBackend};
use ::redb::{Builder, Database, DatabaseError, Durability, Error, ReadableDatabase, ReadableTable};
use peat_mesh_core::guard;

use super::commit::Batch;
use super::held::Held;
use super::log::{self, Entry, Log, Turn};
use super::migrations::{self, FORMAT};
use super::redb::Fault;
use super::tables::CHANGES;

/// The name of the file within its folder.
pub(super) const FILE: &str = "documents.redb";
const NEW_FILE: &str = "documents.redb.new";
/// Memory for pages of the file, in bytes.
const CACHE_SIZE_BYTES: usize = 16_777_216;

/// Why the store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has the file open, or this one has it open already.
    #[error(
        "{} is in use: stop the process that has it open, or give this node a data folder of its own",
        path.display()
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// What is in the file is not a whole store.
    #[error(
        "{} is damaged: {reason}. It was left as it was; move it away, and documents.wal beside it, to start empty and \
         let the peers fill it, or restore a backup of both",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// What is in the log beside the file is not whole.
    #[error(
        "{} is damaged: {reason}. It holds the newest writes of this node, which documents.redb beside it does not \
         have yet. Both files were left as they were; move the log away to start without those writes and let the \
         peers that have them give them back, or restore a backup of both files",
        path.display()
    )]
    LogDamaged {
        /// The log.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The log goes on from something that the file beside it does not have.
    #[error(
        "{} does not go with the documents.redb beside it, which is another one or an older one: bring the file back \
         that belongs to it, or move the log away to start without what only the log has",
        path.display()
    )]
    LogOfAnother {
        /// The log.
        path: PathBuf,
    },
    /// A newer version of this program wrote the file.
    #[error(
        "{} has format {found}, and this version of peat-mesh reads up to {known}: run the newer version \
         that wrote it, or move the file and documents.wal beside it away to start empty and let the peers fill it",
        path.display()
    )]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format that is understood here.
        known: u32,
    },
    /// The data folder is not there and cannot be made.
    #[error("the data folder {} cannot be created: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file or its folder may not be written.
    #[error(
        "{} cannot be written: {source}; make it writable for the user that runs this node",
        path.display()
    )]
    NotWritable {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The disk is full.
    #[error("no space for {}: {source}; free some and start again", path.display())]
    NoSpace {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The disk or the file system failed in another way.
    #[error("{} could not be opened: {reason}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause in words.
        reason: String,
    },
}

/// A database and the log beside it.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) database: Database,
    #[cfg_attr(not(test), expect(dead_code, reason = "tests fill the disk through it"))]
    pub(super) held: Held,
    log: Mutex<Log>,
}

impl Opened {
    pub(super) fn log(&self) -> Turn<'_> {
        Turn::new(&self.log)
    }
}

/// What is done when there is no log beside the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// An empty one is made: the store is new, or somebody has moved the log away.
    Made,
    /// It is an error: it was there a moment ago.
    Refused,
}

/// Whether an I/O error means that there is no space left.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

impl OpenError {
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Self::NotWritable { path, source },
            _ if is_full(&source) => Self::NoSpace { path, source },
            // How redb and a read behind the end say that the content is wrong.
            ErrorKind::InvalidData | ErrorKind::UnexpectedEof => Self::damaged(&path, &source),
            _ => Self::Io { path, reason: source.to_string() },
        }
    }

    fn damaged(path: &Path, reason: &impl ToString) -> Self {
        Self::Damaged { path: path.to_owned(), reason: reason.to_string() }
    }

    fn redb(path: &Path, error: Error) -> Self {
        match error {
            Error::DatabaseAlreadyOpen => Self::InUse { path: path.to_owned() },
            Error::Io(source) => Self::io(path, source),
            Error::Backend(_) | Error::PreviousIo | Error::Unsupported => {
                Self::Io { path: path.to_owned(), reason: error.to_string() }
            }
            // A table that is missing or has other types, a checksum, an old layout.
            other => Self::damaged(path, &other),
        }
    }
}

/// Opens the store in a folder, after making the folder and the file when they are not there.
pub(super) fn open(folder: &Path) -> Result<Opened, OpenError> {
    fs::create_dir_all(folder).map_err(|source| match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => OpenError::io(folder, source),
        _ => OpenError::Folder { path: folder.to_owned(), source },
    })?;
    let path = folder.join(FILE);
    if !exists(&path)? {
        create(folder, &path)?;
    }
    open_file(&path, Missing::Made)
}

/// Opens a file that exists.
pub(super) fn open_file(path: &Path, missing: Missing) -> Result<Opened, OpenError> {
    tracing::info!(file = %path.display(), "Opening redb database with cache_size={CACHE_SIZE_BYTES} bytes");
    let file =
        OpenOptions::new().read(true).write(true).open(path).map_err(|source| OpenError::io(path, source))?;
    let len = file.metadata().map_err(|source| OpenError::io(path, source))?.len();
    if len == 0 {
        return Err(OpenError::damaged(path, &"it is empty, 0 bytes"));
    }
    let backend = FileBackend::new(file).map_err(|error| OpenError::redb(path, error.into()))?;
    #[cfg(test)]
    let backend = super::disk::Tap(backend);
    let held = Held::over(backend);
    // redb may panic on pages that it trusts; what it wrote until then is only held.
    let tried = guard::caught(|| {
        let database = load(path, held.clone())?;
        check(path, &database)?;
        migrations::run(&database).map_err(|error| OpenError::redb(path, error))?;
        let log = take_log(path, &database, missing)?;
        Ok((database, log))
    });
    let (database, log) =
        tried.map_err(|panic| OpenError::damaged(path, &format!("reading it failed with {panic:?}")))??;
    held.release().map_err(|source| OpenError::io(path, source))?;
    Ok(Opened { database, held, log: Mutex::new(log) })
}

/// Opens the log and shows what it has and the database has not. That needs no space on the disk: it is in the log
/// until the next commit, which makes the database durable with it.
fn take_log(path: &Path, database: &Database, missing: Missing) -> Result<Log, OpenError> {
    let failed = |error| OpenError::redb(path, error);
    let log_path = path.with_file_name(log::FILE);
    if missing == Missing::Made && !exists(&log_path)? {
        // A log that was moved away does not go with what is written from here on.
        migrations::number_store_anew(database).map_err(failed)?;
        Log::create(path.parent().unwrap_or(Path::new("")))?;
    }
    let store = migrations::store_number(database).map_err(failed)?;
    let last_seq = last_seq(database).map_err(failed)?;
    let (log, entries) = Log::open(path.parent().unwrap_or(Path::new("")), store, last_seq)?;
    if !entries.is_empty() {
        show(database, &entries).map_err(|fault| match fault {
            Fault::Redb(error) => failed(error),
            Fault::Store(error) => OpenError::LogDamaged { path: log_path, reason: error.to_string() },
        })?;
        tracing::info!(commits = entries.len(), "the newest writes were in the log");
    }
    Ok(log)
}

fn last_seq(database: &Database) -> Result<u64, Error> {
    let changes = database.begin_read()?.open_table(CHANGES)?;
    Ok(changes.last()?.map_or(0, |(seq, _)| seq.value()))
}

fn show(database: &Database, entries: &[Entry]) -> Result<(), Fault> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::None)?;
    let mut batch = Batch::new(&transaction)?;
    for write in entries.iter().flat_map(|entry| &entry.writes) {
        batch.apply(write)?;
    }
    batch.finish()?;
    transaction.commit()?;
    Ok(())
}

fn load(path: &Path, held: Held) -> Result<Database, OpenError> {
    let shown = path.to_owned();
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_SIZE_BYTES);
    // Without it, redb believes what a file says that was closed in order, and shows turned bits to readers.
    builder.set_check_integrity_on_open(true);
    builder.set_repair_callback(move |repair| {
        if repair.progress() == 0.0 {
            tracing::debug!(file = %shown.display(), "checking every page of the store");
        }
    });
    builder.create_with_backend(held).map_err(|error: DatabaseError| OpenError::redb(path, error.into()))
}

fn check(path: &Path, database: &Database) -> Result<(), OpenError> {
    let failed = |error| OpenError::redb(path, error);
    match migrations::format(database).map_err(failed)? {
        None => Err(OpenError::damaged(path, &"it is a redb file of another program")),
        Some(found) if found > FORMAT => {
            Err(OpenError::NewerFormat { path: path.to_owned(), found, known: FORMAT })
        }
        Some(FORMAT) => migrations::check_tables(database).map_err(failed),
        Some(_) => Ok(()),
    }
}

/// Makes an empty store, under another name until it is whole and on disk.
///
/// The lock keeps two processes from making it at once; the one that comes later finds the file.
fn create(folder: &Path, path: &Path) -> Result<(), OpenError> {
    let new_path = folder.join(NEW_FILE);
    let failed = |source| OpenError::io(&new_path, source);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&new_path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(OpenError::InUse { path: new_path });
        }
        // A file system without locks; redb warns about it as well.
        Err(TryLockError::Error(_)) => {}
    }
    if exists(path)? {
        return fs::remove_file(&new_path).or_else(|error| match error.kind() {
            ErrorKind::NotFound => Ok(()),
            _ => Err(failed(error)),
        });
    }
    let bytes = empty_store().map_err(|error| OpenError::redb(&new_path, error))?;
    file.set_len(0).map_err(failed)?;
    (&file).write_all(&bytes).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    fs::rename(&new_path, path).map_err(failed)?;
    sync_folder(folder).map_err(|source| OpenError::io(folder, source))
}

/// The bytes of a store without documents.
fn empty_store() -> Result<Vec<u8>, Error> {
    let held = Held::over(InMemoryBackend::new());
    let database = Builder::new().create_with_backend(held.clone())?;
    migrations::run(&database)?;
    drop(database);
    Ok(held.to_bytes()?)
}

/// Whether something has this name, a link that leads nowhere included.
fn exists(path: &Path) -> Result<bool, OpenError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(OpenError::io(path, error)),
    }
}

/// Brings the new name of a file to disk.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests;
