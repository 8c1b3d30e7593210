//! Which blobs are fetched in the background because documents name them.

use std::collections::BTreeSet;
use std::ops::Bound;

use ::redb::ReadableTable;
use peat_mesh_core::attachment::Policy;

use super::References;
use super::tables::{self, Batch, NAMED, PINS, WANTED};
use crate::handle::{BlobError, BlobHash};

impl References {
    /// Marks what collections with a policy want and is not here, as at a start, when policies may be others.
    /// Returns all that is marked, also for documents that are gone.
    pub(in crate::blob) fn review(&self, here: &BTreeSet<BlobHash>) -> Result<BTreeSet<BlobHash>, BlobError> {
        let missing = self.read(|transaction| {
            let pins = transaction.open_table(PINS)?;
            let mut missing = Vec::new();
            for row in transaction.open_table(NAMED)?.iter()? {
                let key = row?.0;
                let (hash, collection) = key.value();
                let is_here = here.contains(&BlobHash(*hash));
                let is_done = match self.settings.policies.of(collection) {
                    Policy::Lazy => true,
                    Policy::Eager => is_here,
                    Policy::Pinned => is_here && pins.get(hash)?.is_some(),
                };
                if !is_done {
                    missing.push((*hash, self.settings.policies.of(collection)));
                }
            }
            Ok(missing)
        })?;
        if !missing.is_empty() {
            self.write(|transaction| {
                let mut batch = Batch::new(transaction, &self.settings.policies)?;
                missing.iter().try_for_each(|(hash, policy)| batch.want(hash, *policy))
            })?;
        }
        self.wanted()
    }

    /// All that is marked to be fetched.
    pub(in crate::blob) fn wanted(&self) -> Result<BTreeSet<BlobHash>, BlobError> {
        self.read(|transaction| {
            let table = transaction.open_table(WANTED)?;
            table.iter()?.map(|row| Ok(BlobHash(*row?.0.value()))).collect()
        })
    }

    /// Whether a blob is marked to be fetched, and if so, whether a document still wants that.
    pub(in crate::blob) fn is_wanted(&self, hash: BlobHash) -> Result<Option<bool>, BlobError> {
        self.read(|transaction| {
            if transaction.open_table(WANTED)?.get(&hash.0)?.is_none() {
                return Ok(None);
            }
            let naming = tables::naming(&transaction.open_table(NAMED)?, &hash.0)?;
            Ok(Some(naming.iter().any(|(collection, _)| self.settings.policies.of(collection).is_fetched())))
        })
    }

    /// Up to `count` of those that are marked, with hashes after `after`.
    pub(in crate::blob) fn wanted_after(
        &self,
        after: Option<BlobHash>,
        count: usize,
    ) -> Result<Vec<BlobHash>, BlobError> {
        self.read(|transaction| {
            let table = transaction.open_table(WANTED)?;
            let from = after.as_ref().map_or(Bound::Unbounded, |hash| Bound::Excluded(&hash.0));
            let rows = table.range::<&[u8; 32]>((from, Bound::Unbounded))?.take(count);
            rows.map(|row| Ok(BlobHash(*row?.0.value()))).collect()
        })
    }

    /// Takes the mark off a blob. `false` when it had none.
    pub(in crate::blob) fn unwant(&self, hash: BlobHash) -> Result<bool, BlobError> {
        let is_marked =
            self.read(|transaction| Ok(transaction.open_table(WANTED)?.get(&hash.0)?.is_some()))?;
        if is_marked {
            self.write(|transaction| Ok(_ = transaction.open_table(WANTED)?.remove(&hash.0)?))?;
        }
        Ok(is_marked)
    }

    /// Whether a blob is pinned though no document names it.
    pub(in crate::blob) fn is_only_pinned(&self, hash: BlobHash) -> Result<bool, BlobError> {
        self.read(|transaction| {
            let is_pinned = transaction.open_table(PINS)?.get(&hash.0)?.is_some();
            Ok(is_pinned && tables::naming(&transaction.open_table(NAMED)?, &hash.0)?.is_empty())
        })
    }

    /// Takes the mark off blobs that are here, and off others that no document wants any more. The pin of those goes
    /// too, unless documents still name them: then it is the policy that is another one.
    pub(in crate::blob) fn settle(&self, here: &[BlobHash], given_up: &[BlobHash]) -> Result<(), BlobError> {
        if here.is_empty() && given_up.is_empty() {
            return Ok(());
        }
        self.write(|transaction| {
            let mut wanted = transaction.open_table(WANTED)?;
            let mut pins = transaction.open_table(PINS)?;
            let named = transaction.open_table(NAMED)?;
            for hash in here.iter().chain(given_up) {
                wanted.remove(&hash.0)?;
            }
            for hash in given_up {
                if tables::naming(&named, &hash.0)?.is_empty() {
                    pins.remove(&hash.0)?;
                }
            }
            Ok(())
        })
    }
}
