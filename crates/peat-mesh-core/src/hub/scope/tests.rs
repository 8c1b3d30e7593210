use bytes::{Bytes, BytesMut};

use super::*;
use crate::id::{EndpointId, NodeName};
use crate::io::{CloseReason, Effect, Input};
use crate::wire::{Changes, Decoder, Hello};

const CONN: ConnId = ConnId(1);

/// A hub with these scopes and a peer named `b/0`.
fn hub(scopes: &str) -> (Hub, Vec<Effect>) {
    let mut hub = Hub::new(EndpointId([5; 32]), Catalog::default(), 7);
    hub.set_link_scopes(LinkScopes::parse(scopes).unwrap());
    let hello = Hello { name: NodeName::new("b/0").unwrap(), incarnation: 1 };
    let admitted =
        Input::Admitted { conn: CONN, peer: EndpointId([9; 32]), hello, dialed: true, address: None };
    let effects = hub.handle(0, admitted);
    (hub, effects)
}

fn frames(effects: &[Effect]) -> Vec<Frame> {
    let frame = |effect: &Effect| match effect {
        Effect::Send { frame, .. } => Decoder::default().take(&mut BytesMut::from(&frame[..])).unwrap(),
        _ => None,
    };
    effects.iter().filter_map(frame).collect()
}

fn merged(effects: &[Effect]) -> Vec<String> {
    let docs = |effect: &Effect| match effect {
        Effect::Merge { changes, .. } => changes.documents.iter().map(|(doc, _)| doc.to_string()).collect(),
        _ => Vec::new(),
    };
    effects.iter().flat_map(docs).collect()
}

fn sends(docs: &[&str]) -> Input {
    let documents = docs.iter().map(|doc| (doc.parse().unwrap(), Bytes::from_static(b"x"))).collect();
    Input::Received {
        conn: CONN,
        frame: Frame::Changes(Changes { repair: false, audience: vec![], documents }),
    }
}

fn says(scope: Scope) -> Input {
    Input::Received { conn: CONN, frame: Frame::Scope(scope) }
}

#[test]
fn what_may_not_come_in_is_dropped_and_told_and_the_link_stays() {
    let (mut hub, _) = hub("b/*: receive=orders");
    hub.handle(1, says(Scope::ALL));
    let effects = hub.handle(2, sends(&["orders/1", "secrets/1", "secrets/2"]));
    assert_eq!(merged(&effects), ["orders/1"]);
    assert!(merged(&hub.handle(3, sends(&["secrets/3"]))).is_empty());
    let view = &hub.peers()[0];
    assert_eq!(view.conn, Some(CONN));
    let error = view.last_error.as_deref().unwrap();
    assert!(error.contains("3 documents") && error.contains("secrets/3"), "{error}");
    // Nothing of it is waited for.
    assert_eq!((view.documents_to_merge, view.documents_received), (1, 1));
}

#[test]
fn nothing_crosses_before_the_peer_has_said_its_scope() {
    let (mut hub, effects) = hub("b/*: receive=orders");
    assert!(matches!(&frames(&effects)[..], [Frame::Scope(_)]), "{effects:?}");
    assert!(merged(&hub.handle(1, sends(&["orders/1", "secrets/1"]))).is_empty());
    let wakeup = hub.next_wakeup().expect("the peer has to say it in time");
    assert!(wakeup >= limits::NOT_READING_MS_MAX, "{wakeup}");
    assert_eq!(hub.peers()[0].last_error, None, "it could not know");
    let effects = hub.handle(2, says(Scope::ALL));
    assert!(matches!(&frames(&effects)[..], [Frame::Probe { .. }]), "{effects:?}");
}

#[test]
fn a_node_without_bounds_answers_with_none_and_keeps_to_those_of_the_peer() {
    let (mut hub, effects) = hub("");
    assert!(matches!(&frames(&effects)[..], [Frame::Probe { .. }]), "{effects:?}");
    let theirs = Scope { send: Collections::All, receive: Collections::none() };
    let effects = hub.handle(1, says(theirs.clone()));
    assert!(frames(&effects).contains(&Frame::Scope(Scope::ALL)), "{effects:?}");
    let second = hub.handle(2, says(theirs));
    assert!(
        matches!(&second[..], [.., Effect::Close { reason: CloseReason::BrokenRule(_), .. }]),
        "a peer cannot make a node build catalogs again and again: {second:?}"
    );
    assert!(hub.scopes.catalogs.is_empty());
}

#[test]
fn links_with_the_same_bounds_share_a_catalog_and_the_last_one_takes_it_away() {
    let (mut hub, _) = hub("b/*: send=a receive=b");
    hub.handle(1, says(Scope::ALL));
    assert_eq!(hub.scopes.catalogs.len(), 1);
    hub.handle(2, Input::Closed { conn: CONN, why: crate::io::Closed::Goodbye });
    assert!(hub.scopes.catalogs.is_empty());
}
