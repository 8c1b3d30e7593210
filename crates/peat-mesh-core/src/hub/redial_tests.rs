//! Dialling again: after a cut, to other addresses, from another address.

use std::net::SocketAddr;

use super::*;
use crate::wire::Hello;

const ME: EndpointId = EndpointId([5; 32]);
const PEER: EndpointId = EndpointId([9; 32]);

fn hub() -> Hub {
    Hub::new(ME, Catalog::default(), 7)
}

fn seen(port: u16) -> Input {
    Input::PeerSeen { peer: PEER, name: None, addresses: vec![SocketAddr::from(([127, 0, 0, 1], port))] }
}

fn admitted(conn: u64, dialed: bool) -> Input {
    let hello = Hello { name: crate::NodeName::new("peer").unwrap(), incarnation: 1 };
    let address = Some(SocketAddr::from(([127, 0, 0, 1], 7)));
    Input::Admitted { conn: ConnId(conn), peer: PEER, hello, dialed, address }
}

fn lost(conn: u64) -> Input {
    Input::Closed { conn: ConnId(conn), why: Closed::Lost("cut".to_owned()) }
}

fn failed() -> Input {
    Input::DialFailed { peer: PEER, reason: "no answer".to_owned() }
}

/// The port at which the peer is dialled.
fn dialed_port(effects: &[Effect]) -> Option<u16> {
    effects.iter().find_map(|effect| match effect {
        Effect::Dial { addresses, .. } => Some(addresses[0].port()),
        _ => None,
    })
}

/// Dials that fail at once, from `now` on; the longest wait between two of the first `count`.
fn longest_wait(hub: &mut Hub, mut now: u64, count: usize) -> u64 {
    let mut longest = 0;
    for _ in 0..count {
        let next = hub.peers()[0].next_dial_ms.unwrap();
        longest = longest.max(next - now);
        now = next;
        assert!(dialed_port(&hub.handle(now, Input::Tick)).is_some());
        hub.handle(now, failed());
    }
    longest
}

#[test]
fn a_peer_that_was_here_a_moment_ago_is_dialled_often_for_a_while() {
    let mut hub = hub();
    hub.handle(0, seen(1));
    hub.handle(0, admitted(1, true));
    hub.handle(60_000, lost(1));
    assert!(longest_wait(&mut hub, 60_000, 100) <= limits::DIAL_RETRY_RECENT_MS_MAX * 5 / 4);
    let later = 60_000 + limits::DIAL_RECENT_MS + limits::DIAL_RETRY_MS_MAX;
    hub.handle(later, Input::Tick);
    hub.handle(later, failed());
    assert!(longest_wait(&mut hub, later, 10) >= limits::DIAL_RETRY_MS_MAX / 2, "and not for ever");
}

#[test]
fn an_address_that_changes_while_the_old_one_is_dialled_is_dialled_at_once() {
    let mut hub = hub();
    assert_eq!(dialed_port(&hub.handle(0, seen(1))), Some(1));
    assert_eq!(dialed_port(&hub.handle(10, seen(1))), None, "nothing new");
    assert_eq!(dialed_port(&hub.handle(20, seen(2))), Some(2));
    assert_eq!(dialed_port(&hub.handle(30, Input::Tick)), None, "once");
}

#[test]
fn a_node_that_lost_an_address_dials_its_connected_peers_and_keeps_the_connection_until_then() {
    let mut hub = hub();
    hub.handle(0, seen(7));
    hub.handle(0, admitted(1, false));
    assert_eq!(dialed_port(&hub.handle(20_000, Input::AddressLost)), Some(7));
    assert_eq!(hub.peers()[0].conn, Some(ConnId(1)));
    assert_eq!(dialed_port(&hub.handle(20_001, Input::Tick)), None, "once");
    hub.handle(20_010, failed());
    assert_eq!(hub.peers()[0].conn, Some(ConnId(1)), "the connection may be one that is well");
    hub.handle(20_020, admitted(2, true));
    assert_eq!(hub.peers()[0].conn, Some(ConnId(2)));
}

#[test]
fn a_peer_that_discovery_does_not_know_is_dialled_where_it_came_from_when_an_address_is_lost() {
    let mut hub = hub();
    hub.handle(0, admitted(1, false));
    assert_eq!(dialed_port(&hub.handle(20_000, Input::AddressLost)), Some(7));
}
