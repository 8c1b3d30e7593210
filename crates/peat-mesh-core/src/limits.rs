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
/// Most blobs that one document keeps; those that it names beyond that are not kept for it.
pub const ATTACHMENTS_PER_DOCUMENT_MAX: usize = 1024;
/// Most collections that are given a policy for their attachments.
pub const POLICY_COLLECTIONS_COUNT_MAX: usize = 256;
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
/// Most collections that a scope names in one direction.
pub const SCOPE_COLLECTIONS_COUNT_MAX: usize = 256;
/// Most entries of the scopes of a node.
pub const SCOPE_ENTRIES_COUNT_MAX: usize = 256;
/// Documents that only come in over a scoped link and stay different, of which is remembered at which state they
/// were asked for.
pub const SCOPE_ASKED_COUNT_MAX: usize = 65_536;
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
pub const ANSWER_BATCH_DOCUMENTS_MAX: usize = 256;

/// Answers to comparisons are given to a connection only while less than this is unsent, in bytes, so that a fresh
/// change does not wait behind more of them. What was read waits in the hub.
pub const REPAIR_WINDOW_BYTES: usize = 256 * 1024;
/// Of a document that is larger than an answer, about so much is read in one go, in bytes.
pub const LARGE_ANSWER_BYTES_TARGET: usize = 2 * 1024 * 1024;
/// Most documents that wait to be read for one connection; the rest is left to the next comparison.
pub const QUEUE_DOCUMENTS_COUNT_MAX: usize = 128 * 1024;
/// What the requests for them may take beside that, for the hashes and names in them, in bytes.
pub const QUEUE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// A document with a change that does not fit a frame is not read again for this long, in milliseconds.
pub const UNSENDABLE_REST_MS: u64 = 60_000;
/// Most such documents that are remembered.
pub const UNSENDABLE_COUNT_MAX: usize = 1024;

/// Largest question whether a peer holds heads of a document, in bytes.
pub const CONFIRM_BYTES_MAX: usize = 16 * 1024;
/// Most questions of one peer that wait until this node holds what they name; the oldest is dropped …
pub const CONFIRMS_PER_LINK_MAX: usize = 1024;
/// … as it is when together they name more heads than this.
pub const CONFIRM_HEADS_PER_LINK_MAX: usize = 4096;

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
/// The same for a peer that was connected a moment ago, in milliseconds …
pub const DIAL_RETRY_RECENT_MS_MAX: u64 = 2_000;
/// … which it counts as for this long, in milliseconds.
pub const DIAL_RECENT_MS: u64 = 600_000;
/// A peer that breaks a second rule soon after the first one is neither dialled nor taken for this long, in
/// milliseconds. It doubles with each further one …
pub const BROKEN_WAIT_MS_MIN: u64 = 1_000;
/// … up to this, in milliseconds.
pub const BROKEN_WAIT_MS_MAX: u64 = 300_000;
/// A peer that broke no rule for this long begins anew, in milliseconds.
pub const BROKEN_FORGET_MS: u64 = 600_000;
/// Ranges, documents and changes that a peer may name between two questions of this node beyond what it was offered.
/// Frames that come twice or late are within this.
pub const UNOFFERED_COUNT_MAX: u64 = 8 * 1024;
/// Comparisons that a peer may begin in a row without anything coming of it …
pub const ROUNDS_FUTILE_COUNT_MAX: u32 = 64;
/// … with one more for each such time, in milliseconds. Whoever waits ever longer is within this.
pub const ROUND_FUTILE_EVERY_MS: u64 = RECONCILE_EVERY_MS / 2;
/// How long a peer may take nothing of what it is sent, in milliseconds.
pub const NOT_READING_MS_MAX: u64 = 120_000;
/// How long a peer may say nothing to a comparison, in milliseconds. A slow disk with all that may be on the way to
/// it takes less.
pub const NOT_ANSWERING_MS_MAX: u64 = 300_000;
/// Most documents in quarantine, over all peers …
pub const QUARANTINE_COUNT_MAX: usize = 1024;
/// … and for one peer.
pub const QUARANTINE_PER_PEER_COUNT_MAX: usize = 256;
/// Most forms of one document of one peer that are remembered as refused. When there are so many, no further one is
/// looked at …
pub const QUARANTINE_HASHES_COUNT_MAX: usize = 8;
/// … for this long, in milliseconds.
pub const QUARANTINE_REST_MS: u64 = 600_000;
/// How often a peer is asked for the same refused state of a document, in milliseconds.
pub const QUARANTINE_ASK_MS: u64 = 60_000;
/// How long the node that is not the preferred dialler of a pair waits for the other, in milliseconds.
pub const DIAL_GRACE_MS: u64 = 300;
/// How often connected peers compare fingerprints, in milliseconds.
pub const RECONCILE_EVERY_MS: u64 = 5_000;

/// Most links listed in a presence record. In a full mesh it is all of them.
pub const LINKS_PER_RECORD_MAX: usize = 64;
/// Longest role or version in a presence record, in bytes.
pub const LABEL_BYTES_MAX: usize = 32;
/// Largest epoch, age or uptime in a presence record, in milliseconds: some 8,900 years.
pub const PRESENCE_MS_MAX: u64 = 1 << 48;
/// Most presence records in one frame.
pub const PRESENCE_RECORDS_PER_FRAME_MAX: usize = 64;
/// Most nodes of which the presence record is kept.
pub const PRESENCE_RECORDS_COUNT_MAX: usize = 16_384;
/// Presence records wait while a connection has more than this unsent, in bytes.
pub const PRESENCE_WINDOW_BYTES: usize = SEND_WINDOW_BYTES / 4;
/// Changes of a node's links within this time make one record, in milliseconds.
pub const PRESENCE_COALESCE_MS: u64 = 200;
/// A record in which nothing changes is made anew after this long, in milliseconds …
pub const PRESENCE_REFRESH_MS_MIN: u64 = 60_000;
/// … or after this for each node of the formation, if that is longer, in milliseconds.
pub const PRESENCE_REFRESH_MS_PER_NODE: u64 = 100;
/// What a record says of links does not count after so many of these periods without a new one.
pub const PRESENCE_STALE_PERIODS: u64 = 3;
/// A node that was unreachable or gone for this long is forgotten, in milliseconds.
pub const PRESENCE_FORGET_MS: u64 = 24 * 60 * 60 * 1000;
/// How often at most a new round-trip time or loss makes a record, in milliseconds.
pub const PRESENCE_QUALITY_EVERY_MS: u64 = 10_000;
/// How often at most a node outbids records of an earlier run of itself, in milliseconds.
pub const PRESENCE_OUTBID_EVERY_MS: u64 = 5_000;
/// Round-trip times that differ by less are the same, in microseconds.
pub const RTT_CHANGE_US_MIN: u64 = 2_000;
/// Losses that differ by less are the same, in packets of a thousand.
pub const LOSS_CHANGE_PER_MILLE_MIN: u16 = 20;
/// Nodes that are lost or found within this time are told of as one event, in milliseconds.
pub const PARTITION_SETTLE_MS: u64 = 500;
/// Most nodes named in one such event; the others are counted.
pub const PARTITION_NAMES_MAX: usize = 64;

/// A peer that asks for nothing for this long has all that a leaving node has, in milliseconds. More than a
/// few round trips on a poor link.
pub const LEAVE_QUIET_MS: u64 = 2_000;
/// Bytes of loaded documents kept in memory (estimated), by default.
pub const DOCUMENT_CACHE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// A document that would take more than one in so many parts of that is loaded each time.
pub const DOCUMENT_CACHE_PART_MAX: usize = 4;
/// The first change of a document with about this much content is stored as it is, in bytes; of a larger one
/// Automerge makes a compressed snapshot.
pub const FRESH_DOCUMENT_BYTES_MAX: usize = 1024;
/// Increments of a document are folded into a snapshot when there are more than this many of them …
pub const INCREMENTS_COUNT_MIN: u32 = 16;
/// … and together they are larger than the snapshot times this.
pub const INCREMENTS_TO_SNAPSHOT_RATIO: u64 = 1;

const _: () = {
    assert!(DOCUMENT_JSON_BYTES_MAX * 2 <= FRAME_BYTES_MAX);
    assert!(CHANGES_FRAME_BYTES_TARGET < SEND_WINDOW_BYTES);
    assert!(SEND_WINDOW_BYTES < FRAME_BYTES_MAX);
    assert!(REPAIR_WINDOW_BYTES < SEND_WINDOW_BYTES / 2);
    assert!(PRESENCE_WINDOW_BYTES < SEND_WINDOW_BYTES);
    assert!(BROKEN_WAIT_MS_MAX < BROKEN_FORGET_MS);
    assert!(HEADS_COUNT_MAX <= CONFIRM_HEADS_PER_LINK_MAX);
    assert!(
        8 + 2 + COLLECTION_BYTES_MAX + 1 + DOCUMENT_ID_BYTES_MAX + 2 + HEADS_COUNT_MAX * 32
            <= CONFIRM_BYTES_MAX
    );
    assert!(RANGE_ITEMS_MAX <= ITEMS_PER_FRAME_MAX);
    assert!(COLLECTION_BYTES_MAX + 1 + DOCUMENT_ID_BYTES_MAX <= u16::MAX as usize);
};
