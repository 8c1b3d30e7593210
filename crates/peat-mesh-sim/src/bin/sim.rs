//! Plays many seeds: `sim --seeds 1000 [--from N]`, or one with everything that happens: `sim --seed N`, which also
//! writes down what clients did and saw: `--history FILE`. With `--rough`, five nodes on a network that is worse than
//! QUIC instead of meshes of all sizes. `sim check FILE` holds such a file against the model.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use peat_mesh_sim::history::{self, History};
use peat_mesh_sim::{Report, Script, play, play_recorded};

const USAGE: &str = "usage: sim [--rough] [--seeds COUNT] [--from SEED] | sim [--rough] --seed SEED [--history FILE] | sim check FILE";

/// Makes a scenario of a seed, and the flag that says so.
type Scenes = (fn(u64) -> Script, &'static str);

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_rough = arguments.iter().any(|argument| argument == "--rough");
    arguments.retain(|argument| argument != "--rough");
    let scenes: Scenes = if is_rough { (Script::random, " --rough") } else { (Script::scaled, "") };
    let (mut seeds, mut from, mut one, mut file) = (100, 0, None, None);
    for pair in arguments.chunks(2) {
        match pair {
            [name, value] if name == "--seeds" => seeds = number(value),
            [name, value] if name == "--from" => from = number(value),
            [name, value] if name == "--seed" => one = Some(number(value)),
            [name, value] if name == "--history" => file = Some(value.clone()),
            [name, value] if name == "check" && arguments.len() == 2 => return check(value),
            _ => {
                eprintln!("{USAGE}");
                return ExitCode::FAILURE;
            }
        }
    }
    match one {
        Some(seed) => show(scenes, seed, file.as_deref()),
        None => play_all(scenes, from, seeds),
    }
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| {
        eprintln!("{text} is not a number; {USAGE}");
        std::process::exit(1);
    })
}

/// Checks the history in a file.
fn check(file: &str) -> ExitCode {
    let text = std::fs::read_to_string(file).map_err(|problem| problem.to_string());
    match text.and_then(|text| History::parse(&text)).map(|history| history::check(&history)) {
        Ok(Ok(summary)) => {
            println!("{file} keeps to the model: {summary:#?}");
            ExitCode::SUCCESS
        }
        Ok(Err(violations)) => {
            violations.iter().for_each(|violation| println!("{violation}"));
            println!("{file} breaks the model in {} places; see docs/consistency.md", violations.len());
            ExitCode::FAILURE
        }
        Err(problem) => {
            eprintln!("{file} cannot be checked: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn show(scenes: Scenes, seed: u64, file: Option<&str>) -> ExitCode {
    let script = scenes.0(seed);
    println!("{script}");
    let (played, history) = play_recorded(&script, true);
    if let Some(file) = file
        && let Err(problem) = std::fs::write(file, history.to_string())
    {
        eprintln!("the history cannot be written to {file}: {problem}");
        return ExitCode::FAILURE;
    }
    match played {
        Ok(report) => {
            println!("{report:#?}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            println!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn play_all((scenes, flag): Scenes, from: u64, seeds: u64) -> ExitCode {
    let started = Instant::now();
    let next = AtomicU64::new(from);
    let results = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + seeds {
                        return;
                    }
                    let result = play(&scenes(seed), false);
                    results.lock().unwrap_or_else(PoisonError::into_inner).push((seed, result));
                }
            });
        }
    });
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (mut reports, mut failed) = (Vec::new(), 0);
    for (seed, result) in results {
        match result {
            Ok(report) => reports.push(report),
            Err(problem) => {
                failed += 1;
                println!("SEED={seed} failed:\n{problem}");
                println!("replay with: cargo run --release -p peat-mesh-sim --{flag} --seed {seed}\n");
            }
        }
    }
    print_summary(&reports, failed);
    println!("wall time       {:.0} s on {threads} threads", started.elapsed().as_secs_f64());
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print_summary(reports: &[Report], failed: usize) {
    let sum = |value: fn(&Report) -> u64| reports.iter().map(value).sum::<u64>();
    let mut converged_ms: Vec<u64> = reports.iter().map(|report| report.converged_ms).collect();
    converged_ms.sort_unstable();
    let at =
        |part: usize| converged_ms.get((converged_ms.len() * part / 100).min(converged_ms.len().max(1) - 1));
    println!("{} seeds passed, {failed} failed", reports.len());
    let most = reports.iter().map(|report| report.nodes).max().unwrap_or_default();
    println!("nodes           {}, at most {most} in one mesh", sum(|report| report.nodes as u64));
    println!("virtual time    {} s", sum(|report| report.virtual_ms) / 1000);
    println!("writes          {}", sum(|report| report.requests as u64));
    println!("acknowledged    {}", sum(|report| report.acknowledged as u64));
    println!("cuts            {}", sum(|report| report.cuts as u64));
    println!("crashes         {}", sum(|report| report.crashes as u64));
    println!("reads checked   {}", sum(|report| report.history.reads as u64));
    println!("events checked  {}", sum(|report| report.history.events as u64));
    println!("frames          {}", sum(|report| report.frames));
    println!("bytes           {}", sum(|report| report.bytes));
    if let (Some(half), Some(most), Some(all)) = (at(50), at(99), at(100)) {
        println!("converged after {half} ms (half), {most} ms (99 of 100), {all} ms (all)");
    }
    for (what, sizes) in [("up to 16 nodes", 0..17), ("more nodes    ", 17..usize::MAX)] {
        let some = || reports.iter().filter(|report| sizes.contains(&report.nodes));
        let mut sends: Vec<f64> = some().flat_map(|report| report.sends_per_node.iter().copied()).collect();
        sends.sort_unstable_by(f64::total_cmp);
        let means = some().map(|report| {
            let mean = report.sends_per_node.iter().sum::<f64>() / report.sends_per_node.len() as f64;
            mean / report.sends_bound
        });
        if let (Some(half), Some(most)) = (sends.get(sends.len() / 2), sends.last()) {
            let nearest = 100.0 * means.fold(0.0, f64::max);
            println!(
                "sends of an update per node that gets it, {what}: {half:.2} (half), {most:.2} (most); \
                 the mean of a mesh came to {nearest:.0} % of its bound"
            );
        }
    }
}
