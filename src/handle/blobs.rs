//! What may be asked of a node's blobs: files and other bytes, each named by the hash of its content.

use std::fmt;
use std::io;
use std::ops::Range;
use std::str::FromStr;

use bytes::Bytes;
use data_encoding::HEXLOWER_PERMISSIVE;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use peat_mesh_core::EndpointId;
use tokio::sync::{mpsc, watch};

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

/// How a fetch is going.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetching {
    /// The blob.
    pub hash: BlobHash,
    /// What is being done.
    pub step: FetchStep,
    /// Its length in bytes, as far as it is known.
    pub size: Option<u64>,
    /// Bytes of it that are here.
    pub have_bytes: u64,
    /// The peers that it comes from now, and how many bytes each has sent in this fetch.
    pub from: Vec<(EndpointId, u64)>,
}

/// Where a fetch is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchStep {
    /// Peers are asked who has it.
    Looking,
    /// It comes.
    Coming,
    /// Nobody has it, or all of them broke off: asked again after a while.
    Waiting {
        /// Why, in words.
        reason: String,
    },
    /// It is whole here. The last step.
    Complete,
    /// It was given up. The last step.
    Ended {
        /// Why, in words.
        reason: String,
    },
}

impl FetchStep {
    /// Whether no other step follows.
    #[must_use]
    pub fn is_last(&self) -> bool {
        matches!(self, Self::Complete | Self::Ended { .. })
    }
}

/// What a peer says that it has of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// The peer.
    pub peer: EndpointId,
    /// How much.
    pub state: BlobState,
}

/// What blobs take now, and what has happened since the node started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BlobCounts {
    /// Blobs on this node, parts of some included.
    pub blobs: u64,
    /// Bytes that they take.
    pub bytes: u64,
    /// Bytes that all blobs may take; `None` is as much as there is.
    pub bytes_max: Option<u64>,
    /// Blobs that are being fetched or waited for.
    pub fetches: u64,
    /// Blobs that are known to be damaged.
    pub damaged: u64,
    /// Blobs that were damaged and have been mended.
    pub repaired: u64,
    /// Blobs that were dropped because nothing referred to them …
    pub collected: u64,
    /// … and their bytes.
    pub collected_bytes: u64,
    /// Bytes of blobs that peers were sent.
    pub sent_bytes: u64,
    /// Bytes of blobs that came from peers.
    pub received_bytes: u64,
}

/// A blob that can be read, whole here or still on its way.
pub struct Reading {
    /// Which.
    pub blob: Blob,
    /// Gives these bytes of it, each piece checked against the hash. What is not here yet is waited for.
    pub content: Box<dyn FnOnce(Range<u64>) -> Content + Send>,
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading").field("blob", &self.blob).finish_non_exhaustive()
    }
}

/// What keeps a blob on this node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kept {
    /// Documents of this node that name it.
    pub references: u64,
    /// Whether it is kept until somebody deletes it, since a document of a pinned collection names or named it.
    pub pinned: bool,
    /// In how many milliseconds at the earliest it is dropped, when it is here and nothing keeps it.
    pub collected_in_ms: Option<u64>,
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
    /// Blobs would take more than they may.
    #[error(
        "blobs may take {max_bytes} bytes on this node (PEAT_BLOB_MAX_BYTES), and this one does not fit any more; \
         delete some, or raise the limit"
    )]
    Quota {
        /// Bytes that all blobs of this node may take.
        max_bytes: u64,
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

    /// Who of the connected peers has how much of a blob; those that do not answer within a second are left out.
    fn holders(&self, hash: BlobHash) -> BoxFuture<'_, Vec<Holder>>;

    /// Fetches a blob in the background: until it is whole here, [cancelled](Self::cancel) or deleted, also after a
    /// restart of the node. While nobody has it, it is looked for again and again.
    fn request(&self, hash: BlobHash) -> BoxFuture<'_, Result<BlobState, BlobError>>;

    /// Ends a fetch in the background; what has come is kept. `false` when there was none.
    fn cancel(&self, hash: BlobHash) -> BoxFuture<'_, Result<bool, BlobError>>;

    /// How the fetch of a blob is going, while there is one.
    fn progress(&self, hash: BlobHash) -> Option<watch::Receiver<Fetching>>;

    /// Opens a blob for reading. What is missing of it is fetched from peers while it is read; when nobody reads it any
    /// more, what has come is kept.
    fn open(&self, hash: BlobHash) -> BoxFuture<'_, Result<Reading, BlobError>>;

    /// What keeps a blob here.
    fn kept(&self, hash: BlobHash) -> BoxFuture<'_, Result<Kept, BlobError>>;

    /// Whether bytes of it on this node's disk are known not to be those that were written.
    fn is_damaged(&self, hash: BlobHash) -> bool;

    /// What blobs take now, and what has happened since the node started.
    fn counts(&self) -> BlobCounts;

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
