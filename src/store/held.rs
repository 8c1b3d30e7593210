//! A backend that keeps what is written in memory until it is told that the file is good.
//!
//! Opening a database writes: redb marks the file as open, and repairs it after a crash. On a file that
//! turns out to be damaged none of that may reach the disk. So redb opens the file through [`Held`]: its
//! reads come from the file with the held writes over them. [`Held::release`] then carries the writes to
//! the file in their order, with the syncs between them, so that a crash on the way leaves what a crash
//! of redb itself would leave. Without a release, the file stays as it was. After it, calls go straight
//! through.

use std::io;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::redb::{BackendError, StorageBackend};

/// A handle to the backend; redb owns one, the store another.
#[derive(Debug, Clone)]
pub(super) struct Held(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    under: Box<dyn StorageBackend>,
    released: AtomicBool,
    held: Mutex<Vec<Step>>,
    #[cfg(test)]
    failing: AtomicBool,
}

#[derive(Debug)]
enum Step {
    Write(u64, Box<[u8]>),
    SetLen(u64),
    Sync,
}

impl Held {
    pub(super) fn over(under: impl StorageBackend) -> Self {
        Self(Arc::new(Inner {
            under: Box::new(under),
            released: AtomicBool::new(false),
            held: Mutex::default(),
            #[cfg(test)]
            failing: AtomicBool::new(false),
        }))
    }

    /// Carries the held writes to the file; from here on it is written directly.
    ///
    /// Nothing else may use the database meanwhile: a write in between would overtake the held ones.
    pub(super) fn release(&self) -> io::Result<()> {
        let mut held = self.held();
        for step in held.drain(..) {
            match step {
                Step::Write(offset, data) => self.0.under.write(offset, &data)?,
                Step::SetLen(len) => self.0.under.set_len(len)?,
                Step::Sync => self.0.under.sync_data()?,
            }
        }
        self.0.released.store(true, Ordering::Release);
        Ok(())
    }

    /// All bytes, the held ones included.
    pub(super) fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let len = usize::try_from(self.len()?).map_err(io::Error::other)?;
        let mut bytes = vec![0; len];
        self.read(0, &mut bytes)?;
        Ok(bytes)
    }

    /// Makes every write fail as on a full disk.
    #[cfg(test)]
    pub(super) fn fail_writes(&self, failing: bool) {
        self.0.failing.store(failing, Ordering::Release);
    }

    #[cfg(test)]
    fn check_space(&self) -> io::Result<()> {
        if self.0.failing.load(Ordering::Acquire) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    #[cfg(not(test))]
    fn check_space(&self) -> io::Result<()> {
        Ok(())
    }

    fn released(&self) -> bool {
        self.0.released.load(Ordering::Acquire)
    }

    fn held(&self) -> MutexGuard<'_, Vec<Step>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Copies the part of `data`, written at `offset`, that lies in `out`, read from `start`.
fn lay_over(out: &mut [u8], start: u64, offset: u64, data: &[u8]) {
    let (from, to) = (start.max(offset), (start + out.len() as u64).min(offset + data.len() as u64));
    if from < to {
        let of = |base: u64| (from - base) as usize..(to - base) as usize;
        out[of(start)].copy_from_slice(&data[of(offset)]);
    }
}

impl StorageBackend for Held {
    fn len(&self) -> io::Result<u64> {
        if !self.released() {
            let held = self.held();
            let set = held.iter().rev().find_map(|step| match step {
                Step::SetLen(len) => Some(*len),
                _ => None,
            });
            if let Some(len) = set {
                return Ok(len);
            }
        }
        self.0.under.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if self.released() {
            return self.0.under.read(offset, out);
        }
        if offset.saturating_add(out.len() as u64) > self.len()? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // What lies behind the end of the file is zero until it is written.
        let there = self.0.under.len()?.saturating_sub(offset).min(out.len() as u64) as usize;
        let (file, behind) = out.split_at_mut(there);
        self.0.under.read(offset, file)?;
        behind.fill(0);
        for step in self.held().iter() {
            match step {
                Step::Write(at, data) => lay_over(out, offset, *at, data),
                // What a shorter file lost is zero when it grows again.
                Step::SetLen(len) => {
                    let kept = len.saturating_sub(offset).min(out.len() as u64) as usize;
                    out[kept..].fill(0);
                }
                Step::Sync => {}
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check_space()?;
        if self.released() {
            return self.0.under.set_len(len);
        }
        self.held().push(Step::SetLen(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check_space()?;
        if self.released() {
            return self.0.under.sync_data();
        }
        self.held().push(Step::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check_space()?;
        if self.released() {
            return self.0.under.write(offset, data);
        }
        self.held().push(Step::Write(offset, data.into()));
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.0.under.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.under.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.under.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.under.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.under.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.under.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.under.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use ::redb::backends::InMemoryBackend;

    use super::*;

    fn under(bytes: &[u8]) -> (Held, Held) {
        let under = InMemoryBackend::new();
        under.set_len(bytes.len() as u64).unwrap();
        under.write(0, bytes).unwrap();
        let file = Held::over(under);
        file.release().unwrap();
        (Held::over(file.clone()), file)
    }

    #[test]
    fn held_writes_are_read_but_not_in_the_file_until_they_are_released() {
        let (held, file) = under(b"0123456789");
        held.write(2, b"ab").unwrap();
        held.write(3, b"CD").unwrap();
        held.sync_data().unwrap();
        held.set_len(12).unwrap();
        held.write(11, b"z").unwrap();
        assert_eq!(held.to_bytes().unwrap(), b"01aCD56789\0z");
        let mut part = [0; 3];
        held.read(3, &mut part).unwrap();
        assert_eq!(&part, b"CD5");
        assert!(held.read(10, &mut part).is_err(), "behind the end");
        assert_eq!(file.to_bytes().unwrap(), b"0123456789");

        held.release().unwrap();
        assert_eq!(file.to_bytes().unwrap(), b"01aCD56789\0z");
        held.write(0, b"!").unwrap();
        assert_eq!(file.to_bytes().unwrap(), b"!1aCD56789\0z");
    }

    #[test]
    fn a_file_that_shrinks_and_grows_is_zero_where_it_was_cut() {
        let (held, file) = under(b"0123456789");
        held.set_len(4).unwrap();
        assert_eq!(held.to_bytes().unwrap(), b"0123");
        held.set_len(6).unwrap();
        assert_eq!(held.to_bytes().unwrap(), b"0123\0\0");
        held.release().unwrap();
        assert_eq!(file.to_bytes().unwrap(), b"0123\0\0");
    }
}
