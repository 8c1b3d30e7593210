//! The log: the operator guide's lines word by word, and lines that programs can read.

use std::net::UdpSocket;

use serde_json::{Value, json};

use crate::common::{PATIENCE, Pair, Setup};

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The value of a field that is written as `name=value`.
fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let (_, rest) = line.split_once(&format!(" {name}=")).unwrap_or_else(|| panic!("no {name} in {line}"));
    rest.split(' ').next().unwrap()
}

#[test]
fn the_lines_of_the_operator_guide_come_with_their_words_and_fields() {
    let pair = Pair::new();
    let (alice, bob) = pair.serve();

    let opened = alice.line_with("Opening redb database with cache_size=16777216 bytes");
    assert!(opened.contains("automerge"), "grep -E \"automerge|blob store ready\" does not find: {opened}");

    let alice_id = alice.get("/api/v1/node").1["endpoint_id"].as_str().unwrap().to_owned();
    let ready = alice.line_with("blob store ready");
    let words = "Iroh blob store ready (blobs + automerge sync) iroh_endpoint_id=";
    assert!(ready.ends_with(&format!("{words}{}", &alice_id[..10])), "{ready}");

    let started = alice.line_with("Mesh started node_id=alice device_id=");
    assert!(is_hex(field(&started, "device_id"), 32), "{started}");
    assert!(started.ends_with(field(&started, "device_id")), "{started}");

    let connected = alice.line_with("Peer connected to Iroh peer=bob endpoint_id=");
    let bob_id = bob.get("/api/v1/node").1["endpoint_id"].as_str().unwrap().to_owned();
    assert_eq!(field(&connected, "endpoint_id"), &bob_id[..10], "{connected}");
    assert_eq!(field(&connected, "addresses"), format!("[{}]", bob.quic()), "{connected}");
}

#[test]
fn a_healthy_run_has_no_escape_codes_and_no_line_about_an_error() {
    let pair = Pair::new();
    let (alice, bob) = pair.serve();
    for number in 0..20 {
        assert_eq!(alice.put(&format!("c/a{number}"), &json!({"n": number})).0, 201);
        assert_eq!(bob.put(&format!("c/b{number}"), &json!({"n": number})).0, 201);
    }
    for node in [&alice, &bob] {
        node.until("40 documents are there", |node| node.collection("c").len() == 40);
    }
    for ended in [alice.stop(), bob.stop()] {
        assert_eq!(ended.err, "");
        assert!(ended.out.contains("SIGTERM: shutting down"), "{}", ended.out);
        assert!(ended.out.contains("Mesh stopped"), "{}", ended.out);
        assert!(!ended.out.contains('\u{1b}'), "{}", ended.out);
        assert!(!ended.out.to_lowercase().contains("error"), "{}", ended.out);
        assert!(!ended.out.contains(" WARN "), "{}", ended.out);
    }
}

#[test]
fn a_node_whose_peer_is_away_stops_without_an_error() {
    let folder = tempfile::tempdir().unwrap();
    // Takes packets and answers none: the node is in the middle of a dial when it is told to stop.
    let deaf = UdpSocket::bind("127.0.0.1:0").unwrap();
    deaf.set_read_timeout(Some(PATIENCE)).unwrap();
    let away = format!("away@{}", deaf.local_addr().unwrap());
    let node = Setup::node("n", folder.path()).peers(&[away]).serve();
    deaf.recv(&mut [0; 2048]).unwrap();
    let ended = node.stop();
    assert!(!ended.all().to_lowercase().contains("error"), "{}", ended.all());
}

#[test]
fn json_log_has_one_object_a_line_with_the_same_fields() {
    let pair = Pair::new();
    let alice = pair.alice.clone().set("PEAT_LOG_FORMAT", "json").serve();
    let bob = pair.bob.serve();
    bob.connected_to("alice");
    alice.line_with("Peer connected to Iroh");
    let ended = alice.stop();
    let lines: Vec<Value> = ended
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|problem| panic!("{problem}: {line}")))
        .collect();
    assert!(lines.iter().all(|line| line.is_object() && line["level"].is_string()), "{lines:#?}");
    let with = |message: &str| {
        lines.iter().find(|line| line["message"] == message).unwrap_or_else(|| panic!("no {message}"))
    };
    assert_eq!(with("Mesh started")["node_id"], "alice");
    assert_eq!(with("Peer connected to Iroh")["peer"], "bob");
    assert!(is_hex(with("Peer connected to Iroh")["endpoint_id"].as_str().unwrap(), 10));
}

#[test]
fn the_filter_of_the_operator_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let ended = Setup::node("n", folder.path()).serve().stop();
    assert!(ended.out.contains("DEBUG"), "the default shows what peat_mesh does\n{}", ended.out);
    let ended = Setup::node("n", folder.path()).set("RUST_LOG", "info").serve().stop();
    assert!(!ended.out.contains("DEBUG"), "{}", ended.out);
}
