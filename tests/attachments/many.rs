//! Many blobs that documents want, and that nobody has.

use std::cell::Cell;

use crate::common::{Pair, Process, Setup};
use crate::rig::{add, ask, content, hash, state, status, until};
use crate::{delete, forgetful, naming, references};

/// Blobs that are looked for at once because documents want them: `FETCHES_COUNT_MAX` of the keeper.
const FETCHES_COUNT_MAX: u64 = 64;
const MISSING_COUNT: usize = 200;

fn metric(node: &Process, name: &str) -> u64 {
    let answer = node.http().exchange("GET", "/metrics", "", b"").unwrap();
    let text = String::from_utf8(answer.body).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap().parse().unwrap()
}

#[test]
fn blobs_that_nobody_has_are_looked_for_by_turns_and_do_not_hold_up_one_that_a_peer_has() {
    let mut pair = Pair::new();
    pair.bob = pair.bob.set("PEAT_BLOB_POLICY", "maps=eager");
    let (alice, bob) = pair.serve();
    let missing = |number: usize| content(number as u64, 1_000 + number);
    for number in 0..MISSING_COUNT {
        let name = hash(&missing(number));
        assert_eq!(alice.put(&format!("maps/{number}"), &naming(&[&name])).0, 201);
    }
    let most = Cell::new(0);
    let look = || {
        let fetches = metric(&bob, "peat_blob_fetches");
        most.set(most.get().max(fetches));
        fetches
    };
    until("all places are taken", || look() >= FETCHES_COUNT_MAX);
    let last = hash(&missing(MISSING_COUNT - 1));
    until("all documents are known", || references(&bob, &last) == 1);
    let here = add(&alice, &content(1_000, 300_000));
    assert_eq!(alice.put("maps/here", &naming(&[&here])).0, 201);
    until("what a peer has is here", || {
        look();
        state(&bob, &here) == "complete"
    });
    // It is found when it is its turn again, whichever it is.
    let late = add(&alice, &missing(7));
    until("one that has come to be there is here", || {
        look();
        state(&bob, &late) == "complete"
    });
    assert_eq!(most.get(), FETCHES_COUNT_MAX);
    // One that waits for its turn can be given up, too.
    let waits = |name: &String| status(&bob, name)["fetch"].is_null();
    let names: Vec<_> = (8..MISSING_COUNT).map(|number| hash(&missing(number))).collect();
    let name = names.iter().find(|name| waits(name)).unwrap();
    assert_eq!(ask(&bob, "DELETE", &format!("/{name}/fetch"), "").status, 204);
    assert_eq!(ask(&bob, "DELETE", &format!("/{name}/fetch"), "").status, 404);
    for number in 0..MISSING_COUNT {
        delete(&alice, &format!("maps/{number}"));
    }
    until("all are given up", || look() == 0);
}

#[test]
fn a_fetch_that_is_ended_by_hand_is_not_begun_again_for_the_same_documents() {
    let folder = tempfile::tempdir().unwrap();
    let node = Setup::node("n", folder.path()).set("PEAT_BLOB_POLICY", "*=eager").serve();
    let is_fetched = |name: &String| !status(&node, name)["fetch"].is_null();
    let [ended, other, third] = [&b"1"[..], b"2", b"3"].map(hash);
    assert_eq!(node.put("maps/1", &naming(&[&ended])).0, 201);
    until("it is looked for", || is_fetched(&ended));
    assert_eq!(ask(&node, "DELETE", &format!("/{ended}/fetch"), "").status, 204);
    until("it has ended", || !is_fetched(&ended));
    for (doc, name) in [("maps/2", &other), ("maps/3", &third)] {
        assert_eq!(node.put(doc, &naming(&[name])).0, 201);
        until("another one is looked for", || is_fetched(name));
    }
    assert!(!is_fetched(&ended));
    // Another document that names it wants it again.
    assert_eq!(node.put("maps/4", &naming(&[&ended])).0, 201);
    until("it is looked for again", || is_fetched(&ended));
}

#[test]
fn a_start_without_the_policy_takes_no_pin_off_a_blob_that_has_not_come_yet() {
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup::node("n", folder.path());
    let pinning = setup.clone().set("PEAT_BLOB_POLICY", "maps=pinned");
    let [kept, other] = [&b"1"[..], b"2"].map(hash);
    let node = pinning.serve();
    let is_pinned = |node: &Process, name: &str| status(node, name)["pinned"] == true;
    assert_eq!(node.put("maps/1", &naming(&[&kept])).0, 201);
    until("it is pinned", || is_pinned(&node, &kept));
    node.kill();
    let node = setup.clone().set("RUST_LOG", "info,peat_mesh=debug").serve();
    node.line(|line| line.contains("no document wants this blob any more") && line.contains(&kept));
    // A document that is written then is looked at when that is done.
    assert_eq!(node.put("maps/2", &naming(&[&other])).0, 201);
    until("documents are followed", || references(&node, &other) == 1);
    assert!(status(&node, &kept)["fetch"].is_null());
    assert!(is_pinned(&node, &kept));
    node.kill();
    let node = pinning.serve();
    until("it is looked for again", || !status(&node, &kept)["fetch"].is_null());
    assert!(is_pinned(&node, &kept));
    delete(&node, "maps/1");
    until("nothing is pinned that never came", || !is_pinned(&node, &kept));
}

#[test]
fn more_blobs_than_are_dropped_at_a_time_go_all_the_same() {
    const COUNT: usize = 600;
    let folder = tempfile::tempdir().unwrap();
    let node = forgetful(&Setup::node("n", folder.path())).serve();
    for number in 0..COUNT {
        add(&node, format!("stray {number}").as_bytes());
    }
    until("all are gone", || metric(&node, "peat_blob_collected_total") == COUNT as u64);
}
