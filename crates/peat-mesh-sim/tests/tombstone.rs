//! Deleting: what stays away, and what comes back.

use peat_mesh_sim::{Edit, Reply, Site, World, check};
use serde_json::json;

const DOC: &str = "airports/EDDF";

/// Three nodes in a full mesh that all have the document.
fn three(seed: u64) -> (World, [Site; 3]) {
    let mut world = World::new(seed);
    let sites = world.nodes(["alice", "bob", "carol"]);
    world.link_all(&sites);
    world.edit(sites[0], DOC, Edit::Field);
    world.run_until_quiet();
    (world, sites)
}

#[track_caller]
fn is_there(world: &World) -> bool {
    let found: Vec<bool> = world.sites().iter().map(|site| world.get(*site, DOC).is_some()).collect();
    assert!(found.windows(2).all(|pair| pair[0] == pair[1]), "{found:?}");
    found[0]
}

#[test]
fn a_deleted_document_is_gone_everywhere() {
    let (mut world, [_, bob, _]) = three(1);
    let op = world.delete(bob, DOC);
    world.run_until_quiet();
    assert_eq!(world.reply(op), &Reply::Done);
    assert!(!is_there(&world));
    check(&world).unwrap();
}

#[test]
fn a_document_that_is_not_there_cannot_be_deleted() {
    let (mut world, [alice, _, _]) = three(2);
    let never = world.delete(alice, "airports/NONE");
    let once = world.delete(alice, DOC);
    let twice = world.delete(alice, DOC);
    world.run_until_quiet();
    assert!(matches!(world.reply(never), Reply::Failed(_)));
    assert_eq!(world.reply(once), &Reply::Done);
    assert!(matches!(world.reply(twice), Reply::Failed(_)));
    check(&world).unwrap();
}

#[test]
fn an_edit_that_the_deletion_did_not_see_brings_the_document_back_whole() {
    for seed in 0..10 {
        let (mut world, [alice, bob, carol]) = three(seed);
        world.split(&[alice], &[bob, carol]);
        world.delete(alice, DOC);
        let op = world.edit(bob, DOC, Edit::Field);
        world.run_for(20_000);
        world.come_together();
        let document = world.get(carol, DOC).expect("the edit keeps it");
        assert_eq!(document.as_object().unwrap().len(), 2, "SEED={seed}");
        assert!(document.get(world.key_of(op)).is_some());
    }
}

#[test]
fn a_stale_copy_does_not_bring_a_deleted_document_back() {
    for seed in 0..10 {
        let (mut world, [alice, bob, carol]) = three(seed);
        world.split(&[alice, bob], &[carol]);
        world.delete(alice, DOC);
        world.run_for(60_000);
        // Carol was away with the old copy and comes back from a restart.
        world.crash(carol);
        world.restart(carol);
        world.run_for(5_000);
        assert!(world.get(carol, DOC).is_some());
        world.come_together();
        assert!(!is_there(&world), "SEED={seed}");
    }
}

#[test]
fn a_backup_from_before_the_deletion_does_not_bring_it_back() {
    let (mut world, [alice, _, carol]) = three(3);
    world.backup(carol);
    world.delete(alice, DOC);
    world.run_until_quiet();
    world.restore_backup(carol);
    assert!(world.get(carol, DOC).is_some());
    world.come_together();
    assert!(!is_there(&world));
}

#[test]
fn a_document_deleted_on_both_sides_of_a_partition_stays_deleted() {
    for seed in 0..10 {
        let (mut world, [alice, bob, carol]) = three(seed);
        world.split(&[alice], &[bob, carol]);
        world.delete(alice, DOC);
        world.delete(bob, DOC);
        world.run_for(20_000);
        world.come_together();
        assert!(!is_there(&world), "SEED={seed}");
    }
}

#[test]
fn a_document_written_anew_after_its_deletion_has_only_what_is_new() {
    let (mut world, [alice, bob, _]) = three(4);
    world.delete(alice, DOC);
    world.run_until_quiet();
    world.put(bob, DOC, json!({ "name": "Frankfurt" }));
    world.come_together();
    assert_eq!(world.get(alice, DOC), Some(json!({ "name": "Frankfurt" })));
}

#[test]
fn a_document_deleted_on_one_side_and_written_anew_on_the_other_lives() {
    for seed in 0..10 {
        let (mut world, [alice, bob, carol]) = three(seed);
        world.delete(alice, DOC);
        world.run_until_quiet();
        world.split(&[alice], &[bob, carol]);
        world.edit(alice, DOC, Edit::Field);
        world.run_for(1_000);
        world.delete(alice, DOC);
        world.edit(bob, DOC, Edit::Nested);
        world.run_for(20_000);
        world.come_together();
        assert!(is_there(&world), "SEED={seed}");
    }
}
