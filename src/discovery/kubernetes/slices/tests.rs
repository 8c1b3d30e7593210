use std::sync::Arc;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::discovery::v1::{EndpointConditions, EndpointPort};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use proptest::prelude::*;

use super::*;

fn endpoint_of() -> EndpointOf {
    Arc::new(|name| {
        let mut bytes = [0; 32];
        bytes[..name.as_str().len()].copy_from_slice(name.as_str().as_bytes());
        EndpointId(bytes)
    })
}

fn name(text: &str) -> NodeName {
    NodeName::new(text).unwrap()
}

fn id(text: &str) -> EndpointId {
    endpoint_of()(&name(text))
}

fn index_of(own: &str) -> Index {
    Index::new(id(own), &name(own), endpoint_of())
}

fn index() -> Index {
    index_of("peat-mesh-0")
}

fn port(name: Option<&str>, protocol: &str, port: i32) -> EndpointPort {
    let name = name.map(str::to_owned);
    EndpointPort { name, port: Some(port), protocol: Some(protocol.to_owned()), ..EndpointPort::default() }
}

fn pod(name: &str, addresses: &[&str]) -> Endpoint {
    let target = ObjectReference {
        kind: Some("Pod".to_owned()),
        name: Some(name.to_owned()),
        ..ObjectReference::default()
    };
    Endpoint {
        addresses: addresses.iter().map(|&text| text.to_owned()).collect(),
        target_ref: Some(target),
        ..Endpoint::default()
    }
}

fn with_conditions(endpoint: Endpoint, ready: bool, terminating: bool) -> Endpoint {
    let conditions =
        EndpointConditions { ready: Some(ready), serving: Some(ready), terminating: Some(terminating) };
    Endpoint { conditions: Some(conditions), ..endpoint }
}

/// A slice as the chart's service makes them: HTTP is the first port and QUIC the second.
fn slice(name: &str, address_type: &str, endpoints: Vec<Endpoint>) -> EndpointSlice {
    EndpointSlice {
        address_type: address_type.to_owned(),
        endpoints,
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        ports: Some(vec![port(Some("http"), "TCP", 8081), port(Some("quic"), "UDP", 11204)]),
    }
}

fn annotated(mut slice: EndpointSlice, annotations: &[(&str, &str)]) -> EndpointSlice {
    let pairs = annotations.iter().map(|&(key, value)| (key.to_owned(), value.to_owned()));
    slice.metadata.annotations = Some(pairs.collect());
    slice
}

fn info(who: &str, addresses: &[&str]) -> PeerInfo {
    PeerInfo::new(id(who), Some(name(who)), addresses.iter().map(|text| text.parse().unwrap()).collect())
}

fn found(who: &str, addresses: &[&str]) -> DiscoveryEvent {
    DiscoveryEvent::PeerFound(info(who, addresses))
}

fn updated(who: &str, addresses: &[&str]) -> DiscoveryEvent {
    DiscoveryEvent::PeerUpdated(info(who, addresses))
}

fn lost(who: &str) -> DiscoveryEvent {
    DiscoveryEvent::PeerLost(id(who))
}

#[test]
fn pods_become_peers_at_the_port_named_quic_and_the_node_itself_does_not() {
    let pods = vec![pod("peat-mesh-0", &["10.0.0.1"]), pod("peat-mesh-1", &["10.0.0.2"])];
    let mut index = index();
    assert_eq!(index.apply(&slice("a", "IPv4", pods.clone())), [found("peat-mesh-1", &["10.0.0.2:11204"])]);
    assert_eq!(index.apply(&slice("a", "IPv4", pods)), [], "the same once more is no news");
    assert_eq!(index.summary(), "1 peer in 1 slice");
    assert_eq!(index.delete("a"), [lost("peat-mesh-1")]);
    assert_eq!(index.delete("a"), []);
}

#[test]
fn several_slices_and_both_address_families_unite() {
    let mut index = index();
    index.apply(&slice("v4", "IPv4", vec![pod("b", &["10.0.0.2"])]));
    let events = index.apply(&slice("v6", "IPv6", vec![pod("b", &["fd00::2"])]));
    assert_eq!(events, [updated("b", &["10.0.0.2:11204", "[fd00::2]:11204"])]);
    let events = index.apply(&slice("v4-2", "IPv4", vec![pod("c", &["10.0.0.3"])]));
    assert_eq!(events, [found("c", &["10.0.0.3:11204"])]);
    assert_eq!(index.delete("v4"), [updated("b", &["[fd00::2]:11204"])]);
    assert_eq!(index.delete("v6"), [lost("b")]);
}

#[test]
fn a_peer_that_moves_between_slices_is_not_lost() {
    let mut index = index();
    index.apply(&slice("a", "IPv4", vec![pod("b", &["10.0.0.2"])]));
    assert_eq!(index.apply(&slice("new", "IPv4", vec![pod("b", &["10.0.0.2"])])), []);
    assert_eq!(index.apply(&slice("a", "IPv4", Vec::new())), []);
    assert_eq!(index.delete("new"), [lost("b")]);
}

#[test]
fn endpoints_that_are_not_ready_are_peers_and_those_that_terminate_are_not_offered_any_more() {
    let pods = |terminating| vec![with_conditions(pod("b", &["10.0.0.2"]), false, terminating)];
    let mut index = index();
    assert_eq!(index.apply(&slice("a", "IPv4", pods(false))), [found("b", &["10.0.0.2:11204"])]);
    assert_eq!(index.apply(&slice("a", "IPv4", pods(true))), [lost("b")]);
    // A stateful set starts the next pod of the same name while the old one is still in the slice.
    let mut both = pods(true);
    both.push(with_conditions(pod("b", &["10.0.0.9"]), false, false));
    assert_eq!(index.apply(&slice("a", "IPv4", both)), [found("b", &["10.0.0.9:11204"])]);
}

#[test]
fn without_a_port_named_quic_the_only_udp_port_is_taken_or_else_the_slice_is_left_out() {
    let with_ports = |ports: Option<Vec<EndpointPort>>| EndpointSlice {
        ports,
        ..slice("a", "IPv4", vec![pod("b", &["10.0.0.2"])])
    };
    let mut index = index();
    let one = with_ports(Some(vec![port(None, "TCP", 80), port(Some("mesh"), "UDP", 4000)]));
    assert_eq!(index.apply(&one), [found("b", &["10.0.0.2:4000"])]);
    for unclear in [
        Some(vec![port(Some("http"), "TCP", 8081)]),
        Some(vec![port(Some("x"), "UDP", 1), port(Some("y"), "UDP", 2)]),
        Some(vec![port(Some("quic"), "UDP", 0)]),
        Some(vec![port(Some("quic"), "UDP", 70_000)]),
        Some(vec![EndpointPort { port: None, ..port(Some("quic"), "UDP", 0) }]),
        Some(Vec::new()),
        None,
    ] {
        index.apply(&one);
        assert_eq!(index.apply(&with_ports(unclear)), [lost("b")]);
        assert!(index.summary().contains("1 slice left out: no port is named quic"), "{}", index.summary());
    }
}

#[test]
fn the_name_is_that_of_the_pod_or_else_the_host_name_and_has_the_clusters_before_it() {
    let by_host = |host: &str| Endpoint {
        hostname: Some(host.to_owned()),
        target_ref: None,
        ..pod("ignored", &["10.0.0.3"])
    };
    let node = Endpoint {
        target_ref: Some(ObjectReference {
            kind: Some("Node".to_owned()),
            ..pod("n", &[]).target_ref.unwrap()
        }),
        ..by_host("d")
    };
    let pods = vec![pod("b", &["10.0.0.2"]), by_host("c"), node];
    let mut index = index_of("alpha/peat-mesh-0");
    let events = index.apply(&slice("a", "IPv4", pods));
    let expected = [
        found("alpha/b", &["10.0.0.2:11204"]),
        found("alpha/c", &["10.0.0.3:11204"]),
        found("alpha/d", &["10.0.0.3:11204"]),
    ];
    assert_eq!(events, expected);
}

#[test]
fn endpoints_without_a_name_that_a_node_can_have_are_counted_and_left_out() {
    let nameless = Endpoint { target_ref: None, ..pod("x", &["10.0.0.3"]) };
    let bad = [pod("", &["10.0.0.4"]), pod("no spaces", &["10.0.0.5"]), pod("beta/b", &["10.0.0.6"])];
    let mut pods = vec![nameless, pod(&"x".repeat(500), &["10.0.0.7"]), pod("b", &["10.0.0.2"])];
    pods.extend(bad);
    let mut index = index();
    assert_eq!(index.apply(&slice("a", "IPv4", pods)), [found("b", &["10.0.0.2:11204"])]);
    assert_eq!(
        index.summary(),
        "1 peer in 1 slice; 5 endpoints left out: no pod's name that a node can have"
    );
}

#[test]
fn addresses_that_cannot_be_dialled_are_left_out_and_duplicates_count_once() {
    let odd = ["10.0.0.2", "10.0.0.2", "0.0.0.0", "224.0.0.1", "fd00::2", "b.example", ""];
    let pods = vec![pod("b", &odd), pod("b", &["10.0.0.2", "10.0.0.3"]), pod("c", &["0.0.0.0"])];
    let mut index = index();
    let events = index.apply(&slice("a", "IPv4", pods));
    assert_eq!(events, [found("b", &["10.0.0.2:11204", "10.0.0.3:11204"])]);
    for unknown in ["FQDN", "ipv4", ""] {
        index.apply(&slice("other", unknown, vec![pod("d", &["10.0.0.9"])]));
        assert!(index.summary().contains("1 slice left out: the address type"), "{}", index.summary());
    }
}

#[test]
fn a_full_list_replaces_all_and_tells_exactly_what_is_different() {
    let mut index = index();
    let old = [
        slice("a", "IPv4", vec![pod("b", &["10.0.0.2"]), pod("c", &["10.0.0.3"])]),
        slice("z", "IPv4", vec![pod("d", &["10.0.0.4"])]),
    ];
    index.replace(&old);
    assert_eq!(index.replace(&old), []);
    let new = [slice(
        "a",
        "IPv4",
        vec![pod("b", &["10.0.0.2"]), pod("c", &["10.0.0.33"]), pod("e", &["10.0.0.5"])],
    )];
    let events = index.replace(&new);
    let expected = [lost("d"), updated("c", &["10.0.0.33:11204"]), found("e", &["10.0.0.5:11204"])];
    assert_eq!(events, expected);
    assert_eq!(index.replace(&[]), [lost("b"), lost("c"), lost("e")]);
}

#[test]
fn annotations_become_metadata_and_the_relay() {
    let annotations = [
        ("peat.site", "harbour"),
        ("peat.relay_url", "https://relay.example"),
        ("kubernetes.io/description", "not ours"),
        ("peat.", "no key"),
    ];
    let mut index = index();
    let plain = slice("a", "IPv4", vec![pod("b", &["10.0.0.2"])]);
    let details = Details {
        metadata: [("site".to_owned(), "harbour".to_owned())].into(),
        relay: Some("https://relay.example".to_owned()),
    };
    let with_details = info("b", &["10.0.0.2:11204"]).with(&details);
    let events = index.apply(&annotated(plain.clone(), &annotations));
    assert_eq!(events, [DiscoveryEvent::PeerFound(with_details)]);
    assert_eq!(index.apply(&plain), [updated("b", &["10.0.0.2:11204"])]);
    for bad in [
        "ftp://relay.example",
        "https://relay .example",
        "relay.example",
        &format!("https://{}", "x".repeat(600)),
    ] {
        assert_eq!(index.apply(&annotated(plain.clone(), &[("peat.relay_url", bad)])), [], "{bad}");
    }
}

#[test]
fn slices_of_two_services_join_what_is_said_about_a_pod() {
    let one = slice("a", "IPv4", vec![pod("b", &["10.0.0.2"])]);
    let two = slice("b", "IPv4", vec![pod("b", &["10.0.0.2"])]);
    let mut index = index();
    index.apply(&annotated(two, &[("peat.site", "second"), ("peat.role", "gateway")]));
    let events = index.apply(&annotated(one, &[("peat.site", "first")]));
    let [DiscoveryEvent::PeerUpdated(info)] = &events[..] else { panic!("{events:?}") };
    let pairs: Vec<_> = info.details.metadata.iter().map(|(key, value)| (&**key, &**value)).collect();
    assert_eq!(pairs, [("role", "gateway"), ("site", "first")]);
}

#[test]
fn more_slices_and_endpoints_than_fit_are_left_out_and_told() {
    let mut index = index();
    let slices: Vec<_> = (0..SLICES_COUNT_MAX + 3)
        .map(|number| {
            slice(&format!("s{number:04}"), "IPv4", vec![pod(&format!("p{number}"), &["10.0.0.2"])])
        })
        .collect();
    assert_eq!(index.replace(&slices).len(), SLICES_COUNT_MAX);
    assert!(index.summary().ends_with("slices beyond 128 left out"), "{}", index.summary());
    let many = (0..ENDPOINTS_PER_SLICE_COUNT_MAX + 2).map(|number| pod(&format!("q{number}"), &["10.0.0.2"]));
    index.replace(&[slice("a", "IPv4", many.collect())]);
    let summary = index.summary();
    assert_eq!(summary, "1000 peers in 1 slice; 2 endpoints left out: too many in one slice");
    let crowd: Vec<String> = (0..100).map(|number| format!("10.0.1.{number}")).collect();
    let crowd: Vec<&str> = crowd.iter().map(String::as_str).collect();
    let [.., DiscoveryEvent::PeerUpdated(info) | DiscoveryEvent::PeerFound(info)] =
        &index.replace(&[slice("a", "IPv4", vec![pod("b", &crowd)])])[..]
    else {
        panic!("a peer")
    };
    assert_eq!(info.addresses.len(), PEER_ADDRESSES_COUNT_MAX);
}

/// What a node knows that takes these events one after the other. None of them may be without need.
fn take(known: &mut BTreeMap<EndpointId, PeerInfo>, events: Vec<DiscoveryEvent>) {
    for event in events {
        match event {
            DiscoveryEvent::PeerFound(info) => assert_eq!(known.insert(info.endpoint, info), None),
            DiscoveryEvent::PeerUpdated(info) => {
                let old = known.insert(info.endpoint, info.clone());
                assert!(old.is_some_and(|old| old != info));
            }
            DiscoveryEvent::PeerLost(endpoint) => assert!(known.remove(&endpoint).is_some()),
            other @ DiscoveryEvent::SelfElsewhere { .. } => panic!("{other:?}"),
        }
    }
}

fn any_slice() -> impl Strategy<Value = EndpointSlice> {
    let pods = prop::collection::vec((0..4, 0..3, any::<bool>()), 0..4);
    (0..3, pods, any::<bool>()).prop_map(|(number, pods, is_annotated)| {
        let endpoints = pods.into_iter().map(|(who, ip, terminating)| {
            with_conditions(pod(&format!("peat-mesh-{who}"), &[&format!("10.0.0.{ip}")]), true, terminating)
        });
        let slice = slice(&format!("s{number}"), "IPv4", endpoints.collect());
        let site = format!("site-{number}");
        if is_annotated { annotated(slice, &[("peat.site", &site)]) } else { slice }
    })
}

proptest! {
    #[test]
    fn events_lead_from_nothing_to_what_a_full_list_says(
        steps in prop::collection::vec((any_slice(), 0..4), 1..20),
    ) {
        let (mut index, mut known) = (index(), BTreeMap::new());
        let mut slices: BTreeMap<String, EndpointSlice> = BTreeMap::new();
        for (slice, step) in steps {
            let name = slice.metadata.name.clone().unwrap();
            let events = match step {
                0 => {
                    slices.remove(&name);
                    index.delete(&name)
                }
                1 => {
                    slices = BTreeMap::from([(name, slice.clone())]);
                    index.replace(&[slice])
                }
                _ => {
                    slices.insert(name, slice.clone());
                    index.apply(&slice)
                }
            };
            take(&mut known, events);
        }
        let mut listed = BTreeMap::new();
        let all: Vec<_> = slices.into_values().collect();
        take(&mut listed, index_of("peat-mesh-0").replace(&all));
        prop_assert_eq!(known, listed);
    }
}
