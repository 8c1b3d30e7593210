//! Signals: a clean end in time, and no write that was answered is lost or answered too late.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::{Http, Load, Pair, Setup, check_nothing_is_missing};

fn stops_under_load(signal: &str) {
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup::node("n", folder.path());
    let node = setup.serve();
    let address = node.broker();
    let load = Load::start(address, "l", 8, usize::MAX);
    load.until_answered(200);
    let asked = Instant::now();
    node.signal(signal);
    let ended = node.ended_within(Duration::from_secs(10));
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    assert_eq!(ended.status.code(), Some(0), "{}", ended.all());
    assert!(ended.out.contains(&format!("SIG{signal}: shutting down")), "{}", ended.out);

    assert!(Http::connect(address).is_err(), "somebody still takes requests");
    let (answered, refused) = load.finish();
    for (status, answer) in refused {
        assert_eq!((status, answer["status"].as_u64()), (503, Some(503)), "{answer}");
    }
    let node = setup.serve();
    check_nothing_is_missing(&node, &answered);
    // At most one write of each client was under way when the node stopped.
    let there = node.collection("load").len();
    assert!(there <= answered.len() + 8, "{there} are there, {} were answered", answered.len());
}

#[test]
fn sigterm_under_write_load_ends_cleanly_and_loses_nothing() {
    stops_under_load("TERM");
}

#[test]
fn sigint_under_write_load_ends_cleanly_and_loses_nothing() {
    stops_under_load("INT");
}

#[test]
fn what_is_answered_before_sigterm_is_on_the_peer_afterwards() {
    let pair = Pair::new();
    let (alice, bob) = pair.serve();
    let load = Load::start(alice.broker(), "l", 4, 100);
    load.until_answered(200);
    alice.stop();
    let (answered, _) = load.finish();
    bob.line_with("it said goodbye");
    bob.until("all that alice acknowledged is there", |bob| {
        let there = bob.collection("load");
        answered.keys().all(|id| there.contains_key(id))
    });
}

#[test]
fn a_node_that_is_stopped_right_after_a_peer_came_gives_it_everything_first() {
    const DOCUMENTS: usize = 1_000;
    let pair = Pair::new();
    let alice = pair.alice.serve();
    let load = Load::start(alice.broker(), "l", 4, DOCUMENTS / 4);
    load.until_answered(DOCUMENTS);
    let (answered, _) = load.finish();
    let bob = pair.bob.serve();
    alice.line_with("Peer connected to Iroh peer=bob");
    alice.stop();
    bob.line_with("it said goodbye");
    bob.until("all that alice had is there", |bob| bob.collection("load").len() == answered.len());
}

#[test]
fn a_client_that_listens_to_events_does_not_hold_up_the_end() {
    use std::io::{Read, Write};
    let folder = tempfile::tempdir().unwrap();
    let node = Setup::node("n", folder.path()).serve();
    let mut listener = std::net::TcpStream::connect(node.broker()).unwrap();
    listener.write_all(b"GET /api/v1/events HTTP/1.1\r\nhost: n\r\n\r\n").unwrap();
    assert!(listener.read(&mut [0; 512]).unwrap() > 0);
    let mut idle = node.http();
    assert_eq!(idle.request("GET", "/api/v1/health", None).unwrap().0, 200);
    node.signal("TERM");
    let ended = node.ended_within(Duration::from_secs(5));
    assert_eq!(ended.status.code(), Some(0), "{}", ended.all());
}

#[test]
fn a_second_signal_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup::node("n", folder.path());
    let node = setup.serve();
    assert_eq!(node.put("c/x", &json!({"n": 1})).0, 201);
    node.signal("INT");
    node.line_with("shutting down");
    // It may be gone already.
    let _ = std::process::Command::new("sh").args(["-c", &format!("kill -TERM {}", node.pid())]).output();
    let ended = node.ended();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.all());
    assert_eq!(setup.serve().document("c/x"), Some(json!({"n": 1})));
}
