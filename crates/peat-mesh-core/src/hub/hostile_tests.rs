//! Admitted peers that do not keep to the comparison, read nothing or say nothing.

use super::*;
use crate::catalog::{Fingerprint, Position, Summary};
use crate::heads::{ChangeHash, Heads};
use crate::replica::{Outcome, Source, Written};
use crate::store::Action;
use crate::wire::{Digest, Hello, RangeGroup, RangeItems, Want, WantStage};

const ME: EndpointId = EndpointId([5; 32]);
const PEER: EndpointId = EndpointId([9; 32]);
const OTHER: EndpointId = EndpointId([7; 32]);

fn hub(documents: usize) -> Hub {
    let mut hub = Hub::new(ME, Catalog::default(), 7);
    let outcomes = (0..documents).map(|number| written(&format!("c/{number}"), Source::Client)).collect();
    hub.handle(0, Input::Committed(outcomes));
    hub.handle(0, admitted(1, PEER, true));
    hub.handle(0, admitted(2, OTHER, true));
    hub
}

fn admitted(conn: u64, peer: EndpointId, dialed: bool) -> Input {
    let name = if peer == PEER { "mallory" } else { "bob" };
    let hello = Hello { name: crate::NodeName::new(name).unwrap(), incarnation: 1 };
    Input::Admitted { conn: ConnId(conn), peer, hello, dialed, address: None }
}

fn written(doc: &str, source: Source) -> Outcome {
    let written = Written {
        heads: Heads::new(vec![ChangeHash([1; 32])]),
        seq: Some(1),
        action: Action::Put,
        created: true,
        new: vec![1].into(),
        missing: false,
    };
    Outcome { doc: doc.parse().unwrap(), source, result: Ok(written) }
}

fn reason(effects: &[Effect]) -> Option<String> {
    effects.iter().find_map(|effect| match effect {
        Effect::Close { conn: ConnId(1), reason: CloseReason::BrokenRule(reason) } => Some(reason.clone()),
        _ => None,
    })
}

fn count(hub: &Hub, rule: Rule) -> u64 {
    hub.broken_rules()[rule as usize].1
}

fn summary(number: u8) -> Summary {
    Summary { count: 100, fingerprint: Fingerprint([number; 12]) }
}

/// Reads all that the hub sends, and answers reads with nothing.
fn hear(hub: &mut Hub, now_ms: u64, frame: Frame) -> Vec<Effect> {
    let mut all = hub.handle(now_ms, Input::Received { conn: ConnId(1), frame });
    let mut at = 0;
    while at < all.len() {
        let next = match &all[at] {
            Effect::Send { conn, frame } => {
                Input::Sent { conn: *conn, bytes: limits::frame_cost_bytes(frame.len()) }
            }
            Effect::Answer { conn, .. } => {
                Input::Answered { conn: *conn, answer: crate::answer::Answer::default() }
            }
            _ => {
                at += 1;
                continue;
            }
        };
        at += 1;
        all.extend(hub.handle(now_ms, next));
    }
    all
}

/// Floods the hub with what `frame` makes until it has enough; after how many that is.
fn flood(hub: &mut Hub, rule: Rule, words: &str, frame: impl Fn(u64) -> Frame) -> u64 {
    for number in 0..20_000 {
        if let Some(reason) = reason(&hear(hub, 1_000 + number, frame(number))) {
            assert!(reason.contains(words), "{reason}");
            assert_eq!(count(hub, rule), 1);
            let peers = hub.peers();
            let mallory = peers.iter().find(|view| view.peer == PEER).unwrap();
            assert!(mallory.last_error.as_ref().is_some_and(|error| error.contains(words)), "{mallory:?}");
            assert!(hub.links.values().any(|link| link.peer == OTHER), "the other one stays");
            return number;
        }
    }
    panic!("the connection goes on");
}

#[test]
fn ranges_that_were_never_offered_end_the_connection_after_a_while() {
    let group = |number: u64| RangeGroup {
        prefix: Prefix::of(Position(u128::from(number) << 100), 8),
        window: 0,
        parts: [Some([number as u8; 4]); 16],
    };
    let mut hub = hub(0);
    // Nothing is here: what it is told in return is that there is nothing.
    let after = flood(&mut hub, Rule::Unoffered, "more than it was offered", |number| {
        Frame::Ranges(vec![group(number)])
    });
    assert!(after >= limits::UNOFFERED_COUNT_MAX, "{after}");
}

#[test]
fn documents_that_were_never_listed_are_not_fetched_for_ever() {
    let positions: Vec<Position> = (0..1_000).map(Position).collect();
    let fetch = |_| Frame::Fetch(positions.clone());
    let after = flood(&mut hub(10), Rule::Unoffered, "its fetch frames name", fetch);
    assert!(after <= limits::UNOFFERED_COUNT_MAX / 1_000 + 1, "{after}");
}

#[test]
fn lists_of_what_nobody_asked_about_end_the_connection() {
    let lists = |number: u64| {
        let range = |part: u64| RangeItems {
            prefix: Prefix::of(Position(u128::from(part) << 100), 32),
            items: vec![(Position(u128::from(part) << 100), Digest([number as u8; 8]))],
        };
        Frame::Items((0..1_000).map(range).collect())
    };
    flood(&mut hub(10), Rule::Unoffered, "its items frames name", lists);
}

#[test]
fn heads_that_do_not_exist_are_not_answered_for_ever() {
    let want = |number: u64| {
        let want = |doc: u64| Want {
            doc: format!("c/{}", doc % 10).parse().unwrap(),
            stage: WantStage::Heads,
            heads: Heads::new(vec![ChangeHash([number as u8; 32])]),
            have: Vec::new(),
        };
        Frame::Want((0..100).map(want).collect())
    };
    let after = flood(&mut hub(10), Rule::Unoffered, "its want frames name", want);
    assert!(after <= limits::UNOFFERED_COUNT_MAX / 100 + 1, "{after}");
}

#[test]
fn a_peer_that_compares_again_and_again_without_anything_moving_is_left() {
    for changes_its_mind in [false, true] {
        let mut hub = hub(100);
        let probe = |number: u64| {
            let all = summary(if changes_its_mind { number as u8 } else { 7 });
            Frame::Probe { round: number as u32, all }
        };
        let after = flood(&mut hub, Rule::Rounds, "without anything to show for it", probe);
        assert!((60..200).contains(&after), "{after}");
    }
}

#[test]
fn a_peer_that_waits_longer_and_longer_may_stay_different_for_ever() {
    let mut hub = hub(100);
    let mut now_ms = 1_000;
    for round in 0..2_000_u32 {
        now_ms += (100 << round.min(6)).min(limits::RECONCILE_EVERY_MS * 9 / 10);
        let effects = hear(&mut hub, now_ms, Frame::Probe { round, all: summary(7) });
        assert_eq!(reason(&effects), None, "round {round}");
    }
}

#[test]
fn a_peer_that_gets_or_brings_something_each_time_may_compare_as_often_as_it_likes() {
    let mut hub = hub(100);
    for round in 0..2_000_u32 {
        let effects = hear(&mut hub, 1_000 + u64::from(round), Frame::Probe { round, all: summary(7) });
        assert_eq!(reason(&effects), None, "round {round}");
        let source = Source::Peer {
            conn: ConnId(1),
            name: crate::NodeName::new("mallory").unwrap(),
            audience: [].into(),
            repair: true,
        };
        hub.handle(1_000 + u64::from(round), Input::Committed(vec![written(&format!("n/{round}"), source)]));
    }
}

/// Ticks until the hub ends the connection of the first peer; when, and why.
fn wait(hub: &mut Hub, reads: bool) -> (u64, String) {
    let mut now_ms = 0;
    while now_ms < 3_600_000 {
        now_ms = hub.next_wakeup().unwrap().max(now_ms + 1);
        let effects = hub.handle(now_ms, Input::Tick);
        if let Some(reason) = reason(&effects) {
            return (now_ms, reason);
        }
        for effect in effects {
            if let Effect::Send { conn, frame } = effect
                && (reads || conn == ConnId(2))
            {
                let bytes = limits::frame_cost_bytes(frame.len());
                hub.handle(now_ms, Input::Sent { conn, bytes });
            }
        }
        // The other one keeps its side up.
        hub.handle(now_ms, Input::Received { conn: ConnId(2), frame: Frame::InStep { round: 0 } });
    }
    panic!("the connection stays for an hour");
}

#[test]
fn a_peer_that_reads_nothing_loses_its_connection() {
    let mut hub = hub(1);
    hub.handle(0, Input::Sent { conn: ConnId(2), bytes: 1_000_000 });
    let (at_ms, reason) = wait(&mut hub, false);
    assert_eq!(at_ms, limits::NOT_READING_MS_MAX);
    assert!(reason.contains("took nothing"), "{reason}");
    assert_eq!((count(&hub, Rule::NotReading), hub.links.len()), (1, 1));
}

#[test]
fn a_peer_that_never_answers_loses_its_connection() {
    let mut hub = hub(1);
    hub.handle(0, Input::Sent { conn: ConnId(1), bytes: 1_000_000 });
    hub.handle(0, Input::Sent { conn: ConnId(2), bytes: 1_000_000 });
    let mut last_ms = 0;
    // As long as it takes what it is sent, it is given time.
    let (at_ms, reason) = wait(&mut hub, true);
    last_ms = at_ms.max(last_ms);
    assert!(last_ms >= limits::NOT_ANSWERING_MS_MAX, "{last_ms}");
    assert!(reason.contains("said nothing"), "{reason}");
    assert_eq!((count(&hub, Rule::NotAnswering), hub.links.len()), (1, 1));
}

#[test]
fn a_peer_that_breaks_rules_again_and_again_is_taken_and_dialled_ever_less_often() {
    let mut hub = hub(0);
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
    hub.handle(0, Input::PeerSeen { peer: PEER, name: None, addresses: vec![address] });
    let (mut now_ms, mut waits) = (0, Vec::new());
    for round in 0..12 {
        let hello = Hello { name: crate::NodeName::new("mallory").unwrap(), incarnation: 1 };
        let conn = *hub.links.iter().find(|(_, link)| link.peer == PEER).unwrap().0;
        hub.handle(now_ms, Input::Received { conn, frame: Frame::Hello(hello) });
        assert_eq!(count(&hub, Rule::Opening), round + 1);
        let start_ms = now_ms;
        let peers = hub.peers();
        let view = peers.iter().find(|view| view.peer == PEER).unwrap();
        let next_dial_ms = view.next_dial_ms.unwrap();
        // It comes by itself, and is told when it may.
        let mut conn = 100 * (round + 1);
        loop {
            conn += 1;
            let effects = hub.handle(now_ms, admitted(conn, PEER, false));
            if hub.links.values().any(|link| link.peer == PEER) {
                break;
            }
            assert!(next_dial_ms >= now_ms, "nor is it dialled before");
            let told = effects.iter().any(|effect| match effect {
                Effect::Close { conn: it, reason: CloseReason::BrokenRule(reason) } => {
                    *it == ConnId(conn) && reason.contains("may come again in")
                }
                _ => false,
            });
            assert!(told, "{effects:?}");
            now_ms += 500;
        }
        waits.push(now_ms - start_ms);
    }
    println!("{waits:?}");
    assert_eq!(waits[..4], [0, 1_000, 2_000, 4_000]);
    assert_eq!(*waits.last().unwrap(), limits::BROKEN_WAIT_MS_MAX);
    assert_eq!(count(&hub, Rule::Opening), 12, "to come too early is no offence of its own");
}
