//! A scenario as a list of steps that can be printed: a seed in, steps out, and a report after playing.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::checks;
use crate::history::{self, History};
use crate::network::Weather;
use crate::site::Edit;
use crate::world::{Reply, World};

const NAMES: [&str; 5] = ["alice", "bob", "carol", "dave", "erin"];
/// After the last fault, all nodes must hold the same within this time, in milliseconds.
const CONVERGED_MS_MAX: u64 = 120_000;
/// And all nodes must know that all can be reached within this time more, in milliseconds.
const PRESENT_MS_MAX: u64 = 150_000;
/// Reads after each step.
const LOOKS: usize = 3;

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
    /// Time passes, in milliseconds.
    Run(u64),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |site: &usize| NAMES[*site];
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
            Self::Run(ms) => write!(f, "run {ms}"),
        }
    }
}

/// A mesh of five and what happens to it.
#[derive(Debug, Clone)]
pub struct Script {
    /// What everything else comes from.
    pub seed: u64,
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
            writeln!(f, "link {} {}", NAMES[*a], NAMES[*b])?;
        }
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}"))
    }
}

impl Script {
    /// The scenario of a seed.
    #[must_use]
    pub fn random(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let links = links(&mut rng);
        let documents = rng.random_range(1..=8);
        let count = rng.random_range(30..=120);
        let steps = (0..count).flat_map(|_| step(&mut rng, &links, documents)).collect();
        Self { seed, documents, links, steps }
    }
}

/// A full mesh, a ring, a chain, a star, or a tree with a few more links.
fn links(rng: &mut StdRng) -> Vec<(usize, usize)> {
    let count = NAMES.len();
    let chain = (1..count).map(|site| (site - 1, site));
    match rng.random_range(0..5) {
        0 => (0..count).flat_map(|a| (a + 1..count).map(move |b| (a, b))).collect(),
        1 => chain.chain([(0, count - 1)]).collect(),
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

fn step(rng: &mut StdRng, links: &[(usize, usize)], documents: usize) -> Vec<Step> {
    let site = rng.random_range(0..NAMES.len());
    let (a, b) = links[rng.random_range(0..links.len())];
    let doc = rng.random_range(0..documents);
    let pause = match rng.random_range(0..20) {
        0 => Step::Run(rng.random_range(5_000..20_000)),
        1..6 => Step::Run(rng.random_range(100..2_000)),
        6..12 => Step::Run(rng.random_range(1..50)),
        _ => Step::Run(0),
    };
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

/// How a scenario went.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Its seed.
    pub seed: u64,
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

/// Plays a scenario in bad weather, then ends all faults, waits for convergence and checks everything.
///
/// # Errors
/// What does not hold, one problem a line; also when a node panics.
pub fn play(script: &Script, prints: bool) -> Result<Report, String> {
    play_recorded(script, prints).0
}

/// [`play`], and what clients did and saw, up to where it ended.
pub fn play_recorded(script: &Script, prints: bool) -> (Result<Report, String>, History) {
    let mut world = World::new(script.seed);
    world.record_history();
    if prints {
        world.print_trace();
    }
    // The world is thrown away, so it does not matter in what state a panic leaves it.
    let played = catch_unwind(AssertUnwindSafe(|| play_through(&mut world, script)));
    let played = played.unwrap_or_else(|_| Err("a node panicked; the message is above".to_owned()));
    (played, world.history())
}

fn play_through(world: &mut World, script: &Script) -> Result<Report, String> {
    let mut rng = StdRng::seed_from_u64(script.seed ^ 1);
    let mut eyes = StdRng::seed_from_u64(script.seed ^ 2);
    let sites = world.nodes(NAMES);
    script.links.iter().for_each(|(a, b)| world.link(sites[*a], sites[*b]));
    if rng.random_bool(0.8) {
        world.set_weather(Weather::rough());
    }
    world.set_disk_ms(rng.random_range(1..=100), rng.random_range(0..=50));
    let mut ops = Vec::new();
    for step in &script.steps {
        world.remark(&step.to_string());
        match step {
            Step::Edit(site, doc, edit) => ops.push(world.edit(sites[*site], &format!("d/{doc}"), *edit)),
            Step::Delete(site, doc) => ops.push(world.delete(sites[*site], &format!("d/{doc}"))),
            Step::Cut(a, b) => world.cut(sites[*a], sites[*b]),
            Step::Heal(a, b) => world.heal(sites[*a], sites[*b]),
            Step::Break(a, b) => world.break_connections(sites[*a], sites[*b]),
            Step::Crash(site) => world.crash(sites[*site]),
            Step::Restart(site) => world.restart(sites[*site]),
            Step::Backup(site) => world.backup(sites[*site]),
            Step::Restore(site) => world.restore_backup(sites[*site]),
            Step::FailCommit(site) => world.fail_next_commit(sites[*site]),
            Step::Move(site) => world.move_away(sites[*site]),
            Step::Forget(a, b, ms) => world.forget(sites[*a], sites[*b], *ms),
            Step::Run(ms) => world.run_for(*ms),
        }
        look(world, &mut eyes, script.documents);
    }
    world.remark("the faults end");
    world.heal_all();
    sites.iter().for_each(|site| world.restart(*site));
    // In some worlds the network stays bad: convergence may not need a good one.
    if rng.random_bool(0.7) {
        world.set_weather(Weather::calm());
    }
    let converged_ms = settle(world)?;
    checks::check(world)?;
    let history = look_at_the_end(world, script.documents)?;
    let all = world.traffic().all();
    Ok(Report {
        seed: script.seed,
        acknowledged: ops.iter().filter(|op| *world.reply(**op) == Reply::Done).count(),
        requests: ops.len(),
        frames: all.frames,
        bytes: all.bytes,
        virtual_ms: world.now_ms(),
        converged_ms,
        trace_hash: world.trace_hash(),
        history,
    })
}

/// Clients read and follow changes here and there. They have dice of their own, so that what happens does not
/// depend on who looks.
fn look(world: &mut World, eyes: &mut StdRng, documents: usize) {
    let sites = world.sites();
    for _ in 0..LOOKS {
        let site = sites[eyes.random_range(0..sites.len())];
        world.observe(site, &format!("d/{}", eyes.random_range(0..documents)));
    }
    world.follow(sites[eyes.random_range(0..sites.len())]);
}

/// Reads everything everywhere, and holds what clients did and saw against the model.
fn look_at_the_end(world: &mut World, documents: usize) -> Result<history::Summary, String> {
    world.sites().into_iter().for_each(|site| world.follow(site));
    world.record_quiet();
    for site in world.sites() {
        (0..documents).for_each(|doc| world.observe(site, &format!("d/{doc}")));
    }
    history::check(&world.history()).map_err(|violations| {
        let lines: Vec<String> = violations.iter().map(ToString::to_string).collect();
        lines.join("\n")
    })
}

/// Converged once may be by chance while something is still on its way, so look again later.
fn settle(world: &mut World) -> Result<u64, String> {
    let converged_ms = world.run_until_converged(CONVERGED_MS_MAX)?;
    world.set_weather(Weather::calm());
    world.run_for(12_000);
    world.run_until_converged(CONVERGED_MS_MAX)?;
    // A record that the network lost comes again with the next one, which is a period away.
    let until_ms = world.now_ms() + PRESENT_MS_MAX;
    while let Some(problem) = checks::absence(world) {
        if world.now_ms() >= until_ms {
            return Err(format!("presence does not settle within {PRESENT_MS_MAX} ms: {problem}"));
        }
        world.run_for(1_000);
    }
    Ok(converged_ms)
}
