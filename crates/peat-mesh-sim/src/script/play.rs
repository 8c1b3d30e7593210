//! A scenario is played, and everything that must hold is checked: after each step, and at the end.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{Report, Script, Step, name};
use crate::checks;
use crate::history::{self, History};
use crate::site::{Edit, Site};
use crate::weather::Weather;
use crate::world::{Reply, World};

/// After the last fault, all nodes must hold the same within this time, in milliseconds.
const CONVERGED_MS_MAX: u64 = 120_000;
/// The same in a formation of more than so many nodes: those that were apart for long look for each other now and then.
const CONVERGED_MS_MAX_LARGE: u64 = 300_000;
const LARGE_NODES: usize = 16;
/// And all nodes must know that all can be reached within this time more, in milliseconds.
const PRESENT_MS_MAX: u64 = 150_000;
/// Reads after each step.
const LOOKS: usize = 3;
/// Updates in the calm after it all, of which the sends are counted …
const UPDATES: usize = 8;
/// … and the time between them, in milliseconds.
const UPDATE_EVERY_MS: u64 = 2_000;
/// The most sends of an update on average, for each node that gets it, of an overlay whose tree has to settle first.
const SENDS_MAX_OVERLAY: f64 = 2.0;
/// Where no overlay is: a comparison that meets an update on its way may ask for it once more.
const SENDS_SLACK: f64 = 1.5;

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
    world.set_max_peers(script.max_peers);
    let sites: Vec<Site> = (0..script.nodes).map(|number| world.node(&name(number))).collect();
    script.links.iter().for_each(|(a, b)| world.link(sites[*a], sites[*b]));
    world.set_weather(script.weather.clone());
    world.set_disk_ms(rng.random_range(1..=100), rng.random_range(0..=50));
    let (mut ops, mut cuts, mut crashes) = (Vec::new(), 0, 0);
    for (number, step) in script.steps.iter().enumerate() {
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
            Step::Split(at) => world.split(&sites[..*at], &sites[*at..]),
            Step::HealAll => world.heal_all(),
            Step::Slow(a, b, bytes_per_ms) => world.set_speed(sites[*a], sites[*b], *bytes_per_ms),
            Step::Run(ms) => world.run_for(*ms),
        }
        cuts += usize::from(matches!(step, Step::Cut(..) | Step::Break(..) | Step::Split(_)));
        crashes += usize::from(matches!(step, Step::Crash(_) | Step::Restore(_)));
        look(world, &mut eyes, script.documents);
        checks::check_step(world, number)
            .map_err(|problem| format!("after step {number}, {step}: {problem}"))?;
    }
    world.remark("the faults end");
    world.heal_all();
    sites.iter().for_each(|site| world.restart(*site));
    // In some worlds the network stays bad: convergence may not need a good one.
    if rng.random_bool(0.7) {
        world.set_weather(Weather::calm());
    }
    let converged_ms = settle(world, script.nodes)?;
    checks::check(world)?;
    let sends_per_node = spread(world, &mut rng)?;
    let sends_bound = sends_bound(script);
    let mean = sends_per_node.iter().sum::<f64>() / sends_per_node.len() as f64;
    if mean > sends_bound {
        return Err(format!(
            "an update is sent {mean:.2} times for each node that gets it, more than {sends_bound:.2}: {sends_per_node:.2?}"
        ));
    }
    checks::check(world)?;
    let history = look_at_the_end(world, script.documents)?;
    let all = world.traffic().all();
    Ok(Report {
        seed: script.seed,
        nodes: script.nodes,
        cuts,
        crashes,
        sends_per_node,
        sends_bound,
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
fn settle(world: &mut World, nodes: usize) -> Result<u64, String> {
    let is_large = nodes > LARGE_NODES;
    let converged_ms_max = if is_large { CONVERGED_MS_MAX_LARGE } else { CONVERGED_MS_MAX };
    let converged_ms = world.run_until_converged(converged_ms_max)?;
    world.set_weather(Weather::calm());
    world.run_for(12_000);
    world.run_until_converged(converged_ms_max)?;
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

/// Some updates one after the other, in the calm: how often each was sent, for each node that had to get it.
fn spread(world: &mut World, rng: &mut StdRng) -> Result<Vec<f64>, String> {
    let sites = world.sites();
    let mut sends = Vec::new();
    for number in 0..UPDATES {
        let before = world.traffic().sends();
        let site = sites[rng.random_range(0..sites.len())];
        // The second try is for a disk that was told to refuse one write and had none since.
        let mut reply = Reply::Waiting;
        for _ in 0..2 {
            let op = world.edit(site, &format!("update/{number}"), Edit::Field);
            world.run_for(UPDATE_EVERY_MS);
            reply = world.reply(op).clone();
            if reply == Reply::Done {
                break;
            }
        }
        world.run_until_converged(CONVERGED_MS_MAX)?;
        if reply != Reply::Done {
            return Err(format!("an update in the calm is not acknowledged: {reply:?}"));
        }
        sends.push((world.traffic().sends() - before) as f64 / (sites.len() - 1) as f64);
    }
    Ok(sends)
}

/// The most that an update may be sent on average, for each node that has to get it.
fn sends_bound(script: &Script) -> f64 {
    let others = script.nodes as f64 - 1.0;
    if script.nodes > script.max_peers {
        return SENDS_MAX_OVERLAY;
    }
    let is_full = script.links.len() == script.nodes * (script.nodes - 1) / 2;
    // What is flooded crosses a link in both directions at most, and the links of a tree once.
    let flooded = if is_full { 1.0 } else { (2.0 * script.links.len() as f64 - others) / others };
    flooded * SENDS_SLACK
}
