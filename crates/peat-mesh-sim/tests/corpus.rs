//! The kept inputs of the fuzz targets, played again. Those of the store are in `tests/recovery.rs` of the whole.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use peat_mesh_sim::fuzz;

fn replay(target: &str, play: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut count = 0;
    for entry in fs::read_dir(&corpus).unwrap() {
        let path = entry.unwrap().path();
        // The name of the input, when it is one that fails.
        println!("{}", path.display());
        play(&fs::read(path).unwrap());
        count += 1;
    }
    assert!(count > 0, "{} is empty", corpus.display());
}

#[test]
fn frames_come_out_as_they_went_in() {
    replay("frames", fuzz::frames);
}

#[test]
fn nobody_is_admitted_without_the_secret() {
    replay("handshake", fuzz::handshake);
}

#[test]
fn a_comparison_finds_exactly_the_difference() {
    replay("reconciliation", fuzz::reconciliation);
}

#[test]
fn two_peers_survive_mangled_frames_and_hold_the_same_in_the_end() {
    replay("peers", fuzz::peers);
}
