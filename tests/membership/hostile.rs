//! Members that send damaged documents, read slowly, or keep half a connection.

use std::time::Duration;

use bytes::Bytes;
use peat_mesh_core::DocId;
use peat_mesh_core::catalog::Summary;
use peat_mesh_core::document::{ActorId, Document};
use peat_mesh_core::wire::{Changes, Frame};
use peat_mesh_sim::large_document;
use serde_json::{Value, json};

use crate::common::Process;
use crate::raw::{BROKEN_RULE, HANDSHAKE_PATIENCE, Honest, Raw, Speaker, closed, secret};

/// A connection that is not closed in this time is not turned away.
const TURNED_AWAY: Duration = Duration::from_millis(500);
/// For a connection that is closed after some time, and for slow machines.
const LONG_PATIENCE: Duration = Duration::from_secs(60);

fn changes(documents: &[(&str, &[u8])]) -> Frame {
    let documents = documents.iter().map(|(doc, chunks)| {
        let doc: DocId = doc.parse().unwrap();
        (doc, Bytes::copy_from_slice(chunks))
    });
    Frame::Changes(Changes { repair: true, audience: Vec::new(), documents: documents.collect() })
}

/// The first change of a document that this actor makes.
fn first_change(actor: u8, value: &Value) -> Vec<u8> {
    let mut document = Document::new(&ActorId::from([actor; 16]));
    document.put(value.as_object().unwrap(), 0).unwrap().unwrap().to_vec()
}

async fn join(mallory: &Raw, node: &Process) -> Speaker {
    let mut speaker = mallory.join(node, "mallory").await;
    speaker.say(&Frame::Probe { round: 7, all: Summary::EMPTY }).await;
    speaker.hear().await;
    speaker
}

fn metric(node: &Process, name: &str) -> u64 {
    let answer = node.http().exchange("GET", "/metrics", "", b"").unwrap();
    let text = String::from_utf8(answer.body).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is missing in {text}")).trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_document_is_quarantined_and_all_else_of_the_same_peer_goes_on() {
    let honest = Honest::start();
    let mallory = Raw::member(&secret(1), "mallory").await;
    let mut damaged = first_change(1, &json!({ "n": 1 }));
    // One bit: what it says it hashes to is not what it hashes to.
    *damaged.last_mut().unwrap() ^= 1;
    let mut speaker = join(&mallory, &honest.victim).await;
    speaker.say(&changes(&[("d/damaged", &damaged)])).await;
    let (code, reason) = closed(&speaker.connection, HANDSHAKE_PATIENCE).await;
    assert_eq!(code, BROKEN_RULE);
    assert!(reason.contains("refused") && reason.contains("d/damaged"), "{reason}");
    let line = honest.victim.line_with("Quarantined a document as this peer sends it");
    assert!(line.contains("peer=mallory") && line.contains("document=d/damaged"), "{line}");

    // It comes again with the same and with something good, over one connection.
    let mut speaker = join(&mallory, &honest.victim).await;
    for number in 0..5_u8 {
        let value = json!({ "good": number });
        let (good, doc) = (first_change(10 + number, &value), format!("d/{number}"));
        speaker.say(&changes(&[("d/damaged", &damaged), (&doc, &good)])).await;
        honest.friend.until_document(&doc, &value);
    }
    assert!(speaker.connection.close_reason().is_none());
    honest.victim.until("the counters tell", |node| {
        metric(node, "peat_mesh_quarantined") == 1
            && metric(node, r#"peat_mesh_broken_rules_total{rule="changes"}"#) == 1
    });
    let answer = honest.victim.http().exchange("GET", "/api/v1/sync", "", b"").unwrap();
    let sync: Value = serde_json::from_slice(&answer.body).unwrap();
    let listed = &sync["quarantined"][0];
    let named = [&listed["collection"], &listed["id"], &listed["peer"]].map(|value| value.as_str().unwrap());
    assert_eq!(named, ["d", "damaged", "mallory"], "{sync}");
    // Another peer has it whole.
    let (status, answer) = honest.friend.put("d/damaged", &json!({ "n": 2 }));
    assert!(status < 300, "{answer}");
    honest.victim.until_document("d/damaged", &json!({ "n": 2 }));
    honest.check_clean_end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_change_with_the_number_of_another_one_is_refused_and_the_first_stays() {
    let honest = Honest::start();
    let mallory = Raw::member(&secret(1), "mallory").await;
    let mut speaker = join(&mallory, &honest.victim).await;
    let (first, second) = (first_change(1, &json!({ "n": 1 })), first_change(1, &json!({ "n": 2 })));
    speaker.say(&changes(&[("d/twice", &first)])).await;
    honest.friend.until_document("d/twice", &json!({ "n": 1 }));
    speaker.say(&changes(&[("d/twice", &second)])).await;
    let (code, reason) = closed(&speaker.connection, HANDSHAKE_PATIENCE).await;
    assert_eq!(code, BROKEN_RULE, "{reason}");
    assert!(reason.contains("refused"), "{reason}");
    assert_eq!(honest.victim.document("d/twice"), Some(json!({ "n": 1 })));
    assert_eq!(honest.friend.document("d/twice"), Some(json!({ "n": 1 })));
    honest.check_clean_end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_breaks_rules_again_and_again_is_told_when_it_may_come_back() {
    let mut honest = Honest::start();
    let mallory = Raw::member(&secret(1), "mallory").await;
    let mut told = String::new();
    // It has to wait ever longer, so that it comes too early once, however slow this machine is.
    for _ in 0..8 {
        let mut speaker = mallory.join(&honest.victim, "mallory").await;
        if tokio::time::timeout(TURNED_AWAY, speaker.connection.closed()).await.is_err() {
            // A kind that there is not.
            let _ = speaker.send.write_all(&[99, 0, 0, 0, 0, 0]).await;
        }
        let (code, reason) = closed(&speaker.connection, LONG_PATIENCE).await;
        assert_eq!(code, BROKEN_RULE, "{reason}");
        told = reason;
        if told.contains("may come again in") {
            break;
        }
    }
    assert!(told.contains("it broke rules") && told.contains("may come again in"), "{told}");
    honest.check_they_go_on();
    honest.check_clean_end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_ends_its_half_and_keeps_the_connection_loses_it() {
    let mut honest = Honest::start();
    let mallory = Raw::member(&secret(1), "mallory").await;
    let mut speaker = join(&mallory, &honest.victim).await;
    speaker.send.finish().unwrap();
    let (code, reason) = closed(&speaker.connection, LONG_PATIENCE).await;
    assert_eq!((code, &*reason), (BROKEN_RULE, "the stream has ended"));
    honest.victim.until("the counter tells", |node| {
        metric(node, r#"peat_mesh_broken_rules_total{rule="half_open"}"#) == 1
    });
    honest.check_they_go_on();
    honest.check_clean_end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_hardly_reads_holds_up_nobody_and_takes_no_memory() {
    let honest = Honest::start();
    let text = |number: usize| large_document(number, 200_000);
    for number in 0..60 {
        let (status, answer) = honest.victim.put(&format!("large/{number}"), &text(number));
        assert!(status < 300, "{answer}");
    }
    let peak_kb = |node: &Process| -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", node.pid())).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        peak.map_or(0, |kb| kb.trim().parse().unwrap())
    };
    let before_kb = peak_kb(&honest.victim);
    let mallory = Raw::member(&secret(1), "mallory").await;
    let mut speaker = mallory.join(&honest.victim, "mallory").await;
    speaker.say(&Frame::Probe { round: 7, all: Summary::EMPTY }).await;
    for number in 60..100 {
        speaker.hear().await;
        let (status, answer) = honest.victim.put(&format!("large/{number}"), &text(number));
        assert!(status < 300, "{answer}");
        honest.friend.until_document(&format!("large/{number}"), &text(number));
        // It keeps asking for everything, too.
        speaker.say(&Frame::Probe { round: 8, all: Summary::EMPTY }).await;
    }
    assert!(speaker.connection.close_reason().is_none());
    let after_kb = peak_kb(&honest.victim);
    println!("the node's peak went from {before_kb} kB to {after_kb} kB");
    assert!(after_kb < before_kb + 60_000, "from {before_kb} kB to {after_kb} kB");
    honest.check_clean_end();
}
