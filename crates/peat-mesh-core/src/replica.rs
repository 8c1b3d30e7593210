//! The one writer: jobs from clients and peers become document changes and one commit.
//!
//! In: a batch of [`Job`]s. Out: after the store has committed, one [`Outcome`] for each, in order. All
//! jobs of a batch share the commit, so they share its fsync. When the commit fails, every job of the
//! batch fails and nothing of it stays in memory.
//!
//! The actor under which this replica makes changes is new for every run of the process. So no crash,
//! lost volume or restored backup can make it issue the same (actor, sequence number) twice.

mod cache;
mod chunks;
mod job;
mod prepared;
#[cfg(test)]
mod prepared_tests;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use cache::{Cache, Loaded};
pub use chunks::Chunks;
pub use job::{Job, Outcome, Source, Work, WriteError, Written};
pub use prepared::{Prepared, prepare};

use crate::document::{ActorId, Document, DocumentError, Fresh};
use crate::guard;
use crate::id::DocId;
use crate::limits;
use crate::store::{Action, ChunkWrite, DocWrite, Store, StoreError};

/// The writer's state: its actor, the documents it keeps loaded, and the last sequence number.
#[derive(Debug)]
pub struct Replica {
    actor: ActorId,
    cache: Cache,
    last_seq: u64,
}

/// A batch under way.
struct Batch<'a> {
    actor: &'a ActorId,
    store: &'a dyn Store,
    now_ms: u64,
    seq: u64,
    /// The documents that this batch has touched; they cannot leave memory before the commit.
    open: HashMap<DocId, Loaded>,
    /// The documents that this batch took as they were prepared.
    adopted: HashSet<DocId>,
    writes: Vec<DocWrite>,
}

impl Replica {
    /// A writer on a store. `actor` has to be random and new.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn new(store: &dyn Store, actor: [u8; 16]) -> Result<Self, StoreError> {
        Ok(Self {
            actor: ActorId::from(actor),
            cache: Cache::new(limits::DOCUMENT_CACHE_BYTES_MAX),
            last_seq: store.last_seq()?,
        })
    }

    /// How much the documents that are kept loaded may take, instead of [`limits::DOCUMENT_CACHE_BYTES_MAX`].
    #[must_use]
    pub fn with_cache_bytes(self, bytes_max: usize) -> Self {
        Self { cache: Cache::new(bytes_max), ..self }
    }

    /// The sequence number of the last commit.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// The estimated bytes of the documents that are kept loaded.
    #[must_use]
    pub fn cached_bytes(&self) -> usize {
        self.cache.bytes()
    }

    /// Does all the jobs in one commit. `now_ms` is the wall clock, in milliseconds since 1970.
    pub fn run(&mut self, store: &dyn Store, jobs: Vec<Job>, now_ms: u64) -> Vec<Outcome> {
        let mut batch = Batch {
            actor: &self.actor,
            store,
            now_ms,
            seq: self.last_seq,
            open: HashMap::new(),
            adopted: HashSet::new(),
            writes: Vec::with_capacity(jobs.len()),
        };
        let mut outcomes: Vec<Outcome> = jobs
            .into_iter()
            .map(|job| {
                let result = batch.run(&mut self.cache, &job);
                Outcome { doc: job.doc, source: job.source, result }
            })
            .collect();
        let Batch { seq, open, writes, .. } = batch;
        let committed = if writes.is_empty() { Ok(()) } else { store.commit(&writes) };
        match committed {
            Ok(()) => {
                self.last_seq = seq;
                for (doc, loaded) in open {
                    self.cache.insert(doc, loaded);
                }
            }
            Err(problem) => {
                // What a disk says of a failed commit and what is on it may differ: number on from there.
                self.last_seq = self.last_seq.max(store.last_seq().unwrap_or(0));
                for outcome in &mut outcomes {
                    // Jobs that found nothing to do looked at what the batch was about to write.
                    if matches!(outcome.result, Ok(_) | Err(WriteError::NotFound { .. })) {
                        outcome.result = Err(WriteError::Store(problem.clone()));
                    }
                }
            }
        }
        outcomes
    }
}

impl Batch<'_> {
    fn run(&mut self, cache: &mut Cache, job: &Job) -> Result<Written, WriteError> {
        if self.is_unknown(cache, &job.doc)?
            && let Some((chunks, prepared)) = self.first(job)?
        {
            return Ok(self.adopt(job, chunks, prepared));
        }
        let mut loaded = match self.open.remove(&job.doc).or_else(|| cache.take(&job.doc)) {
            Some(loaded) => loaded,
            None => self.load(&job.doc)?,
        };
        let worked = guard::caught(|| self.work(&mut loaded, job)).unwrap_or_else(|panic| {
            Err(WriteError::Damaged { doc: job.doc.clone(), reason: format!("it breaks Automerge: {panic}") })
        });
        let is_whole = match &worked {
            Ok(_) => true,
            Err(WriteError::Damaged { .. }) => false,
            Err(_) => loaded.document.heads() == loaded.heads,
        };
        if !is_whole {
            // The change was made and then refused (its JSON, for one): go back to what is there.
            loaded = self.load(&job.doc)?;
        }
        self.open.insert(job.doc.clone(), loaded);
        worked
    }

    fn is_unknown(&self, cache: &Cache, doc: &DocId) -> Result<bool, WriteError> {
        Ok(!self.open.contains_key(doc)
            && !cache.contains(doc)
            && !self.adopted.contains(doc)
            && self.store.record(doc)?.is_none())
    }

    /// What a job makes of a document of which nothing is here, when that can be told without a CRDT.
    fn first(&self, job: &Job) -> Result<Option<(Bytes, Prepared)>, WriteError> {
        let fresh = match &job.work {
            Work::Adopt { chunks, prepared } => return Ok(Some((chunks.clone(), prepared.clone()))),
            Work::Put(object) => guard::caught(|| Fresh::make(object, self.actor, self.now_ms))
                .unwrap_or(Ok(None))
                .map_err(|problem| job.refused(&problem))?,
            Work::Merge(chunks) => guard::caught(|| Fresh::read(chunks)).ok().flatten(),
            Work::Delete => None,
        };
        Ok(fresh.map(|fresh| (fresh.chunk.clone(), fresh.into())))
    }

    /// Takes a document of which nothing is here as it was prepared, without loading it.
    fn adopt(&mut self, job: &Job, chunks: Bytes, prepared: Prepared) -> Written {
        self.adopted.insert(job.doc.clone());
        let Prepared { heads, json, new } = prepared;
        let is_live = json.is_some();
        self.seq += 1;
        self.writes.push(DocWrite {
            doc: job.doc.clone(),
            seq: self.seq,
            heads: heads.clone(),
            json,
            chunk: ChunkWrite::Replace(chunks),
            origin: job.source.origin(),
            changed_ms: self.now_ms,
        });
        let action = if is_live { Action::Put } else { Action::Delete };
        Written { heads, seq: Some(self.seq), action, created: is_live, new, missing: false }
    }

    /// A document as the store and the writes of this batch have it.
    fn load(&self, doc: &DocId) -> Result<Loaded, WriteError> {
        let mut chunks = self.store.chunks(doc)?;
        let mut loaded = Loaded::default_for(self.actor);
        if let Some(record) = self.store.record(doc)? {
            loaded.deleted = record.deleted;
            loaded.snapshot_bytes = record.snapshot_bytes;
            loaded.increments_bytes = record.increments_bytes;
            loaded.increments_count = record.increments_count;
        }
        for write in self.writes.iter().filter(|write| write.doc == *doc) {
            match &write.chunk {
                ChunkWrite::Append(chunk) => chunks.push(chunk.clone()),
                ChunkWrite::Replace(chunk) => chunks = vec![chunk.clone()],
            }
            loaded.deleted = write.json.is_none();
            loaded.count(&write.chunk);
        }
        if !chunks.is_empty() {
            loaded.document = Document::load(chunks.iter().map(|chunk| &chunk[..]), self.actor)
                .map_err(|problem| WriteError::Damaged { doc: doc.clone(), reason: problem.to_string() })?;
            loaded.heads = loaded.document.heads();
        }
        Ok(loaded)
    }

    fn work(&mut self, loaded: &mut Loaded, job: &Job) -> Result<Written, WriteError> {
        let refused = |problem: DocumentError| job.refused(&problem);
        let first = loaded.heads.is_empty();
        let (new, missing) = match &job.work {
            Work::Put(object) => {
                let new = loaded.document.put(object, self.now_ms).map_err(refused)?;
                (new.unwrap_or_default(), false)
            }
            Work::Delete => match loaded.document.delete(self.now_ms) {
                Some(new) => (new, false),
                None => return Err(WriteError::NotFound { doc: job.doc.clone() }),
            },
            Work::Merge(chunks) | Work::Adopt { chunks, .. } => {
                let merged = loaded.document.merge(chunks).map_err(refused)?;
                (merged.new, merged.missing)
            }
        };
        let action = if loaded.document.is_deleted() { Action::Delete } else { Action::Put };
        if new.is_empty() {
            let heads = loaded.heads.clone();
            return Ok(Written { heads, seq: None, action, created: false, new, missing });
        }
        let json = match action {
            Action::Put => Some(loaded.document.to_json().map_err(refused)?),
            Action::Delete => None,
        };
        let chunk = match &job.work {
            // What a peer shipped of a document that is new here is stored as it came.
            Work::Merge(shipped) | Work::Adopt { chunks: shipped, .. } if first && !missing => {
                ChunkWrite::Replace(shipped.clone())
            }
            _ if first || loaded.wants_fold(new.len()) => ChunkWrite::Replace(loaded.document.save()),
            _ => ChunkWrite::Append(new.clone()),
        };
        self.seq += 1;
        let created = (first || loaded.deleted) && action == Action::Put;
        loaded.count(&chunk);
        loaded.deleted = action == Action::Delete;
        loaded.heads = loaded.document.heads();
        self.writes.push(DocWrite {
            doc: job.doc.clone(),
            seq: self.seq,
            heads: loaded.heads.clone(),
            json,
            chunk,
            origin: job.source.origin(),
            changed_ms: self.now_ms,
        });
        let heads = loaded.heads.clone();
        Ok(Written { heads, seq: Some(self.seq), action, created, new, missing })
    }
}
