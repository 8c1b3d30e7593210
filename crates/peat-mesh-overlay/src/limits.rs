//! Every upper bound of the overlay, once, with its unit as the last word of its name.

/// Largest update that is pushed along the tree, in bytes. A larger one is announced by comparing with the
/// neighbours, who fetch it and do the same.
pub const PAYLOAD_BYTES_MAX: usize = 64 * 1024;
/// Largest message between neighbours beside the update in it, in bytes: bounds what is announced at once.
pub const CONTROL_BYTES_MAX: usize = 8 * 1024;
/// Most updates announced in one message. Half of what fits into [`CONTROL_BYTES_MAX`].
pub const ANNOUNCED_PER_MESSAGE_MAX: usize = CONTROL_BYTES_MAX / 35;
/// Most nodes named in one message.
pub const NODES_PER_MESSAGE_MAX: usize = 64;
/// Most steps of a message that is passed on at random.
pub const WALK_STEPS_MAX: u16 = 16;
/// Most links an update may have crossed. Far above what a tree of a million nodes needs.
pub const HOPS_MAX: u16 = 1_000;
/// Most addresses sent along with a node's id.
pub const ADDRESSES_PER_NODE_MAX: usize = 4;
/// Longest encoding of such addresses, in bytes.
pub const ADDRESSES_BYTES_MAX: usize = 1 + ADDRESSES_PER_NODE_MAX * 24;

/// Bytes of updates that are kept in case a neighbour lacks one. Above that an update is announced like one that
/// is too large.
pub const KEPT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Updates that were announced by neighbours and have not come. A neighbour that announces more is cut off.
pub const MISSING_COUNT_MAX: usize = 8 * 1024;
/// Messages that wait for a link to one peer.
pub const WAITING_MESSAGES_MAX: usize = 32;
/// Peers for which messages wait.
pub const WAITING_PEERS_MAX: usize = 64;
