use peat_mesh_core::catalog::Catalog;
use peat_mesh_core::heads::{ChangeHash, Heads};
use peat_mesh_core::hub::Hub;
use peat_mesh_core::io::{Closed, Input};
use peat_mesh_core::replica::{Outcome, Source, Written};
use peat_mesh_core::store::Action;
use peat_mesh_core::wire::{Frame, Hello};
use peat_mesh_core::{ConnId, EndpointId, NodeName};

use super::*;

const PEER: EndpointId = EndpointId([9; 32]);

/// A hub that has found `PEER`, and what joins by its views.
struct Start {
    hub: Hub,
    joining: Joining,
}

impl Start {
    fn new() -> Self {
        Self { hub: Hub::new(EndpointId([5; 32]), Catalog::default(), 7), joining: Joining::default() }
    }

    fn found() -> Self {
        let mut start = Self::new();
        let addresses = vec!["127.0.0.1:1".parse().unwrap()];
        let name = Some(NodeName::new("peer").unwrap());
        start.hub.handle(0, Input::PeerSeen { peer: PEER, name, addresses });
        start
    }

    fn admitted(&mut self, now_ms: u64) {
        let hello = Hello { name: NodeName::new("peer").unwrap(), incarnation: 1 };
        let admitted = Input::Admitted { conn: ConnId(1), peer: PEER, hello, dialed: true, address: None };
        self.hub.handle(now_ms, admitted);
    }

    fn is_ready(&mut self, now_ms: u64, is_list_complete: bool) -> bool {
        let _ = self.joining.look(now_ms, &self.hub.peers(), is_list_complete);
        self.joining.check().ok
    }
}

#[test]
fn a_node_without_peers_is_ready_once_discovery_has_told_all_it_knows() {
    let mut start = Start::new();
    assert!(!start.is_ready(0, false));
    assert!(start.joining.check().detail.contains("discovery"), "{:?}", start.joining.check());
    assert!(start.is_ready(1, true));
}

#[test]
fn a_node_whose_discovery_says_nothing_serves_after_half_a_minute() {
    let mut start = Start::new();
    assert!(!start.is_ready(QUIET_MS_MAX - 1, false));
    assert_eq!(start.joining.next_wakeup(), Some(QUIET_MS_MAX));
    assert!(start.is_ready(QUIET_MS_MAX, false));
    assert_eq!(start.joining.next_wakeup(), None);
}

#[test]
fn a_node_is_ready_once_it_was_found_equal_with_its_peer_and_stays_so() {
    let mut start = Start::found();
    assert!(!start.is_ready(0, true));
    start.admitted(10);
    assert!(!start.is_ready(10, true), "it is connected and has compared nothing");
    assert!(start.joining.check().detail.contains("catching up with peer"), "{:?}", start.joining.check());
    start.hub.handle(20, Input::Received { conn: ConnId(1), frame: Frame::InStep { round: 1 } });
    assert!(start.is_ready(20, true));
    let why = Closed::Lost("the cable was pulled".to_owned());
    start.hub.handle(30, Input::Closed { conn: ConnId(1), why });
    assert!(start.is_ready(30, true));
}

#[test]
fn a_second_peer_that_compares_nothing_is_not_waited_for_as_long_as_the_first() {
    let mut start = Start::found();
    start.admitted(10);
    start.hub.handle(20, Input::Received { conn: ConnId(1), frame: Frame::InStep { round: 1 } });
    let hello = Hello { name: NodeName::new("broken").unwrap(), incarnation: 1 };
    let peer = EndpointId([8; 32]);
    start.hub.handle(20, Input::Admitted { conn: ConnId(2), peer, hello, dialed: false, address: None });
    assert!(!start.is_ready(20, true));
    assert_eq!(start.joining.next_wakeup(), Some(20 + OTHERS_MS_MAX));
    assert!(start.is_ready(20 + OTHERS_MS_MAX, true));
    assert!(start.joining.check().detail.contains("not with 1 others"), "{:?}", start.joining.check());
}

#[test]
fn a_peer_that_cannot_be_reached_is_not_waited_for() {
    let mut start = Start::found();
    start.hub.handle(0, Input::DialFailed { peer: PEER, reason: IN_USE.to_owned() });
    assert!(!start.is_ready(0, true), "it is there, and about to be connected");
    let mut start = Start::found();
    start.hub.handle(0, Input::DialFailed { peer: PEER, reason: "no answer in time".to_owned() });
    assert!(start.is_ready(0, true));
}

#[test]
fn a_peer_that_came_before_discovery_told_of_the_others_is_not_all_there_is() {
    let mut start = Start::found();
    start.admitted(10);
    start.hub.handle(20, Input::Received { conn: ConnId(1), frame: Frame::InStep { round: 1 } });
    assert!(!start.is_ready(20, false));
    assert!(start.joining.check().detail.contains("discovery"), "{:?}", start.joining.check());
    assert!(start.is_ready(21, true));
    let mut start = Start::found();
    start.admitted(10);
    start.hub.handle(20, Input::Received { conn: ConnId(1), frame: Frame::InStep { round: 1 } });
    assert!(!start.is_ready(20, false));
    assert!(start.is_ready(20 + OTHERS_MS_MAX, false), "discovery may be down");
}

#[test]
fn a_connection_that_breaks_in_the_middle_is_made_again_before_the_node_serves() {
    let mut start = Start::found();
    start.admitted(10);
    assert!(!start.is_ready(10, true));
    let why = Closed::Lost("the cable was pulled".to_owned());
    start.hub.handle(30, Input::Closed { conn: ConnId(1), why });
    assert!(!start.is_ready(30, true));
    start.hub.handle(30_000 - 1, Input::Tick);
    assert!(!start.is_ready(30_000 - 1, true), "it is being dialled");
    start.hub.handle(30_000 - 1, Input::DialFailed { peer: PEER, reason: "no answer in time".to_owned() });
    assert!(start.is_ready(30_000 - 1, true));
}

/// A change of `PEER` that comes and is on disk.
fn change(start: &mut Start, now_ms: u64, number: u64, repair: bool) {
    let doc: peat_mesh_core::DocId = format!("c/{number}").parse().unwrap();
    let (conn, name) = (ConnId(1), NodeName::new("peer").unwrap());
    let documents = vec![(doc.clone(), bytes::Bytes::new())];
    let changes = peat_mesh_core::wire::Changes { documents, audience: Vec::new(), repair };
    // What was sent to it has left: it reads.
    start.hub.handle(now_ms, Input::Sent { conn, bytes: usize::MAX });
    start.hub.handle(now_ms, Input::Received { conn, frame: Frame::Changes(changes) });
    let source = Source::Peer { conn, name, audience: Vec::new().into(), repair };
    let heads = Heads::new(vec![ChangeHash([number as u8; 32])]);
    let (seq, new) = (Some(number), bytes::Bytes::new());
    let written = Written { heads, seq, action: Action::Put, created: true, new, missing: false };
    start.hub.handle(now_ms, Input::Committed(vec![Outcome { doc, source, result: Ok(written) }]));
}

#[test]
fn as_long_as_documents_come_a_node_does_not_serve_half_of_them() {
    let mut start = Start::found();
    start.admitted(0);
    for step in 1..10 {
        let now_ms = step * (QUIET_MS_MAX - 1);
        change(&mut start, now_ms, step, true);
        assert!(!start.is_ready(now_ms, true));
    }
}

#[test]
fn what_a_peer_goes_on_writing_does_not_keep_a_node_from_serving_for_ever() {
    let mut start = Start::found();
    start.admitted(0);
    change(&mut start, 10, 1, true);
    assert!(!start.is_ready(10, true));
    for step in 1..10 {
        let now_ms = 10 + step * QUIET_MS_MAX / 10;
        change(&mut start, now_ms, 1 + step, false);
        assert!(!start.is_ready(now_ms, true));
    }
    change(&mut start, 10 + QUIET_MS_MAX, 99, false);
    assert!(start.is_ready(10 + QUIET_MS_MAX, true));
}
