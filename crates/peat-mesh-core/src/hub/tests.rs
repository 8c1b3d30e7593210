use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};

use super::arrival::RACE_MS;
use super::*;
use crate::answer::Answer;
use crate::heads::ChangeHash;
use crate::heads::Heads;
use crate::id::NodeTag;
use crate::replica::{Outcome, Source, Written};
use crate::store::Action;
use crate::wire::{Decoder, Hello, Want, WantStage};

const ME: EndpointId = EndpointId([5; 32]);
const SMALLER: EndpointId = EndpointId([1; 32]);
const LARGER: EndpointId = EndpointId([9; 32]);

fn hub() -> Hub {
    Hub::new(ME, Catalog::default(), 7)
}

fn seen(peer: EndpointId, port: u16) -> Input {
    Input::PeerSeen { peer, name: None, addresses: vec![SocketAddr::from(([127, 0, 0, 1], port))] }
}

fn admitted(conn: u64, peer: EndpointId, incarnation: u64, dialed: bool) -> Input {
    let hello = Hello { name: crate::NodeName::new("peer").unwrap(), incarnation };
    Input::Admitted { conn: ConnId(conn), peer, hello, dialed, address: None }
}

fn dials(effects: &[Effect]) -> Vec<EndpointId> {
    let dial = |effect: &Effect| match effect {
        Effect::Dial { peer, .. } => Some(*peer),
        _ => None,
    };
    effects.iter().filter_map(dial).collect()
}

fn closes(effects: &[Effect]) -> Vec<(ConnId, CloseReason)> {
    let close = |effect: &Effect| match effect {
        Effect::Close { conn, reason } => Some((*conn, reason.clone())),
        _ => None,
    };
    effects.iter().filter_map(close).collect()
}

fn frames(effects: &[Effect]) -> Vec<(ConnId, Frame)> {
    let frame = |effect: &Effect| match effect {
        Effect::Send { conn, frame } => {
            let frame = Decoder::default().take(&mut BytesMut::from(&frame[..])).unwrap().unwrap();
            Some((*conn, frame))
        }
        _ => None,
    };
    effects.iter().filter_map(frame).collect()
}

fn connected(hub: &Hub) -> Vec<ConnId> {
    hub.peers().iter().filter_map(|view| view.conn).collect()
}

fn written(doc: &str, number: u8, source: Source, bytes: usize) -> Outcome {
    let written = Written {
        heads: Heads::new(vec![ChangeHash([number; 32])]),
        seq: Some(number.into()),
        action: Action::Put,
        created: true,
        new: Bytes::from(vec![number; bytes]),
        missing: false,
    };
    Outcome { doc: doc.parse().unwrap(), source, result: Ok(written) }
}

#[test]
fn the_smaller_id_dials_at_once_and_the_larger_after_a_grace() {
    let mut hub = hub();
    assert_eq!(dials(&hub.handle(0, seen(LARGER, 1))), [LARGER]);
    assert_eq!(dials(&hub.handle(0, seen(SMALLER, 1))), []);
    assert_eq!(hub.next_wakeup(), Some(limits::DIAL_GRACE_MS));
    assert_eq!(dials(&hub.handle(limits::DIAL_GRACE_MS, Input::Tick)), [SMALLER]);
}

#[test]
fn a_peer_without_an_address_is_dialled_when_there_are_relays() {
    let nowhere = || Input::PeerSeen { peer: LARGER, name: None, addresses: Vec::new() };
    let mut direct = hub();
    assert_eq!(dials(&direct.handle(0, nowhere())), []);
    assert_eq!(direct.next_wakeup(), None);
    let mut relayed = hub();
    relayed.set_relayed(true);
    assert_eq!(dials(&relayed.handle(0, nowhere())), [LARGER]);
    relayed.handle(1, Input::PeerGone { peer: LARGER });
    relayed.handle(1, Input::DialFailed { peer: LARGER, reason: "no answer".to_owned() });
    assert_eq!(relayed.next_wakeup(), None, "nobody says any more that it is there");
}

#[test]
fn a_peer_that_cannot_be_reached_is_dialled_for_ever_with_growing_waits() {
    let mut hub = hub();
    hub.handle(0, seen(LARGER, 1));
    let (mut now, mut waits) = (0, Vec::new());
    for _ in 0..12 {
        hub.handle(now, Input::DialFailed { peer: LARGER, reason: "no answer".to_owned() });
        let next = hub.next_wakeup().unwrap();
        waits.push(next - now);
        now = next;
        assert_eq!(dials(&hub.handle(now, Input::Tick)), [LARGER]);
    }
    assert!(waits[0] <= 2 * limits::DIAL_RETRY_MS_MIN, "{waits:?}");
    assert!(waits.iter().all(|wait| *wait <= limits::DIAL_RETRY_MS_MAX * 5 / 4), "{waits:?}");
    assert!(*waits.last().unwrap() >= limits::DIAL_RETRY_MS_MAX / 2, "{waits:?}");
    assert_eq!(hub.peers()[0].last_error.as_deref(), Some("no answer"));
}

#[test]
fn an_address_that_changed_is_dialled_at_once() {
    let mut hub = hub();
    hub.handle(0, seen(LARGER, 1));
    hub.handle(10, Input::DialFailed { peer: LARGER, reason: "no answer".to_owned() });
    assert_eq!(dials(&hub.handle(11, seen(LARGER, 1))), [], "nothing new");
    assert_eq!(dials(&hub.handle(12, seen(LARGER, 2))), [LARGER]);
}

#[test]
fn of_two_connections_made_at_once_both_sides_keep_that_of_the_smaller_id() {
    for peer_first in [true, false] {
        let mut hub = hub();
        // The peer is larger, so the connection that this node dialled stays.
        let (kept, given_up) = if peer_first { (2, 1) } else { (1, 2) };
        hub.handle(0, admitted(1, LARGER, 1, !peer_first));
        let effects = hub.handle(5, admitted(2, LARGER, 1, peer_first));
        assert_eq!(closes(&effects), [(ConnId(given_up), CloseReason::Duplicate)]);
        assert_eq!(connected(&hub), [ConnId(kept)]);
        hub.handle(6, Input::Closed { conn: ConnId(given_up), why: Closed::Duplicate });
        assert_eq!(connected(&hub), [ConnId(kept)]);
    }
}

#[test]
fn a_peer_that_dials_again_later_has_lost_the_old_connection() {
    let mut hub = hub();
    hub.handle(0, admitted(1, LARGER, 1, true));
    let effects = hub.handle(RACE_MS, admitted(2, LARGER, 1, false));
    assert_eq!(closes(&effects), [(ConnId(1), CloseReason::Duplicate)]);
    assert_eq!(connected(&hub), [ConnId(2)]);
}

#[test]
fn a_restarted_peer_takes_the_place_of_its_old_process_at_once() {
    let mut hub = hub();
    hub.handle(0, admitted(1, LARGER, 1, true));
    let effects = hub.handle(1, admitted(2, LARGER, 2, false));
    assert_eq!(closes(&effects), [(ConnId(1), CloseReason::IdentityElsewhere)]);
    assert_eq!(connected(&hub), [ConnId(2)]);
}

#[test]
fn a_node_that_meets_its_own_identity_says_so() {
    let mut hub = hub();
    let effects = hub.handle(0, admitted(1, ME, 2, false));
    assert_eq!(closes(&effects), [(ConnId(1), CloseReason::IdentityElsewhere)]);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Notify(Event::SelfElsewhere { .. }))));
    hub.handle(1, admitted(2, LARGER, 1, true));
    let effects = hub.handle(2, Input::Closed { conn: ConnId(2), why: Closed::IdentityElsewhere });
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Notify(Event::SelfElsewhere { .. }))));
}

#[test]
fn a_change_goes_to_those_who_lack_it_and_names_everybody_who_is_told() {
    let mut hub = hub();
    hub.handle(0, admitted(1, LARGER, 1, true));
    hub.handle(0, admitted(2, SMALLER, 1, true));
    let effects = hub.handle(1, Input::Committed(vec![written("c/x", 1, Source::Client, 10)]));
    let sent = frames(&effects);
    assert_eq!(sent.len(), 2);
    let Frame::Changes(changes) = &sent[0].1 else { panic!("{sent:?}") };
    let mut audience = changes.audience.clone();
    audience.sort_unstable();
    assert_eq!(audience, [SMALLER.tag(), ME.tag(), LARGER.tag()]);

    let from_larger = |audience: &[NodeTag]| Source::Peer {
        conn: ConnId(1),
        name: crate::NodeName::new("peer").unwrap(),
        audience: audience.into(),
        repair: false,
    };
    let all_told = written("c/y", 2, from_larger(&[SMALLER.tag(), ME.tag(), LARGER.tag()]), 10);
    assert_eq!(frames(&hub.handle(2, Input::Committed(vec![all_told]))), []);
    let one_not_told = written("c/z", 3, from_larger(&[ME.tag(), LARGER.tag()]), 10);
    let sent = frames(&hub.handle(3, Input::Committed(vec![one_not_told])));
    assert_eq!(sent.iter().map(|(conn, _)| *conn).collect::<Vec<_>>(), [ConnId(2)]);
}

#[test]
fn a_peer_that_does_not_read_is_not_pushed_to_beyond_its_window_and_compared_with_later() {
    let mut hub = hub();
    let megabyte = 1024 * 1024;
    let pushes = (1..=20).map(|n| Input::Committed(vec![written("c/x", n, Source::Client, megabyte)]));
    let mut unsent = 0;
    for input in std::iter::once(admitted(1, LARGER, 1, true)).chain(pushes) {
        for effect in hub.handle(1, input) {
            if let Effect::Send { frame, .. } = effect {
                unsent += limits::frame_cost_bytes(frame.len());
            }
        }
    }
    assert!(unsent <= limits::SEND_WINDOW_BYTES + limits::FRAME_OVERHEAD_BYTES, "{unsent}");
    hub.handle(1_000, Input::Sent { conn: ConnId(1), bytes: unsent });
    let wakeup = hub.next_wakeup().unwrap();
    assert!(wakeup < 1_000 + limits::RECONCILE_EVERY_MS, "{wakeup}");
    let sent = frames(&hub.handle(wakeup, Input::Tick));
    assert!(matches!(sent[..], [(_, Frame::Probe { .. })]), "{sent:?}");
}

#[test]
fn a_second_hello_ends_the_connection_and_the_reason_is_kept() {
    let mut hub = hub();
    hub.handle(0, seen(LARGER, 1));
    hub.handle(0, admitted(1, LARGER, 1, true));
    let hello = Hello { name: crate::NodeName::new("peer").unwrap(), incarnation: 1 };
    let effects = hub.handle(1, Input::Received { conn: ConnId(1), frame: Frame::Hello(hello) });
    assert!(matches!(closes(&effects)[..], [(ConnId(1), CloseReason::BrokenRule(_))]));
    let view = &hub.peers()[0];
    assert_eq!(view.last_error.as_deref(), Some("a second hello on one connection"));
    assert!(view.next_dial_ms.is_some(), "it is tried again after a wait");
}

#[test]
fn equal_nodes_exchange_one_small_frame_each_way() {
    let (mut left, mut right) = (hub(), Hub::new(LARGER, Catalog::default(), 8));
    for number in 0..200 {
        let outcome = || Input::Committed(vec![written(&format!("c/{number}"), 1, Source::Client, 1)]);
        left.handle(0, outcome());
        right.handle(0, outcome());
    }
    let probe = frames(&left.handle(0, admitted(1, LARGER, 1, true)));
    right.handle(0, admitted(1, ME, 1, false));
    let [(_, probe @ Frame::Probe { .. })] = &probe[..] else { panic!("{probe:?}") };
    let answer = frames(&right.handle(1, Input::Received { conn: ConnId(1), frame: probe.clone() }));
    let [(_, answer @ Frame::InStep { .. })] = &answer[..] else { panic!("{answer:?}") };
    left.handle(2, Input::Received { conn: ConnId(1), frame: answer.clone() });
    assert!(left.peers()[0].in_step && right.peers()[0].in_step);
}

#[test]
fn connections_that_end_as_soon_as_they_are_made_are_made_ever_less_often() {
    let mut hub = hub();
    hub.handle(0, seen(LARGER, 1));
    let (mut now, mut waits) = (0, Vec::new());
    for conn in 0..10 {
        hub.handle(now, admitted(conn, LARGER, 1, true));
        hub.handle(now + 1, Input::Closed { conn: ConnId(conn), why: Closed::Lost("broken".to_owned()) });
        waits.push(hub.next_wakeup().unwrap() - now);
        now = hub.next_wakeup().unwrap();
        hub.handle(now, Input::Tick);
    }
    assert!(*waits.last().unwrap() >= limits::DIAL_RETRY_MS_MAX / 2, "{waits:?}");
    hub.handle(now, admitted(99, LARGER, 1, true));
    now += 60_000;
    hub.handle(now, Input::Closed { conn: ConnId(99), why: Closed::Lost("broken".to_owned()) });
    assert!(hub.next_wakeup().unwrap() - now <= 2 * limits::DIAL_RETRY_MS_MIN, "a good one starts afresh");
}

#[test]
fn a_difference_that_stays_is_looked_at_ever_less_often() {
    let mut hub = hub();
    hub.handle(0, Input::Committed(vec![written("c/x", 1, Source::Client, 1)]));
    hub.handle(0, admitted(1, LARGER, 1, true));
    let (mut now, mut probes) = (0, 0);
    while now < 60_000 {
        now = hub.next_wakeup().unwrap().max(now + 1);
        for (_, frame) in frames(&hub.handle(now, Input::Tick)) {
            if let Frame::Probe { .. } = frame {
                probes += 1;
                // The peer names a state of the document that nobody can get.
                let heads = Heads::new(vec![ChangeHash([9; 32])]);
                let want = Want { doc: "c/x".parse().unwrap(), stage: WantStage::Last, heads, have: vec![] };
                hub.handle(now, Input::Received { conn: ConnId(1), frame: Frame::Want(vec![want]) });
                hub.handle(now, Input::Answered { conn: ConnId(1), answer: Answer::default() });
            }
        }
    }
    assert!((8..40).contains(&probes), "{probes} in a minute");
}

#[test]
fn a_connection_given_up_for_another_one_is_no_news_unless_that_never_comes() {
    let news =
        |effects: &[Effect]| effects.iter().filter(|effect| matches!(effect, Effect::Notify(_))).count();
    let mut hub = hub();
    assert_eq!(news(&hub.handle(0, admitted(1, LARGER, 1, false))), 1);
    assert_eq!(news(&hub.handle(5, Input::Closed { conn: ConnId(1), why: Closed::Duplicate })), 0);
    assert_eq!(news(&hub.handle(9, admitted(2, LARGER, 1, true))), 0);
    assert_eq!(connected(&hub), [ConnId(2)]);
    assert_eq!(news(&hub.handle(20, Input::Closed { conn: ConnId(2), why: Closed::Duplicate })), 0);
    let wakeup = hub.next_wakeup().unwrap();
    assert_eq!(news(&hub.handle(wakeup, Input::Tick)), 1);
    assert_eq!(news(&hub.handle(wakeup + 1, admitted(3, LARGER, 1, true))), 1);
}

fn probe_round(effects: &[Effect]) -> Option<u32> {
    frames(effects).iter().find_map(|(_, frame)| match frame {
        Frame::Probe { round, .. } => Some(*round),
        _ => None,
    })
}

#[test]
fn a_leaving_node_compares_at_once_and_may_leave_when_both_are_equal() {
    let mut hub = hub();
    assert!(hub.may_leave(0), "nobody is connected");
    hub.handle(0, admitted(1, LARGER, 1, false));
    hub.handle(0, Input::Committed(vec![written("c/x", 1, Source::Client, 10)]));
    assert!(!hub.may_leave(60_000), "nobody asked it to leave");
    let round = probe_round(&hub.handle(100, Input::Leaving)).expect("it does not wait for its time");
    assert!(!hub.may_leave(100));
    hub.handle(101, Input::Sent { conn: ConnId(1), bytes: 1_000_000 });
    hub.handle(102, Input::Received { conn: ConnId(1), frame: Frame::InStep { round } });
    assert!(hub.may_leave(102));
}

#[test]
fn a_leaving_node_stays_while_a_peer_asks_and_goes_when_it_asks_no_more() {
    let mut hub = hub();
    let outcome = written("c/x", 1, Source::Client, 10);
    let heads = outcome.result.as_ref().unwrap().heads.clone();
    hub.handle(0, Input::Committed(vec![outcome]));
    hub.handle(0, admitted(1, LARGER, 1, false));
    hub.handle(100, Input::Leaving);
    hub.handle(101, Input::Sent { conn: ConnId(1), bytes: 1_000_000 });
    let want = Want { doc: "c/x".parse().unwrap(), stage: WantStage::Last, heads, have: vec![] };
    let effects = hub.handle(900, Input::Received { conn: ConnId(1), frame: Frame::Want(vec![want]) });
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Answer { .. })));
    assert!(!hub.may_leave(60_000), "the answer is not read yet");
    hub.handle(1_000, Input::Answered { conn: ConnId(1), answer: Answer::default() });
    let sent = || Input::Sent { conn: ConnId(1), bytes: 1_000_000 };
    hub.handle(2_000, sent());
    // The question whether that was all leaves too.
    hub.handle(2_000, sent());
    let mut now = 2_000;
    while !hub.may_leave(now) {
        assert!(now < 2_000 + limits::LEAVE_QUIET_MS, "{now}");
        now = hub.next_wakeup().unwrap().max(now + 1);
        hub.handle(now, Input::Tick);
        hub.handle(now, sent());
    }
    assert_eq!(now, 2_000 + limits::LEAVE_QUIET_MS, "time alone wakes it");
}

#[test]
fn a_leaving_node_sleeps_while_one_peer_reads_nothing_and_after_it_may_leave() {
    let mut hub = hub();
    for (conn, peer) in [(1, LARGER), (2, SMALLER)] {
        hub.handle(0, admitted(conn, peer, 1, false));
    }
    hub.handle(100, Input::Leaving);
    hub.handle(101, Input::Sent { conn: ConnId(1), bytes: 1_000_000 });
    let mut now = 101;
    for both_read in [false, true] {
        if both_read {
            hub.handle(now, Input::Sent { conn: ConnId(2), bytes: 1_000_000 });
        }
        for _ in 0..5 {
            let next = hub.next_wakeup().unwrap();
            assert!(next > now, "asked to be woken at {next}, and it is {now}");
            now = next;
            hub.handle(now, Input::Tick);
            hub.handle(now, Input::Sent { conn: ConnId(1), bytes: 1_000_000 });
            if both_read {
                hub.handle(now, Input::Sent { conn: ConnId(2), bytes: 1_000_000 });
            }
        }
        assert!(now > 101 + limits::LEAVE_QUIET_MS);
        assert_eq!(hub.may_leave(now), both_read);
        if both_read {
            return;
        }
    }
}
