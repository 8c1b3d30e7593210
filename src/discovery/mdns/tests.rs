//! Each test runs in a network of its own, made with `unshare`, so that no multicast leaves it. Where that
//! is not allowed the test prints `skipped: …` and passes.

use std::process::{Command, Output};
use std::sync::Arc;

use peat_mesh_core::id::EndpointId;

use super::*;
use crate::discovery::{DiscoveryEvent, PeerInfo, Running, SourceStatus, start};

/// Set in the process that runs inside the network.
const INSIDE: &str = "PEAT_TEST_INSIDE_OWN_NETWORK";
const LOOPBACK_ONLY: &str = "ip link set lo up && ip link set lo multicast on";
/// A cable with both ends here; `peat0` has an IPv4 and a link-local IPv6 address.
const WITH_CABLE: &str = "ip link set lo up && ip link add peat0 type veth peer name peat1 \
     && ip addr add 192.0.2.1/24 dev peat0 && ip link set peat0 up && ip link set peat1 up \
     && ip -6 addr replace fe80::7/64 dev peat0 nodad";
const NOTHING: &str = "true";
const WAIT: Duration = Duration::from_secs(30);

/// Runs `story` in a network made by `setup`: starts this test again, by its name, inside of it.
fn in_own_network<F: Future<Output = ()>>(test: &str, setup: &str, story: impl FnOnce() -> F) {
    if std::env::var_os(INSIDE).is_some() {
        let interfaces = std::fs::read_to_string("/proc/self/net/dev").unwrap();
        let ours = |line: &str| line.trim_start().starts_with("lo:") || line.contains("peat");
        assert!(interfaces.lines().skip(2).all(ours), "not a network of our own: {interfaces}");
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(story());
        return;
    }
    for flags in [&["--net"][..], &["--map-root-user", "--net"]] {
        let inside = |script: &str| -> std::io::Result<Output> {
            let mut command = Command::new("unshare");
            command.args(flags).args(["sh", "-c", script, "sh"]);
            command.arg(std::env::current_exe()?);
            command.arg(format!("discovery::mdns::tests::{test}"));
            command.env(INSIDE, "1").output()
        };
        if !inside(setup).is_ok_and(|output| output.status.success()) {
            continue;
        }
        let output = inside(&format!("{setup} && exec \"$1\" --exact \"$2\" --nocapture")).unwrap();
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return;
    }
    println!("skipped: a network of its own cannot be made here (unshare, ip)");
}

fn endpoint(name: &NodeName) -> EndpointId {
    let mut bytes = [0; 32];
    bytes[..name.as_str().len()].copy_from_slice(name.as_str().as_bytes());
    EndpointId(bytes)
}

fn id(name: &str) -> EndpointId {
    endpoint(&NodeName::new(name).unwrap())
}

fn node(name: &str, formation: u8, port: u16, interfaces: Option<&[&str]>) -> Running {
    let config = MdnsConfig {
        name: NodeName::new(name).unwrap(),
        port,
        formation_tag: [formation; 16],
        incarnation: u64::from(port).to_be_bytes(),
        interfaces: interfaces.map(|list| list.iter().map(|&text| text.to_owned()).collect()),
        endpoint_of: Arc::new(endpoint),
    };
    start(vec![Box::new(Mdns::new(config))], id(name))
}

async fn next(running: &mut Running) -> DiscoveryEvent {
    timeout(WAIT, running.events.recv()).await.expect("an event in time").expect("discovery runs")
}

async fn found(running: &mut Running) -> PeerInfo {
    match next(running).await {
        DiscoveryEvent::PeerFound(info) => info,
        other => panic!("not found but {other:?}"),
    }
}

async fn status(running: &mut Running, wanted: impl Fn(&SourceStatus) -> bool) -> SourceStatus {
    let wait = async {
        loop {
            let status = running.status().swap_remove(0);
            if wanted(&status) {
                return status;
            }
            running.status_changed().await;
        }
    };
    timeout(WAIT, wait).await.expect("the status in time")
}

#[test]
fn nodes_find_each_other_and_notice_a_goodbye() {
    in_own_network("nodes_find_each_other_and_notice_a_goodbye", LOOPBACK_ONLY, || async {
        let mut alice = node("alice", 1, 4001, None);
        let mut bob = node("bob", 1, 4002, None);
        let seen = found(&mut alice).await;
        assert_eq!((seen.endpoint, seen.name), (id("bob"), NodeName::new("bob").ok()));
        assert!(seen.addresses.contains(&"127.0.0.1:4002".parse().unwrap()), "{:?}", seen.addresses);
        assert_eq!(found(&mut bob).await.endpoint, id("alice"));
        status(&mut alice, |status| status.running && status.detail.contains("1 node")).await;
        status(&mut alice, |status| status.complete).await;

        let before = Instant::now();
        bob.shutdown().await;
        assert!(before.elapsed() < Duration::from_secs(1));
        while next(&mut alice).await != DiscoveryEvent::PeerLost(id("bob")) {}
        let status = status(&mut alice, |status| status.detail.contains("loopback interface only")).await;
        assert!(status.running && status.detail.contains("PEAT_STATIC_PEERS"), "{status}");
        alice.shutdown().await;
    });
}

#[test]
fn formations_do_not_see_each_other() {
    in_own_network("formations_do_not_see_each_other", LOOPBACK_ONLY, || async {
        let mut nodes = [
            node("alice", 1, 4001, None),
            node("carol", 2, 4002, None),
            node("bob", 1, 4003, None),
            node("dave", 2, 4004, None),
        ];
        let friends = ["bob", "dave", "alice", "carol"];
        for (running, friend) in nodes.iter_mut().zip(friends) {
            assert_eq!(found(running).await.endpoint, id(friend));
        }
        for (running, friend) in nodes.iter_mut().zip(friends) {
            while let Ok(event) = running.events.try_recv() {
                let of_friend =
                    matches!(&event, DiscoveryEvent::PeerUpdated(info) if info.endpoint == id(friend));
                assert!(of_friend, "{event:?}");
            }
        }
    });
}

#[test]
fn a_name_used_twice_is_reported_to_both() {
    in_own_network("a_name_used_twice_is_reported_to_both", LOOPBACK_ONLY, || async {
        let mut first = node("alice", 1, 4001, None);
        let mut second = node("alice", 1, 4002, None);
        for (running, port) in [(&mut first, 4002), (&mut second, 4001)] {
            let DiscoveryEvent::SelfElsewhere { source, addresses } = next(running).await else {
                panic!("not the notice");
            };
            assert_eq!(source, "mdns");
            assert!(addresses.iter().all(|address| address.port() == port), "{addresses:?}");
        }
    });
}

#[test]
fn chosen_interfaces_are_used_and_link_local_addresses_name_theirs() {
    let test = "chosen_interfaces_are_used_and_link_local_addresses_name_theirs";
    in_own_network(test, WITH_CABLE, || async {
        let mut alice = node("alice", 1, 4001, Some(&["peat0"]));
        let _bob = node("bob", 1, 4002, Some(&["192.0.2.1", "peat0"]));
        let mut info = found(&mut alice).await;
        loop {
            assert!(info.addresses.iter().all(|address| !address.ip().is_loopback()), "{info:?}");
            let v4 = info.addresses.contains(&"192.0.2.1:4002".parse().unwrap());
            let scoped = |address: &std::net::SocketAddr| match address {
                std::net::SocketAddr::V6(v6) => v6.ip().is_unicast_link_local() && v6.scope_id() != 0,
                std::net::SocketAddr::V4(_) => false,
            };
            if v4 && info.addresses.iter().any(scoped) {
                return;
            }
            info = match next(&mut alice).await {
                DiscoveryEvent::PeerUpdated(info) => info,
                other => panic!("not an update but {other:?}"),
            };
        }
    });
}

#[test]
fn a_network_without_multicast_is_named_in_the_status_and_stops_nothing() {
    let test = "a_network_without_multicast_is_named_in_the_status_and_stops_nothing";
    in_own_network(test, NOTHING, || async {
        let mut alice = node("alice", 1, 4001, Some(&["lo", "eth7"]));
        let status = status(&mut alice, |status| status.detail.contains("multicast")).await;
        assert!(status.detail.contains("lo, eth7"), "{status}");
        assert!(!status.running && status.detail.contains("use PEAT_STATIC_PEERS"), "{status}");
        alice.shutdown().await;
    });
}

#[test]
fn while_somebody_is_missing_the_question_is_asked_often() {
    let own = NodeName::new("alice").unwrap();
    let mut table = Table::new("mdns", own, [0; 8], Arc::new(endpoint));
    let mut ears = Ears::default();
    let hear = |table: &mut Table, name: &str| {
        let announcement = Announcement {
            instance: format!("{name}.{SERVICE}"),
            name: NodeName::new(name).unwrap(),
            incarnation: [1; 8],
            addresses: vec!["192.0.2.9:1".parse().unwrap()],
        };
        assert!(matches!(table.heard(announcement), Heard::Others(_)));
    };
    let leave = |table: &mut Table, ears: &mut Ears, name: &str| {
        let gone = ServiceEvent::ServiceRemoved(SERVICE.to_owned(), format!("{name}.{SERVICE}"));
        assert_eq!(ears.take(gone, &[0; 16], table), [DiscoveryEvent::PeerLost(id(name))]);
    };
    hear(&mut table, "bob");
    hear(&mut table, "carol");
    assert_eq!(ears.ask_every_ms(&table), ASK_EVERY_MS);
    leave(&mut table, &mut ears, "bob");
    leave(&mut table, &mut ears, "carol");
    assert_eq!(ears.ask_every_ms(&table), ASK_FOR_MISSING_EVERY_MS);
    hear(&mut table, "bob");
    assert_eq!(ears.ask_every_ms(&table), ASK_FOR_MISSING_EVERY_MS, "one is still missing");
    hear(&mut table, "carol");
    assert_eq!(ears.ask_every_ms(&table), ASK_EVERY_MS);
}
