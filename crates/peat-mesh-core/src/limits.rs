//! Every upper bound of the core, once, with its unit as the last word of its name.
//!
//! A limit that a peer or a client can reach is checked before memory is taken for what it sent.

/// Longest node name, `<cluster>/<hostname>` included, in bytes.
pub const NODE_NAME_BYTES_MAX: usize = 128;
/// Longest collection name, in bytes.
pub const COLLECTION_BYTES_MAX: usize = 64;
/// Longest document id within its collection, in bytes.
pub const DOCUMENT_ID_BYTES_MAX: usize = 192;
/// Largest document a client may write, as JSON text, in bytes.
pub const DOCUMENT_JSON_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A page of a collection ends after the document with which its JSON reaches this size, in bytes.
pub const PAGE_JSON_BYTES_TARGET: usize = 8 * 1024 * 1024;
/// Deepest nesting of objects and lists in a document, in levels.
pub const DOCUMENT_DEPTH_LEVELS_MAX: usize = 64;
/// Most heads a document may have on the wire. More than this many edits that never met each other
/// are merged by the next local write.
pub const HEADS_COUNT_MAX: usize = 256;
/// Most change hashes in the "this is what I have" list of a `Want` frame.
pub const HAVE_COUNT_MAX: usize = 256;

/// Largest frame body on the wire, in bytes.
pub const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Changes of one document are cut into frames of about this size, in bytes.
pub const CHANGES_FRAME_BYTES_TARGET: usize = 1024 * 1024;
/// Most documents whose changes share one frame.
pub const CHANGES_PER_FRAME_MAX: usize = 256;
/// Most ranges in one reconciliation frame.
pub const RANGES_PER_FRAME_MAX: usize = 1024;
/// Most documents listed in one reconciliation frame.
pub const ITEMS_PER_FRAME_MAX: usize = 1024;
/// A range with at most this many documents is listed, a larger one is split.
pub const RANGE_ITEMS_MAX: usize = 8;
/// Most node tags a change carries to say who was already sent it.
pub const AUDIENCE_COUNT_MAX: usize = 64;
/// Longest reason in a close or refusal, in bytes.
pub const REASON_BYTES_MAX: usize = 256;

/// What a frame counts for beside its own bytes, so that very many small ones are bounded too.
pub const FRAME_OVERHEAD_BYTES: usize = 512;

/// What a frame of this length counts for in a window.
#[must_use]
pub const fn frame_cost_bytes(bytes: usize) -> usize {
    bytes + FRAME_OVERHEAD_BYTES
}

/// Bytes of unsent frames per connection above which pushes are skipped and left to reconciliation.
pub const SEND_WINDOW_BYTES: usize = 4 * 1024 * 1024;
/// Reads of documents in order to send them, for one connection at once.
pub const ANSWERS_IN_FLIGHT_MAX: usize = 8;
/// Documents read from the store in one such go.
pub const ANSWER_BATCH_DOCUMENTS_MAX: usize = 64;

/// Largest message of the overlay in a frame, in bytes.
pub const GOSSIP_BYTES_MAX: usize = 72 * 1024;

/// Most peers the table remembers, connected or not.
pub const PEERS_COUNT_MAX: usize = 16 * 1024;
/// Most connections of a node that keeps only some neighbours; others that come are told that they are not
/// needed. Neighbours are far fewer; the rest pass by.
pub const LINKS_COUNT_MAX: usize = 256;
/// How long a connection that is not needed stays open, in milliseconds, in case it is needed again …
pub const LET_GO_MS: u64 = 3_000;
/// … and how long at most while something is on its way over it.
pub const LET_GO_MS_MAX: u64 = 60_000;
/// Most addresses remembered for one peer.
pub const PEER_ADDRESSES_COUNT_MAX: usize = 16;
/// First wait before dialling a peer again, in milliseconds.
pub const DIAL_RETRY_MS_MIN: u64 = 200;
/// Longest wait before dialling a peer again, in milliseconds.
pub const DIAL_RETRY_MS_MAX: u64 = 15_000;
/// How long the node that is not the preferred dialler of a pair waits for the other, in milliseconds.
pub const DIAL_GRACE_MS: u64 = 300;
/// How often connected peers compare fingerprints, in milliseconds.
pub const RECONCILE_EVERY_MS: u64 = 5_000;

/// A peer that asks for nothing for this long has all that a leaving node has, in milliseconds. More than a
/// few round trips on a poor link.
pub const LEAVE_QUIET_MS: u64 = 2_000;
/// Bytes of loaded documents kept in memory (estimated).
pub const DOCUMENT_CACHE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Increments of a document are folded into a snapshot when there are more than this many of them …
pub const INCREMENTS_COUNT_MIN: u32 = 16;
/// … and together they are larger than the snapshot times this.
pub const INCREMENTS_TO_SNAPSHOT_RATIO: u64 = 1;

const _: () = {
    assert!(DOCUMENT_JSON_BYTES_MAX * 2 <= FRAME_BYTES_MAX);
    assert!(CHANGES_FRAME_BYTES_TARGET < SEND_WINDOW_BYTES);
    assert!(SEND_WINDOW_BYTES < FRAME_BYTES_MAX);
    assert!(RANGE_ITEMS_MAX <= ITEMS_PER_FRAME_MAX);
    assert!(COLLECTION_BYTES_MAX + 1 + DOCUMENT_ID_BYTES_MAX <= u16::MAX as usize);
};
