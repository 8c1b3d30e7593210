//! The bytes of the writes in a record, one after the other.
//!
//! ```text
//! +-----+------------+--------+-------------------------+------------------------------+
//! | seq | changed_ms | flags  | for each of document,   | JSON, when it is not deleted |
//! | u64 | u64        | 1 live | origin, heads, chunk:   | u32, bytes                   |
//! |     |            | 2 fold | u32, bytes              |                              |
//! +-----+------------+--------+-------------------------+------------------------------+
//! ```
//! `fold` says that the chunk replaces those before it. The origin is the name of a peer; empty for a client of this node.

use bytes::Bytes;
use peat_mesh_core::heads::Heads;
use peat_mesh_core::id::NodeName;
use peat_mesh_core::store::{ChunkWrite, DocWrite, Origin};

const LIVE: u8 = 1;
const FOLD: u8 = 2;

/// The bytes of the writes; `None` when they would be more than `bytes_max`.
pub(super) fn encode(writes: &[DocWrite], bytes_max: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for write in writes {
        let (chunk, fold) = match &write.chunk {
            ChunkWrite::Append(chunk) => (chunk, 0),
            ChunkWrite::Replace(chunk) => (chunk, FOLD),
        };
        let origin = match &write.origin {
            Origin::Local => "",
            Origin::Peer(name) => name.as_str(),
        };
        let json = write.json.as_deref();
        if bytes.len() + chunk.len() + json.map_or(0, str::len) > bytes_max {
            return None;
        }
        bytes.extend(write.seq.to_le_bytes());
        bytes.extend(write.changed_ms.to_le_bytes());
        bytes.push(fold | if json.is_some() { LIVE } else { 0 });
        let heads = write.heads.to_bytes();
        let parts = [write.doc.as_str().as_bytes(), origin.as_bytes(), &heads, chunk];
        for part in parts.into_iter().chain(json.map(str::as_bytes)) {
            bytes.extend(u32::try_from(part.len()).ok()?.to_le_bytes());
            bytes.extend(part);
        }
    }
    (bytes.len() <= bytes_max).then_some(bytes)
}

/// The reverse of [`encode`]; `None` when it makes no sense.
pub(super) fn decode(mut bytes: &[u8]) -> Option<Vec<DocWrite>> {
    let mut writes = Vec::new();
    while !bytes.is_empty() {
        let (seq, rest) = bytes.split_first_chunk::<8>()?;
        let (changed_ms, rest) = rest.split_first_chunk::<8>()?;
        let (flags, rest) = rest.split_first()?;
        bytes = rest;
        let doc = str::from_utf8(part(&mut bytes)?).ok()?.parse().ok()?;
        let origin = match str::from_utf8(part(&mut bytes)?).ok()? {
            "" => Origin::Local,
            name => Origin::Peer(NodeName::new(name).ok()?),
        };
        let heads = Heads::from_bytes(part(&mut bytes)?)?;
        let chunk = Bytes::copy_from_slice(part(&mut bytes)?);
        let json = match flags & LIVE {
            0 => None,
            _ => Some(str::from_utf8(part(&mut bytes)?).ok()?.to_owned()),
        };
        let chunk = if flags & FOLD == 0 { ChunkWrite::Append(chunk) } else { ChunkWrite::Replace(chunk) };
        let (seq, changed_ms) = (u64::from_le_bytes(*seq), u64::from_le_bytes(*changed_ms));
        writes.push(DocWrite { doc, seq, heads, json, chunk, origin, changed_ms });
    }
    Some(writes)
}

/// Takes a length and as many bytes.
fn part<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    let (part, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    *bytes = rest;
    Some(part)
}
