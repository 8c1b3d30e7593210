//! What synchronisation costs, in frames and bytes. Nothing here depends on time.

use peat_mesh_core::DocId;
use peat_mesh_core::store::Store;
use peat_mesh_sim::{Count, Edit, Site, World, check};
use serde_json::{Value, json};

fn documents(count: usize) -> impl Iterator<Item = (String, Value)> {
    (0..count).map(|number| {
        let text = format!("document number {number} with a few words in it");
        (format!("d/{number}"), json!({ "n": number, "name": text }))
    })
}

/// Two nodes that hold the same documents and have not met yet.
fn equal_pair(count: usize) -> (World, Site, Site) {
    let mut world = World::new(1);
    let [alice, bob] = world.nodes(["alice", "bob"]);
    world.preload(alice, documents(count));
    world.copy_disk(alice, bob);
    (world, alice, bob)
}

fn meet(world: &mut World, a: Site, b: Site) {
    world.reset_traffic();
    world.link(a, b);
    world.run_until_converged(60_000).expect("a pair converges within a minute");
    world.run_until_quiet();
}

fn chunk_bytes(world: &World, site: Site, doc: &str) -> u64 {
    let doc: DocId = doc.parse().expect("an address");
    let chunks = world.store(site).chunks(&doc).expect("a store in memory can be read");
    chunks.iter().map(|chunk| chunk.len() as u64).sum()
}

#[test]
fn two_nodes_with_equal_documents_find_that_out_in_a_handful_of_frames() {
    for count in [0, 1, 100, 10_000] {
        let (mut world, alice, bob) = equal_pair(count);
        meet(&mut world, alice, bob);
        let all = world.traffic().documents();
        assert!(all.frames <= 6 && all.bytes < 200, "{count} documents: {all:?}");
        // And again when they lose each other.
        world.reset_traffic();
        world.break_connections(alice, bob);
        world.run_until_quiet();
        let all = world.traffic().documents();
        assert!(all.frames <= 6 && all.bytes < 200, "{count} documents: {all:?}");
    }
}

#[test]
fn an_idle_pair_compares_with_a_few_bytes_now_and_then() {
    let (mut world, alice, bob) = equal_pair(1_000);
    meet(&mut world, alice, bob);
    world.reset_traffic();
    world.run_for(60_000);
    let all = world.traffic().documents();
    let presence = world.traffic().kind("presence");
    println!("a minute of rest: {all:?}, presence: {presence:?}");
    assert!(all.frames <= 2 * 15 && all.bytes <= 15 * 40, "{all:?}");
    // Each says once or twice that it is still there.
    assert!(presence.frames <= 4 && presence.bytes <= 4 * 100, "{presence:?}");
}

/// What it costs to find so many differences among 10,000 documents, without the changes themselves.
fn cost_of(world: &mut World, alice: Site, bob: Site, differences: usize) -> Count {
    world.cut(alice, bob);
    world.run_for(20_000);
    for number in 0..differences {
        world.edit(alice, &format!("d/{}", number * (10_000 / differences)), Edit::Field);
    }
    world.run_until_quiet();
    world.heal_all();
    meet(world, alice, bob);
    assert_eq!(world.traffic().documents_sent_to(bob), differences as u64);
    assert_eq!(world.traffic().documents_sent_to(alice), 0);
    world.traffic().reconciliation()
}

#[test]
fn differences_cost_in_proportion_to_their_number_and_little_for_the_rest() {
    let (mut world, alice, bob) = equal_pair(10_000);
    world.link(alice, bob);
    world.run_until_quiet();
    for differences in [1, 10, 100] {
        let cost = cost_of(&mut world, alice, bob, differences);
        println!("{differences} of 10,000: {cost:?}");
        // Three levels of sixteen parts, at most 15 bytes each, lead to a range that is listed.
        let bytes_max = 300 + 1_000 * differences as u64;
        assert!(cost.bytes <= bytes_max, "{differences}: {cost:?}");
        assert!(cost.frames <= 20, "{differences}: {cost:?}");
    }
}

#[test]
fn a_change_in_a_full_mesh_of_five_is_sent_once_to_each_node() {
    let mut world = World::new(2);
    let sites = world.nodes(["alice", "bob", "carol", "dave", "erin"]);
    world.link_all(&sites);
    world.run_until_quiet();
    for (number, author) in sites.iter().enumerate() {
        let doc = format!("d/{number}");
        world.reset_traffic();
        world.edit(*author, &doc, Edit::Field);
        world.run_until_quiet();
        for site in &sites {
            let wanted = u64::from(site != author);
            assert_eq!(world.traffic().sent_to(*site, &doc), wanted, "to {}", world.name(*site));
        }
        assert_eq!(world.traffic().kind("changes").frames, 4);
    }
    check(&world).unwrap();
}

#[test]
fn a_change_in_a_ring_is_not_sent_round_for_ever() {
    let mut world = World::new(3);
    let sites = world.nodes(["alice", "bob", "carol", "dave", "erin"]);
    (0..5).for_each(|number| world.link(sites[number], sites[(number + 1) % 5]));
    world.run_until_quiet();
    world.reset_traffic();
    world.edit(sites[0], "d/1", Edit::Field);
    world.run_until_quiet();
    let changes = world.traffic().kind("changes");
    println!("a ring of five: {changes:?}");
    // One to each, and at the far side of the ring both come at once.
    assert!(changes.frames <= 6, "{changes:?}");
    check(&world).unwrap();
}

#[test]
fn many_writes_at_once_share_commits_and_frames() {
    let (mut world, alice, bob) = equal_pair(0);
    meet(&mut world, alice, bob);
    world.reset_traffic();
    for number in 0..1_000 {
        world.edit(alice, &format!("d/{number}"), Edit::Field);
    }
    world.run_until_quiet();
    let all = world.traffic().documents();
    println!("1,000 writes at once: {all:?}");
    assert!(all.frames <= 12, "{all:?}");
    assert_eq!(world.traffic().documents_sent_to(bob), 1_000);
    check(&world).unwrap();
}

#[test]
fn an_empty_node_that_joins_gets_each_document_once() {
    let mut world = World::new(4);
    let [alice, bob] = world.nodes(["alice", "bob"]);
    world.preload(alice, documents(2_000));
    meet(&mut world, alice, bob);
    let stored: u64 = (0..2_000).map(|number| chunk_bytes(&world, alice, &format!("d/{number}"))).sum();
    let all = world.traffic().documents();
    println!("join: {all:?} for {stored} stored");
    assert_eq!(world.traffic().documents_sent_to(bob), 2_000);
    assert_eq!(world.traffic().documents_sent_to(alice), 0);
    assert!(all.bytes * 10 <= stored * 12, "{all:?}, {stored} stored");
    check(&world).unwrap();
}

#[test]
fn an_empty_node_that_joins_three_peers_gets_each_document_at_most_once_from_each() {
    let mut world = World::new(5);
    let [alice, bob, carol, dave] = world.nodes(["alice", "bob", "carol", "dave"]);
    world.preload(alice, documents(1_000));
    world.copy_disk(alice, bob);
    world.copy_disk(alice, carol);
    world.link_all(&[alice, bob, carol]);
    world.run_until_quiet();
    world.reset_traffic();
    [alice, bob, carol].into_iter().for_each(|site| world.link(dave, site));
    world.run_until_converged(60_000).unwrap();
    world.run_until_quiet();
    let sent = world.traffic().documents_sent_to(dave);
    println!("joining three peers: {sent} documents sent for 1,000");
    assert!(sent <= 3_000, "{sent}");
    for site in [alice, bob, carol] {
        assert_eq!(world.traffic().documents_sent_to(site), 0);
    }
}
