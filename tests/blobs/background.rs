//! Blobs that are fetched in the background, and who has what.

use serde_json::{Value, json};

use crate::common::{Http, PATIENCE, Pair, Process, Setup};
use crate::rig::{add, ask, content, get, hash, state, status, until};

fn fetch(node: &Process, hash: &str) -> crate::common::Answer {
    ask(node, "POST", &format!("/{hash}/fetch"), "")
}

/// The events of a stream of progress, until it ends.
fn progress(node: &Process, hash: &str) -> Vec<Value> {
    let mut http = node.http();
    http.send_head("GET", &format!("/api/v1/blobs/{hash}/progress"), "").unwrap();
    let (status, headers) = http.answer_head().unwrap();
    assert_eq!((status, headers["content-type"].as_str()), (200, "text/event-stream"));
    events(&mut http)
}

fn events(http: &mut Http) -> Vec<Value> {
    let mut events = Vec::new();
    loop {
        let line = http.line().unwrap();
        if let Some(data) = line.strip_prefix("data: ") {
            events.push(serde_json::from_str(data).unwrap());
        }
        // The end of a body in pieces; a piece of no event has this length.
        if line == "0" {
            return events;
        }
    }
}

#[test]
fn a_node_alone_says_that_nothing_is_fetched_and_nobody_else_has_anything() {
    let folder = tempfile::tempdir().unwrap();
    let node = Setup::node("n", folder.path()).serve();
    let unknown = hash(b"unknown");
    for (method, rest) in [("DELETE", "fetch"), ("GET", "progress")] {
        let answer = ask(&node, method, &format!("/{unknown}/{rest}"), "");
        assert!(answer.error(404).contains(&format!("/blobs/{unknown}/fetch starts one")), "{answer:?}");
    }
    let foreign = ask(&node, "POST", &format!("/{unknown}/fetch"), "origin: http://evil.example\r\n");
    assert!(foreign.error(403).contains("evil.example"));
    let asked = ask(&node, "GET", &format!("/{unknown}/status?holders=true"), "").json();
    assert_eq!((&asked["fetch"], &asked["holders"]), (&Value::Null, &json!([])));

    let here = add(&node, b"content");
    let events = progress(&node, &here);
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!((&events[0]["state"], &events[0]["have_bytes"]), (&json!("complete"), &json!(7)));
}

#[test]
fn two_clients_that_delete_one_blob_at_once_both_get_a_true_answer() {
    let folder = tempfile::tempdir().unwrap();
    let node = Setup::node("n", folder.path()).serve();
    for round in 0..10 {
        let hash = add(&node, &content(round, 50_000));
        let path = format!("/{hash}");
        std::thread::scope(|scope| {
            let deletes: Vec<_> =
                (0..4).map(|_| scope.spawn(|| ask(&node, "DELETE", &path, "").status)).collect();
            let mut all: Vec<_> = deletes.into_iter().map(|delete| delete.join().unwrap()).collect();
            all.sort_unstable();
            assert_eq!(all, [204, 404, 404, 404]);
        });
        assert_eq!(state(&node, &hash), "absent");
    }
}

#[test]
fn if_none_match_of_anything_is_of_what_is_here_and_head_knows_no_ranges() {
    let folder = tempfile::tempdir().unwrap();
    let node = Setup::node("n", folder.path()).serve();
    let any = "if-none-match: *\r\n";
    assert_eq!(ask(&node, "GET", &format!("/{}", hash(b"content")), any).status, 404);
    let path = format!("/{}", add(&node, b"content"));
    for method in ["GET", "HEAD"] {
        assert_eq!(ask(&node, method, &path, any).status, 304, "{method}");
    }
    for range in ["range: bytes=1-2\r\n", "range: bytes=100-\r\n"] {
        let head = ask(&node, "HEAD", &path, range);
        assert_eq!((head.status, head.headers["content-length"].as_str()), (200, "7"), "{range}");
    }
}

#[test]
fn a_blob_is_fetched_in_the_background_with_progress() {
    let pair = Pair::new();
    let (alice, bob) = pair.serve();
    let bytes = content(1, 40_000_000);
    let hash = add(&alice, &bytes);
    let holders = ask(&bob, "GET", &format!("/{hash}/status?holders=true"), "").json();
    let size = bytes.len();
    let alices = json!([{"peer": "alice", "state": "complete", "have_bytes": size, "size": size}]);
    assert_eq!(holders["holders"], alices);

    let started = fetch(&bob, &hash);
    assert_eq!(started.status, 202, "{started:?}");
    let events = progress(&bob, &hash);
    let last = &events[events.len() - 1];
    assert_eq!((&last["state"], &last["have_bytes"]), (&json!("complete"), &json!(size)), "{events:?}");
    let have: Vec<u64> = events.iter().map(|event| event["have_bytes"].as_u64().unwrap()).collect();
    assert!(have.is_sorted(), "{events:?}");
    let from = |event: &Value| event["from"].as_array().unwrap().iter().all(|one| one["peer"] == "alice");
    assert!(events.iter().all(from), "{events:?}");

    let again = fetch(&bob, &hash);
    assert_eq!((again.status, &again.json()["state"]), (200, &json!("complete")));
    alice.kill();
    assert!(get(&bob, &hash).body == bytes);
}

#[test]
fn a_blob_that_nobody_has_is_waited_for_until_somebody_has_it() {
    let pair = Pair::new();
    let (alice, bob) = pair.serve();
    let bytes = content(2, 300_000);
    let hash = hash(&bytes);
    assert_eq!(fetch(&bob, &hash).status, 202);
    until("nobody has it", || status(&bob, &hash)["fetch"]["state"] == "waiting");
    let waiting = status(&bob, &hash);
    assert!(waiting["fetch"]["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{waiting}");
    assert_eq!(add(&alice, &bytes), hash);
    let events = progress(&bob, &hash);
    assert_eq!(events[events.len() - 1]["state"], "complete", "{events:?}");
}

#[test]
fn a_fetch_that_is_cancelled_ends_for_those_who_watch() {
    let pair = Pair::new();
    let (_alice, bob) = pair.serve();
    let nobodys = hash(b"nobody has this");
    assert_eq!(fetch(&bob, &nobodys).status, 202);
    let mut http = bob.http();
    http.send_head("GET", &format!("/api/v1/blobs/{nobodys}/progress"), "").unwrap();
    assert_eq!(http.answer_head().unwrap().0, 200);
    // It watches when its first event is here.
    while !http.line().unwrap().starts_with("data: ") {}
    assert_eq!(ask(&bob, "DELETE", &format!("/{nobodys}/fetch"), "").status, 204);
    let events = events(&mut http);
    assert_eq!(events[events.len() - 1]["state"], "ended", "{events:?}");
    assert_eq!(status(&bob, &nobodys)["fetch"], Value::Null);
    assert_eq!(ask(&bob, "DELETE", &format!("/{nobodys}/fetch"), "").status, 404);
}

#[test]
fn a_fetch_goes_on_after_a_restart() {
    let pair = Pair::new();
    let (alice, bob) = pair.serve();
    let bytes = content(3, 300_000);
    let hash = hash(&bytes);
    assert_eq!(fetch(&bob, &hash).status, 202);
    bob.kill();
    add(&alice, &bytes);
    let bob = pair.bob.serve();
    let started = std::time::Instant::now();
    while state(&bob, &hash) != "complete" {
        assert!(started.elapsed() < PATIENCE, "{}", status(&bob, &hash));
        std::thread::yield_now();
    }
    assert!(get(&bob, &hash).body == bytes);
}
