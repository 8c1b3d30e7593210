//! Opening the file, or creating it when there is none.
//!
//! A folder comes in; an open database goes out, or an [`OpenError`] that says which file and what to do.
//! A file that exists is never replaced and, when it is refused, not changed. A new file gets its name
//! only when it is whole and on disk; so a file that exists and is empty is always damage.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use ::redb::backends::{FileBackend, InMemoryBackend};
use ::redb::{Builder, Database, DatabaseError, Error};
use peat_mesh_core::guard;

use super::held::Held;
use super::migrations::{self, FORMAT};

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
        "{} is damaged: {reason}. It was left as it was; move it away to start empty and let the peers \
         fill it, or restore a backup",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A newer version of this program wrote the file.
    #[error(
        "{} has format {found}, and this version of peat-mesh reads up to {known}: run the newer version \
         that wrote it, or move the file away to start empty and let the peers fill it",
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

/// Whether an I/O error means that there is no space left.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

impl OpenError {
    fn io(path: &Path, source: io::Error) -> Self {
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
pub(super) fn open(folder: &Path) -> Result<(Database, Held), OpenError> {
    fs::create_dir_all(folder).map_err(|source| match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => OpenError::io(folder, source),
        _ => OpenError::Folder { path: folder.to_owned(), source },
    })?;
    let path = folder.join(FILE);
    if !exists(&path)? {
        create(folder, &path)?;
    }
    open_file(&path)
}

/// Opens a file that exists.
pub(super) fn open_file(path: &Path) -> Result<(Database, Held), OpenError> {
    tracing::info!(file = %path.display(), "Opening redb database with cache_size={CACHE_SIZE_BYTES} bytes");
    let file =
        OpenOptions::new().read(true).write(true).open(path).map_err(|source| OpenError::io(path, source))?;
    let len = file.metadata().map_err(|source| OpenError::io(path, source))?.len();
    if len == 0 {
        return Err(OpenError::damaged(path, &"it is empty, 0 bytes"));
    }
    let backend = FileBackend::new(file).map_err(|error| OpenError::redb(path, error.into()))?;
    let held = Held::over(backend);
    // redb may panic on pages that it trusts; what it wrote until then is only held.
    let tried = guard::caught(|| {
        let database = load(path, held.clone())?;
        check(path, &database)?;
        Ok(database)
    });
    let database =
        tried.map_err(|panic| OpenError::damaged(path, &format!("reading it failed with {panic:?}")))??;
    held.release().map_err(|source| OpenError::io(path, source))?;
    migrations::run(&database).map_err(|error| OpenError::redb(path, error))?;
    Ok((database, held))
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
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests;
