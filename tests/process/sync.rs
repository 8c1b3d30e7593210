//! "Why is it not in sync?", and writes that wait for other nodes, asked of real processes.

use std::time::Instant;

use serde_json::{Value, json};

use crate::common::{PATIENCE, Process, Setup, free_udp_port};

fn request(node: &Process, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
    node.http().request(method, &format!("/api/v1/{path}"), body.as_ref()).unwrap()
}

fn sync(node: &Process, query: &str) -> (u16, Value) {
    request(node, "GET", &format!("sync{query}"), None)
}

/// Two nodes that know each other.
fn pair(folders: &[tempfile::TempDir; 2]) -> [Process; 2] {
    let port = free_udp_port();
    let alice = Setup::node("alice", folders[0].path()).set("PEAT_IROH_BIND_PORT", &port.to_string()).serve();
    let bob = Setup::node("bob", folders[1].path()).peers(&[alice.entry()]).serve();
    alice.connected_to("bob");
    bob.connected_to("alice");
    [alice, bob]
}

#[test]
fn a_write_waits_for_as_many_nodes_as_it_is_told_and_stays_when_there_are_fewer() {
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [alice, bob] = pair(&folders);
    let put = |node: &Process, doc: &str, query: &str, n: u64| {
        request(node, "PUT", &format!("documents/{doc}?{query}"), Some(json!({ "n": n })))
    };
    let (status, answer) = put(&alice, "c/x", "acks=2&timeout_ms=30000", 1);
    assert_eq!((status, &answer["acks"]), (201, &json!(2)), "{answer}");
    assert_eq!(answer["nodes"], json!(["alice", "bob"]));
    // Nothing is waited for any more: it is there.
    assert_eq!(bob.document("c/x"), Some(json!({ "n": 1 })));
    let (status, answer) = put(&bob, "c/x", "acks=2&timeout_ms=30000", 2);
    assert_eq!((status, &answer["nodes"]), (200, &json!(["bob", "alice"])), "{answer}");
    assert_eq!(alice.document("c/x"), Some(json!({ "n": 2 })));
    let (status, answer) = put(&alice, "c/y", "acks=3&timeout_ms=1000", 3);
    assert_eq!((status, &answer["wanted"]), (504, &json!(3)), "{answer}");
    assert_eq!(alice.document("c/y"), Some(json!({ "n": 3 })), "it stays");
    let (status, answer) = request(&alice, "DELETE", "documents/c/x?acks=2&timeout_ms=30000", None);
    assert_eq!((status, &answer["acks"]), (200, &json!(2)), "{answer}");
    assert_eq!(bob.document("c/x"), None);
    let (status, answer) = request(&bob, "GET", "documents/c/x/sync?wait_ms=30000", None);
    assert_eq!((status, &answer["deleted"]), (200, &json!(true)), "{answer}");
    assert_eq!(answer["holders"], json!(["bob", "alice"]));
}

#[test]
fn after_a_burst_of_writes_both_nodes_have_all_when_the_wait_is_over() {
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [alice, bob] = pair(&folders);
    let mut http = alice.http();
    for n in 0..200 {
        let path = format!("/api/v1/documents/c/{n}");
        assert_eq!(http.request("PUT", &path, Some(&json!({ "n": n }))).unwrap().0, 201);
    }
    let (status, state) = sync(&alice, "?wait_ms=30000");
    assert_eq!((status, &state["in_step"], &state["documents"]), (200, &json!(true), &json!(200)), "{state}");
    assert_eq!(bob.collection("c").len(), 200);
    let (status, state) = sync(&bob, "?wait_ms=30000");
    assert_eq!((status, &state["documents"]), (200, &json!(200)), "{state}");
    let last = &state["peers"][0]["last_reconciliation"];
    assert!(last["rounds"].as_u64().unwrap() >= 1, "{state}");
}

#[test]
fn a_node_that_is_killed_is_named_with_the_reason_and_a_write_that_waits_for_it_gets_it_back() {
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [alice, bob] = pair(&folders);
    let entry = alice.entry();
    drop(bob);
    let put = json!({ "n": 1 });
    let (status, answer) = request(&alice, "PUT", "documents/c/x?acks=2&timeout_ms=0", Some(put));
    assert_eq!((status, &answer["nodes"]), (504, &json!(["alice"])), "{answer}");
    let began = Instant::now();
    loop {
        let (status, state) = sync(&alice, "");
        assert_eq!(status, 200, "{state}");
        let peer = &state["peers"][0];
        let why = peer["why"].as_str().unwrap_or_default();
        if peer["state"] != "connected" {
            assert!(why.starts_with("not connected: "), "{peer}");
            assert!(state["summary"].as_str().unwrap().contains("bob is not connected: "), "{state}");
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{peer}");
    }
    // It is asked as soon as it is back.
    let folder = folders[1].path().to_owned();
    let back = std::thread::spawn(move || Setup::node("bob", &folder).peers(&[entry]).serve());
    let put = json!({ "n": 2 });
    let (status, answer) = request(&alice, "PUT", "documents/c/x?acks=2&timeout_ms=30000", Some(put));
    let bob = back.join().unwrap();
    assert_eq!((status, &answer["nodes"]), (200, &json!(["alice", "bob"])), "{answer}");
    assert_eq!(bob.document("c/x"), Some(json!({ "n": 2 })));
}
