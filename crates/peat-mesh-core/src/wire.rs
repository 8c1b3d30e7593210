//! What two admitted nodes say to each other: [`Frame`]s and their bytes.
//!
//! ```text
//!  0        1        2        3        4        5        6
//! +--------+--------+--------+--------+--------+--------+----------------+
//! | kind   | 0      | length of the body, u32           | body           |
//! +--------+--------+--------+--------+--------+--------+----------------+
//! ```
//!
//! Numbers are big-endian; counts inside a body are LEB128 (`var`). Text is `var` length and UTF-8. The
//! bodies are drawn at each variant. The length is checked against [`limits::FRAME_BYTES_MAX`](crate::limits::FRAME_BYTES_MAX) before a
//! byte of the body is read, and each count inside against what is left of the body before memory is
//! taken for it. A body must be used up to its last byte.
//!
//! The version of all this is a byte in the opening message (see [`crate::proof`]); a kind that a node
//! does not know ends the connection, so a new kind needs a new version.

mod decode;
mod encode;
mod presence;
#[cfg(test)]
mod tests;

use bytes::Bytes;

pub use decode::Decoder;

use crate::catalog::{Fingerprint, Position, Prefix, Summary};
use crate::heads::{ChangeHash, Heads};
use crate::id::{DocId, NodeName, NodeTag};
use crate::presence::Record;
use crate::scope::Scope;

/// The ALPN under which the frames are spoken.
pub const ALPN: &[u8] = b"cap/automerge/1";
/// The version of the frames and the handshake. Version 2 added kinds 9 to 11, version 3 kinds 12 and 13.
pub const PROTOCOL_VERSION: u8 = 3;
/// Bytes before the body of a frame.
pub const HEADER_BYTES: usize = 6;

/// One message of the sync protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Kind 1, once from each side, right after the proofs.
    /// `name: text, incarnation: u64`
    Hello(Hello),
    /// Kind 2: "this is the fingerprint of all I have".
    /// `round: u32, count: var, fingerprint: 12 bytes`
    Probe {
        /// Comes back in the answer.
        round: u32,
        /// All of the sender's documents.
        all: Summary,
    },
    /// Kind 3: "so have I". The answer to a probe when the sets are equal. `round: u32`
    InStep {
        /// The round of the probe.
        round: u32,
    },
    /// Kind 4: parts of the fingerprints of the sixteen parts of ranges that differ.
    /// `n: var, n × { depth and 64 × window: u8, prefix: ceil(depth / 2) bytes, which parts have documents: u16 (the
    /// first one is bit 0), 4 bytes for each of them }`
    Ranges(Vec<RangeGroup>),
    /// Kind 5: all that the sender has in ranges that differ.
    /// `n: var, n × { depth: u8, prefix, m: var, m × { position: 16 bytes, digest: 8 bytes } }`
    Items(Vec<RangeItems>),
    /// Kind 6: "send me these, I have nothing of them". `n: var, n × position: 16 bytes`
    Fetch(Vec<Position>),
    /// Kind 7: "send me what I lack of these".
    /// `n: var, n × { doc: text, stage: u8, h: var, h × 32 bytes, k: var, k × 32 bytes }`
    Want(Vec<Want>),
    /// Kind 8: changes of documents.
    /// `repair: u8, a: var, a × 8 bytes, n: var, n × { doc: text, length: var, chunks }`
    Changes(Changes),
    /// Kind 9: what nodes say of themselves, each the latest known to the sender.
    /// `n: var, n × { origin: 32 bytes, name: text, role: text, version: text, epoch: var,
    /// incarnation: u64, sequence: var, here: u8, age: var ms, uptime: var ms, total: var, m: var,
    /// m × { peer: 8 bytes, silent: u8, path: u8 (0 unknown, 1 direct, 2 relay), family: u8 (0, 4 or 6),
    /// address and port: 0, 6 or 18 bytes, rtt: var µs, loss: var ‰ } }`
    Presence(Vec<Record>),
    /// Kind 11, at most once from each side: "this is what may cross this link". From a node that bounds it
    /// right after the hello, and from the other as the answer.
    /// `send: collections, receive: collections`, where collections are `all: u8, n: var, n × text`
    Scope(Scope),
    /// Kind 10: a message of the overlay, see the crate `peat-mesh-overlay`.
    /// `large: u8, message: all the rest`
    Gossip {
        /// Whether the sender knows of more peers than it may connect to.
        is_large: bool,
        /// The message, which the core does not look into.
        bytes: Bytes,
    },
    /// Kind 12: "tell me when you hold these heads of this document on disk".
    /// `id: u64, doc: text, h: var, h × 32 bytes`
    Confirm {
        /// Comes back in the answer.
        id: u64,
        /// Which document.
        doc: DocId,
        /// Which heads.
        heads: Heads,
    },
    /// Kind 13: "I hold what you asked for". `id: u64`
    Confirmed {
        /// The number in the question.
        id: u64,
    },
}

/// Who is speaking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The sender's name. Its endpoint id has to be the one that the name and the secret derive.
    pub name: NodeName,
    /// Random for each run of a process, so that a restarted node is told from a second one.
    pub incarnation: u64,
}

/// The sixteen parts of one range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeGroup {
    /// The range that is split.
    pub prefix: Prefix,
    /// Which of the [`WINDOWS`] of their fingerprints are given. Another one each time: parts that differ and look
    /// the same through one do not through the next.
    pub window: u8,
    /// Its parts in order; `None` for one without documents.
    pub parts: [Option<[u8; 4]>; 16],
}

/// How many times four bytes a fingerprint has.
pub const WINDOWS: u8 = 3;
/// Where the number of the window lies in the first byte of a group.
const WINDOW_SHIFT: u8 = 6;

impl Summary {
    /// What a [`RangeGroup`] says of a part with this summary.
    #[must_use]
    pub fn through(&self, window: u8) -> Option<[u8; 4]> {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = self.fingerprint.0;
        let windows = [[a, b, c, d], [e, f, g, h], [i, j, k, l]];
        (self.count > 0).then(|| windows[usize::from(window % WINDOWS)])
    }
}

/// The full content of one range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeItems {
    /// The range.
    pub prefix: Prefix,
    /// Each document in it: where, and in what state.
    pub items: Vec<(Position, Digest)>,
}

/// Eight bytes that tell two states of one document apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest(pub [u8; 8]);

/// A request for the changes of one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// Which.
    pub doc: DocId,
    /// How far the two sides have come in finding their common past.
    pub stage: WantStage,
    /// The sender's heads; empty when it has nothing.
    pub heads: Heads,
    /// More hashes that the sender has, see [`crate::document::Document::have`].
    pub have: Vec<ChangeHash>,
}

/// See [`Want`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum WantStage {
    /// Only heads are given. Whoever does not know them all asks back with `Have`.
    Heads = 0,
    /// Older hashes are given too. Whoever lacks some of the sender's heads asks back with `Last`.
    Have = 1,
    /// Older hashes are given; nobody asks back.
    Last = 2,
}

/// Changes on their way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// `false`: just made, to be passed on. `true`: the answer to a reconciliation.
    pub repair: bool,
    /// The nodes that are being sent this already; whoever passes it on leaves them out.
    pub audience: Vec<NodeTag>,
    /// Automerge chunks by document.
    pub documents: Vec<(DocId, Bytes)>,
}

/// Why bytes are not a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The header names a body longer than the limit.
    #[error("a frame of {bytes} bytes is larger than the limit of {bytes_max}")]
    TooLarge {
        /// What the header says.
        bytes: u64,
        /// The limit.
        bytes_max: usize,
    },
    /// The kind is none of this version's.
    #[error("unknown frame kind {kind}")]
    UnknownKind {
        /// The first byte of the frame.
        kind: u8,
    },
    /// The body ends too early or has bytes left over.
    #[error("the body of a {frame} frame is {what}")]
    Length {
        /// The name of the frame.
        frame: &'static str,
        /// "too short" or "too long".
        what: &'static str,
    },
    /// A field has a value it may not have.
    #[error("a {frame} frame has a bad {field}: {reason}")]
    Field {
        /// The name of the frame.
        frame: &'static str,
        /// The name of the field.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl Frame {
    /// The frame's name in logs and errors.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Hello(_) => "hello",
            Self::Probe { .. } => "probe",
            Self::InStep { .. } => "in-step",
            Self::Ranges(_) => "ranges",
            Self::Items(_) => "items",
            Self::Fetch(_) => "fetch",
            Self::Want(_) => "want",
            Self::Changes(_) => "changes",
            Self::Presence(_) => "presence",
            Self::Scope(_) => "scope",
            Self::Gossip { .. } => "gossip",
            Self::Confirm { .. } => "confirm",
            Self::Confirmed { .. } => "confirmed",
        }
    }
}

impl Summary {
    /// The summary of nothing.
    pub const EMPTY: Self = Self { count: 0, fingerprint: Fingerprint([0; 12]) };
}
