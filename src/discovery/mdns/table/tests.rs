use super::*;

fn endpoint(name: &NodeName) -> EndpointId {
    let mut bytes = [0; 32];
    bytes[..name.as_str().len()].copy_from_slice(name.as_str().as_bytes());
    EndpointId(bytes)
}

fn name(text: &str) -> NodeName {
    NodeName::new(text).unwrap()
}

fn table() -> Table {
    Table::new("mdns", name("me"), [1; 8], std::sync::Arc::new(endpoint))
}

fn says(instance: &str, who: &str, incarnation: u8, port: u16) -> Announcement {
    Announcement {
        instance: instance.to_owned(),
        name: name(who),
        incarnation: [incarnation; 8],
        addresses: vec![([192, 0, 2, 1], port).into()],
    }
}

fn info(who: &str, ports: &[u16]) -> PeerInfo {
    let who = name(who);
    let addresses = ports.iter().map(|&port| ([192, 0, 2, 1], port).into());
    PeerInfo::new(endpoint(&who), Some(who), addresses.collect())
}

fn others(heard: Heard) -> Vec<DiscoveryEvent> {
    match heard {
        Heard::Others(events) => events,
        Heard::Ourselves(_) => panic!("ourselves"),
    }
}

#[test]
fn a_peer_is_found_updated_and_lost() {
    let mut table = table();
    let events = others(table.heard(says("a-1", "a", 2, 10)));
    assert_eq!(events, [DiscoveryEvent::PeerFound(info("a", &[10]))]);
    assert_eq!(others(table.heard(says("a-1", "a", 2, 10))), []);
    let events = others(table.heard(says("a-1", "a", 2, 11)));
    assert_eq!(events, [DiscoveryEvent::PeerUpdated(info("a", &[11]))]);
    assert_eq!(table.left("a-1"), Some(DiscoveryEvent::PeerLost(endpoint(&name("a")))));
    assert_eq!(table.left("a-1"), None);
}

#[test]
fn a_node_started_again_has_both_addresses_until_the_old_record_expires() {
    let mut table = table();
    table.heard(says("a-1", "a", 2, 10));
    let events = others(table.heard(says("a-2", "a", 3, 11)));
    assert_eq!(events, [DiscoveryEvent::PeerUpdated(info("a", &[10, 11]))]);
    assert_eq!(table.left("a-1"), Some(DiscoveryEvent::PeerUpdated(info("a", &[11]))));
    assert_eq!(table.left("a-2"), Some(DiscoveryEvent::PeerLost(endpoint(&name("a")))));
}

#[test]
fn an_instance_that_changes_its_name_is_another_peer() {
    let mut table = table();
    table.heard(says("x", "a", 2, 10));
    let events = others(table.heard(says("x", "b", 2, 10)));
    let lost = DiscoveryEvent::PeerLost(endpoint(&name("a")));
    assert_eq!(events, [lost, DiscoveryEvent::PeerFound(info("b", &[10]))]);
}

#[test]
fn our_own_name_elsewhere_is_reported_once_per_process() {
    let mut table = table();
    let own = table.heard(says("me-1", "me", 1, 10));
    assert_eq!(own, Heard::Ourselves(vec![([192, 0, 2, 1], 10).into()]));
    let events = others(table.heard(says("me-2", "me", 2, 11)));
    let [DiscoveryEvent::SelfElsewhere { source: "mdns", addresses }] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(addresses, &[([192, 0, 2, 1], 11).into()]);
    assert_eq!(others(table.heard(says("me-2", "me", 2, 12))), []);
    assert_eq!(others(table.heard(says("me-3", "me", 3, 13))).len(), 1);
    assert_eq!(table.left("me-2"), None);
}

#[test]
fn a_flood_of_processes_is_bounded_and_known_ones_stay() {
    let mut table = table();
    for number in 0..INSTANCES_COUNT_MAX {
        table.heard(says(&format!("i-{number}"), &format!("n-{number}"), 2, 10));
    }
    assert_eq!(others(table.heard(says("more", "more", 2, 10))), []);
    assert_eq!(others(table.heard(says("i-0", "n-0", 2, 11))).len(), 1);
    assert!(table.left("i-1").is_some());
    assert_eq!(others(table.heard(says("more", "more", 2, 10))).len(), 1);
}

#[test]
fn clearing_loses_everybody() {
    let mut table = table();
    table.heard(says("a", "a", 2, 10));
    table.heard(says("b", "b", 2, 10));
    assert_eq!(table.clear().len(), 2);
    assert_eq!(table.clear(), []);
    assert_eq!(others(table.heard(says("a", "a", 2, 10))).len(), 1);
}
