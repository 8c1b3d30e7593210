//! Who made a change, and as which of its changes: read from the bytes of Automerge changes.
//!
//! ```text
//! ┌─────────────┬────────────┬────────┬────────┬───────────────┬───────┬────────────┬─────┬───
//! │ 85 6f 4a 83 │ checksum 4 │ kind 1 │ length │ deps, n × 32  │ actor │ sequence   │ …   │ next
//! └─────────────┴────────────┴────────┴────────┴───────────────┴───────┴────────────┴─────┴───
//! ```
//! Numbers are LEB128, and the actor and the list of deps come after their lengths. The checksum is the
//! start of the change's hash.

/// One change, named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Authored {
    /// The actor.
    pub(crate) actor: Vec<u8>,
    /// The number that the actor gave it.
    pub(crate) seq: u64,
    /// The first four bytes of its hash.
    pub(crate) checksum: [u8; 4],
}

const KIND_CHANGE: u8 = 1;
const HASH_BYTES: usize = 32;

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok()
    }
}

/// The changes in some chunks; chunks of other kinds (a saved document) are passed over. `None` when the
/// bytes are no chunks.
pub(crate) fn changes(bytes: &[u8]) -> Option<Vec<Authored>> {
    let mut chunks = Reader(bytes);
    let mut found = Vec::new();
    while !chunks.0.is_empty() {
        chunks.take(4)?;
        let checksum = chunks.take(4)?.try_into().ok()?;
        let kind = chunks.take(1)?[0];
        let length = chunks.length()?;
        let mut body = Reader(chunks.take(length)?);
        if kind == KIND_CHANGE {
            let deps = body.length()?;
            body.take(deps.checked_mul(HASH_BYTES)?)?;
            let actor_bytes = body.length()?;
            let actor = body.take(actor_bytes)?.to_vec();
            found.push(Authored { actor, seq: body.number()?, checksum });
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use peat_mesh_core::document::{ActorId, Document};

    use super::*;

    #[test]
    fn a_change_names_its_actor_its_number_and_its_hash() {
        let mut document = Document::new(&ActorId::from([7; 16]));
        for number in 1..4 {
            let object = serde_json::from_value(serde_json::json!({ "n": number })).unwrap();
            let bytes = document.put(&object, 0).unwrap().unwrap();
            let found = changes(&bytes).unwrap();
            let heads = document.heads();
            let checksum = heads.as_slice()[0].0[..4].try_into().unwrap();
            assert_eq!(found, [Authored { actor: vec![7; 16], seq: number, checksum }]);
        }
        assert_eq!(changes(&document.save()), Some(Vec::new()));
        assert_eq!(changes(b"nothing of the kind"), None);
    }
}
