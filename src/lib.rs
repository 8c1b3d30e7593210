//! peat-mesh keeps JSON documents in step between machines with no server in the middle.

#[cfg(feature = "automerge-backend")]
pub mod handle;
pub mod identity;
#[cfg(feature = "automerge-backend")]
pub mod store;
