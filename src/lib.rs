//! peat-mesh keeps JSON documents in step between machines with no server in the middle.

#[cfg(feature = "broker")]
pub mod broker;
pub mod discovery;
#[cfg(feature = "automerge-backend")]
pub mod handle;
#[cfg(feature = "automerge-backend")]
pub mod store;
