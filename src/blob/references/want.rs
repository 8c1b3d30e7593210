//! Which blobs are fetched in the background because documents name them.

use std::collections::BTreeSet;

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

    /// Takes the mark off blobs that are here, and off others that no document wants any more.
    pub(in crate::blob) fn settle(&self, here: &[BlobHash], given_up: &[BlobHash]) -> Result<(), BlobError> {
        if here.is_empty() && given_up.is_empty() {
            return Ok(());
        }
        self.write(|transaction| {
            let mut wanted = transaction.open_table(WANTED)?;
            let mut pins = transaction.open_table(PINS)?;
            for hash in here.iter().chain(given_up) {
                wanted.remove(&hash.0)?;
            }
            for hash in given_up {
                pins.remove(&hash.0)?;
            }
            Ok(())
        })
    }
}
