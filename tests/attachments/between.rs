//! Two nodes: files that follow their documents, and documents that are on their way.

use crate::common::{Pair, Setup};
use crate::rig::{add, ask, content, get, hash, send, state, status, until};
use crate::{delete, forgetful, naming, references};

#[test]
fn nothing_is_dropped_while_a_peer_that_is_connected_is_not_in_step() {
    let mut pair = Pair::new();
    pair.alice = forgetful(&pair.alice);
    let (alice, bob) = pair.serve();
    bob.freeze();
    let hash = add(&alice, b"its document is on its way");
    alice.line_with("stay for now: this node is not in step with bob");
    assert_eq!(state(&alice, &hash), "complete");
    assert_eq!(alice.put("maps/1", &naming(&[&hash])).0, 201);
    until("the document is known", || references(&alice, &hash) == 1);
    bob.signal("CONT");
    bob.until_document("maps/1", &naming(&[&hash]));
    let stray = add(&alice, b"nothing names this");
    until("in step, another one is dropped", || state(&alice, &stray) == "absent");
    assert_eq!(state(&alice, &hash), "complete");
}

#[test]
fn a_blob_stays_whose_document_comes_from_a_peer_after_the_start() {
    let mut pair = Pair::new();
    pair.alice = forgetful(&pair.alice);
    let alice = pair.alice.serve();
    let hash = add(&alice, b"its document is elsewhere");
    // Its time has begun.
    alice.stop();
    let bob = pair.bob.serve();
    for number in 0..200 {
        assert_eq!(bob.put(&format!("maps/{number}"), &naming(&[&hash])).0, 201);
    }
    let alice = pair.alice.serve();
    alice.until("all documents are here", |alice| alice.document("maps/199").is_some());
    let stray = add(&alice, b"nothing names this");
    until("another one is dropped", || state(&alice, &stray) == "absent");
    assert_eq!(references(&alice, &hash), 200);
    assert_eq!(get(&alice, &hash).status, 200);
}

#[test]
fn an_eager_file_follows_its_document_and_a_lazy_one_waits_for_a_reader() {
    let mut pair = Pair::new();
    pair.bob = pair.bob.set("PEAT_BLOB_POLICY", "maps=eager,archive=pinned");
    let (alice, bob) = pair.serve();
    let bytes = content(1, 5_000_000);
    let map = add(&alice, &bytes);
    let [note, record] = [&b"a note"[..], b"a record"].map(|bytes| add(&alice, bytes));
    assert_eq!(alice.put("notes/1", &naming(&[&note])).0, 201);
    assert_eq!(alice.put("maps/1", &naming(&[&map])).0, 201);
    assert_eq!(alice.put("archive/1", &naming(&[&record])).0, 201);
    until("the eager one and the pinned one are here", || {
        [&map, &record].iter().all(|hash| state(&bob, hash) == "complete")
    });
    assert_eq!(status(&bob, &record)["pinned"], true);
    assert_eq!((state(&bob, &note).as_str(), references(&bob, &note)), ("absent", 1));
    // It is here now, whatever becomes of the other node.
    alice.kill();
    assert!(get(&bob, &map).body == bytes);
    assert_eq!(get(&bob, &note).status, 404);
    let alice = pair.alice.serve();
    alice.connected_to("bob");
    until("it is read", || get(&bob, &note).status == 200);
    assert_eq!(state(&bob, &note), "complete");
}

#[test]
fn what_is_missing_at_a_start_is_fetched_by_the_policy_of_that_start() {
    let mut pair = Pair::new();
    let (alice, bob) = pair.serve();
    let hash = add(&alice, &content(1, 1_000_000));
    assert_eq!(alice.put("maps/1", &naming(&[&hash])).0, 201);
    until("bob knows of it", || references(&bob, &hash) == 1);
    assert_eq!(state(&bob, &hash), "absent");
    bob.kill();
    pair.bob = pair.bob.set("PEAT_BLOB_POLICY", "*=eager");
    let bob = pair.bob.serve();
    until("it is here", || state(&bob, &hash) == "complete");
}

#[test]
fn a_fetch_ends_when_no_document_wants_it_any_more_and_a_restart_does_not_bring_it_back() {
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup::node("n", folder.path()).set("PEAT_BLOB_POLICY", "maps=eager,archive=pinned");
    let node = setup.serve();
    let [map, record, both] = [&b"1"[..], b"2", b"3"].map(hash);
    let all = [&map, &record, &both];
    assert_eq!(node.put("maps/1", &naming(&[&map, &both])).0, 201);
    assert_eq!(node.put("archive/1", &naming(&[&record, &both])).0, 201);
    let is_fetched = |hash: &str| !status(&node, hash)["fetch"].is_null();
    until("nobody has them", || all.iter().all(|hash| is_fetched(hash)));
    delete(&node, "maps/1");
    until("one is given up", || !is_fetched(&map));
    assert!(is_fetched(&record) && is_fetched(&both));
    delete(&node, "archive/1");
    until("all are given up", || all.iter().all(|hash| !is_fetched(hash)));
    until("nothing is pinned that never came", || status(&node, &record)["pinned"] == false);
    // One that is wanted goes on after a restart, the others do not.
    let wanted = hash(b"4");
    assert_eq!(node.put("maps/2", &naming(&[&wanted])).0, 201);
    until("it is looked for", || is_fetched(&wanted));
    node.kill();
    let node = setup.serve();
    until("it is looked for again", || !status(&node, &wanted)["fetch"].is_null());
    assert!(all.iter().all(|hash| status(&node, hash)["fetch"].is_null()));
    // Somebody sends it.
    assert_eq!(send(&node, b"4").status, 201);
    until("the fetch is over", || status(&node, &wanted)["fetch"].is_null());
    assert_eq!(state(&node, &wanted), "complete");
}

#[test]
fn a_part_that_nobody_wants_any_more_goes_and_one_that_is_fetched_stays() {
    const SIZE: usize = 8 * 1024 * 1024;
    let mut pair = Pair::new();
    pair.bob = forgetful(&pair.bob).set("PEAT_BLOB_POLICY", "maps=eager").set("PEAT_BLOB_BANDWIDTH", "2MB");
    let (alice, bob) = pair.serve();
    let hashes = [1, 2].map(|seed| add(&alice, &content(seed, SIZE)));
    for hash in &hashes {
        assert_eq!(alice.put(&format!("maps/{hash}"), &naming(&[hash])).0, 201);
    }
    let have = |hash| status(&bob, hash)["have_bytes"].as_u64().unwrap();
    until("a part of both is here", || hashes.iter().all(|hash| have(hash) > 0));
    delete(&alice, &format!("maps/{}", hashes[0]));
    // Named by nothing, but somebody wants it in the background.
    let by_hand = add(&alice, &content(3, SIZE));
    assert_eq!(ask(&bob, "POST", &format!("/{by_hand}/fetch"), "").status, 202);
    until("one is gone", || state(&bob, &hashes[0]) == "absent");
    until("the others come", || [&hashes[1], &by_hand].iter().all(|hash| state(&bob, hash) == "complete"));
    assert!(get(&bob, &hashes[1]).body == content(2, SIZE));
}
