//! A seed in, a scenario out.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{NAMES, Script, Step};
use crate::site::Edit;
use crate::weather::Weather;

/// As in a node's default configuration.
const MAX_PEERS: usize = 16;
/// Speeds of slow links, in bytes per millisecond: from a poor radio to a poor DSL line.
const SLOW_BYTES_PER_MS: std::ops::RangeInclusive<u64> = 2..=100;

impl Script {
    /// Five nodes on a network that is worse than QUIC: frames are lost, doubled and reordered.
    #[must_use]
    pub fn random(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let nodes = NAMES.len();
        let links = links(&mut rng, nodes);
        let documents = rng.random_range(1..=8);
        let count = rng.random_range(30..=120);
        let steps = (0..count).flat_map(|_| step(&mut rng, nodes, &links, documents)).collect();
        let weather = if rng.random_bool(0.8) { Weather::rough() } else { Weather::calm() };
        Self { seed, nodes, max_peers: usize::MAX / 4, weather, documents, links, steps }
    }

    /// Two to fifty nodes on streams as QUIC gives them, with cuts, splits, crashes, old disks and slow links. Of a
    /// hundred seeds in a row 91 have up to 8 nodes, six up to 16, two up to 40, and one has 50.
    #[must_use]
    pub fn scaled(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed ^ SCALED);
        let nodes = match seed % 100 {
            7 => 50,
            28 | 78 => rng.random_range(17..=40),
            11 | 22 | 33 | 44 | 55 | 66 => rng.random_range(9..=16),
            _ => rng.random_range(2..=8),
        };
        Self::of(seed, nodes, &mut rng)
    }

    fn of(seed: u64, nodes: usize, rng: &mut StdRng) -> Self {
        let is_large = nodes > MAX_PEERS;
        let links = if is_large { all(nodes) } else { links(rng, nodes) };
        let documents = rng.random_range(1..=8);
        let count = if is_large { rng.random_range(40..=80) } else { rng.random_range(30..=120) };
        let steps = (0..count).flat_map(|_| stream_step(rng, nodes, &links, documents)).collect();
        let weather = match rng.random_range(0..4) {
            0 => Weather::calm(),
            1 => Weather { latency_ms: 100..=400, ..Weather::streams() },
            _ => Weather::streams(),
        };
        Self { seed, nodes, max_peers: MAX_PEERS, weather, documents, links, steps }
    }
}

/// Scenarios at scale do not look like those of five nodes with the same seed.
const SCALED: u64 = 0x5ca1_ed00;

fn all(count: usize) -> Vec<(usize, usize)> {
    (0..count).flat_map(|a| (a + 1..count).map(move |b| (a, b))).collect()
}

/// A full mesh, a ring, a chain, a star, or a tree with a few more links.
fn links(rng: &mut StdRng, count: usize) -> Vec<(usize, usize)> {
    let chain = (1..count).map(|site| (site - 1, site));
    match rng.random_range(0..5) {
        0 => all(count),
        1 if count > 2 => chain.chain([(0, count - 1)]).collect(),
        1 => chain.collect(),
        2 => chain.collect(),
        3 => (1..count).map(|site| (0, site)).collect(),
        _ => {
            let mut links: Vec<_> = (1..count).map(|site| (rng.random_range(0..site), site)).collect();
            let more = (rng.random_range(0..count - 1), count - 1);
            if !links.contains(&more) {
                links.push(more);
            }
            links
        }
    }
}

fn step(rng: &mut StdRng, nodes: usize, links: &[(usize, usize)], documents: usize) -> Vec<Step> {
    let site = rng.random_range(0..nodes);
    let (a, b) = links[rng.random_range(0..links.len())];
    let doc = rng.random_range(0..documents);
    let pause = pause(rng);
    let step = match rng.random_range(0..100) {
        0..52 => Step::Edit(site, doc, Edit::ALL[rng.random_range(0..Edit::ALL.len())]),
        52..62 => Step::Delete(site, doc),
        62..69 => Step::Cut(a, b),
        69..76 => Step::Heal(a, b),
        76..80 => Step::Break(a, b),
        80..85 => Step::Crash(site),
        85..90 => Step::Restart(site),
        90..92 => Step::Backup(site),
        92..94 => Step::Restore(site),
        94..96 => Step::FailCommit(site),
        96..98 => Step::Move(site),
        _ => Step::Forget(a, b, rng.random_range(100..10_000)),
    };
    vec![step, pause]
}

fn pause(rng: &mut StdRng) -> Step {
    match rng.random_range(0..20) {
        0 => Step::Run(rng.random_range(5_000..20_000)),
        1..6 => Step::Run(rng.random_range(100..2_000)),
        6..12 => Step::Run(rng.random_range(1..50)),
        _ => Step::Run(0),
    }
}

/// The same, with splits of the whole mesh and slow links among them.
fn stream_step(rng: &mut StdRng, nodes: usize, links: &[(usize, usize)], documents: usize) -> Vec<Step> {
    let (a, b) = links[rng.random_range(0..links.len())];
    let special = match rng.random_range(0..100) {
        0..3 => Step::Split(rng.random_range(1..nodes)),
        3..7 => Step::HealAll,
        7..10 => Step::Slow(a, b, rng.random_range(SLOW_BYTES_PER_MS)),
        _ => return step(rng, nodes, links, documents),
    };
    vec![special, pause(rng)]
}
