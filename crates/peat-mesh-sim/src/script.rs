//! A scenario as a list of steps that can be printed: a seed in, steps out, and a report after playing.
//!
//! - `draw`: a seed becomes a scenario.
//! - `play`: a scenario is played and everything is checked, after each step and at the end.

mod draw;
mod play;

use std::fmt;

use crate::history;
use crate::site::Edit;
use crate::weather::Weather;

pub use play::{play, play_recorded};

const NAMES: [&str; 5] = ["alice", "bob", "carol", "dave", "erin"];

/// The name of a machine.
fn name(number: usize) -> String {
    NAMES.get(number).map_or_else(|| format!("node-{number}"), |name| (*name).to_owned())
}

/// One thing that is done to the world. Machines and documents are numbered.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// A client changes a document.
    Edit(usize, usize, Edit),
    /// A client deletes a document.
    Delete(usize, usize),
    /// Nothing gets through between two machines.
    Cut(usize, usize),
    /// It does again.
    Heal(usize, usize),
    /// The connections between two machines break.
    Break(usize, usize),
    /// A node is killed.
    Crash(usize),
    /// It is started again.
    Restart(usize),
    /// A disk is copied.
    Backup(usize),
    /// A node is started on the copy.
    Restore(usize),
    /// The next commit of a node fails.
    FailCommit(usize),
    /// A machine gets another address.
    Move(usize),
    /// Discovery of the first forgets the second for so many milliseconds.
    Forget(usize, usize, u64),
    /// Nothing gets through between machines with a smaller number and all others.
    Split(usize),
    /// Nothing is cut any more.
    HealAll,
    /// Frames leave so slowly on one link, in bytes per millisecond.
    Slow(usize, usize, u64),
    /// Time passes, in milliseconds.
    Run(u64),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |site: &usize| name(*site);
        match self {
            Self::Edit(site, doc, edit) => write!(f, "edit {} d/{doc} {edit:?}", name(site)),
            Self::Delete(site, doc) => write!(f, "delete {} d/{doc}", name(site)),
            Self::Cut(a, b) => write!(f, "cut {} {}", name(a), name(b)),
            Self::Heal(a, b) => write!(f, "heal {} {}", name(a), name(b)),
            Self::Break(a, b) => write!(f, "break {} {}", name(a), name(b)),
            Self::Crash(site) => write!(f, "crash {}", name(site)),
            Self::Restart(site) => write!(f, "restart {}", name(site)),
            Self::Backup(site) => write!(f, "backup {}", name(site)),
            Self::Restore(site) => write!(f, "restore {}", name(site)),
            Self::FailCommit(site) => write!(f, "fail-commit {}", name(site)),
            Self::Move(site) => write!(f, "move {}", name(site)),
            Self::Forget(site, peer, ms) => write!(f, "forget {} {} {ms}", name(site), name(peer)),
            Self::Split(number) => write!(f, "split before {}", name(number)),
            Self::HealAll => write!(f, "heal all"),
            Self::Slow(a, b, bytes_per_ms) => write!(f, "slow {} {} {bytes_per_ms}", name(a), name(b)),
            Self::Run(ms) => write!(f, "run {ms}"),
        }
    }
}

/// A mesh and what happens to it.
#[derive(Debug, Clone)]
pub struct Script {
    /// What everything else comes from.
    pub seed: u64,
    /// How many machines there are.
    pub nodes: usize,
    /// The largest formation in which all connect to all; in a larger one, the overlay picks neighbours.
    pub max_peers: usize,
    /// How bad the network is while the steps are done.
    pub weather: Weather,
    /// How many documents there are.
    pub documents: usize,
    /// Who can reach whom.
    pub links: Vec<(usize, usize)>,
    /// What is done, in order.
    pub steps: Vec<Step>,
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (a, b) in &self.links {
            writeln!(f, "link {} {}", name(*a), name(*b))?;
        }
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}"))
    }
}

/// How a scenario went.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// How many nodes took part.
    pub nodes: usize,
    /// Links that were cut, and connections that were broken, by a step.
    pub cuts: usize,
    /// Nodes that were killed.
    pub crashes: usize,
    /// How often each of some updates in the calm after it all was sent, for each node that had to get it: 1 is the least.
    pub sends_per_node: Vec<f64>,
    /// The most that this may be on average.
    pub sends_bound: f64,
    /// Client requests that were acknowledged.
    pub acknowledged: usize,
    /// Client requests of all.
    pub requests: usize,
    /// Frames that were sent.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Virtual time that passed.
    pub virtual_ms: u64,
    /// Of it, how long the nodes needed after the last fault.
    pub converged_ms: u64,
    /// The same for runs in which the same happened.
    pub trace_hash: u64,
    /// What clients did and saw.
    pub history: history::Summary,
}
