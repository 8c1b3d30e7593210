//! What keeps a blob here, and which may go.

use std::collections::BTreeSet;

use ::redb::{Error, ReadableTable};

use super::idle::{self, Worn};
use super::tables::{self, IDLE, NAMED, PINS, Raw, WANTED};
use super::{Followed, References, store_failed};
use crate::handle::{BlobError, BlobHash, Kept};

/// In each run nothing is dropped for half of the grace time, or for this long if that is less, in milliseconds: a
/// node that was off may have missed documents, and its peers come first.
const SETTLE_MS_MAX: u64 = 600_000;
/// So often the changes are read on with the next drop, and uploads, waiting; when that is not enough nothing is
/// dropped this time.
const STEPS_COUNT_MAX: usize = 4;

/// Whether documents name a blob, or somebody wants it kept.
fn is_kept(
    named: &impl ReadableTable<(Raw, &'static str), u64>,
    pins: &impl ReadableTable<Raw, ()>,
    hash: BlobHash,
) -> Result<bool, Error> {
    Ok(pins.get(&hash.0)?.is_some() || !tables::naming(named, &hash.0)?.is_empty())
}

impl References {
    /// What keeps a blob that is (`is_here`), or is not, on this node.
    pub(in crate::blob) fn kept(&self, hash: BlobHash, is_here: bool) -> Result<Kept, BlobError> {
        self.read(|transaction| {
            let naming = tables::naming(&transaction.open_table(NAMED)?, &hash.0)?;
            let references = naming.iter().map(|(_, count)| count).sum();
            let pinned = transaction.open_table(PINS)?.get(&hash.0)?.is_some();
            let since = transaction.open_table(IDLE)?.get(&hash.0)?.and_then(|row| Worn::unpack(row.value()));
            let grace_ms = self.settings.grace_ms();
            let collected_in_ms = grace_ms
                .filter(|_| is_here && references == 0 && !pinned)
                .map(|grace_ms| since.map_or(grace_ms, |since| self.clock.now().left_ms(since, grace_ms)));
            Ok(Kept { references, pinned, collected_in_ms })
        })
    }

    /// Whether the grace time of a blob has begun.
    pub(in crate::blob) fn is_idle(&self, hash: BlobHash) -> Result<bool, BlobError> {
        self.read(|transaction| Ok(transaction.open_table(IDLE)?.get(&hash.0)?.is_some()))
    }

    /// Begins the grace time of a blob anew, when it is stored once more.
    pub(in crate::blob) fn renew(&self, hash: BlobHash) -> Result<(), BlobError> {
        self.write(|transaction| Ok(_ = transaction.open_table(IDLE)?.remove(&hash.0)?))
    }

    /// Forgets all that is known of a blob but who names it, when somebody deletes it.
    pub(in crate::blob) fn forget(&self, hash: BlobHash) -> Result<(), BlobError> {
        let is_known = self.read(|transaction| {
            let is_pinned = transaction.open_table(PINS)?.get(&hash.0)?.is_some();
            Ok(is_pinned || transaction.open_table(WANTED)?.get(&hash.0)?.is_some())
        })?;
        if is_known || self.is_idle(hash)? {
            self.write(|transaction| {
                transaction.open_table(PINS)?.remove(&hash.0)?;
                transaction.open_table(WANTED)?.remove(&hash.0)?;
                transaction.open_table(IDLE)?.remove(&hash.0)?;
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Notes which of the blobs that are here nothing refers to, and returns those whose grace time is over.
    pub(in crate::blob) fn look(&self, here: &BTreeSet<BlobHash>) -> Result<Vec<BlobHash>, BlobError> {
        let Some(grace_ms) = self.settings.grace_ms() else { return Ok(Vec::new()) };
        let now = self.clock.now();
        let (mut begun, mut over, mut due) = (Vec::new(), Vec::new(), Vec::new());
        let any = self.read(|transaction| {
            let idle = transaction.open_table(IDLE)?;
            let named = transaction.open_table(NAMED)?;
            let pins = transaction.open_table(PINS)?;
            for row in idle.iter()? {
                let (hash, since) = row?;
                let hash = BlobHash(*hash.value());
                if !here.contains(&hash) || is_kept(&named, &pins, hash)? {
                    over.push(hash);
                } else {
                    match Worn::unpack(since.value()) {
                        Some(since) if now.left_ms(since, grace_ms) == 0 => due.push(hash),
                        Some(_) => {}
                        // Nobody knows when that was.
                        None => begun.push(hash),
                    }
                }
            }
            for hash in here {
                if idle.get(&hash.0)?.is_none() && !is_kept(&named, &pins, *hash)? {
                    begun.push(*hash);
                }
            }
            Ok(idle.first()?.is_some() || !begun.is_empty())
        })?;
        if any {
            self.write(|transaction| {
                // Not before the look: it may have been stored once more meanwhile.
                let now = self.clock.now();
                let mut idle = transaction.open_table(IDLE)?;
                for hash in over {
                    idle.remove(&hash.0)?;
                }
                for hash in begun {
                    idle.insert(&hash.0, now.pack().as_slice())?;
                }
                drop(idle);
                tables::set_worn(transaction, now, idle::wall_ms())
            })?;
        }
        let has_settled = self.clock.ran_ms() >= (grace_ms / 2).min(SETTLE_MS_MAX);
        Ok(if has_settled { due } else { Vec::new() })
    }

    /// Those of some blobs to which, with all that is on disk now, nothing refers, and whose grace time was not
    /// begun anew. None when the changes cannot be read to where their end is now in a few steps. With nobody else
    /// in [`References::follow`].
    pub(in crate::blob) fn still_due(
        &self,
        hashes: &[BlobHash],
    ) -> Result<(Vec<BlobHash>, Followed), BlobError> {
        let mut followed = Followed::default();
        // Not a moving end: there may always be one more. A document that is stored after this names a blob that is
        // not here any more.
        let end = self.store.last_seq().map_err(store_failed)?;
        let is_read = || self.current().seq >= end;
        for _ in 0..STEPS_COUNT_MAX {
            if is_read() {
                break;
            }
            followed.touched.extend(self.follow()?.touched);
        }
        if !is_read() {
            return Ok((Vec::new(), followed));
        }
        let due = self.read(|transaction| {
            let idle = transaction.open_table(IDLE)?;
            let named = transaction.open_table(NAMED)?;
            let pins = transaction.open_table(PINS)?;
            let mut due = Vec::new();
            for hash in hashes {
                if idle.get(&hash.0)?.is_some() && !is_kept(&named, &pins, *hash)? {
                    due.push(*hash);
                }
            }
            Ok(due)
        })?;
        Ok((due, followed))
    }
}
