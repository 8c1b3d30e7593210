//! What tells the bytes that a peer sent from all others.

/// A digest of Automerge chunks as they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunks {
    /// BLAKE3 of all of them.
    pub hash: [u8; 32],
    /// Their length, in bytes.
    pub bytes: u64,
}

impl Chunks {
    /// The digest of these.
    #[must_use]
    pub fn of(chunks: &[u8]) -> Self {
        Self { hash: *blake3::hash(chunks).as_bytes(), bytes: chunks.len() as u64 }
    }
}
