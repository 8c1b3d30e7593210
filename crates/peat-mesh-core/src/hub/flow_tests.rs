//! Peers that read slowly, and what waits behind what. All is counted in frames and bytes; no time is measured.

use serde_json::{Value, json};

use super::rig::{Arrived, Rig, store_of};
use super::*;
use crate::store::MemoryStore;

/// A text that does not compress to much less than half.
fn text(number: usize, bytes: usize) -> Value {
    let mut state = number as u64;
    let mut word = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        format!("{:08x}", state >> 32)
    };
    let text: String = (0..bytes / 8).map(|_| word()).collect();
    json!({ "n": number, "text": text })
}

fn many(count: usize, bytes: usize) -> impl Iterator<Item = (String, Value)> {
    (0..count).map(move |number| (format!("d/{number}"), text(number, bytes)))
}

fn has(arrived: &Arrived, wanted: &str) -> bool {
    matches!(&arrived.frame, Frame::Changes(changes) if changes.documents.iter().any(|(doc, _)| doc.as_str() == wanted))
}

/// What a site holds in memory for one peer, beside the requests that wait.
fn held_bytes(rig: &Rig, at: usize, peer: &str) -> usize {
    let link = rig.sites[at].hub.links.values().find(|link| link.name.as_str() == peer);
    link.map_or(0, |link| link.unsent_bytes + link.held.bytes)
}

#[test]
fn a_peer_that_takes_one_frame_now_and_then_delays_nobody_and_takes_no_more_memory() {
    let mut rig = Rig::default();
    let writer = rig.site("writer", store_of(many(60, 100_000), 101));
    let slow = rig.site("slow", MemoryStore::default());
    let quick = rig.site("quick", MemoryStore::default());
    rig.stopped.push((writer, slow));
    rig.link(writer, slow);
    rig.link(writer, quick);
    let mut held_max = 0;
    for second in 0..45 {
        rig.take_one(writer, slow);
        rig.put(writer, &format!("fresh/{second}"), &text(second, 120_000));
        assert!(rig.json(quick, &format!("fresh/{second}")).is_some(), "it is there at once");
        held_max = held_max.max(held_bytes(&rig, writer, "slow"));
        rig.run_for(1_000);
    }
    println!("at most {held_max} bytes were held for the slow one");
    // Pushes up to the window, and half a window of answers with those that were being read.
    let most = limits::SEND_WINDOW_BYTES
        + limits::SEND_WINDOW_BYTES / 2
        + limits::ANSWERS_IN_FLIGHT_MAX * 2 * limits::CHANGES_FRAME_BYTES_TARGET;
    assert!(held_max > limits::SEND_WINDOW_BYTES / 4 && held_max <= most, "{held_max} of {most}");
    for number in 0..60 {
        assert!(rig.json(quick, &format!("d/{number}")).is_some());
    }
    rig.stopped.clear();
    rig.run_for(60_000);
    assert!((0..45).all(|second| rig.json(slow, &format!("fresh/{second}")).is_some()));
    assert!((0..60).all(|number| rig.json(slow, &format!("d/{number}")).is_some()));
}

#[test]
fn a_fresh_change_waits_behind_little_of_a_repair() {
    let mut rig = Rig::default();
    // A repair of some 6 MB.
    let old = rig.site("old", store_of(many(200, 60_000), 101));
    let new = rig.site("new", MemoryStore::default());
    rig.stopped.push((old, new));
    rig.link(old, new);
    rig.run_for(1_000);
    // The comparison goes on until documents are on their way.
    while held_bytes(&rig, old, "new") < limits::SEND_WINDOW_BYTES / 4 {
        assert!(rig.take_one(old, new));
    }
    rig.put(old, "d/fresh", &json!({ "is": "fresh" }));
    rig.arrived.clear();
    while !rig.arrived.iter().any(|it| has(it, "d/fresh")) {
        assert!(rig.take_one(old, new));
    }
    let ahead = rig.arrived.iter().filter(|it| it.from == old && !has(it, "d/fresh"));
    let bytes: usize = ahead.map(|it| it.bytes).sum();
    println!("{bytes} bytes went ahead of the fresh change");
    assert!(bytes <= limits::REPAIR_WINDOW_BYTES + limits::CHANGES_FRAME_BYTES_TARGET + 64 * 1024, "{bytes}");
    assert!(rig.json(new, "d/fresh").is_some());
    rig.stopped.clear();
    rig.run_for(30_000);
    assert!((0..200).all(|number| rig.json(new, &format!("d/{number}")).is_some()));
}

#[test]
fn small_documents_do_not_wait_for_the_end_of_a_large_one() {
    let mut rig = Rig::default();
    let from = rig.site("from", store_of(many(2_000, 8), 101));
    // Some 12 MB of history.
    for number in 0..60 {
        rig.put(from, "large/1", &text(number, 200_000));
    }
    let to = rig.site("to", MemoryStore::default());
    rig.link(from, to);
    rig.run_for(60_000);
    assert_eq!(rig.json(to, "large/1"), rig.json(from, "large/1"));
    let is_large = |it: &&Arrived| it.to == to && has(it, "large/1");
    let pieces = rig.arrived.iter().filter(is_large).count();
    let bytes: usize = rig.arrived.iter().filter(is_large).map(|it| it.bytes).sum();
    let last = rig.arrived.iter().rposition(|it| is_large(&it)).unwrap();
    let count = |frames: &[Arrived]| -> usize {
        let small = |it: &Arrived| match &it.frame {
            Frame::Changes(changes) => {
                changes.documents.iter().filter(|(doc, _)| doc.collection() == "d").count()
            }
            _ => 0,
        };
        frames.iter().filter(|it| it.to == to).map(small).sum()
    };
    let (before, after) = (count(&rig.arrived[..last]), count(&rig.arrived[last..]));
    println!(
        "{pieces} pieces with {bytes} bytes; small ones: {before} before the last of them, {after} after"
    );
    assert!(pieces >= 6, "{pieces}");
    assert!(bytes < 14_000_000, "each part of it went over about once: {bytes}");
    assert!(before >= 1_900 && before + after == 2_000, "{before}, {after}");
    assert!((0..2_000).all(|number| rig.json(to, &format!("d/{number}")).is_some()));
}

#[test]
fn what_cannot_be_sent_is_told_once_and_shown_with_the_peer() {
    let mut rig = Rig::default();
    let huge = "x".repeat(limits::FRAME_BYTES_MAX / 2);
    // Noise, as a change is compressed when it is saved, and what counts is its size in a frame.
    let value = json!({ "a": text(1, limits::FRAME_BYTES_MAX), "b": huge });
    let from =
        rig.site("from", store_of([("d/huge".to_owned(), value), ("d/small".to_owned(), json!({}))], 101));
    let to = rig.site("to", MemoryStore::default());
    rig.link(from, to);
    rig.run_for(120_000);
    assert!(rig.json(to, "d/small").is_some());
    let told = |event: &&Event| matches!(event, Event::Unsendable { .. });
    let events: Vec<_> = rig.sites[from].news.iter().filter(told).collect();
    let [Event::Unsendable { document, reason, .. }] = events[..] else { panic!("{events:?}") };
    assert_eq!(document.as_str(), "d/huge");
    assert!(reason.contains("does not fit a frame"), "{reason}");
    let last_error = rig.sites[from].hub.peers()[0].last_error.clone().unwrap();
    assert!(last_error.contains("d/huge cannot be sent to it"), "{last_error}");
    assert_eq!(rig.sites[from].hub.peers()[0].state, PeerState::Connected);
}
