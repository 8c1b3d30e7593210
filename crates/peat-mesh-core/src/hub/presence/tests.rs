use bytes::BytesMut;

use super::*;
use crate::catalog::Catalog;
use crate::id::NodeName;
use crate::io::{Effect, Input};
use crate::presence::{Label, Link};
use crate::wire::{Decoder, Hello};

const ME: EndpointId = EndpointId([5; 32]);

fn id(number: u8) -> EndpointId {
    EndpointId([number; 32])
}

fn label(text: &str) -> Label {
    Label::new(text).unwrap()
}

fn hub() -> Hub {
    let me = Me {
        name: NodeName::new("me").unwrap(),
        role: label("node"),
        version: label("0.1.0"),
        epoch: 1_000,
        incarnation: 7,
        started_ms: 0,
    };
    let mut hub = Hub::new(ME, Catalog::default(), 7).announcing(me);
    hub.handle(0, Input::Tick);
    hub
}

/// A connection whose number is that of the peer.
fn admitted(peer: u8) -> Input {
    let hello = Hello { name: NodeName::new(&format!("n{peer}")).unwrap(), incarnation: 1 };
    Input::Admitted { conn: ConnId(peer.into()), peer: id(peer), hello, dialed: false, address: None }
}

fn record(origin: u8, sequence: u64, peers: &[u8]) -> Record {
    let link = |peer: &u8| Link { peer: id(*peer).tag(), is_silent: false, measure: Measure::default() };
    Record {
        origin: id(origin),
        name: NodeName::new(&format!("n{origin}")).unwrap(),
        role: label("node"),
        version: label("0.1.0"),
        stamp: Stamp { epoch: 1_000, incarnation: 1, sequence },
        is_here: true,
        age_ms: 0,
        uptime_ms: 0,
        links_total: peers.len() as u64,
        links: peers.iter().map(link).collect(),
    }
}

fn received(from: u8, records: Vec<Record>) -> Input {
    Input::Received { conn: ConnId(from.into()), frame: Frame::Presence(records) }
}

/// Who is sent which records: the number of the peer, and of the origin.
fn sent(effects: &[Effect]) -> Vec<(u64, u8)> {
    let frame = |effect: &Effect| match effect {
        Effect::Send { conn, frame } => {
            match Decoder::default().take(&mut BytesMut::from(&frame[..])).unwrap().unwrap() {
                Frame::Presence(records) => Some((conn.0, records)),
                _ => None,
            }
        }
        _ => None,
    };
    let each =
        |(conn, records): (u64, Vec<Record>)| records.into_iter().map(move |it| (conn, it.origin.0[0]));
    let mut sent: Vec<(u64, u8)> = effects.iter().filter_map(frame).flat_map(each).collect();
    sent.sort_unstable();
    sent
}

/// What is told of the formation.
fn news(effects: &[Effect]) -> Vec<&Event> {
    let event = |effect: &'_ Effect| match effect {
        Effect::Notify(Event::PeerConnected { .. } | Event::PeerDisconnected { .. }) => false,
        Effect::Notify(_) => true,
        _ => false,
    };
    let told = effects.iter().filter(|effect| event(effect));
    told.filter_map(|effect| if let Effect::Notify(event) = effect { Some(event) } else { None }).collect()
}

/// A hub with these peers, all of which have told of their links, and nothing left to say.
fn settled(peers: &[(u8, &[u8])]) -> Hub {
    let mut hub = hub();
    for (peer, _) in peers {
        hub.handle(0, admitted(*peer));
    }
    for (peer, links) in peers {
        hub.handle(0, received(*peer, vec![record(*peer, 1, links)]));
    }
    for now_ms in [200, 201, 1_000, 2_000] {
        hub.handle(now_ms, Input::Tick);
    }
    hub
}

#[test]
fn a_new_link_is_spoken_of_once_and_to_all() {
    let mut hub = hub();
    assert_eq!(sent(&hub.handle(0, admitted(1))), []);
    assert_eq!(sent(&hub.handle(100, admitted(2))), []);
    assert!(hub.next_wakeup().unwrap() <= 200);
    assert_eq!(sent(&hub.handle(200, Input::Tick)), [(1, 5), (2, 5)]);
    assert_eq!(sent(&hub.handle(300, Input::Tick)), []);
    let own = hub.topology().nodes.into_iter().find(|node| node.is_self).unwrap();
    assert_eq!(own.links.len(), 2);
}

#[test]
fn who_connects_gets_all_that_is_known_but_not_its_own_record() {
    let mut hub = settled(&[(1, &[5]), (2, &[5])]);
    hub.handle(2_000, received(1, vec![record(9, 1, &[1]), record(3, 1, &[])]));
    hub.handle(2_000, admitted(3));
    let effects = hub.handle(2_200, Input::Tick);
    assert_eq!(sent(&effects), [(1, 5), (2, 5), (3, 1), (3, 2), (3, 5), (3, 9)]);
}

#[test]
fn a_record_goes_on_to_those_that_do_not_get_it_otherwise() {
    // A full mesh of four: the origin tells everybody itself.
    let mut hub = settled(&[(1, &[2, 3, 5]), (2, &[1, 3, 5]), (3, &[1, 2, 5])]);
    assert_eq!(sent(&hub.handle(2_000, received(1, vec![record(1, 2, &[2, 3, 5])]))), []);
    // Without a link from 1 to 3, two and this node would tell 3; both do.
    assert_eq!(sent(&hub.handle(2_000, received(1, vec![record(1, 3, &[2, 5])]))), [(3, 1)]);
    // What is known already goes nowhere, nor back to where it came from.
    assert_eq!(sent(&hub.handle(2_000, received(2, vec![record(1, 3, &[2, 5])]))), []);
    assert_eq!(sent(&hub.handle(2_000, received(2, vec![record(9, 1, &[2])]))), [(1, 9), (3, 9)]);
}

#[test]
fn of_several_that_could_pass_a_record_on_two_do() {
    let all: [u8; 4] = [1, 2, 3, 4];
    let others = |of: u8| -> Vec<u8> { all.into_iter().chain([5]).filter(|peer| *peer != of).collect() };
    let links: Vec<(u8, Vec<u8>)> = all.iter().map(|peer| (*peer, others(*peer))).collect();
    let links: Vec<(u8, &[u8])> = links.iter().map(|(peer, links)| (*peer, &links[..])).collect();
    let mut hub = settled(&links);
    // 4 has lost its link to 1; 2 and 3 have smaller tags than this node.
    assert_eq!(sent(&hub.handle(2_000, received(4, vec![record(4, 2, &[2, 3, 5])]))), []);
    // When 3 has no link to 1 either, this node is the second.
    hub.handle(2_000, received(3, vec![record(3, 2, &[2, 4, 5])]));
    assert_eq!(sent(&hub.handle(2_000, received(4, vec![record(4, 3, &[2, 3, 5])]))), [(1, 4)]);
}

#[test]
fn records_wait_while_the_window_is_full() {
    let mut hub = settled(&[(1, &[5]), (2, &[5])]);
    let unsent = limits::PRESENCE_WINDOW_BYTES;
    hub.links.get_mut(&ConnId(2)).unwrap().unsent_bytes = unsent;
    assert_eq!(sent(&hub.handle(2_000, received(1, vec![record(9, 1, &[1])]))), []);
    assert_eq!(sent(&hub.handle(2_000, received(1, vec![record(9, 2, &[1])]))), []);
    // The newest goes, once.
    assert_eq!(sent(&hub.handle(2_000, Input::Sent { conn: ConnId(2), bytes: unsent })), [(2, 9)]);
    assert_eq!(sent(&hub.handle(2_000, Input::Tick)), []);
}

#[test]
fn a_silent_link_is_told_and_what_is_lost_with_it_is_one_event() {
    let mut hub = settled(&[(1, &[5, 8, 9]), (2, &[5])]);
    hub.handle(2_000, received(1, vec![record(8, 1, &[1]), record(9, 1, &[1])]));
    hub.handle(3_000, Input::Tick);
    let states =
        |hub: &Hub| hub.topology().nodes.iter().filter(|node| node.state.as_str() == "reachable").count();
    assert_eq!(states(&hub), 5);

    hub.handle(10_000, Input::Silent { conn: ConnId(1) });
    assert_eq!(states(&hub), 2);
    assert_eq!(hub.peers().iter().filter(|peer| peer.silent_since_ms == Some(10_000)).count(), 1);
    assert_eq!(sent(&hub.handle(10_200, Input::Tick)), [(1, 5), (2, 5)]);
    let effects = hub.handle(10_500, Input::Tick);
    let [.., Event::Partition { nodes, count: 3, since_ms: 10_000, reachable: 1, unreachable: 3 }] =
        &news(&effects)[..]
    else {
        panic!("{effects:?}");
    };
    assert_eq!(nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>(), ["n1", "n8", "n9"]);
    assert_eq!(news(&effects).len(), 4, "one for each node, and one for all");

    hub.handle(13_000, Input::Heard { conn: ConnId(1) });
    let effects = hub.handle(13_500, Input::Tick);
    assert!(
        matches!(
            news(&effects)[..],
            [.., Event::Healed { count: 3, after_ms: 3_500, reachable: 4, unreachable: 0, .. }]
        ),
        "{effects:?}"
    );
    assert_eq!(states(&hub), 5);
}

#[test]
fn what_is_back_before_it_was_told_is_no_news() {
    let mut hub = settled(&[(1, &[5])]);
    hub.handle(10_000, Input::Silent { conn: ConnId(1) });
    hub.handle(10_300, Input::Heard { conn: ConnId(1) });
    for now_ms in [10_500, 10_800, 12_000] {
        assert!(news(&hub.handle(now_ms, Input::Tick)).is_empty());
    }
}

#[test]
fn a_record_of_this_node_that_would_win_is_outbid_and_not_too_often() {
    let mut hub = settled(&[(1, &[5])]);
    let stale = |epoch| Record { stamp: Stamp { epoch, incarnation: 3, sequence: 99 }, ..record(5, 0, &[]) };
    hub.handle(10_000, received(1, vec![stale(900)]));
    assert_eq!(sent(&hub.handle(10_200, Input::Tick)), [], "it does not win");
    hub.handle(11_000, received(1, vec![stale(5_000)]));
    assert_eq!(sent(&hub.handle(11_200, Input::Tick)), [(1, 5)]);
    assert_eq!(hub.presence.table.latest(ME).unwrap().stamp.epoch, 5_001);
    hub.handle(11_300, received(1, vec![stale(6_000)]));
    assert_eq!(sent(&hub.handle(12_000, Input::Tick)), []);
    assert_eq!(sent(&hub.handle(16_300, Input::Tick)), [(1, 5)]);
    // The highest epoch there is cannot be outbid, and does no harm.
    hub.handle(30_000, received(1, vec![stale(limits::PRESENCE_MS_MAX)]));
    hub.handle(31_000, Input::Tick);
}

#[test]
fn a_new_path_is_told_soon_and_a_new_quality_seldom() {
    let mut hub = settled(&[(1, &[5])]);
    let measured = |rtt_us, port| {
        let address = Some(std::net::SocketAddr::from(([10, 0, 0, 1], port)));
        Input::Measured { conn: ConnId(1), measure: Measure { address, rtt_us, ..Measure::default() } }
    };
    hub.handle(20_000, measured(300, 1));
    assert_eq!(sent(&hub.handle(20_200, Input::Tick)), [(1, 5)]);
    hub.handle(21_000, measured(310, 1));
    hub.handle(22_000, measured(90_000, 1));
    assert_eq!(sent(&hub.handle(29_000, Input::Tick)), []);
    assert_eq!(sent(&hub.handle(30_200, Input::Tick)), [(1, 5)]);
    hub.handle(31_000, measured(90_000, 2));
    assert_eq!(sent(&hub.handle(31_200, Input::Tick)), [(1, 5)]);
}

#[test]
fn a_node_that_leaves_says_so_and_accuses_nobody() {
    let mut hub = settled(&[(1, &[5]), (2, &[5])]);
    assert_eq!(sent(&hub.handle(10_000, Input::Leaving)), [(1, 5), (2, 5)]);
    assert!(!hub.presence.table.latest(ME).unwrap().is_here);
    hub.handle(10_100, Input::Closed { conn: ConnId(1), why: crate::io::Closed::Goodbye });
    assert!(news(&hub.handle(12_000, Input::Tick)).is_empty());
}

#[test]
fn an_earlier_run_of_a_peer_is_told_to_the_peer_and_to_whoever_believes_less() {
    let mut hub = settled(&[(1, &[5])]);
    let old = Record { stamp: Stamp { epoch: 9_000, incarnation: 8, sequence: 4 }, ..record(3, 4, &[]) };
    hub.handle(2_000, received(1, vec![old.clone()]));
    // It connects as another run.
    hub.handle(3_000, admitted(3));
    assert!(sent(&hub.handle(3_200, Input::Tick)).contains(&(3, 3)));
    // What it says of itself meanwhile does not win, so it hears again what does.
    assert_eq!(sent(&hub.handle(4_000, received(3, vec![record(3, 1, &[5])]))), [(3, 3)]);
}
