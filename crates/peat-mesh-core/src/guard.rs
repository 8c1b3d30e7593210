//! Panics of libraries on bytes that are damaged or crafted, turned into errors.
//!
//! Automerge and redb check most of what they read and panic on some of the rest. Where bytes from a peer or
//! the disk are given to them, a panic is an answer like any other and must not look like a bug of this
//! program: whoever sets the panic hook asks [`is_expected`] and says nothing then.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Whether this thread is in a piece of work whose panics are caught and dealt with.
#[must_use]
pub fn is_expected() -> bool {
    DEPTH.get() > 0
}

/// Does a piece of work and catches its panic. What the work was changing must be thrown away then.
///
/// # Errors
/// The message of the panic.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    DEPTH.set(DEPTH.get() + 1);
    let done = catch_unwind(AssertUnwindSafe(work));
    DEPTH.set(DEPTH.get() - 1);
    done.map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_message_and_is_expected_only_inside() {
        assert!(!is_expected());
        let inside = caught(|| caught(|| assert!(!is_expected(), "as {}", "foreseen")));
        assert_eq!(inside, Ok(Err("as foreseen".to_owned())));
        assert!(!is_expected());
        assert_eq!(caught(|| 7), Ok(7));
    }
}
