//! Three real nodes, clients that write at all of them, and kill -9: what the clients did and saw has to keep to
//! `docs/consistency.md`. The seed says who writes what where and when who is killed; how the threads run is not in
//! it.

#![cfg(feature = "node")]
#![allow(clippy::unwrap_used)]

#[path = "../common/clients.rs"]
mod clients;
#[path = "../common/process.rs"]
mod common;
#[path = "../common/recording.rs"]
mod recording;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;

use crate::common::{Http, Process, Setup, free_udp_port};
use crate::recording::Recording;

const NAMES: [&str; 3] = ["alice", "bob", "carol"];
const CLIENTS: usize = 6;
/// What each client does.
const EACH: usize = 400;
/// A node is killed, or started again, after so many more requests at most.
const FAULT_REQUESTS_MAX: usize = 500;

/// Three nodes that know each other at ports that stay the same.
struct Trio {
    setups: Vec<Setup>,
    running: Vec<Option<Process>>,
    recording: Arc<Recording>,
    _folders: Vec<TempDir>,
}

impl Trio {
    fn new() -> Self {
        let folders: Vec<TempDir> = NAMES.iter().map(|_| tempfile::tempdir().unwrap()).collect();
        let ports = NAMES.map(|_| free_udp_port());
        let setups = (0..NAMES.len()).map(|at| {
            let others = (0..NAMES.len()).filter(|other| *other != at);
            let peers: Vec<String> =
                others.map(|other| format!("{}@127.0.0.1:{}", NAMES[other], ports[other])).collect();
            Setup::node(NAMES[at], folders[at].path())
                .set("PEAT_IROH_BIND_PORT", &ports[at].to_string())
                .peers(&peers)
        });
        let setups = setups.collect();
        let mut trio = Self {
            setups,
            running: NAMES.map(|_| None).into(),
            recording: Recording::new(),
            _folders: folders,
        };
        (0..NAMES.len()).for_each(|node| trio.start(node));
        trio
    }

    fn start(&mut self, node: usize) {
        if self.running[node].is_none() {
            let process = self.setups[node].serve();
            let broker = process.broker();
            self.recording.opens(NAMES[node], move || Http::connect(broker));
            self.running[node] = Some(process);
        }
    }

    fn kill(&mut self, node: usize) {
        if let Some(process) = self.running[node].take() {
            self.recording.closes(NAMES[node]);
            process.kill();
        }
    }

    /// Waits until all nodes show the same versions of the same documents. Nobody writes any more, so they stay
    /// the same.
    fn until_converged(&self) {
        let nodes: Vec<&Process> = self.running.iter().flatten().collect();
        self.recording.until("did all hold the same", || {
            let all: Vec<_> = nodes.iter().map(|node| clients::versions(|path| node.get(path).1)).collect();
            all.windows(2).all(|pair| pair[0] == pair[1])
        });
    }

    fn stop(mut self) {
        self.recording.end();
        (0..NAMES.len()).for_each(|node| self.kill(node));
    }
}

fn seed() -> u64 {
    match std::env::var("SEED") {
        Ok(seed) => seed.parse().expect("SEED is a number"),
        Err(_) => rand::random_range(0..1_000_000),
    }
}

#[test]
fn what_clients_did_and_saw_while_nodes_were_killed_keeps_to_the_model() {
    let seed = seed();
    println!("SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut trio = Trio::new();
    let recording = Arc::clone(&trio.recording);
    let followers = NAMES.map(|node| recording.follow(node));
    let (mut kills, finished) = (0, AtomicUsize::new(0));
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (client, seed) = (recording.client(&format!("c{number}")), rng.random());
                let finished = &finished;
                scope.spawn(move || {
                    let client = clients::write_and_read(client, &NAMES, number, seed, EACH);
                    finished.fetch_add(1, Ordering::SeqCst);
                    // Whoever waits for requests looks again.
                    drop(client);
                })
            })
            .collect();
        let all_write = || finished.load(Ordering::SeqCst) == 0;
        // At most two are down at once, so there is always one that answers.
        while all_write() {
            let node = rng.random_range(0..NAMES.len());
            let up = trio.running.iter().flatten().count();
            match &trio.running[node] {
                None => trio.start(node),
                Some(_) if up > 1 => {
                    trio.kill(node);
                    kills += 1;
                }
                Some(_) => {}
            }
            let enough = recording.answered() + rng.random_range(1..=FAULT_REQUESTS_MAX);
            recording.until_answered(|answered| answered >= enough || !all_write());
        }
        clients.into_iter().for_each(|client| client.join().unwrap());
    });
    (0..NAMES.len()).for_each(|node| trio.start(node));
    trio.until_converged();
    NAMES.iter().for_each(|node| recording.until_followed(node));
    recording.read_all(&NAMES, &clients::documents(CLIENTS));
    let summary = recording.check(seed);
    println!("SEED={seed}: {kills} kills, {summary:?}");
    assert!(kills > 0 && summary.acknowledged > CLIENTS * EACH / 10, "{kills} kills, {summary:?}");
    trio.stop();
    followers.into_iter().for_each(|follower| follower.join().unwrap());
}
