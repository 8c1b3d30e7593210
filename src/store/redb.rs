//! The store in a redb file.
//!
//! Reads come from any thread, each on its own read transaction, and never wait for the writer. A commit
//! is one write transaction with one fsync: of the log when it is small, of the database when it is large or when the log
//! cannot take it. Whoever commits gathers waiting writes into one call.
//!
//! After a failed write redb refuses to work on until the file is opened again. So a failure drops the
//! database, and the next call opens it: a node whose disk was full answers reads at once and writes when
//! there is space.

use std::ops::Bound;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ::redb::{
    CommitError, Database, Durability, Error, ReadableDatabase, ReadableTable, SetDurabilityError,
    StorageError, TableError, TransactionError,
};
use bytes::Bytes;
use peat_mesh_core::guard;
use peat_mesh_core::heads::Heads;
use peat_mesh_core::id::DocId;
use peat_mesh_core::limits;
use peat_mesh_core::store::{Change, DocWrite, Page, Record, Store, StoreError, StoredDocument};

use super::commit::Batch;
#[cfg(test)]
use super::log;
use super::migrations;
use super::open::{self, Missing, OpenError, Opened};
use super::tables::{self, CHANGES, CHUNKS, COLLECTIONS, DOCUMENTS, JSON};

/// How long to wait after opening the file again failed.
const REOPEN_EVERY: Duration = Duration::from_secs(1);

/// Documents in one redb file.
#[derive(Debug)]
pub struct RedbStore {
    path: PathBuf,
    current: Mutex<Current>,
}

#[derive(Debug)]
enum Current {
    Open(Arc<Opened>),
    /// It failed and is opened again by the next call.
    Dropped,
    /// Opening it again failed.
    Failed {
        at: Instant,
        reason: String,
    },
}

/// What can go wrong within a transaction.
#[derive(Debug)]
pub(super) enum Fault {
    /// redb said so.
    Redb(Error),
    /// We say so, and the database is as good as before.
    Store(StoreError),
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

macro_rules! from_redb {
    ($($error:ty),*) => {$(
        impl From<$error> for Fault {
            fn from(error: $error) -> Self {
                Self::Redb(error.into())
            }
        }
    )*};
}
impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Redb(error)
    }
}

from_redb!(TransactionError, TableError, StorageError, CommitError, SetDurabilityError);

impl RedbStore {
    /// Opens the store in `folder`; makes the folder and an empty store when they are not there.
    ///
    /// Every page of the file is read and its checksum is checked, after an orderly stop as after a crash.
    ///
    /// # Errors
    /// When the file is in use, damaged or newer than this program, or the disk refuses. A file that is
    /// refused stays as it was.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        let opened = open::open(folder)?;
        Ok(Self { path: folder.join(open::FILE), current: Mutex::new(Current::Open(Arc::new(opened))) })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn opened(&self, operation: &dyn Fn() -> String) -> Result<Arc<Opened>, StoreError> {
        let failed = |reason: String| StoreError::Io { operation: operation(), reason };
        let mut current = self.current();
        match &*current {
            Current::Open(opened) => return Ok(opened.clone()),
            Current::Failed { at, reason } if at.elapsed() < REOPEN_EVERY => {
                return Err(failed(reason.clone()));
            }
            Current::Dropped | Current::Failed { .. } => {}
        }
        match open::open_file(&self.path, Missing::Refused) {
            Ok(opened) => {
                let opened = Arc::new(opened);
                *current = Current::Open(opened.clone());
                Ok(opened)
            }
            // Another thread is still reading from the one that failed.
            Err(error @ OpenError::InUse { .. }) => Err(failed(error.to_string())),
            Err(error) => {
                let reason = error.to_string();
                *current = Current::Failed { at: Instant::now(), reason: reason.clone() };
                Err(failed(reason))
            }
        }
    }

    /// Lets go of a database that refuses to work on.
    fn let_go(&self, opened: &Arc<Opened>, reason: &str) {
        let mut current = self.current();
        if matches!(&*current, Current::Open(open) if Arc::ptr_eq(open, opened)) {
            tracing::warn!(file = %self.path.display(), reason, "the store is opened again");
            *current = Current::Dropped;
        }
    }

    /// Does `work` on the database. A panic of redb, as on a page that is damaged, becomes an error.
    fn with<T>(
        &self,
        operation: &dyn Fn() -> String,
        work: impl FnOnce(&Database) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        self.with_log(operation, |opened| work(&opened.database))
    }

    /// The same with the log beside the database.
    fn with_log<T>(
        &self,
        operation: &dyn Fn() -> String,
        work: impl FnOnce(&Opened) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let opened = self.opened(operation)?;
        let error = match guard::caught(|| work(&opened)) {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(Fault::Store(error))) => return Err(error),
            Ok(Err(Fault::Redb(Error::Corrupted(reason)))) => return Err(self.corrupt(&reason)),
            Ok(Err(Fault::Redb(error))) => {
                let (operation, reason) = (operation(), error.to_string());
                match error {
                    Error::Io(io) if open::is_full(&io) => StoreError::Full { operation, reason },
                    _ => StoreError::Io { operation, reason },
                }
            }
            Err(panic) => self.corrupt(&panic),
        };
        self.let_go(&opened, &error.to_string());
        Err(error)
    }

    fn corrupt(&self, reason: &str) -> StoreError {
        StoreError::Corrupt { reason: format!("{}: {reason}", self.path.display()) }
    }
}

impl Store for RedbStore {
    fn record(&self, doc: &DocId) -> Result<Option<Record>, StoreError> {
        self.with(&|| format!("read the record of {doc}"), |database| {
            let table = database.begin_read()?.open_table(DOCUMENTS)?;
            Ok(match table.get(doc.as_str())? {
                Some(packed) => Some(tables::unpack_record(doc.as_str(), packed.value())?),
                None => None,
            })
        })
    }

    fn document(&self, doc: &DocId) -> Result<Option<StoredDocument>, StoreError> {
        self.with(&|| format!("read {doc}"), |database| {
            let table = database.begin_read()?.open_table(JSON)?;
            Ok(match table.get(doc.as_str())? {
                Some(packed) => Some(tables::unpack_json(doc.clone(), packed.value())?),
                None => None,
            })
        })
    }

    fn visit_documents(
        &self,
        docs: &[&DocId],
        visit: &mut dyn FnMut(usize, Option<StoredDocument>),
    ) -> Result<(), StoreError> {
        self.with(&|| "read documents that have changed".to_owned(), |database| {
            let table = database.begin_read()?.open_table(JSON)?;
            for (place, doc) in docs.iter().enumerate() {
                let packed = table.get(doc.as_str())?;
                let document =
                    packed.map(|packed| tables::unpack_json((*doc).clone(), packed.value())).transpose()?;
                visit(place, document);
            }
            Ok(())
        })
    }

    fn chunks(&self, doc: &DocId) -> Result<Vec<Bytes>, StoreError> {
        self.with(&|| format!("read the chunks of {doc}"), |database| {
            let table = database.begin_read()?.open_table(CHUNKS)?;
            let mut chunks = Vec::new();
            for entry in table.range((doc.as_str(), 0)..=(doc.as_str(), u32::MAX))? {
                chunks.push(Bytes::copy_from_slice(entry?.1.value()));
            }
            Ok(chunks)
        })
    }

    fn list(&self, collection: &str, after: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        self.with(&|| format!("list {collection}"), |database| {
            let transaction = database.begin_read()?;
            let count = transaction.open_table(COLLECTIONS)?.get(collection)?;
            let mut page = Page { count: count.map_or(0, |count| count.value()), ..Page::default() };
            if limit == 0 {
                return Ok(page);
            }
            let first = format!("{collection}/{}", after.unwrap_or_default());
            let end = format!("{collection}0"); // '0' is the character after '/'
            let range = (Bound::Excluded(first.as_str()), Bound::Excluded(end.as_str()));
            let mut json_bytes = 0;
            for entry in transaction.open_table(JSON)?.range::<&str>(range)? {
                let (key, packed) = entry?;
                if page.documents.len() == limit || json_bytes >= limits::PAGE_JSON_BYTES_TARGET {
                    page.next = page.documents.last().map(|last| last.doc.key().to_owned());
                    break;
                }
                let stored = tables::unpack_json(tables::parse_doc(&JSON, key.value())?, packed.value())?;
                json_bytes += stored.json.len();
                page.documents.push(stored);
            }
            Ok(page)
        })
    }

    fn collections(&self) -> Result<Vec<(String, u64)>, StoreError> {
        self.with(&|| "list the collections".to_owned(), |database| {
            let table = database.begin_read()?.open_table(COLLECTIONS)?;
            let mut all = Vec::new();
            for entry in table.iter()? {
                let (name, count) = entry?;
                all.push((name.value().to_owned(), count.value()));
            }
            Ok(all)
        })
    }

    fn changes_since(&self, seq: u64, limit: usize) -> Result<Vec<Change>, StoreError> {
        self.with(&|| format!("read the changes after {seq}"), |database| {
            let table = database.begin_read()?.open_table(CHANGES)?;
            let mut changes = Vec::new();
            for entry in table.range((Bound::Excluded(seq), Bound::Unbounded))?.take(limit) {
                let (seq, packed) = entry?;
                changes.push(tables::unpack_change(seq.value(), packed.value())?);
            }
            Ok(changes)
        })
    }

    /// The newest entry of the change index: it is replaced only by a newer one.
    fn last_seq(&self) -> Result<u64, StoreError> {
        self.with(&|| "read the last sequence number".to_owned(), |database| {
            let table = database.begin_read()?.open_table(CHANGES)?;
            Ok(table.last()?.map_or(0, |(seq, _)| seq.value()))
        })
    }

    fn for_each_heads(&self, visit: &mut dyn FnMut(DocId, Heads)) -> Result<(), StoreError> {
        // A panic of the visitor is the caller's, and no damage of the file.
        let mut thrown = None;
        let read = self.with(&|| "read the heads of all documents".to_owned(), |database| {
            let table = database.begin_read()?.open_table(DOCUMENTS)?;
            for entry in table.iter()? {
                let (key, packed) = entry?;
                let doc = tables::parse_doc(&DOCUMENTS, key.value())?;
                let record = tables::unpack_record(key.value(), packed.value())?;
                if let Err(panic) = panic::catch_unwind(AssertUnwindSafe(|| visit(doc, record.heads))) {
                    thrown = Some(panic);
                    break;
                }
            }
            Ok(())
        });
        match thrown {
            Some(panic) => panic::resume_unwind(panic),
            None => read,
        }
    }

    fn commit(&self, writes: &[DocWrite]) -> Result<(), StoreError> {
        if writes.is_empty() {
            return Ok(());
        }
        self.with_log(&|| format!("commit {} documents", writes.len()), |opened| {
            let mut log = opened.log();
            let mut transaction = opened.database.begin_write()?;
            let mut batch = Batch::new(&transaction)?;
            let after = batch.last_seq();
            for write in writes {
                batch.apply(write)?;
            }
            batch.finish()?;
            let is_logged = log.append(after, writes).unwrap_or_else(|problem| {
                tracing::debug!(cause = %problem, "the log takes nothing, writing to the database at once");
                false
            });
            transaction.set_durability(if is_logged { Durability::None } else { Durability::Immediate })?;
            transaction.commit()?;
            if is_logged {
                log.confirm();
            } else {
                log.restart();
            }
            Ok(())
        })
    }

    fn mark(&self) -> Result<u64, StoreError> {
        self.with(&|| "read its mark".to_owned(), |database| Ok(migrations::mark(database)?))
    }

    fn set_mark(&self, mark: u64) -> Result<(), StoreError> {
        self.with_log(&|| "leave a mark".to_owned(), |opened| {
            let mut log = opened.log();
            migrations::set_mark(&opened.database, mark)?;
            log.restart();
            Ok(())
        })
    }

    fn settle(&self) -> Result<(), StoreError> {
        self.with_log(&|| "take over what is in its log".to_owned(), |opened| {
            let mut log = opened.log();
            if log.wants_settling() {
                // With it, all that was committed before it becomes durable.
                opened.database.begin_write()?.commit()?;
                log.restart();
            }
            Ok(())
        })
    }
}

#[cfg(test)]
pub(super) mod tests;
