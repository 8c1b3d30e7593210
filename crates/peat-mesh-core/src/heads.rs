//! The heads of a document: the hashes of its newest changes, sorted. Two replicas with the same heads
//! hold the same document.

use std::fmt;
use std::sync::Arc;

pub use automerge::ChangeHash;

/// Sorted heads without duplicates; empty for a document that does not exist here.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Heads(Arc<[ChangeHash]>);

impl Heads {
    /// No heads: the document does not exist.
    #[must_use]
    pub fn none() -> Self {
        Self(Arc::from([]))
    }

    /// Sorts and takes the given hashes.
    #[must_use]
    pub fn new(mut hashes: Vec<ChangeHash>) -> Self {
        hashes.sort_unstable();
        hashes.dedup();
        Self(hashes.into())
    }

    /// The hashes, sorted.
    #[must_use]
    pub fn as_slice(&self) -> &[ChangeHash] {
        &self.0
    }

    /// Whether all of them are heads of the other, too.
    #[must_use]
    pub fn are_among(&self, other: &Self) -> bool {
        self.0.iter().all(|hash| other.0.binary_search(hash).is_ok())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The version of the document with these heads: the same on every node that has the same content.
    #[must_use]
    pub fn version(&self) -> Version {
        let mut hasher = blake3::Hasher::new();
        for hash in self.0.iter() {
            hasher.update(&hash.0);
        }
        let mut version = [0; 16];
        version.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Version(version)
    }

    /// The hashes one after the other, 32 bytes each.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|hash| hash.0).collect()
    }

    /// The reverse of [`Heads::to_bytes`]; `None` when the length is not a multiple of 32.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (hashes, rest) = bytes.as_chunks::<32>();
        rest.is_empty().then(|| Self::new(hashes.iter().map(|hash| ChangeHash(*hash)).collect()))
    }
}

impl fmt::Debug for Heads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|hash| data_encoding::HEXLOWER.encode(&hash.0[..4])))
            .finish()
    }
}

/// 16 bytes that name one state of a document, printed as 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version(pub [u8; 16]);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
