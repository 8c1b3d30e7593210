//! What may be asked of a node's blobs: files and other bytes, each named by the hash of its content.

use std::fmt;
use std::io;
use std::ops::Range;
use std::str::FromStr;

use bytes::Bytes;
use data_encoding::HEXLOWER_PERMISSIVE;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use tokio::sync::mpsc;

/// The name of a blob: BLAKE3 of its content. As text it is 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobHash(pub [u8; 32]);

impl fmt::Display for BlobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER_PERMISSIVE.encode(&self.0))
    }
}

impl fmt::Debug for BlobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no hash of a blob.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not the hash of a blob, which is 64 hex digits (BLAKE3 of its content)")]
pub struct BlobHashError {
    text: String,
}

impl FromStr for BlobHash {
    type Err = BlobHashError;

    fn from_str(text: &str) -> Result<Self, BlobHashError> {
        let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok();
        let hash = bytes.and_then(|bytes| bytes.try_into().ok());
        hash.map(Self).ok_or_else(|| BlobHashError { text: text.chars().take(80).collect() })
    }
}

/// A blob that is whole on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blob {
    /// Its name.
    pub hash: BlobHash,
    /// Its length, in bytes.
    pub size: u64,
}

/// What this node has of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobState {
    /// All of it.
    Complete {
        /// Its length, in bytes.
        size: u64,
    },
    /// A part, from a fetch that broke off or goes on.
    Partial {
        /// Its length in bytes, as far as it is known.
        size: Option<u64>,
        /// Bytes of it that are here.
        have_bytes: u64,
    },
    /// Nothing.
    Absent,
}

/// A part of the list of blobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobPage {
    /// How many whole blobs this node has.
    pub count: u64,
    /// Some of them, by hash.
    pub blobs: Vec<Blob>,
    /// The last hash of this page, when there are more after it.
    pub next: Option<BlobHash>,
}

/// Why a request for a blob failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlobError {
    /// It is not here, and no connected peer has it.
    #[error("blob {hash} is not here, and {} has it; {asked} asked", nobody(*asked))]
    NotFound {
        /// Which.
        hash: BlobHash,
        /// Peers that were asked.
        asked: usize,
    },
    /// It is not here.
    #[error("blob {hash} is not on this node")]
    NotHere {
        /// Which.
        hash: BlobHash,
    },
    /// Peers have it, but it did not come whole.
    #[error("blob {hash} could not be fetched: {reason}. What has come is kept; ask again to go on")]
    Interrupted {
        /// Which.
        hash: BlobHash,
        /// What happened with the last peer, in words.
        reason: String,
    },
    /// It is being fetched, so it cannot be deleted.
    #[error("blob {hash} is being fetched at the moment; try again when that has ended")]
    InFetch {
        /// Which.
        hash: BlobHash,
    },
    /// There is no more room on the disk.
    #[error(
        "the disk has no space left for blobs (the last {} MiB are kept for documents); delete some, or free some space",
        reserve_bytes / (1024 * 1024)
    )]
    Full {
        /// Bytes that blobs leave free.
        reserve_bytes: u64,
    },
    /// What was to be stored did not come to its end.
    #[error("the content of the blob broke off: {0}")]
    Source(String),
    /// The store of blobs failed; in words.
    #[error("the blob store failed: {0}")]
    Store(String),
}

fn nobody(asked: usize) -> &'static str {
    if asked == 0 { "no node that could have it is connected, so nobody" } else { "no connected node" }
}

/// The content of a blob, in pieces of some KiB.
pub type Content = BoxStream<'static, io::Result<Bytes>>;

/// The blobs of a node.
pub trait Blobs: Send + Sync + fmt::Debug {
    /// Stores what comes on the channel until it is closed, or until an error comes, which gives it up.
    /// `size` is its length in bytes, when that is known. The blob is on disk when this returns. `true` when
    /// it was not here before.
    fn add(
        &self,
        content: mpsc::Receiver<io::Result<Bytes>>,
        size: Option<u64>,
    ) -> BoxFuture<'_, Result<(Blob, bool), BlobError>>;

    /// What is here of a blob.
    fn state(&self, hash: BlobHash) -> BoxFuture<'_, Result<BlobState, BlobError>>;

    /// Makes sure that a blob is whole on this node: fetches what is missing from connected peers. When the
    /// future is dropped, what has come is kept.
    fn fetch(&self, hash: BlobHash) -> BoxFuture<'_, Result<Blob, BlobError>>;

    /// These bytes of a blob that is whole here. Each piece is checked against the hash.
    fn read(&self, hash: BlobHash, range: Range<u64>) -> Content;

    /// Drops what is here of a blob. `false` when there was nothing.
    fn delete(&self, hash: BlobHash) -> BoxFuture<'_, Result<bool, BlobError>>;

    /// Up to `limit` blobs that are whole here, with hashes after `after`.
    fn list(&self, after: Option<BlobHash>, limit: usize) -> BoxFuture<'_, Result<BlobPage, BlobError>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_64_hex_digits_in_either_case() {
        let text = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        let hash: BlobHash = text.parse().unwrap();
        assert_eq!(hash.to_string(), text);
        assert_eq!(text.to_uppercase().parse(), Ok(hash));
        for wrong in ["", "af", &text[1..], &format!("{text}00"), &text.replace('a', "g")] {
            assert!(wrong.parse::<BlobHash>().is_err(), "{wrong}");
        }
    }
}
