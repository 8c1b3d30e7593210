use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use peat_mesh_core::id::NodeName;
use peat_mesh_core::limits::PEER_ADDRESSES_COUNT_MAX;
use proptest::prelude::*;

use super::*;

const OWN: EndpointId = EndpointId([0; 32]);

fn peer(number: u8) -> EndpointId {
    EndpointId([number; 32])
}

fn addr(number: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], number))
}

fn info(number: u8, addresses: &[u16]) -> PeerInfo {
    PeerInfo::new(peer(number), None, addresses.iter().copied().map(addr).collect())
}

fn found(number: u8, addresses: &[u16]) -> DiscoveryEvent {
    DiscoveryEvent::PeerFound(info(number, addresses))
}

fn updated(number: u8, addresses: &[u16]) -> DiscoveryEvent {
    DiscoveryEvent::PeerUpdated(info(number, addresses))
}

fn lost(number: u8) -> DiscoveryEvent {
    DiscoveryEvent::PeerLost(peer(number))
}

#[test]
fn a_peer_has_the_addresses_of_all_sources_and_is_lost_with_the_last() {
    let mut merged = Merged::new(OWN);
    assert_eq!(merged.apply(0, found(1, &[10])), [found(1, &[10])]);
    assert_eq!(merged.apply(1, found(1, &[11])), [updated(1, &[10, 11])]);
    assert_eq!(merged.apply(1, updated(1, &[10])), [updated(1, &[10])]);
    assert_eq!(merged.apply(0, lost(1)), [], "the other source still has the address");
    assert_eq!(merged.apply(0, lost(1)), []);
    assert_eq!(merged.apply(1, lost(1)), [lost(1)]);
}

#[test]
fn the_node_itself_is_no_peer() {
    let mut merged = Merged::new(OWN);
    assert_eq!(merged.apply(0, found(0, &[10])), []);
    assert_eq!(merged.apply(0, lost(0)), []);
}

#[test]
fn the_first_source_that_knows_a_name_gives_it() {
    let named = |name: &str| PeerInfo { name: Some(NodeName::new(name).unwrap()), ..info(1, &[10]) };
    let mut merged = Merged::new(OWN);
    merged.apply(0, found(1, &[10]));
    let events = merged.apply(2, DiscoveryEvent::PeerFound(named("late")));
    assert_eq!(events, [DiscoveryEvent::PeerUpdated(named("late"))]);
    let events = merged.apply(1, DiscoveryEvent::PeerFound(named("early")));
    assert_eq!(events, [DiscoveryEvent::PeerUpdated(named("early"))]);
}

#[test]
fn a_full_view_leaves_new_peers_out_and_keeps_the_known() {
    let mut merged = Merged::new(OWN);
    let endpoint = |number: usize| {
        let mut bytes = [1; 32];
        bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
        EndpointId(bytes)
    };
    let at = |number| PeerInfo::new(endpoint(number), None, vec![addr(10)]);
    for number in 0..PEERS_COUNT_MAX {
        assert_eq!(merged.apply(0, DiscoveryEvent::PeerFound(at(number))).len(), 1);
    }
    assert_eq!(merged.apply(0, DiscoveryEvent::PeerFound(at(PEERS_COUNT_MAX))), []);
    assert_eq!(merged.refused_count(), 1);
    assert_eq!(merged.apply(0, DiscoveryEvent::PeerLost(endpoint(7))).len(), 1);
    assert_eq!(merged.apply(0, DiscoveryEvent::PeerFound(at(PEERS_COUNT_MAX))).len(), 1);
}

#[test]
fn no_source_crowds_out_another_at_the_address_limit() {
    let mut merged = Merged::new(OWN);
    let many: Vec<u16> = (100..200).collect();
    merged.apply(0, found(1, &many));
    let events = merged.apply(1, found(1, &[900, 901]));
    let [DiscoveryEvent::PeerUpdated(info)] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(info.addresses.len(), PEER_ADDRESSES_COUNT_MAX);
    assert!(info.addresses.contains(&addr(900)) && info.addresses.contains(&addr(901)));
}

#[derive(Debug, Clone)]
enum Step {
    Has(usize, u8, Vec<u16>),
    Lost(usize, u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let addresses = proptest::collection::vec(0u16..6, 0..5);
    let step = prop_oneof![
        (0usize..3, 0u8..4, addresses).prop_map(|(source, peer, list)| Step::Has(source, peer, list)),
        (0usize..3, 0u8..4).prop_map(|(source, peer)| Step::Lost(source, peer)),
    ];
    proptest::collection::vec(step, 0..60)
}

proptest! {
    /// The model keeps what each source says; who listens to the events must see the union of it.
    #[test]
    fn listeners_see_the_union_and_no_event_without_a_change(steps in steps()) {
        let mut merged = Merged::new(OWN);
        let mut model: BTreeMap<(u8, usize), BTreeSet<u16>> = BTreeMap::new();
        let mut seen: BTreeMap<EndpointId, Vec<SocketAddr>> = BTreeMap::new();
        for step in steps {
            let events = match step {
                Step::Has(source, number, list) => {
                    model.insert((number, source), list.iter().copied().collect());
                    merged.apply(source, updated(number, &list))
                }
                Step::Lost(source, number) => {
                    model.remove(&(number, source));
                    merged.apply(source, lost(number))
                }
            };
            prop_assert!(events.len() <= 1);
            for event in events {
                match event {
                    DiscoveryEvent::PeerFound(info) => {
                        prop_assert_eq!(seen.insert(info.endpoint, info.addresses), None);
                    }
                    DiscoveryEvent::PeerUpdated(info) => {
                        let new = info.addresses.clone();
                        let old = seen.insert(info.endpoint, info.addresses);
                        prop_assert!(old.is_some_and(|old| old != new));
                    }
                    DiscoveryEvent::PeerLost(endpoint) => prop_assert!(seen.remove(&endpoint).is_some()),
                    DiscoveryEvent::SelfElsewhere { .. } => unreachable!("no source said so"),
                }
            }
            let mut expected: BTreeMap<EndpointId, BTreeSet<SocketAddr>> = BTreeMap::new();
            for ((number, _), list) in model.iter().filter(|((number, _), _)| *number != 0) {
                expected.entry(peer(*number)).or_default().extend(list.iter().copied().map(addr));
            }
            let expected: BTreeMap<_, Vec<_>> =
                expected.into_iter().map(|(id, list)| (id, list.into_iter().collect())).collect();
            prop_assert_eq!(&seen, &expected);
        }
    }
}

#[test]
fn what_several_sources_know_about_a_peer_is_joined_and_the_first_has_precedence() {
    let with = |entries: &[(&str, &str)], relay: Option<&str>| {
        let metadata = entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        info(1, &[10]).with(&Details { metadata, relay: relay.map(str::to_owned) })
    };
    let mut merged = Merged::new(OWN);
    merged.apply(1, DiscoveryEvent::PeerFound(with(&[("site", "b"), ("role", "b")], Some("https://b"))));
    let events = merged.apply(0, DiscoveryEvent::PeerFound(with(&[("site", "a"), ("zone", "a")], None)));
    let union = with(&[("role", "b"), ("site", "a"), ("zone", "a")], Some("https://b"));
    assert_eq!(events, [DiscoveryEvent::PeerUpdated(union)]);
    let events = merged.apply(1, lost(1));
    assert_eq!(events, [DiscoveryEvent::PeerUpdated(with(&[("site", "a"), ("zone", "a")], None))]);
}

#[test]
fn details_have_bounds() {
    use crate::discovery::limits::{METADATA_COUNT_MAX, METADATA_KEY_BYTES_MAX, METADATA_VALUE_BYTES_MAX};
    let mut metadata: BTreeMap<String, String> =
        (0..100).map(|number| (format!("key-{number:03}"), "value".to_owned())).collect();
    metadata.insert("a".repeat(METADATA_KEY_BYTES_MAX + 1), String::new());
    metadata.insert("b".to_owned(), "x".repeat(METADATA_VALUE_BYTES_MAX + 1));
    metadata.insert(String::new(), String::new());
    let details = info(1, &[]).with(&Details { metadata, relay: Some("x".repeat(1_000)) }).details;
    assert_eq!((details.metadata.len(), &details.relay), (METADATA_COUNT_MAX, &None));
    assert!(details.metadata.keys().all(|key| key.starts_with("key-")), "{details:?}");
}
