//! Meshes of two to fifty nodes, checked after each step. A thousand seeds: `cargo run --release -p peat-mesh-sim --
//! --seeds 1000`.

use peat_mesh_sim::{Script, play};

fn run(seed: u64) {
    let script = Script::scaled(seed);
    if let Err(problem) = play(&script, false) {
        panic!("replay with: cargo run --release -p peat-mesh-sim -- --seed {seed}\n{problem}\n{script}");
    }
}

#[test]
fn small_meshes_keep_what_must_hold_after_each_step() {
    // The larger ones take too long without optimisation: `.ci/run` plays a hundred seeds with it.
    (0..7).chain([11]).for_each(run);
}

#[test]
fn a_node_whose_disk_refused_a_write_takes_the_next_one() {
    [98, 164].into_iter().for_each(run);
}
