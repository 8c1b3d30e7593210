//! Prints how formations of some sizes behave, as a table: `overlay [--nodes 10,100,1000] [--bytes 300,1024]
//! [--seed N] [--degree N] [--shorten N] [--check]`. With `--check` the exit status is 1 when a bound does not hold.

use std::process::ExitCode;

use peat_mesh_overlay::Settings;
use peat_mesh_sim::swarm::{Measured, measure, update};

const USAGE: &str =
    "usage: overlay [--nodes 10,100,1000] [--bytes 300,1024] [--seed N] [--degree N] [--shorten N] [--check]";

fn main() -> ExitCode {
    let (mut nodes, mut bytes, mut seed, mut is_check) = (vec![10, 100, 1_000], vec![300, 1_024], 1, false);
    let mut settings = Settings::default();
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        if name == "--check" {
            is_check = true;
            continue;
        }
        let value = arguments.next().unwrap_or_default();
        let numbers: Result<Vec<usize>, _> = value.split(',').map(str::parse).collect();
        match (name.as_str(), numbers) {
            ("--nodes", Ok(numbers)) if numbers.iter().all(|number| *number > 1) => nodes = numbers,
            ("--bytes", Ok(numbers)) => bytes = numbers,
            ("--seed", Ok(numbers)) => seed = numbers[0] as u64,
            ("--degree", Ok(numbers)) if numbers[0] > 1 => settings.degree = numbers[0],
            ("--shorten", Ok(numbers)) => settings.shorten_links_min = numbers[0] as u16,
            _ => {
                eprintln!("{name} {value}? {USAGE}");
                return ExitCode::FAILURE;
            }
        }
    }
    println!("{HEADER}");
    let mut broken = Vec::new();
    for count in nodes {
        for bytes in &bytes {
            let it = measure(count, *bytes, settings.clone(), seed);
            print(&it, *bytes);
            broken.extend(it.broken());
        }
    }
    if is_check && !broken.is_empty() {
        eprintln!("\n{}", broken.join("\n"));
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

const HEADER: &str = "\
| nodes | document, frame | neighbours | who writes | reached | bytes per node and update | of one copy | hops: half, 99 %, most | bound | last after |
|---|---|---|---|---|---|---|---|---|---|";

fn print(it: &Measured, bytes: usize) {
    let frame = update(1, bytes).len();
    let all = (it.nodes, it.degree_mean, it.hops_bound());
    let left = (it.left, it.left_degree_mean, it.left_hops_bound());
    for (who, spread, (nodes, degree, bound)) in [
        ("one, the first time", &it.first, all),
        ("one", &it.one, all),
        ("ten in turn", &it.many, all),
        ("one, 30 % just died", &it.wounded, left),
        ("one, a minute later", &it.healed, left),
    ] {
        println!(
            "| {nodes} | {bytes} B, {frame} B | {degree:.1} | {who} | {} of {nodes} | {:.0} | {:.2} | {}, {}, {} | {bound:.1} | {} ms |",
            spread.reached_min,
            spread.bytes,
            spread.copies,
            spread.hops_half,
            spread.hops_99,
            spread.hops_max,
            spread.ms_max,
        );
    }
    println!(
        "| {} | idle | {:.1} | | connected {}, of {} left {} | {:.0} a second | | | | |",
        it.nodes, it.degree_mean, it.connected, it.left, it.left_connected, it.idle_bytes_per_s
    );
}
