//! Nodes that die at the worst moment, and disks that come back older than they were.

use peat_mesh_sim::{Edit, Reply, Site, World};
use serde_json::json;

const DOC: &str = "airports/EDDF";

fn pair(seed: u64) -> (World, Site, Site) {
    let mut world = World::new(seed);
    let [alice, bob] = world.nodes(["alice", "bob"]);
    world.link(alice, bob);
    world.run_until_quiet();
    (world, alice, bob)
}

#[test]
fn a_write_that_was_accepted_but_not_committed_is_not_acknowledged() {
    let (mut world, alice, bob) = pair(1);
    let op = world.put(alice, DOC, json!({ "name": "Frankfurt" }));
    world.crash(alice);
    assert_eq!(world.reply(op), &Reply::Never);
    world.restart(alice);
    world.come_together();
    assert_eq!((world.get(alice, DOC), world.get(bob, DOC)), (None, None));
}

#[test]
fn a_crash_at_any_moment_loses_no_acknowledged_write() {
    let mut acknowledged = [false; 2];
    for crash_ms in 0..30 {
        let (mut world, alice, bob) = pair(100 + crash_ms);
        world.set_disk_ms(10, 5);
        let op = world.edit(alice, DOC, Edit::Field);
        world.run_for(crash_ms);
        world.crash(alice);
        let done = *world.reply(op) == Reply::Done;
        acknowledged[usize::from(done)] = true;
        world.run_for(1_000);
        world.restart(alice);
        world.come_together();
        if done {
            assert!(world.get(bob, DOC).is_some(), "SEED={}", 100 + crash_ms);
        }
    }
    assert_eq!(acknowledged, [true, true], "the crashes lie before and after the commit");
}

#[test]
fn a_commit_that_fails_is_not_acknowledged_and_leaves_nothing() {
    let (mut world, alice, bob) = pair(2);
    world.fail_next_commit(alice);
    let op = world.put(alice, DOC, json!({ "name": "Frankfurt" }));
    world.run_until_quiet();
    assert!(matches!(world.reply(op), Reply::Failed(reason) if reason.contains("the disk is full")));
    assert_eq!((world.get(alice, DOC), world.get(bob, DOC)), (None, None));
    world.put(alice, DOC, json!({ "name": "Frankfurt" }));
    world.come_together();
    assert_eq!(world.get(bob, DOC), Some(json!({ "name": "Frankfurt" })));
}

#[test]
fn a_peers_change_whose_commit_fails_comes_again() {
    let (mut world, alice, bob) = pair(3);
    world.fail_next_commit(bob);
    world.put(alice, DOC, json!({ "name": "Frankfurt" }));
    world.run_for(1_000);
    assert_eq!(world.get(bob, DOC), None);
    world.come_together();
    assert_eq!(world.get(bob, DOC), Some(json!({ "name": "Frankfurt" })));
}

#[test]
fn a_node_restored_from_a_backup_gets_its_own_writes_back() {
    let (mut world, alice, bob) = pair(4);
    world.edit(alice, DOC, Edit::Field);
    world.run_until_quiet();
    world.backup(alice);
    for _ in 0..5 {
        world.edit(alice, DOC, Edit::Field);
        world.run_until_quiet();
    }
    world.restore_backup(alice);
    assert_eq!(world.get(alice, DOC).unwrap().as_object().unwrap().len(), 1);
    world.come_together();
    assert_eq!(world.get(alice, DOC).unwrap().as_object().unwrap().len(), 6);
    assert_eq!(world.get(alice, DOC), world.get(bob, DOC));
}

#[test]
fn a_restored_node_never_gives_one_number_to_two_changes() {
    // The check is in the ledger, which sees every commit of every process.
    for seed in 0..20 {
        let (mut world, alice, bob) = pair(seed);
        world.edit(alice, DOC, Edit::Field);
        world.run_for(50);
        world.backup(alice);
        for round in 0..5 {
            world.edit(alice, DOC, Edit::ALL[round]);
            world.edit(bob, DOC, Edit::ALL[round]);
            world.run_for(20 * seed);
            world.restore_backup(alice);
            world.edit(alice, DOC, Edit::ALL[round]);
            world.run_for(30);
        }
        world.come_together();
    }
}

#[test]
fn a_node_with_a_new_disk_gets_everything_from_its_peers() {
    let (mut world, alice, bob) = pair(5);
    for doc in 0..100 {
        world.edit(alice, &format!("d/{doc}"), Edit::Field);
    }
    world.run_until_quiet();
    // No backup was ever made.
    world.restore_backup(alice);
    assert_eq!(world.get(alice, "d/7"), None);
    world.come_together();
    assert_eq!(world.get(alice, "d/7"), world.get(bob, "d/7"));
}

#[test]
fn both_nodes_of_a_pair_may_crash_at_once() {
    for seed in 0..10 {
        let (mut world, alice, bob) = pair(seed);
        for doc in 0..20 {
            world.edit(alice, &format!("d/{doc}"), Edit::Field);
            world.edit(bob, &format!("d/{doc}"), Edit::Nested);
        }
        world.run_for(seed);
        world.crash(alice);
        world.crash(bob);
        world.run_for(500);
        world.restart(bob);
        world.restart(alice);
        world.come_together();
    }
}
