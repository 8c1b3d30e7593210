//! Nodes that cannot reach each other for a while, and what they agree on after that.

use peat_mesh_sim::{Edit, Reply, Site, World, check};
use serde_json::{Value, json};

const DOC: &str = "airports/EDDF";

fn cut_off_pair(seed: u64) -> (World, Site, Site) {
    let mut world = World::new(seed);
    let [alice, bob] = world.nodes(["alice", "bob"]);
    world.link(alice, bob);
    world.run_until_quiet();
    world.cut(alice, bob);
    (world, alice, bob)
}

/// The document, which has to be the same everywhere.
#[track_caller]
fn agreed(world: &World, doc: &str) -> Option<Value> {
    let sites = world.sites();
    let documents: Vec<_> =
        sites.iter().map(|site| (world.get(*site, doc), world.heads(*site, doc))).collect();
    assert!(documents.windows(2).all(|pair| pair[0] == pair[1]), "{documents:#?}");
    documents[0].0.clone()
}

#[test]
fn both_sides_of_a_partition_keep_their_edits_when_it_heals() {
    let (mut world, alice, bob) = cut_off_pair(1);
    world.heal_all();
    world.put(alice, DOC, json!({ "name": "Frankfurt", "gates": 100, "open": true }));
    world.run_until_quiet();
    world.cut(alice, bob);
    world.put(alice, DOC, json!({ "name": "Frankfurt am Main", "gates": 100, "open": true }));
    world.put(bob, DOC, json!({ "name": "Frankfurt", "gates": 101 }));
    world.run_for(20_000);
    assert_ne!(world.get(alice, DOC), world.get(bob, DOC));
    world.come_together();
    assert_eq!(agreed(&world, DOC), Some(json!({ "name": "Frankfurt am Main", "gates": 101 })));
}

#[test]
fn a_node_writes_and_answers_its_clients_while_it_is_cut_off() {
    let (mut world, alice, bob) = cut_off_pair(2);
    let op = world.put(alice, DOC, json!({ "name": "Frankfurt" }));
    world.run_for(1_000);
    assert_eq!(world.reply(op), &Reply::Done);
    assert_eq!(world.get(bob, DOC), None);
    world.come_together();
    assert_eq!(agreed(&world, DOC), Some(json!({ "name": "Frankfurt" })));
}

#[test]
fn two_nodes_that_create_the_same_document_apart_keep_every_field() {
    for seed in 0..10 {
        let (mut world, alice, bob) = cut_off_pair(seed);
        world.put(alice, DOC, json!({ "a": 1, "deep": { "a": 1, "deeper": { "a": 1 } } }));
        world.put(bob, DOC, json!({ "b": 2, "deep": { "b": 2, "deeper": { "b": 2 } } }));
        world.run_for(20_000);
        world.come_together();
        let together = json!({
            "a": 1, "b": 2,
            "deep": { "a": 1, "b": 2, "deeper": { "a": 1, "b": 2 } },
        });
        assert_eq!(agreed(&world, DOC), Some(together), "SEED={seed}");
    }
}

#[test]
fn objects_created_apart_stay_whole_when_both_sides_go_on_writing_into_them() {
    for seed in 0..10 {
        let (mut world, alice, bob) = cut_off_pair(seed);
        world.edit(alice, DOC, Edit::Nested);
        world.edit(bob, DOC, Edit::Nested);
        world.run_for(20_000);
        world.come_together();
        world.cut(alice, bob);
        for _ in 0..3 {
            world.edit(alice, DOC, Edit::Nested);
            world.edit(bob, DOC, Edit::Nested);
            world.run_for(10_000);
        }
        world.come_together();
        let document = agreed(&world, DOC).unwrap();
        assert_eq!(document["nested"].as_object().unwrap().len(), 8, "SEED={seed}: {document}");
    }
}

#[test]
fn counters_add_up_what_both_sides_counted() {
    let (mut world, alice, bob) = cut_off_pair(5);
    world.heal_all();
    world.put(alice, DOC, json!({ "landings": { "$counter": 10 } }));
    world.run_until_quiet();
    world.cut(alice, bob);
    world.put(alice, DOC, json!({ "landings": { "$counter": 15 } }));
    world.put(bob, DOC, json!({ "landings": { "$counter": 11 } }));
    world.run_for(20_000);
    world.come_together();
    assert_eq!(agreed(&world, DOC), Some(json!({ "landings": { "$counter": 16 } })));
}

#[test]
fn a_change_travels_down_a_chain_of_three() {
    let mut world = World::new(6);
    let [alice, bob, carol] = world.nodes(["alice", "bob", "carol"]);
    world.link(alice, bob);
    world.link(bob, carol);
    world.run_until_quiet();
    world.put(alice, DOC, json!({ "name": "Frankfurt" }));
    world.run_for(100);
    assert_eq!(world.get(carol, DOC), Some(json!({ "name": "Frankfurt" })), "in one go, without a probe");
    world.cut(alice, bob);
    world.cut(bob, carol);
    for site in [alice, bob, carol] {
        world.edit(site, "d/each", Edit::Field);
    }
    world.run_for(20_000);
    world.come_together();
    assert_eq!(agreed(&world, "d/each").unwrap().as_object().unwrap().len(), 3);
}

#[test]
fn a_mesh_split_in_two_halves_agrees_within_seconds_of_meeting() {
    let mut world = World::new(7);
    let sites = world.nodes(["alice", "bob", "carol", "dave", "erin"]);
    world.link_all(&sites);
    world.run_until_quiet();
    world.split(&sites[..2], &sites[2..]);
    for round in 0..20 {
        for site in &sites {
            world.edit(*site, &format!("d/{}", round % 4), Edit::ALL[round % 6]);
        }
        world.run_for(1_000);
    }
    world.heal_all();
    // The longest wait for the next dial, its jitter, and the work itself.
    let ms = world.run_until_converged(60_000).unwrap();
    assert!(ms < 20_000, "{ms} ms");
    world.run_until_quiet();
    check(&world).unwrap();
}

#[test]
fn a_peer_that_only_one_side_knows_of_is_still_one_connection() {
    let (mut world, alice, bob) = cut_off_pair(8);
    world.run_for(20_000);
    world.forget(alice, bob, 60_000);
    world.come_together();
    world.run_for(20_000);
    assert_eq!(world.connections(alice, bob), 1);
}
