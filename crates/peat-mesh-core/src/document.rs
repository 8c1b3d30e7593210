//! stub
#![allow(missing_docs, clippy::todo, unused)]
use crate::heads::{ChangeHash, Heads};
pub use automerge::ActorId;
use bytes::Bytes;
use serde_json::{Map, Value};
#[derive(Debug)]
pub struct Document;
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct DocumentError;
#[derive(Debug)]
pub struct Merged {
    pub new: Bytes,
    pub missing: bool,
}
impl Document {
    pub fn new(a: &ActorId) -> Self {
        todo!()
    }
    pub fn load<'a>(
        chunks: impl IntoIterator<Item = &'a [u8]>,
        actor: &ActorId,
    ) -> Result<Self, DocumentError> {
        todo!()
    }
    pub fn put(
        &mut self,
        object: &serde_json::Map<String, Value>,
        now_ms: u64,
    ) -> Result<Option<Bytes>, DocumentError> {
        todo!()
    }
    pub fn delete(&mut self, now_ms: u64) -> Option<Bytes> {
        todo!()
    }
    pub fn merge(&mut self, chunks: &[u8]) -> Result<Merged, DocumentError> {
        todo!()
    }
    pub fn heads(&self) -> Heads {
        todo!()
    }
    pub fn is_deleted(&self) -> bool {
        todo!()
    }
    pub fn to_json(&self) -> Result<String, DocumentError> {
        todo!()
    }
    pub fn save(&self) -> Bytes {
        todo!()
    }
    pub fn knows(&self, hash: &ChangeHash) -> bool {
        todo!()
    }
    pub fn changes_since(&self, have: &[ChangeHash], piece_bytes: usize) -> Vec<Bytes> {
        todo!()
    }
    pub fn have(&self) -> Vec<ChangeHash> {
        todo!()
    }
    pub fn weight_bytes(&self) -> usize {
        todo!()
    }
}
