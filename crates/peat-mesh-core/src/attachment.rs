//! Attachments: which blobs a document names.
//!
//! An attachment is a value `{"$blob":"<64 hex digits>","size":…,"name":…,"type":…}` anywhere in a document, in
//! objects and lists at any depth. Only `$blob` counts here; the other members are for those who read the
//! document. A `$blob` whose value is no hash is a member like any other: the write of it is not refused, since
//! what it means is the business of whoever wrote it.
//!
//! - [`find`]: the hashes in the JSON of a document.
//! - [`policy`]: what a node does about them, by collection.

pub mod policy;

use std::collections::BTreeSet;

use data_encoding::HEXLOWER_PERMISSIVE;
use serde_json::Value;

use crate::limits::ATTACHMENTS_PER_DOCUMENT_MAX;

pub use policy::{Policies, Policy};

/// The member that makes an object an attachment.
const MEMBER: &str = "$blob";
/// How it stands in JSON that a store keeps, which escapes no more than it has to.
const WRITTEN: &str = "\"$blob\"";

/// The blobs that a document names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attachments {
    /// Their hashes, each once.
    pub hashes: BTreeSet<[u8; 32]>,
    /// Whether it names more than [`ATTACHMENTS_PER_DOCUMENT_MAX`]; those that come later in the text are left
    /// out.
    pub is_cut: bool,
}

/// Finds the attachments in the JSON of a document, as a store keeps it. A text without `$blob` is not parsed.
#[must_use]
pub fn find(json: &str) -> Attachments {
    let mut found = Attachments::default();
    if !json.contains(WRITTEN) {
        return found;
    }
    // What is no JSON names nothing; the limits of a document keep the nesting within what the parser takes.
    if let Ok(value) = serde_json::from_str(json) {
        found.visit(&value);
    }
    found
}

impl Attachments {
    fn visit(&mut self, value: &Value) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.visit(item)),
            Value::Object(members) => {
                if let Some(hash) = members.get(MEMBER).and_then(hash) {
                    self.add(hash);
                }
                members.values().for_each(|member| self.visit(member));
            }
            _ => {}
        }
    }

    fn add(&mut self, hash: [u8; 32]) {
        if self.hashes.len() < ATTACHMENTS_PER_DOCUMENT_MAX {
            self.hashes.insert(hash);
        } else if !self.hashes.contains(&hash) {
            self.is_cut = true;
        }
    }
}

fn hash(value: &Value) -> Option<[u8; 32]> {
    HEXLOWER_PERMISSIVE.decode(value.as_str()?.as_bytes()).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests;
