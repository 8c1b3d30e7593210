//! x
pub mod discovery;
