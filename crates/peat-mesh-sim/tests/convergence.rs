//! Five nodes, random edits, and every kind of trouble, from seeds. A failure prints `SEED=…`; with it in
//! the environment, the test plays that seed alone and prints what happens.

use std::thread;

use peat_mesh_sim::{Script, Weather, World, check, play};

const SEEDS: u64 = 200;
const THREADS: u64 = 2;

fn run(seed: u64, prints: bool) {
    let script = Script::random(seed);
    if let Err(problem) = play(&script, prints) {
        panic!(
            "SEED={seed}\nreplay with: cargo run -p peat-mesh-sim -- --rough --seed {seed}\n{problem}\n{script}"
        );
    }
}

#[test]
fn all_nodes_converge_and_no_acknowledged_write_is_missing() {
    if let Ok(seed) = std::env::var("SEED") {
        run(seed.parse().expect("SEED is a number"), true);
        return;
    }
    thread::scope(|scope| {
        for part in 0..THREADS {
            scope.spawn(move || (part..SEEDS).step_by(THREADS as usize).for_each(|seed| run(seed, false)));
        }
    });
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in [3, 5, 8] {
        let script = Script::random(seed);
        let [first, second] = [play(&script, false).unwrap(), play(&script, false).unwrap()];
        assert_eq!(first, second);
        let other = play(&Script::random(seed + 1), false).unwrap();
        assert_ne!(first.trace_hash, other.trace_hash);
    }
}

#[test]
fn a_mesh_with_nothing_to_do_comes_to_rest_with_one_connection_per_pair() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        let sites = world.nodes(["alice", "bob", "carol", "dave", "erin"]);
        world.link_all(&sites);
        let calm = Weather::calm();
        world.set_weather(Weather { latency_ms: 1..=400, dial_fails: 0.3, ..calm });
        world.run_until_quiet();
        world.run_for(10_000);
        for (a, b) in world.links() {
            assert_eq!(world.connections(a, b), 1, "SEED={seed}");
        }
        check(&world).unwrap();
    }
}
