//! Automerge chunks: bytes from a disk or a peer in, parsed changes out, or an error.
//!
//! ```text
//! ┌──────────────┬────────────┬───────────┬─────────────────┬──────┐
//! │ 85 6f 4a 83  │ checksum 4 │ kind 1    │ length (LEB128) │ data │  one chunk; any number follow
//! └──────────────┴────────────┴───────────┴─────────────────┴──────┘
//!                               0 document, 1 change, 2 change (deflated)
//! ```
//!
//! Automerge trusts what it reads in some places and panics when, for example, an operation names an
//! object that does not exist. A member of the formation that sends such a change must not take the
//! node down, so all that reads foreign bytes runs in [`guarded`].

use automerge::{Automerge, Change, LoadOptions};

use super::DocumentError;
use super::value::TEXT_ENCODING;

const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];
/// Magic, checksum and kind.
const FIXED_BYTES: usize = 9;
/// Longest length that a chunk may give itself, in bytes of its LEB128 form.
const LENGTH_BYTES_MAX: usize = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A whole saved document.
    Document,
    /// One change.
    Change,
}

/// One chunk with its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunk<'a> {
    pub(super) kind: Kind,
    pub(super) bytes: &'a [u8],
}

/// Cuts chunks apart. Nothing may be left over.
pub(super) fn split(mut bytes: &[u8]) -> Result<Vec<Chunk<'_>>, DocumentError> {
    let mut chunks = Vec::new();
    while !bytes.is_empty() {
        let (kind, length) = header(bytes)?;
        let (chunk, rest) = bytes
            .split_at_checked(length)
            .ok_or_else(|| bad("a chunk is longer than the bytes that are there"))?;
        chunks.push(Chunk { kind, bytes: chunk });
        bytes = rest;
    }
    Ok(chunks)
}

/// The kind of the first chunk and its length, header included.
fn header(bytes: &[u8]) -> Result<(Kind, usize), DocumentError> {
    if bytes.len() < FIXED_BYTES || bytes[..4] != MAGIC {
        return Err(bad("there is no Automerge chunk where one should start"));
    }
    let kind = match bytes[8] {
        0 => Kind::Document,
        1 => Kind::Change,
        // Nobody here sends these, and nothing says how large they grow when they are inflated.
        2 => return Err(bad("a deflated change, which is not taken")),
        3 => {
            return Err(bad("a bundle of changes, whose format may still change, is not taken"));
        }
        _ => return Err(bad("an unknown kind of chunk")),
    };
    let mut length = 0_usize;
    for (index, byte) in bytes[FIXED_BYTES..].iter().take(LENGTH_BYTES_MAX).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let header = FIXED_BYTES + index + 1;
            let whole = header.checked_add(length);
            return whole.map(|whole| (kind, whole)).ok_or_else(|| bad("a chunk length that cannot be"));
        }
    }
    Err(bad("a chunk length that cannot be"))
}

/// Reads one change and checks that its bytes are what its hash says.
pub(super) fn change(chunk: Chunk<'_>) -> Result<Change, DocumentError> {
    let change = guarded(|| Change::try_from(chunk.bytes).map_err(|error| bad(error.to_string())))?;
    // Automerge checks the checksum when it loads, but not when it is given a single change.
    if change.hash().0[..4] != chunk.bytes[4..8] {
        return Err(bad("the checksum of a change is wrong"));
    }
    Ok(change)
}

/// Loads a saved document and the changes after it.
pub(super) fn document(bytes: &[u8]) -> Result<Automerge, DocumentError> {
    guarded(|| {
        let options = LoadOptions::new().text_encoding(TEXT_ENCODING);
        let doc = Automerge::load_with_options(bytes, options).map_err(|error| bad(error.to_string()))?;
        if automerge::ReadDoc::get_missing_deps(&doc, &[]).is_empty() {
            Ok(doc)
        } else {
            Err(bad("changes without those that they build on"))
        }
    })
}

/// Turns a panic of Automerge into an error. What `work` was changing must be thrown away then.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, DocumentError>) -> Result<T, DocumentError> {
    crate::guard::caught(work).unwrap_or_else(|_| Err(bad("changes that contradict themselves")))
}

pub(super) fn bad(reason: impl Into<String>) -> DocumentError {
    DocumentError::Chunk { reason: reason.into() }
}
