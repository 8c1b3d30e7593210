use std::collections::BTreeSet;

use super::*;
use crate::catalog::Catalog;
use crate::heads::{ChangeHash, Heads};
use crate::hub::PeerState;
use crate::id::{NodeName, NodeTag};
use crate::io::{Closed, Effect, Input};
use crate::replica::{Outcome, Source, Written};
use crate::scope::Scope;
use crate::store::Action;
use crate::wire::{Decoder, Hello};

const ME: EndpointId = EndpointId([5; 32]);

fn peer(number: u8) -> EndpointId {
    EndpointId([number; 32])
}

fn seen(number: u8) -> Input {
    let addresses = vec![SocketAddr::from(([127, 0, 0, 1], number.into()))];
    Input::PeerSeen { peer: peer(number), name: None, addresses }
}

fn admitted(number: u8) -> Input {
    let hello = Hello { name: NodeName::new(&format!("peer-{number}")).unwrap(), incarnation: 1 };
    Input::Admitted { conn: ConnId(number.into()), peer: peer(number), hello, dialed: true, address: None }
}

fn neighbours(numbers: &[u8]) -> Input {
    let wanted: BTreeSet<EndpointId> = numbers.iter().map(|number| peer(*number)).collect();
    Input::Neighbours { wanted: Some(wanted.clone()), neighbours: wanted, is_large: true }
}

fn dials(effects: &[Effect]) -> usize {
    effects.iter().filter(|effect| matches!(effect, Effect::Dial { .. })).count()
}

#[test]
fn only_neighbours_are_dialled_and_the_others_are_known() {
    let mut hub = Hub::new(ME, Catalog::default(), 1);
    hub.handle(0, neighbours(&[]));
    assert!([6, 7, 8].iter().all(|number| dials(&hub.handle(0, seen(*number))) == 0));
    assert!(hub.peers().iter().all(|view| view.state == PeerState::Known), "{:?}", hub.peers());
    assert_eq!(dials(&hub.handle(1, neighbours(&[7]))), 1);
    assert_eq!(
        dials(
            &hub.handle(2, Input::Neighbours { wanted: None, neighbours: BTreeSet::new(), is_large: false })
        ),
        2
    );
}

#[test]
fn a_connection_that_is_not_needed_ends_after_a_while_and_that_is_no_failure() {
    let mut hub = Hub::new(ME, Catalog::default(), 1);
    hub.handle(0, seen(6));
    hub.handle(0, admitted(6));
    hub.handle(1, Input::Sent { conn: ConnId(6), bytes: 1_000_000 });
    hub.handle(1_000, neighbours(&[]));
    let effects = hub.handle(1_000 + limits::LET_GO_MS - 1, Input::Tick);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Close { .. })));
    let effects = hub.handle(1_000 + limits::LET_GO_MS, Input::Tick);
    let is_let_go = |effect: &Effect| matches!(effect, Effect::Close { reason: CloseReason::NotNeeded, .. });
    assert!(effects.iter().any(is_let_go), "{effects:?}");
    let view = &hub.peers()[0];
    assert_eq!((view.state, view.last_error.clone()), (PeerState::Known, None));
}

#[test]
fn what_the_other_side_does_not_need_is_not_dialled_again() {
    let mut hub = Hub::new(ME, Catalog::default(), 1);
    hub.handle(0, seen(6));
    hub.handle(0, admitted(6));
    hub.handle(1, neighbours(&[]));
    let effects = hub.handle(2, Input::Closed { conn: ConnId(6), why: Closed::NotNeeded });
    assert_eq!(dials(&effects), 0);
    assert_eq!(dials(&hub.handle(60_000, Input::Tick)), 0);
    assert_eq!(hub.peers()[0].last_error, None);
}

#[test]
fn a_node_with_enough_connections_turns_away_whom_it_does_not_need() {
    let mut hub = Hub::new(ME, Catalog::default(), 1);
    hub.handle(0, neighbours(&[9]));
    let mut closed = 0;
    for number in 0..limits::LINKS_COUNT_MAX as u64 + 10 {
        let mut id = [1; 32];
        id[..8].copy_from_slice(&(number + 1_000).to_be_bytes());
        let hello = Hello { name: NodeName::new(&format!("n-{number}")).unwrap(), incarnation: 1 };
        let input = Input::Admitted {
            conn: ConnId(number + 100),
            peer: EndpointId(id),
            hello,
            dialed: false,
            address: None,
        };
        let effects = hub.handle(1, input);
        closed += effects.iter().filter(|effect| matches!(effect, Effect::Close { .. })).count();
    }
    assert_eq!(closed, 10);
    assert!(!hub.handle(1, admitted(9)).iter().any(|effect| matches!(effect, Effect::Close { .. })));
}

#[test]
fn a_message_of_the_overlay_goes_in_and_out_as_it_is() {
    let mut hub = Hub::new(ME, Catalog::default(), 1);
    hub.handle(0, admitted(6));
    let frame = Frame::Gossip { is_large: true, bytes: "hello".into() };
    let effects = hub.handle(1, Input::Received { conn: ConnId(6), frame });
    let is_it = |effect: &Effect| matches!(effect, Effect::Gossip { peer: from, is_large: true, bytes } if *from == peer(6) && bytes == "hello");
    assert!(effects.iter().any(is_it), "{effects:?}");
    let effects = hub.handle(2, Input::Tell { peer: peer(6), bytes: "hi".into() });
    let golden = [10, 0, 0, 0, 0, 3, 0, b'h', b'i'];
    assert!(
        effects.iter().any(|it| matches!(it, Effect::Send { frame, .. } if frame[..] == golden)),
        "{effects:?}"
    );
}

fn committed(number: u8) -> Input {
    let outcome = Outcome {
        doc: "c/x".parse().unwrap(),
        source: Source::Client,
        result: Ok(Written {
            heads: Heads::new(vec![ChangeHash([number; 32])]),
            seq: Some(number.into()),
            action: Action::Put,
            created: false,
            new: "change".into(),
            missing: false,
        }),
    };
    Input::Committed(vec![outcome])
}

fn frames_to(effects: &[Effect], number: u8) -> Vec<Frame> {
    let sent = effects.iter().filter_map(|effect| match effect {
        Effect::Send { conn, frame } if *conn == ConnId(number.into()) => {
            Decoder::default().take(&mut frame.as_ref().into()).unwrap()
        }
        _ => None,
    });
    sent.collect()
}

#[test]
fn a_peer_that_is_kept_stays_connected_and_is_no_part_of_the_overlay() {
    let mut hub = Hub::new(ME, Catalog::default(), 1);
    hub.keep(BTreeSet::from([peer(6)]));
    hub.handle(0, neighbours(&[7]));
    assert_eq!(dials(&hub.handle(0, seen(6))), 1, "although the overlay does not want it");
    assert_eq!(hub.reachable().count(), 0, "and is not offered it");
    let effects = hub.handle(0, admitted(6));
    assert!(frames_to(&effects, 6).contains(&Frame::Scope(Scope::ALL)), "the other end is told");
    hub.handle(0, Input::Received { conn: ConnId(6), frame: Frame::Scope(Scope::ALL) });
    hub.handle(0, admitted(7));

    let frame = Frame::Gossip { is_large: true, bytes: "hello".into() };
    let effects = hub.handle(1, Input::Received { conn: ConnId(6), frame });
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Gossip { .. })), "{effects:?}");
    let effects = hub.handle(2, Input::Tell { peer: peer(6), bytes: "hi".into() });
    assert!(frames_to(&effects, 6).is_empty(), "{effects:?}");

    hub.handle(3, Input::Sent { conn: ConnId(6), bytes: 1_000_000 });
    let effects = hub.handle(4, committed(1));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Broadcast { .. })), "{effects:?}");
    let told = frames_to(&effects, 6);
    let is_news = |frame: &Frame| matches!(frame, Frame::Changes(changes) if !changes.audience.contains(&NodeTag::OVERLAY));
    assert!(told.iter().any(is_news), "the nodes behind it are told by it: {told:?}");

    let effects = hub.handle(limits::LET_GO_MS_MAX + limits::LET_GO_MS, Input::Tick);
    let is_let_go = |effect: &Effect| matches!(effect, Effect::Close { conn, .. } if *conn == ConnId(6));
    assert!(!effects.iter().any(is_let_go), "{effects:?}");
}
