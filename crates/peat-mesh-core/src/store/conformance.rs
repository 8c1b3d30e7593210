//! The contract of [`Store`] as a program: every store runs it, so that what holds in the simulator
//! holds on a disk.
//!
//! A function that opens an empty store comes in; a panic with a sentence comes out when the store
//! breaks the contract.

mod changes;
mod documents;
mod pages;
pub(super) mod writes;

use super::Store;

/// A part of the contract, tried on an empty store.
type Check = fn(&dyn Store);

/// Holds a store against the contract; `open` is called often and gives an empty store each time.
///
/// # Panics
/// When the store breaks the contract.
pub fn check(open: &mut dyn FnMut() -> Box<dyn Store>) {
    for check in documents::CHECKS.iter().chain(pages::CHECKS).chain(changes::CHECKS) {
        let store = open();
        assert_eq!(store.last_seq().ok(), Some(0), "{store:?} is not empty");
        check(store.as_ref());
    }
    let store = open();
    assert_eq!(store.mark().ok(), Some(0), "nobody has left a mark");
    for mark in [7, u64::MAX] {
        store.set_mark(mark).expect("a mark can be left");
        assert_eq!(store.mark().ok(), Some(mark), "the last mark is read");
    }
    assert_eq!(store.last_seq().ok(), Some(0), "a mark is no change");
}
