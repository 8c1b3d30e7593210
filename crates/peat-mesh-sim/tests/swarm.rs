//! How updates travel among very many nodes; the figures for a thousand are printed by the program `overlay`.

use peat_mesh_overlay::{Settings, limits};
use peat_mesh_sim::swarm::{Swarm, measure, update};

#[test]
fn three_hundred_nodes_get_every_update_about_once_within_few_hops_and_survive_the_loss_of_a_third() {
    let measured = measure(300, 300, Settings::default(), 1);
    assert_eq!(measured.broken(), Vec::<String>::new());
}

#[test]
fn updates_that_are_kept_for_others_take_no_more_memory_than_the_limit() {
    let mut swarm = Swarm::new(10, Settings::default(), 1);
    swarm.run_for(30_000);
    let writer = swarm.any();
    for number in 0..400u32 {
        let mut content = vec![0; limits::PAYLOAD_BYTES_MAX];
        content[..4].copy_from_slice(&number.to_be_bytes());
        swarm.send(writer, content.into());
        swarm.run_for(5);
    }
    swarm.run_for(1_000);
    let most = swarm.most_kept_bytes();
    assert!(most <= limits::KEPT_BYTES_MAX && most > limits::KEPT_BYTES_MAX / 2, "{most}");
    // Once they are forgotten, updates travel again.
    swarm.run_for(60_000);
    let last = swarm.send(writer, update(1, 300));
    swarm.run_for(5_000);
    assert_eq!(swarm.reached(last).hops.len(), 10);
}
