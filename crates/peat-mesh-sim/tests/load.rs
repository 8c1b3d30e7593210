//! Much at once: slow peers, large documents, long histories.

use peat_mesh_core::limits;
use peat_mesh_sim::{Edit, Weather, World, check, large_document};
use serde_json::json;

#[test]
fn a_slow_peer_holds_up_neither_the_writer_nor_the_other_peers() {
    let mut world = World::new(1);
    let [alice, bob, carol] = world.nodes(["alice", "bob", "carol"]);
    world.link(alice, bob);
    world.run_until_quiet();
    // The link to Carol takes 200 kB a second from now on, the one to Bob is fast.
    world.set_speed(alice, carol, 200);
    world.link(alice, carol);
    world.run_for(1_000);
    for number in 0..100 {
        world.put(alice, &format!("d/{number}"), large_document(number, 100_000));
        world.run_for(10);
    }
    world.run_for(5_000);
    assert!(world.get(bob, "d/99").is_some());
    assert!(world.get(carol, "d/99").is_none());
    let unsent = |world: &World| world.peers(alice).iter().map(|peer| peer.bytes_unsent).max();
    assert!(unsent(&world).is_some_and(|bytes| bytes as usize <= limits::SEND_WINDOW_BYTES));
    world.set_speed(alice, carol, 100_000);
    world.run_until_converged(120_000).unwrap();
    world.run_until_quiet();
    check(&world).unwrap();
}

#[test]
fn an_empty_node_gets_large_documents_within_the_window() {
    let mut world = World::new(2);
    let [alice, bob] = world.nodes(["alice", "bob"]);
    world.set_weather(Weather { bytes_per_ms: 1_000, ..Weather::calm() });
    world.preload(alice, (0..40).map(|number| (format!("d/{number}"), large_document(number, 400_000))));
    world.link(alice, bob);
    // The bound itself is checked at every frame.
    world.run_until_converged(120_000).unwrap();
    world.run_until_quiet();
    // Half a window, and the answers that were being read by then.
    let peak = world.peak_unsent_bytes();
    println!("at most {peak} bytes waited to leave");
    assert!(peak > limits::CHANGES_FRAME_BYTES_TARGET, "the window is put to the test");
    check(&world).unwrap();
}

#[test]
fn long_histories_that_grew_apart_find_their_common_past() {
    let mut world = World::new(3);
    let [alice, bob] = world.nodes(["alice", "bob"]);
    world.link(alice, bob);
    for _ in 0..300 {
        world.edit(alice, "d/long", Edit::Status);
    }
    world.run_until_quiet();
    world.cut(alice, bob);
    for _ in 0..400 {
        world.edit(alice, "d/long", Edit::Status);
        world.edit(bob, "d/long", Edit::Status);
        world.run_for(5);
    }
    world.run_for(20_000);
    world.reset_traffic();
    world.heal_all();
    world.come_together();
    let [changes, rest] = [world.traffic().kind("changes"), world.traffic().reconciliation()];
    println!("400 changes on either side of 300: {changes:?}, {rest:?}");
    // Three lists of at most 256 hashes, and little that the other side had.
    assert!(rest.bytes <= 3 * 33 * limits::HAVE_COUNT_MAX as u64 + 1_000, "{rest:?}");
    assert!(changes.bytes <= 2 * 400 * 200, "{changes:?}");
}

#[test]
fn ten_nodes_in_a_chain_pass_on_a_thousand_documents() {
    let mut world = World::new(4);
    let sites: Vec<_> = (0..10).map(|number| world.node(&format!("node-{number}"))).collect();
    sites.windows(2).for_each(|pair| world.link(pair[0], pair[1]));
    world.preload(sites[0], (0..1_000).map(|number| (format!("d/{number}"), json!({ "n": number }))));
    let ms = world.run_until_converged(120_000).unwrap();
    println!("a thousand documents down a chain of ten: {ms} ms");
    world.run_until_quiet();
    assert_eq!(world.traffic().documents_sent_to(sites[9]), 1_000);
    check(&world).unwrap();
}
