//! The network laboratory: real node processes on real virtual networks.
//!
//! Each scenario builds its networks from namespaces, bridges and cables, runs nodes on them, cuts and heals, writes
//! through HTTP meanwhile, and checks that all nodes agree in the end and that nothing a client was promised is
//! missing. It prints a timeline; how long healing takes is printed and not judged.
//!
//! Needs Linux, root, `ip` and `iptables`; says so in one line where these are missing. Runs like any test:
//! `cargo test --all-features --test lab [-- <part of a name>]`.

#![allow(clippy::unwrap_used, unreachable_pub)]

#[cfg(target_os = "linux")]
mod agreement;
#[cfg(target_os = "linux")]
#[path = "../common/clients.rs"]
mod clients;
#[cfg(target_os = "linux")]
#[path = "../common/process.rs"]
mod common;
#[cfg(target_os = "linux")]
mod net;
#[cfg(target_os = "linux")]
mod node;
#[cfg(target_os = "linux")]
#[path = "../common/recording.rs"]
mod recording;
#[cfg(target_os = "linux")]
mod scenarios;
#[cfg(target_os = "linux")]
mod timeline;
#[cfg(target_os = "linux")]
mod writers;

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("skipped: the network laboratory needs Linux");
}

/// Scenarios that run side by side: most of their time they wait.
#[cfg(target_os = "linux")]
const SCENARIOS_AT_ONCE: usize = 3;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    let mut arguments = libtest_mimic::Arguments::from_args();
    arguments.test_threads.get_or_insert(SCENARIOS_AT_ONCE);
    if arguments.list {
        return libtest_mimic::run(&arguments, scenarios::all()).exit_code();
    }
    if let Some(what) = net::missing() {
        println!("skipped: the network laboratory: {what}");
        return std::process::ExitCode::SUCCESS;
    }
    net::sweep();
    let conclusion = libtest_mimic::run(&arguments, scenarios::all());
    timeline::print_table();
    conclusion.exit_code()
}
