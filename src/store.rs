//! The store on disk: documents in one redb file.
//!
//! Commits of [`DocWrite`](peat_mesh_core::store::DocWrite)s come in and are on disk when the call
//! returns; documents, pages, changes and heads go out, each read on its own read transaction. The
//! contract is that of [`peat_mesh_core::store`]; the tables are drawn in `docs/store.md`.
//!
//! - `redb`: the [`RedbStore`] and its reads.
//! - `commit`: what one write changes in the tables.
//! - `tables`: the tables, and how their values are packed.
//! - `migrations`: from an older format to this one.
//! - `open`: opening and creating the file, and why that fails.
//! - `log`: where small commits are on disk before the database has them.
//! - `held`: how a damaged file is kept as it is.

mod commit;
#[cfg(test)]
mod disk;
mod held;
mod log;
mod migrations;
mod open;
mod redb;
mod tables;

pub use self::open::OpenError;
pub use self::redb::RedbStore;
