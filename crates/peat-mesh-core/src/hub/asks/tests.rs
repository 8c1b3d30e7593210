use bytes::BytesMut;

use super::*;
use crate::catalog::{Catalog, Prefix, Summary};
use crate::heads::ChangeHash;
use crate::id::NodeName;
use crate::io::{Closed, Effect, Input};
use crate::replica::{Outcome, Source, Written};
use crate::scope::{LinkScopes, Scope};
use crate::store::Action;
use crate::wire::{Decoder, Hello};

const PEER: EndpointId = EndpointId([9; 32]);
const OTHER: EndpointId = EndpointId([8; 32]);

fn hub() -> Hub {
    Hub::new(EndpointId([5; 32]), Catalog::default(), 7)
}

fn meets(conn: u64, peer: EndpointId) -> Input {
    let name = NodeName::new(if peer == PEER { "peer" } else { "other" }).unwrap();
    let hello = Hello { name, incarnation: 1 };
    Input::Admitted { conn: ConnId(conn), peer, hello, dialed: true, address: None }
}

fn heads(number: u8) -> Heads {
    Heads::new(vec![ChangeHash([number; 32])])
}

fn written(doc: &str, number: u8) -> Input {
    let written = Written {
        heads: heads(number),
        seq: Some(number.into()),
        action: Action::Put,
        created: true,
        new: vec![number].into(),
        missing: false,
    };
    Input::Committed(vec![Outcome { doc: doc.parse().unwrap(), source: Source::Client, result: Ok(written) }])
}

fn about(doc: &str, number: u8) -> About {
    About::Document { doc: doc.parse().unwrap(), heads: heads(number) }
}

fn asks(ask: u64, about: About) -> Input {
    Input::Ask { ask, about }
}

fn came(conn: u64, frame: Frame) -> Input {
    Input::Received { conn: ConnId(conn), frame }
}

fn frames(effects: &[Effect]) -> Vec<(u64, Frame)> {
    let frame = |effect: &Effect| match effect {
        Effect::Send { conn, frame } => {
            let frame = Decoder::default().take(&mut BytesMut::from(&frame[..])).unwrap().unwrap();
            Some((conn.0, frame))
        }
        _ => None,
    };
    effects.iter().filter_map(frame).collect()
}

fn probe(effects: &[Effect]) -> Option<(u32, Summary)> {
    frames(effects).into_iter().find_map(|(_, frame)| match frame {
        Frame::Probe { round, all } => Some((round, all)),
        _ => None,
    })
}

#[test]
fn a_question_follows_the_change_it_is_about_and_each_peer_counts_once() {
    let mut hub = hub();
    hub.handle(0, meets(1, PEER));
    let pushed = frames(&hub.handle(1, written("c/x", 1)));
    assert!(matches!(pushed[..], [(1, Frame::Changes(_))]), "{pushed:?}");
    let asked = frames(&hub.handle(1, asks(3, about("c/x", 1))));
    assert_eq!(asked, [(1, Frame::Confirm { id: 3, doc: "c/x".parse().unwrap(), heads: heads(1) })]);
    assert_eq!((hub.confirmed_count(3), hub.is_held_by_all(3)), (0, false));
    let before = hub.asks_version();
    hub.handle(2, came(1, Frame::Confirmed { id: 3 }));
    assert_ne!(hub.asks_version(), before);
    hub.handle(2, came(1, Frame::Confirmed { id: 3 }));
    hub.handle(2, came(1, Frame::Confirmed { id: 4 }));
    assert_eq!((hub.confirmed_count(3), hub.is_held_by_all(3)), (1, true));
    assert_eq!(hub.holding(3).iter().map(|(_, it)| *it).collect::<Vec<_>>(), [Holding::Yes]);
    hub.handle(3, Input::AskOver { ask: 3 });
    assert_eq!(hub.holding(3)[0].1, Holding::NotYet, "nobody asks any more");
}

#[test]
fn a_peer_that_connects_or_comes_back_is_asked_what_is_open() {
    let mut hub = hub();
    hub.handle(0, written("c/x", 1));
    hub.handle(0, asks(3, about("c/x", 1)));
    assert!(hub.is_held_by_all(3), "nobody is connected");
    let is_asked = |effects: &[Effect]| {
        frames(effects).iter().any(|(_, frame)| matches!(frame, Frame::Confirm { id: 3, .. }))
    };
    assert!(is_asked(&hub.handle(1, meets(1, PEER))));
    hub.handle(2, Input::Closed { conn: ConnId(1), why: Closed::Lost("cut".to_owned()) });
    assert_eq!(hub.holding(3)[0].1, Holding::NotConnected);
    assert!(is_asked(&hub.handle(3, meets(2, PEER))));
    hub.handle(4, came(2, Frame::Confirmed { id: 3 }));
    hub.handle(5, Input::Closed { conn: ConnId(2), why: Closed::Lost("cut".to_owned()) });
    assert_eq!(hub.confirmed_count(3), 1, "its disk has it, connected or not");
}

#[test]
fn a_peer_that_reads_nothing_is_asked_when_it_reads_again() {
    let mut hub = hub();
    hub.handle(0, meets(1, PEER));
    let large = 2 * limits::SEND_WINDOW_BYTES;
    hub.links.get_mut(&ConnId(1)).unwrap().unsent_bytes = large;
    hub.handle(1, written("c/x", 1));
    assert_eq!(frames(&hub.handle(1, asks(3, about("c/x", 1)))), []);
    let sent = frames(&hub.handle(2, Input::Sent { conn: ConnId(1), bytes: large }));
    assert!(sent.iter().any(|(_, frame)| matches!(frame, Frame::Confirm { id: 3, .. })), "{sent:?}");
}

#[test]
fn a_peer_that_may_not_have_the_document_is_not_asked_and_not_waited_for() {
    let mut hub = hub();
    hub.set_link_scopes(LinkScopes::parse("peer: send=orders").unwrap());
    hub.handle(0, meets(1, PEER));
    hub.handle(0, written("secrets/x", 1));
    hub.handle(0, asks(3, about("secrets/x", 1)));
    assert!(!hub.is_held_by_all(3), "what may cross is not known yet");
    let effects = hub.handle(1, came(1, Frame::Scope(Scope::ALL)));
    assert!(!frames(&effects).iter().any(|(_, frame)| matches!(frame, Frame::Confirm { .. })), "{effects:?}");
    assert_eq!(hub.holding(3)[0].1, Holding::OutOfScope);
    assert!(hub.is_held_by_all(3));
    hub.handle(2, written("orders/x", 2));
    let effects = hub.handle(2, asks(4, about("orders/x", 2)));
    assert!(frames(&effects).iter().any(|(_, frame)| matches!(frame, Frame::Confirm { id: 4, .. })));
}

#[test]
fn a_peer_that_is_in_step_holds_it_without_being_asked() {
    let mut hub = hub();
    hub.handle(0, written("c/x", 1));
    let (round, _) = probe(&hub.handle(0, meets(1, PEER))).unwrap();
    hub.handle(1, came(1, Frame::InStep { round }));
    assert!(hub.peers()[0].sync.in_step);
    assert_eq!(frames(&hub.handle(2, asks(3, about("c/x", 1)))), []);
    assert!(hub.is_held_by_all(3));
    // Heads that are not here yet are another matter.
    assert_eq!(frames(&hub.handle(2, asks(4, about("c/x", 2)))).len(), 1);
}

#[test]
fn in_step_is_by_a_comparison_after_the_question_with_what_is_here_now() {
    let mut hub = hub();
    let (round, _) = probe(&hub.handle(0, meets(1, PEER))).unwrap();
    hub.handle(1, came(1, Frame::InStep { round }));
    let effects = hub.handle(100, asks(3, About::Step));
    assert!(!hub.is_in_step(3), "the peer may have more by now");
    let (round, _) = probe(&effects).expect("somebody waits");
    hub.handle(101, written("c/x", 1));
    hub.handle(102, came(1, Frame::InStep { round }));
    assert!(!hub.is_in_step(3), "it was compared without the new document");
    let mut now = 102;
    let (round, all) = loop {
        now = hub.next_wakeup().unwrap().max(now + 1);
        if let Some(probe) = probe(&hub.handle(now, Input::Tick)) {
            break probe;
        }
    };
    assert!(now < 300, "{now}");
    assert_eq!(all, hub.catalog().summary(Prefix::ALL));
    hub.handle(now + 1, came(1, Frame::InStep { round }));
    assert!(hub.is_in_step(3));
    hub.handle(now + 2, came(1, Frame::Probe { round: 1, all: Summary::EMPTY }));
    assert!(!hub.is_in_step(3), "the peer has said something else since");
}

#[test]
fn somebody_who_waits_makes_one_comparison_per_answer_and_ever_fewer_when_nothing_changes() {
    let mut hub = hub();
    hub.handle(0, meets(1, PEER));
    hub.handle(0, written("c/x", 1));
    hub.handle(0, asks(3, About::Step));
    let next = hub.next_wakeup().unwrap();
    assert!(next > limits::RECONCILE_EVERY_MS / 2, "nothing before the first one is answered: {next}");
    let (mut now, mut probes, mut wakeups) = (next, 0, 0);
    while now < next + 10_000 {
        wakeups += 1;
        if probe(&hub.handle(now, Input::Tick)).is_some() {
            probes += 1;
            // A peer that is never equal and never sends anything.
            hub.handle(now, came(1, Frame::Ranges(Vec::new())));
        }
        now = hub.next_wakeup().unwrap().max(now + 1);
    }
    assert!((3..30).contains(&probes), "{probes} in ten seconds");
    assert!(wakeups < 100, "{wakeups} in ten seconds");
    // And none at all beyond the usual when nobody waits.
    hub.handle(now, Input::AskOver { ask: 3 });
    hub.handle(now, Input::Closed { conn: ConnId(1), why: Closed::Lost("cut".to_owned()) });
    let (round, _) = probe(&hub.handle(now, meets(2, OTHER))).unwrap();
    hub.handle(now, came(2, Frame::InStep { round }));
    assert!(hub.next_wakeup().unwrap() > now + limits::RECONCILE_EVERY_MS / 2);
}

#[test]
fn a_reconciliation_is_counted_from_the_question_to_being_equal() {
    let mut hub = hub();
    hub.handle(0, written("c/x", 1));
    let (round, _) = probe(&hub.handle(10, meets(1, PEER))).unwrap();
    assert_eq!(hub.peers()[0].sync.current.map(|it| it.began_ms), Some(10));
    let fetch = Frame::Fetch(vec![crate::catalog::Position::of(&"c/x".parse().unwrap())]);
    hub.handle(20, came(1, fetch));
    hub.handle(30, came(1, Frame::InStep { round }));
    let sync = hub.peers().remove(0).sync;
    let last = sync.last.unwrap();
    assert_eq!((sync.current, last.began_ms, last.ended_ms, last.rounds), (None, 10, Some(30), 1));
    assert!(last.bytes_sent >= 19 && last.bytes_received >= 30, "{last:?}");
}
