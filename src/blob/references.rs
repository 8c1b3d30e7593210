//! Which documents name which blobs, and since when nothing refers to one: an index of its own, beside the store
//! of blobs, that follows the document store's index of changes.
//!
//! In: changes that are on disk, and what is here of blobs. Out: how many documents name a blob, which are to be
//! fetched, and which may go. The place up to which the changes were read is committed together with what they
//! changed, so after a crash it goes on where it was; what it reads twice changes nothing. Nothing here is on the
//! way of a write.

mod idle;
mod keep;
mod tables;
mod want;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::redb::{
    Builder, Database, DatabaseError, Error, ReadTransaction, ReadableDatabase, ReadableTableMetadata,
    WriteTransaction,
};
use peat_mesh_core::attachment;
use peat_mesh_core::guard;
use peat_mesh_core::store::{Change, Store, StoreError, StoredDocument};
use tracing::{info, warn};

use self::idle::{Clock, Worn};
use self::tables::{Batch, Cursor, META};
use super::{OpenError, io_failed};
use crate::config::Attachments;
use crate::handle::{BlobError, BlobHash};

/// The file, within the folder of blobs.
const FILE: &str = "references.db";
/// Under which it is made.
const NEW_FILE: &str = "references.db.new";
/// Changes that are read at a time.
const PAGE_CHANGES_COUNT: usize = 256;
/// After so many changes that name nothing, how far they were read is written all the same.
const UNWRITTEN_CHANGES_COUNT_MAX: u64 = 10_000;
/// Memory for pages of the file, in bytes.
const CACHE_SIZE_BYTES: usize = 4 * 1024 * 1024;

/// The index.
#[derive(Debug)]
pub(super) struct References {
    path: PathBuf,
    store: Arc<dyn Store>,
    settings: Attachments,
    clock: Clock,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    /// `None` after it failed, until it is opened again.
    database: Option<Arc<Database>>,
    is_closed: bool,
    /// Up to where changes were read, and up to where that is written.
    seq: u64,
    written_seq: u64,
}

/// What reading on in the changes brought.
#[derive(Debug, Default)]
pub(super) struct Followed {
    /// Blobs whose fetch is to be begun or ended, see [`References::is_wanted`].
    pub(super) touched: BTreeSet<BlobHash>,
    /// Whether there may be more to read.
    pub(super) more: bool,
}

impl References {
    /// Opens the index of a store, and begins it anew when it was of another one.
    pub(super) fn open(
        folder: &Path,
        store: Arc<dyn Store>,
        settings: Attachments,
    ) -> Result<Self, OpenError> {
        let path = folder.join(FILE);
        let broken = |reason: String| OpenError::References { path: path.clone(), reason };
        let opened = guard::caught(|| {
            if !path.exists() {
                create(folder).map_err(|problem| problem.to_string())?;
            }
            let database = load(&path).map_err(|problem| problem.to_string())?;
            let (worn, seq) = prepare(&database, &*store)?;
            Ok((database, worn, seq))
        });
        let (database, worn, seq) = opened.map_err(broken)?.map_err(broken)?;
        Ok(Self {
            clock: Clock::resume(worn, idle::wall_ms()),
            current: Mutex::new(Current {
                database: Some(Arc::new(database)),
                is_closed: false,
                seq,
                written_seq: seq,
            }),
            path: path.clone(),
            store,
            settings,
        })
    }

    /// How long a blob stays that nothing refers to, in milliseconds; `None` for ever.
    pub(super) fn grace_ms(&self) -> Option<u64> {
        self.settings.grace_ms()
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, Error>) -> Result<T, BlobError> {
        let database = self.database()?;
        let problem = match guard::caught(|| work(&database)) {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(problem)) => self.failed(&problem),
            Err(panic) => BlobError::Store(format!("{}: {panic}", self.path.display())),
        };
        // After a failed write redb refuses to work on until the file is opened again.
        self.current().database = None;
        Err(problem)
    }

    fn database(&self) -> Result<Arc<Database>, BlobError> {
        let mut current = self.current();
        if current.is_closed {
            return Err(BlobError::Store("this node is shutting down".to_owned()));
        }
        if let Some(database) = &current.database {
            return Ok(Arc::clone(database));
        }
        let database = Arc::new(load(&self.path).map_err(|problem| self.failed(&problem.into()))?);
        current.database = Some(Arc::clone(&database));
        Ok(database)
    }

    /// Lets go of the file.
    pub(super) fn close(&self) {
        let mut current = self.current();
        current.database = None;
        current.is_closed = true;
    }

    fn failed(&self, problem: &Error) -> BlobError {
        match problem {
            Error::Io(problem) if problem.kind() == io::ErrorKind::StorageFull => io_failed(problem),
            other => BlobError::Store(format!("{}: {other}", self.path.display())),
        }
    }

    fn read<T>(&self, work: impl FnOnce(&ReadTransaction) -> Result<T, Error>) -> Result<T, BlobError> {
        self.with(|database| work(&database.begin_read()?))
    }

    fn write<T>(&self, work: impl FnOnce(&WriteTransaction) -> Result<T, Error>) -> Result<T, BlobError> {
        self.with(|database| {
            let transaction = database.begin_write()?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        })
    }

    /// Reads on in the changes. Called by one at a time.
    pub(super) fn follow(&self) -> Result<Followed, BlobError> {
        let (seq, written_seq) = {
            let current = self.current();
            (current.seq, current.written_seq)
        };
        let changes = self.store.changes_since(seq, PAGE_CHANGES_COUNT).map_err(store_failed)?;
        let Some(last) = changes.last() else { return Ok(Followed::default()) };
        let named = self.named_by(&changes)?;
        let is_news = self.read(|transaction| {
            let documents = transaction.open_table(tables::DOCUMENTS)?;
            if documents.is_empty()? {
                return Ok(named.iter().any(|hashes| !hashes.is_empty()));
            }
            for (change, hashes) in changes.iter().zip(&named) {
                let before = documents.get(change.doc.as_str())?;
                if before.map(|row| tables::hashes(row.value())).unwrap_or_default() != *hashes {
                    return Ok(true);
                }
            }
            Ok(false)
        })?;
        let mut followed = Followed { more: changes.len() == PAGE_CHANGES_COUNT, ..Followed::default() };
        if is_news || last.seq - written_seq >= UNWRITTEN_CHANGES_COUNT_MAX {
            followed.touched = self.write(|transaction| {
                let mut batch = Batch::new(transaction, &self.settings.policies)?;
                for (change, hashes) in changes.iter().zip(&named) {
                    batch.set(&change.doc, hashes)?;
                }
                let touched = batch.touched;
                let cursor = Cursor { seq: last.seq, version: last.version.0, doc: last.doc.clone() };
                tables::set_cursor(transaction, &cursor)?;
                Ok(touched)
            })?;
            self.current().written_seq = last.seq;
        }
        self.current().seq = last.seq;
        Ok(followed)
    }

    /// The blobs that the document of each of these changes names now.
    fn named_by(&self, changes: &[Change]) -> Result<Vec<BTreeSet<[u8; 32]>>, BlobError> {
        let docs: Vec<_> = changes.iter().map(|change| &change.doc).collect();
        let mut named = vec![BTreeSet::new(); changes.len()];
        let mut visit = |place: usize, document: Option<StoredDocument>| {
            let found = document.map(|document| attachment::find(&document.json)).unwrap_or_default();
            if found.is_cut {
                warn!(
                    doc = %docs[place],
                    "a document names more than {} blobs; those after that are not kept for it",
                    peat_mesh_core::limits::ATTACHMENTS_PER_DOCUMENT_MAX
                );
            }
            named[place] = found.hashes;
        };
        self.store.visit_documents(&docs, &mut visit).map_err(store_failed)?;
        Ok(named)
    }

    /// Whether every change that is on disk was read.
    #[cfg(test)]
    fn is_level(&self) -> Result<bool, BlobError> {
        Ok(self.current().seq >= self.store.last_seq().map_err(store_failed)?)
    }
}

/// Makes an empty index, under another name until it is whole and on disk.
fn create(folder: &Path) -> Result<(), Error> {
    let new = folder.join(NEW_FILE);
    match fs::remove_file(&new) {
        Err(problem) if problem.kind() != io::ErrorKind::NotFound => return Err(problem.into()),
        _ => {}
    }
    let database = Builder::new().create(&new)?;
    let transaction = database.begin_write()?;
    tables::create(&transaction)?;
    transaction.commit()?;
    drop(database);
    fs::rename(&new, folder.join(FILE))?;
    Ok(File::open(folder)?.sync_all()?)
}

fn load(path: &Path) -> Result<Database, DatabaseError> {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_SIZE_BYTES);
    // A bit that has turned must not make a blob look like one that nothing names.
    builder.set_check_integrity_on_open(true);
    builder.open(path)
}

/// Reads where the index is, after a look whether it is of this store.
fn prepare(database: &Database, store: &dyn Store) -> Result<(Option<(Worn, u64)>, u64), String> {
    let in_words = |problem: Error| problem.to_string();
    let of_store = |problem: StoreError| problem.to_string();
    let run = || -> Result<_, Error> {
        let transaction = database.begin_write()?;
        let newer = tables::create(&transaction)?;
        let meta = transaction.open_table(META)?;
        let found = (newer, tables::worn(&meta)?, tables::cursor(&meta)?, tables::mark(&meta)?);
        drop(meta);
        transaction.commit()?;
        Ok(found)
    };
    let (newer, worn, cursor, mark) = run().map_err(in_words)?;
    if let Some(newer) = newer {
        return Err(format!(
            "it has format {newer}, and this version of peat-mesh reads {}",
            tables::FORMAT_NUMBER
        ));
    }
    let was_here = mark == store.mark().map_err(of_store)?;
    let cursor = match cursor {
        Some(cursor) if was_here && is_of(store, &cursor).map_err(of_store)? => Some(cursor),
        Some(_) => {
            info!("the documents are others than before: which blobs they name is found anew");
            None
        }
        None => None,
    };
    let mark = rand::random();
    let begin = || -> Result<_, Error> {
        let transaction = database.begin_write()?;
        if cursor.is_none() {
            tables::clear(&transaction)?;
        }
        tables::set_mark(&transaction, mark)?;
        Ok(transaction.commit()?)
    };
    begin().map_err(in_words)?;
    if let Err(problem) = store.set_mark(mark) {
        // As on a full disk. The next start finds the index anew, which is all that it costs.
        warn!("the documents could not be marked as those that the index of blobs follows: {problem}");
    }
    Ok((worn, cursor.map_or(0, |cursor| cursor.seq)))
}

/// Whether a store has had the change at which an index stands.
fn is_of(store: &dyn Store, cursor: &Cursor) -> Result<bool, StoreError> {
    let Some(record) = store.record(&cursor.doc)? else { return Ok(false) };
    let is_same = record.seq > cursor.seq || record.heads.version().0 == cursor.version;
    Ok(record.seq >= cursor.seq && is_same && store.last_seq()? >= cursor.seq)
}

fn store_failed(problem: StoreError) -> BlobError {
    BlobError::Store(problem.to_string())
}

#[cfg(test)]
mod tests;
