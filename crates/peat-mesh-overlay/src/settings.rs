//! The protocol's timers and sizes, with the reasons for them.

use iroh_gossip::proto::{Config, HyparviewConfig, PlumtreeConfig};
use n0_future::time::Duration;

use crate::limits;

/// How the overlay behaves; the same on all nodes of a formation.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Neighbours that a node keeps.
    pub degree: usize,
    /// Nodes that it remembers in case a neighbour is lost.
    pub reserve: usize,
    /// How long announcements of updates are collected, in milliseconds. More makes larger parcels of them and
    /// a broken tree is noticed later.
    pub announce_every_ms: u64,
    /// How long after an announcement the update may come along the tree before it is asked for, in
    /// milliseconds.
    pub ask_after_ms: u64,
    /// How long after that the next neighbour is asked, in milliseconds.
    pub ask_again_ms: u64,
    /// A neighbour over which updates would come with at least so many links less takes the place of the one that
    /// brings them.
    pub shorten_links_min: u16,
    /// How long an update is kept in case a neighbour lacks it, in milliseconds.
    pub keep_ms: u64,
    /// How long its hash is kept, so that it is not taken twice, in milliseconds.
    pub remember_ms: u64,
    /// How often a node tells a random other one of some that it knows, in milliseconds.
    pub shuffle_every_ms: u64,
    /// How long a node that is asked to be a neighbour may take, the dial included, in milliseconds.
    pub neighbour_ms_max: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            degree: 5,
            reserve: 30,
            announce_every_ms: 200,
            ask_after_ms: 400,
            ask_again_ms: 300,
            shorten_links_min: 2,
            keep_ms: 10_000,
            remember_ms: 30_000,
            shuffle_every_ms: 30_000,
            neighbour_ms_max: 5_000,
        }
    }
}

impl Settings {
    /// For a node that connects to all others in a formation of up to so many nodes.
    #[must_use]
    pub fn for_max_peers(max_peers: usize) -> Self {
        let default = Self::default();
        // With two neighbours each, the loss of a few would cut the rest apart.
        Self { degree: max_peers.clamp(3, default.degree), ..default }
    }

    pub(crate) fn config(&self) -> Config {
        Config {
            membership: HyparviewConfig {
                active_view_capacity: self.degree,
                passive_view_capacity: self.reserve,
                shuffle_interval: Duration::from_millis(self.shuffle_every_ms),
                neighbor_request_timeout: Duration::from_millis(self.neighbour_ms_max),
                ..HyparviewConfig::default()
            },
            broadcast: PlumtreeConfig {
                // That time is over when hashes are spelled out, see `Missing`.
                graft_timeout_1: Duration::from_millis(1),
                graft_timeout_2: Duration::from_millis(self.ask_again_ms),
                dispatch_timeout: Duration::from_millis(self.announce_every_ms),
                message_cache_retention: Duration::from_millis(self.keep_ms),
                message_id_retention: Duration::from_millis(self.remember_ms),
                ..PlumtreeConfig::default()
            },
            max_message_size: limits::CONTROL_BYTES_MAX,
        }
    }
}
