//! Two nodes: a blob that one has is read from the other.

use std::thread;

use crate::common::Pair;
use crate::rig::{add, ask, content, get, hash, state, status, until};

#[test]
fn a_blob_sent_to_one_node_is_read_from_the_other() {
    let pair = Pair::new();
    let (alice, bob) = pair.serve();
    for size in [0, 1, 16 * 1024 + 1, 20_000_000] {
        let bytes = content(size as u64 + 1, size);
        let hash = add(&alice, &bytes);
        if size > 0 {
            assert_eq!(state(&bob, &hash), "absent");
        }
        assert!(get(&bob, &hash).body == bytes, "{size} bytes came as others");
        assert_eq!(state(&bob, &hash), "complete");
        // Now it has it itself.
        let part = ask(&bob, "GET", &format!("/{hash}"), "range: bytes=0-0\r\n");
        assert_eq!(part.status, if size == 0 { 416 } else { 206 });
    }
    let count = |node| ask(node, "GET", "", "").json()["count"].clone();
    assert_eq!(count(&bob), 4);
    for ended in [alice.stop(), bob.stop()] {
        assert!(!ended.all().to_lowercase().contains("error"), "{}", ended.all());
        assert!(!ended.all().contains(" WARN "), "{}", ended.all());
    }
}

#[test]
fn a_blob_that_nobody_has_is_not_found_and_leaves_nothing() {
    let pair = Pair::new();
    let (alice, bob) = pair.serve();
    let nobodys = hash(b"nobody has this");
    assert!(get(&bob, &nobodys).error(404).contains("no connected node has it; 1 asked"));
    assert_eq!(state(&bob, &nobodys), "absent");
    // What one deletes the other one still has.
    let shared = add(&alice, &content(3, 100_000));
    assert_eq!(get(&bob, &shared).status, 200);
    assert_eq!(ask(&alice, "DELETE", &format!("/{shared}"), "").status, 204);
    assert_eq!(state(&bob, &shared), "complete");
    assert_eq!(get(&alice, &shared).body.len(), 100_000);
}

#[test]
fn many_who_want_the_same_blob_at_once_all_get_it() {
    let pair = Pair::new();
    let (alice, bob) = pair.serve();
    let bytes = content(4, 5_000_000);
    let hash = add(&alice, &bytes);
    thread::scope(|scope| {
        let readers: Vec<_> = (0..8).map(|_| scope.spawn(|| get(&bob, &hash).body == bytes)).collect();
        assert!(readers.into_iter().all(|reader| reader.join().unwrap()));
    });
}

#[test]
fn many_different_blobs_are_fetched_at_once() {
    let pair = Pair::new();
    let (alice, bob) = pair.serve();
    let all: Vec<Vec<u8>> = (0..24).map(|seed| content(seed, 400_000)).collect();
    let hashes: Vec<String> = all.iter().map(|bytes| add(&alice, bytes)).collect();
    thread::scope(|scope| {
        let bob = &bob;
        let readers = all.iter().zip(&hashes).map(|(bytes, hash)| {
            scope.spawn(move || {
                let answer = get(bob, hash);
                assert!(answer.body == *bytes, "{} {}", answer.status, String::from_utf8_lossy(&answer.body));
            })
        });
        readers.collect::<Vec<_>>().into_iter().for_each(|reader| reader.join().unwrap());
    });
}

#[test]
fn a_fetch_that_broke_off_goes_on_where_it_was() {
    const SIZE: u64 = 96 * 1024 * 1024;
    let pair = Pair::new();
    let (alice, bob) = pair.serve();
    let bytes = content(5, SIZE as usize);
    let hash = add(&alice, &bytes);
    let part = 8 * 1024 * 1024;
    // The content comes before all of it is there.
    let mut http = bob.http();
    http.send_head("GET", &format!("/api/v1/blobs/{hash}"), "").unwrap();
    assert_eq!(http.answer_head().unwrap().0, 200);
    until("a part of the blob is here", || status(&bob, &hash)["have_bytes"].as_u64().unwrap() > part);
    alice.kill();
    bob.kill();
    drop(http);

    // The part is still there after a restart of both.
    let bob = pair.bob.serve();
    let broken = status(&bob, &hash);
    // What is here can be read without anybody else.
    let first = ask(&bob, "GET", &format!("/{hash}"), "range: bytes=1-70000\r\n");
    assert!(first.status == 206 && first.body == bytes[1..=70_000], "{}", first.status);
    let alice = pair.alice.serve();
    alice.connected_to("bob");
    let have = broken["have_bytes"].as_u64().unwrap();
    assert_eq!(broken["state"], "partial", "{broken}");
    assert!(have > 0 && have < SIZE, "{broken}");
    assert!(get(&bob, &hash).body == bytes);
    let line = bob.line_with("fetched what was missing of a blob");
    let (_, fetched) = line.split_once("bytes=").unwrap();
    let fetched: u64 = fetched.split(' ').next().unwrap().parse().unwrap();
    assert!(fetched <= SIZE - have, "{line}; it had {have} of {SIZE}");
    drop(alice);
}

#[test]
fn a_reader_goes_on_when_the_only_provider_comes_back() {
    let pair = Pair::new();
    let (alice, bob) = pair.serve();
    let bytes = content(6, 64 * 1024 * 1024);
    let hash = add(&alice, &bytes);
    let answer = thread::scope(|scope| {
        let reading = scope.spawn(|| get(&bob, &hash));
        until("a part of the blob is here", || status(&bob, &hash)["have_bytes"].as_u64().unwrap() > 1 << 20);
        alice.kill();
        let alice = pair.alice.serve();
        let answer = reading.join().unwrap();
        drop(alice);
        answer
    });
    assert!(answer.body == bytes, "{} of {} bytes", answer.body.len(), bytes.len());
}
