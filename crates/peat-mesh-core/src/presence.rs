//! Who is there, as each node says of itself: one small [`Record`] per node, only the latest, no history.
//!
//! A node says its name, role, version, and to whom it has links and of what quality. Records go from node to
//! node like news (see `hub/presence.rs`); every node keeps those of all in a [`Table`] and computes from
//! their links who can be reached. Nothing of it is on disk, and nothing of it decides about documents.

mod reach;
mod table;
#[cfg(test)]
mod tests;
mod view;

use std::fmt;
use std::net::SocketAddr;

pub(crate) use table::Turn;
pub use table::{Offer, Table};
pub use view::{LinkState, LinkView, NodeState, NodeView, Topology};

use crate::id::{EndpointId, NodeName, NodeTag};
use crate::limits;

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Whose record it is.
    pub origin: EndpointId,
    /// Its name, with the cluster before the slash.
    pub name: NodeName,
    /// What it does in the formation: `node` or `gateway`.
    pub role: Label,
    /// The version of its program.
    pub version: Label,
    /// Which of two records of one node is newer.
    pub stamp: Stamp,
    /// `false`: it has said goodbye.
    pub is_here: bool,
    /// How long ago it was made, in milliseconds. Whoever passes it on adds the time it was held, so that no
    /// two clocks are ever compared.
    pub age_ms: u64,
    /// How long the node had been running when it was made, in milliseconds.
    pub uptime_ms: u64,
    /// How many links the node has; more than are listed when there are very many.
    pub links_total: u64,
    /// Its links, in the order of the tags.
    pub links: Vec<Link>,
}

impl Record {
    /// The link to a node, if it is listed.
    #[must_use]
    pub fn link(&self, peer: NodeTag) -> Option<&Link> {
        let at = self.links.binary_search_by_key(&peer, |link| link.peer).ok()?;
        self.links.get(at)
    }

    /// Whether the node may have links that are not listed.
    #[must_use]
    pub fn has_more_links(&self) -> bool {
        self.links_total > self.links.len() as u64
    }

    /// Whether both say the same, whenever they were made.
    pub(crate) fn says_the_same(&self, other: &Self) -> bool {
        let Self { origin, name, role, version, stamp, is_here, links_total, links, .. } = self;
        *origin == other.origin
            && *name == other.name
            && *role == other.role
            && *version == other.version
            && stamp.incarnation == other.stamp.incarnation
            && *is_here == other.is_here
            && *links_total == other.links_total
            && *links == other.links
    }
}

/// The order of one node's records: first by run of the process, then within the run.
///
/// The epoch of a run is the wall clock at its start. That need not rise from run to run (a machine without a
/// battery), so a node that meets a record of itself which would win takes a higher epoch and speaks again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// Milliseconds since 1970 at the start of the run, or more.
    pub epoch: u64,
    /// The random number of the run, as in its hello.
    pub incarnation: u64,
    /// Counts the records of the run.
    pub sequence: u64,
}

/// One end of a connection, as the node at that end sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// To whom.
    pub peer: NodeTag,
    /// Whether the connection is there, but nothing comes from the peer.
    pub is_silent: bool,
    /// How packets go, and how well.
    pub measure: Measure,
}

/// How packets reach a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum PathKind {
    /// Not known (yet).
    #[default]
    Unknown = 0,
    /// From address to address.
    Direct = 1,
    /// Through a relay.
    Relay = 2,
}

impl PathKind {
    /// The kind in one word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Direct => "direct",
            Self::Relay => "relay",
        }
    }
}

/// What was measured on a connection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Measure {
    /// How packets go.
    pub path: PathKind,
    /// Where they go to, on a direct path.
    pub address: Option<SocketAddr>,
    /// Round-trip time, in microseconds; 0 is not known.
    pub rtt_us: u64,
    /// Packets that were lost, of a thousand.
    pub loss_per_mille: u16,
}

impl Measure {
    /// Whether packets go another way than in `old`.
    #[must_use]
    pub fn is_another_path(&self, old: &Self) -> bool {
        self.path != old.path || self.address != old.address
    }

    /// Whether the path has become better or worse by more than a factor of two, and by enough to matter.
    #[must_use]
    pub fn is_another_quality(&self, old: &Self) -> bool {
        let differs = |a: u64, b: u64, least: u64| {
            let (low, high) = (a.min(b), a.max(b));
            high > 2 * low && high - low >= least
        };
        let rtt = differs(self.rtt_us, old.rtt_us, limits::RTT_CHANGE_US_MIN);
        let loss = differs(
            self.loss_per_mille.into(),
            old.loss_per_mille.into(),
            limits::LOSS_CHANGE_PER_MILLE_MIN.into(),
        );
        // What was not known is no change for the worse, but worth telling.
        rtt || loss || (old.rtt_us == 0) != (self.rtt_us == 0)
    }
}

/// A short printable word: a role or a version.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(Box<str>);

/// The text is no [`Label`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it has to have 1 to {} printable ASCII characters without spaces", limits::LABEL_BYTES_MAX)]
pub struct LabelError;

impl Label {
    /// Checks a text.
    ///
    /// # Errors
    /// When it is empty, too long, or not printable.
    pub fn new(text: &str) -> Result<Self, LabelError> {
        let fits = (1..=limits::LABEL_BYTES_MAX).contains(&text.len());
        if fits && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(text.into()))
        } else {
            Err(LabelError)
        }
    }

    /// The word as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Label {
    fn default() -> Self {
        Self("unknown".into())
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a node knows of itself when it starts.
#[derive(Debug, Clone)]
pub struct Me {
    /// Its name.
    pub name: NodeName,
    /// What it does in the formation.
    pub role: Label,
    /// The version of its program.
    pub version: Label,
    /// The wall clock at its start, in milliseconds since 1970.
    pub epoch: u64,
    /// Random for this run, as in its hello.
    pub incarnation: u64,
    /// When it started, on the clock that the hub is given.
    pub started_ms: u64,
}
