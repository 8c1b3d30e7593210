//! A peer whose copy of a document is damaged: what it costs, and who notices.

use serde_json::json;

use super::rig::{Rig, plant, store_of};
use super::*;
use crate::id::DocId;
use crate::replica::Chunks;
use crate::store::{MemoryStore, Store};

/// Poisoned, good, and a third node with nothing. The poisoned one has documents of its own, too.
fn three() -> (Rig, [usize; 3]) {
    let mut rig = Rig::default();
    let good = store_of([("d/bad".to_owned(), json!({ "n": 1 }))], 101);
    let poisoned = store_of((0..200).map(|n| (format!("d/{n}"), json!({ "n": n }))), 102);
    plant(&poisoned, "d/bad", b"these are no chunks at all".to_vec(), [7; 32]);
    let p = rig.site("poisoned", poisoned);
    let g = rig.site("good", good);
    let third = rig.site("third", MemoryStore::default());
    (rig, [p, g, third])
}

fn bad() -> DocId {
    "d/bad".parse().unwrap()
}

#[test]
fn a_poisoned_document_comes_from_another_peer_and_all_else_from_the_poisoned_one() {
    let (mut rig, [p, g, third]) = three();
    rig.link(p, third);
    rig.run_for(60_000);
    for n in 0..200 {
        assert_eq!(rig.json(third, &format!("d/{n}")), Some(json!({ "n": n })));
    }
    assert_eq!(rig.json(third, "d/bad"), None);
    let quarantined = rig.sites[third].hub.quarantined();
    assert_eq!(quarantined.len(), 1);
    assert_eq!((&quarantined[0].document, quarantined[0].peer.as_str()), (&bad(), "poisoned"));
    assert!(quarantined[0].reason.contains("Automerge chunk"), "{quarantined:?}");
    // One connection was ended for it; the next one stays.
    assert_eq!(rig.sites[third].closes.len(), 1, "{:?}", rig.sites[third].closes);
    assert_eq!(rig.sites[third].hub.peers()[0].state, PeerState::Connected);
    let told = |event: &&Event| matches!(event, Event::Quarantined { document, .. } if *document == bad());
    assert_eq!(rig.sites[third].news.iter().filter(told).count(), 1);
    assert_eq!(rig.sites[third].hub.broken_rules()[Rule::Changes as usize], (Rule::Changes, 1));

    rig.link(g, third);
    rig.run_for(60_000);
    assert_eq!(rig.json(third, "d/bad"), Some(json!({ "n": 1 })));
    assert!((0..200).all(|n| rig.json(g, &format!("d/{n}")).is_some()), "and it is passed on");
    // A fresh change of the poisoned peer still comes over the same connection.
    rig.put(p, "d/fresh", &json!({ "is": "fresh" }));
    assert_eq!(rig.json(third, "d/fresh"), Some(json!({ "is": "fresh" })));
    assert_eq!(rig.sites[third].closes.len(), 1);
}

#[test]
fn the_refused_bytes_come_to_the_replica_once_and_are_not_asked_for_all_the_time() {
    let (mut rig, [p, _, third]) = three();
    rig.link(p, third);
    rig.run_for(10_000);
    let merges = |rig: &Rig| rig.sites[third].merged.iter().filter(|doc| **doc == bad()).count();
    assert_eq!(merges(&rig), 1);
    rig.arrived.clear();
    rig.run_for(600_000);
    assert_eq!(merges(&rig), 1);
    let frames = rig.arrived.len();
    let bad_frames = rig.arrived.iter().filter(|it| match &it.frame {
        Frame::Changes(changes) => changes.documents.iter().any(|(doc, _)| *doc == bad()),
        _ => false,
    });
    let sent = bad_frames.count();
    println!("in ten minutes: {frames} frames, {sent} of them with the refused document");
    assert!(sent <= 12, "{sent} times in ten minutes");
    assert!(frames <= 1_500, "{frames} frames in ten minutes");
}

#[test]
fn a_document_that_was_mended_is_taken_and_leaves_the_quarantine() {
    let mut rig = Rig::default();
    let poisoned = MemoryStore::default();
    plant(&poisoned, "d/bad", b"these are no chunks at all".to_vec(), [7; 32]);
    let p = rig.site("poisoned", poisoned);
    let third = rig.site("third", MemoryStore::default());
    rig.link(p, third);
    rig.run_for(10_000);
    assert_eq!(rig.sites[third].hub.quarantined().len(), 1);
    let mended = store_of([("d/bad".to_owned(), json!({ "n": 2 }))], 103);
    let chunks = mended.chunks(&bad()).unwrap();
    let heads = mended.record(&bad()).unwrap().unwrap().heads;
    plant(&rig.sites[p].store, "d/bad", chunks[0].to_vec(), heads.as_slice()[0].0);
    rig.sites[p].hub.catalog.set(bad(), heads);
    rig.run_for(60_000);
    assert_eq!(rig.json(third, "d/bad"), Some(json!({ "n": 2 })));
    assert_eq!(rig.sites[third].hub.quarantined(), []);
}

#[test]
fn ever_new_forms_of_a_refused_document_end_no_more_connections_and_are_left_alone_after_a_few() {
    let mut hub = Hub::new(EndpointId([5; 32]), Catalog::default(), 7);
    let name = NodeName::new("peer").unwrap();
    let hello = crate::wire::Hello { name: name.clone(), incarnation: 1 };
    let peer = EndpointId([9; 32]);
    let refuse = |hub: &mut Hub, now_ms: u64, number: u64| {
        let bytes = number.to_be_bytes().to_vec();
        let documents = vec![(bad(), bytes.clone().into())];
        let changes = crate::wire::Changes { repair: true, audience: Vec::new(), documents };
        let conn = hub.links.keys().next().copied()?;
        let frame = Frame::Changes(changes);
        let effects = hub.handle(now_ms, Input::Received { conn, frame });
        effects.iter().find(|effect| matches!(effect, Effect::Merge { .. }))?;
        let source =
            crate::replica::Source::Peer { conn, name: name.clone(), audience: [].into(), repair: true };
        let problem = crate::replica::WriteError::Refused {
            doc: bad(),
            reason: "no".to_owned(),
            chunks: Some(Chunks::of(&bytes)),
        };
        let outcome = crate::replica::Outcome { doc: bad(), source, result: Err(problem) };
        hub.handle(now_ms, Input::Committed(vec![outcome]));
        Some(())
    };
    let admitted = |conn| Input::Admitted {
        conn: ConnId(conn),
        peer,
        hello: hello.clone(),
        dialed: true,
        address: None,
    };
    hub.handle(0, admitted(1));
    assert!(refuse(&mut hub, 1, 0).is_some());
    assert!(hub.links.is_empty(), "the first one ends the connection");
    hub.handle(2, admitted(2));
    let looked_at = (1..100).filter(|number| refuse(&mut hub, 3, *number).is_some()).count();
    assert_eq!(looked_at + 1, limits::QUARANTINE_HASHES_COUNT_MAX);
    assert_eq!(hub.links.len(), 1);
    assert!(refuse(&mut hub, 3 + limits::QUARANTINE_REST_MS, 200).is_some(), "once in a while it is tried");
    assert_eq!(hub.quarantined()[0].times, 101);
}

#[test]
fn the_quarantine_is_bounded_and_one_peer_does_not_push_out_the_others() {
    let mut hub = Hub::new(EndpointId([5; 32]), Catalog::default(), 7);
    let refuse = |hub: &mut Hub, now_ms: u64, peer: &str, number: usize| {
        let doc: DocId = format!("d/{number}").parse().unwrap();
        let name = NodeName::new(peer).unwrap();
        let (reason, chunks) = ("no".to_owned(), Some(Chunks::of(b"bad")));
        let refused = Err(crate::replica::WriteError::Refused { doc: doc.clone(), reason, chunks });
        hub.judge(now_ms, ConnId(1), &name, (&doc, &refused), false);
    };
    for peer in 0..8 {
        refuse(&mut hub, 0, &format!("peer-{peer}"), 0);
    }
    for number in 0..5 * limits::QUARANTINE_PER_PEER_COUNT_MAX {
        refuse(&mut hub, number as u64, "mallory", number);
    }
    let quarantined = hub.quarantined();
    assert_eq!(quarantined.len(), 8 + limits::QUARANTINE_PER_PEER_COUNT_MAX);
    for number in 0..2 * limits::QUARANTINE_COUNT_MAX {
        refuse(&mut hub, 10_000, &format!("many-{}", number % 16), number);
    }
    assert_eq!(hub.quarantined().len(), limits::QUARANTINE_COUNT_MAX);
}
