//! x
#[cfg(feature = "automerge-backend")]
pub mod store;
