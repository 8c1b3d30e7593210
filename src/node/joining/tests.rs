use peat_mesh_core::catalog::Catalog;
use peat_mesh_core::hub::Hub;
use peat_mesh_core::io::{Closed, Input};
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
fn as_long_as_documents_come_a_node_does_not_serve_half_of_them() {
    let mut start = Start::found();
    start.admitted(0);
    let changes = |count: usize| {
        let document = |number| (format!("c/{number}").parse().unwrap(), bytes::Bytes::new());
        let documents = (0..count).map(document).collect();
        let changes = peat_mesh_core::wire::Changes { documents, audience: Vec::new(), repair: true };
        Input::Received { conn: ConnId(1), frame: Frame::Changes(changes) }
    };
    for step in 1..10 {
        let now_ms = step * (QUIET_MS_MAX - 1);
        start.hub.handle(now_ms, changes(1));
        assert!(!start.is_ready(now_ms, true));
    }
}
