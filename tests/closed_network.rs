//! A closed network: what a node with defaults sends, packet by packet.
//!
//! Two network namespaces and one cable. Every frame that leaves the node's side is read at the other end
//! of the cable. The node has a default route, so whatever it sent to the rest of the world would be seen;
//! the other end forwards nothing. At the end a packet to the rest of the world is sent on purpose: it has
//! to be the only one.
//!
//! Needs Linux, root and `ip`; says so in one line where these are missing.

#![cfg(all(feature = "node", target_os = "linux"))]
#![allow(clippy::unwrap_used)]

#[path = "common/process.rs"]
mod common;

use std::collections::BTreeSet;
use std::io::Read;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use common::{Lines, Process, Setup, is_root};
use serde_json::json;
use socket2::{Domain, Socket, Type};

const INSIDE: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);
/// An address of the same link where nobody is.
const NOBODY: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 3);
const INSIDE_MAC: &str = "02:00:00:00:00:01";
const PEER_MAC: &str = "02:00:00:00:00:02";
/// An address of the rest of the world, reserved for documentation (RFC 5737).
const WORLD: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const QUIC_PORT: &str = "11204";
const RELAY_PORT: u16 = 3340;
const MDNS_GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
/// Where the kernel reports that a socket has joined a group (IGMPv3).
const IGMP_GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 22);

/// Set for the helpers, which do nothing when somebody runs all ignored tests.
const HELPER: &str = "PEAT_TEST_HELPER";

const ETHERNET_IP: u16 = 0x0800;
const ETHERNET_ARP: u16 = 0x0806;
const PROTOCOL_IGMP: u8 = 2;
const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_UDP: u8 = 17;

fn run(command: &str) -> Result<(), String> {
    let mut words = command.split_whitespace();
    let program = words.next().unwrap();
    let output =
        Command::new(program).args(words).output().map_err(|problem| format!("{command}: {problem}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{command}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

/// The two ends of a cable, each in a namespace of its own; gone when it goes out of scope.
struct Cable {
    inside: String,
    outside: String,
}

impl Cable {
    fn lay() -> Result<Self, String> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        if !is_root() {
            return Err("only root can make network namespaces".to_owned());
        }
        let id = format!("peat-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let cable = Self { inside: format!("{id}-in"), outside: format!("{id}-out") };
        cable.connect()?;
        Ok(cable)
    }

    fn connect(&self) -> Result<(), String> {
        let Self { inside, outside } = self;
        for space in [inside, outside] {
            run(&format!("ip netns add {space}"))?;
            // Before there is an interface: what the kernel itself says on IPv6 is not the node's.
            for which in ["all", "default"] {
                let file = format!("/proc/sys/net/ipv6/conf/{which}/disable_ipv6");
                // A kernel without IPv6 has no such file.
                let _ = self.within(space, &["sh", "-c", &format!("echo 1 > {file}")]).output();
            }
        }
        run(&format!("ip link add wire netns {inside} type veth peer name wire netns {outside}"))?;
        for (space, address, mac) in [(inside, INSIDE, INSIDE_MAC), (outside, PEER, PEER_MAC)] {
            for command in [
                "link set lo up".to_owned(),
                format!("link set wire address {mac} up"),
                format!("address add {address}/24 brd + dev wire"),
            ] {
                run(&format!("ip -n {space} {command}"))?;
            }
        }
        // The way to the rest of the world leads to the other end, which does not pass anything on.
        run(&format!("ip -n {inside} neighbour add 10.99.0.254 lladdr {PEER_MAC} dev wire"))?;
        run(&format!("ip -n {inside} route add default via 10.99.0.254"))
    }

    fn within(&self, space: &str, words: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", space]).args(words);
        command
    }

    /// This program, at one of its helpers, inside a namespace.
    fn helper(&self, space: &str, helper: &str) -> Command {
        let program = std::env::current_exe().unwrap();
        let mut command = self.within(space, &[program.to_str().unwrap()]);
        command.args(["--ignored", "--exact", "--nocapture", helper]).env(HELPER, "1");
        command
    }

    fn capture(&self) -> Capture {
        let mut command = self.helper(&self.outside, "helper_prints_every_frame");
        let mut child = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
        let lines = Lines::follow(child.stdout.take().unwrap());
        let capture = Capture { child, lines };
        capture.lines.find(0, |line| line == "capturing").expect("the capture did not start");
        capture
    }

    /// Sends one packet to the rest of the world from the node's side.
    fn send_to_the_world(&self) {
        let output = self.helper(&self.inside, "helper_sends_to_the_world").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }

    fn node(&self, space: &str, name: &str, data: &tempfile::TempDir) -> Setup {
        Setup::node(name, data.path())
            .set("PEAT_IROH_BIND_PORT", QUIC_PORT)
            .wrapper(&["ip", "netns", "exec", space])
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        for space in [&self.inside, &self.outside] {
            let _ = run(&format!("ip netns del {space}"));
        }
    }
}

struct Capture {
    child: Child,
    lines: Lines,
}

impl Capture {
    /// Every frame of the node's side up to the one to the rest of the world; that one is left out.
    fn until_the_world(&self) -> Vec<Packet> {
        let world = format!("ip {PROTOCOL_UDP} {WORLD} ");
        self.lines.find(0, |line| line.starts_with(&world)).expect("the capture sees nothing");
        let all = self.lines.all();
        let packets = all.iter().filter_map(|line| Packet::parse(line));
        packets.take_while(|packet| packet.to != Some(WORLD)).collect()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What matters of a frame, as the capture prints it: `ip <protocol> <to> <port>` or `arp <asked for>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Packet {
    kind: String,
    to: Option<Ipv4Addr>,
    protocol: u8,
    port: u16,
}

impl Packet {
    fn of(frame: &[u8]) -> String {
        let kind = u16::from_be_bytes([frame[12], frame[13]]);
        let payload = &frame[14..];
        let address = |at: usize| <[u8; 4]>::try_from(&payload[at..at + 4]).map(Ipv4Addr::from).unwrap();
        match kind {
            ETHERNET_IP if payload.len() >= 24 => {
                let ports = usize::from(payload[0] & 0xf) * 4;
                let port = u16::from_be_bytes([payload[ports + 2], payload[ports + 3]]);
                format!("ip {} {} {port}", payload[9], address(16))
            }
            ETHERNET_ARP if payload.len() >= 28 => format!("arp 0 {} 0", address(24)),
            other => format!("other-{other:04x} 0 - 0"),
        }
    }

    fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        let &[kind, protocol, to, port] = &words[..] else { return None };
        let (protocol, port) = (protocol.parse().ok()?, port.parse().ok()?);
        Some(Self { kind: kind.to_owned(), to: to.parse().ok(), protocol, port })
    }

    fn is_udp_to(&self, to: Ipv4Addr, port: u16) -> bool {
        *self == Self { kind: "ip".to_owned(), to: Some(to), protocol: PROTOCOL_UDP, port }
    }

    /// Asking for the hardware address of a peer on the link, or answering one.
    fn is_arp_for(&self, peers: &[Ipv4Addr]) -> bool {
        self.kind == "arp" && self.to.is_some_and(|to| peers.contains(&to))
    }
}

fn check_only(packets: &[Packet], allowed: impl Fn(&Packet) -> bool) {
    let stray: BTreeSet<&Packet> = packets.iter().filter(|packet| !allowed(packet)).collect();
    assert!(stray.is_empty(), "the node sent {stray:#?}");
}

fn check_they_speak(inside: &Process, outside: &Process, cable: &Cable) {
    inside.connected_to("outside");
    outside.connected_to("inside");
    let put = cable.http(&cable.inside, inside, "PUT", "/api/v1/documents/c/x", &json!({"n": 1}).to_string());
    assert!(put.starts_with("201"), "{put}");
}

impl Cable {
    /// A request from within a namespace, by this program's third helper.
    fn http(&self, space: &str, node: &Process, method: &str, path: &str, body: &str) -> String {
        let mut command = self.helper(space, "helper_asks_a_broker");
        let request = format!("{} {method} {path} {body}", node.broker());
        let output = command.env("PEAT_TEST_REQUEST", request).output().unwrap();
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        let answer = out.lines().find_map(|line| line.strip_prefix("answer: "));
        answer.unwrap_or_else(|| panic!("no answer: {out}")).to_owned()
    }
}

#[test]
fn a_node_sends_nothing_but_to_its_configured_peers() {
    let cable = match Cable::lay() {
        Ok(cable) => cable,
        Err(why) => return println!("skipped: {why}"),
    };
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let capture = cable.capture();
    let outside = cable.node(&cable.outside, "outside", &folders[1]).serve();
    let peers = [format!("outside@{PEER}:{QUIC_PORT}"), format!("nobody@{NOBODY}:{QUIC_PORT}")];
    let inside = cable.node(&cable.inside, "inside", &folders[0]).peers(&peers).serve();
    check_they_speak(&inside, &outside, &cable);
    inside.line_with("Peer could not be reached");
    inside.stop();
    cable.send_to_the_world();

    let packets = capture.until_the_world();
    let port = QUIC_PORT.parse().unwrap();
    assert!(packets.iter().any(|packet| packet.is_udp_to(PEER, port)), "{packets:?}");
    assert!(packets.iter().any(|packet| packet.is_arp_for(&[NOBODY])), "{packets:?}");
    check_only(&packets, |packet| packet.is_udp_to(PEER, port) || packet.is_arp_for(&[PEER, NOBODY]));
}

#[test]
fn a_node_with_mdns_sends_nothing_but_multicast_and_to_whom_it_finds() {
    let cable = match Cable::lay() {
        Ok(cable) => cable,
        Err(why) => return println!("skipped: {why}"),
    };
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let capture = cable.capture();
    let mdns = |setup: Setup| setup.set("PEAT_DISCOVERY", "mdns").unset("PEAT_STATIC_PEERS");
    let outside = mdns(cable.node(&cable.outside, "outside", &folders[1])).serve();
    let inside = mdns(cable.node(&cable.inside, "inside", &folders[0])).serve();
    check_they_speak(&inside, &outside, &cable);
    inside.stop();
    cable.send_to_the_world();

    let packets = capture.until_the_world();
    let port = QUIC_PORT.parse().unwrap();
    assert!(packets.iter().any(|packet| packet.is_udp_to(MDNS_GROUP, 5353)), "{packets:?}");
    assert!(packets.iter().any(|packet| packet.is_udp_to(PEER, port)), "{packets:?}");
    let is_joining = |packet: &Packet| packet.protocol == PROTOCOL_IGMP && packet.to == Some(IGMP_GROUP);
    check_only(&packets, |packet| {
        packet.is_udp_to(MDNS_GROUP, 5353)
            || packet.is_udp_to(PEER, port)
            || packet.is_arp_for(&[PEER])
            || is_joining(packet)
    });
}

#[test]
fn a_node_with_a_relay_sends_nothing_but_to_that_relay_and_its_peers() {
    let cable = match Cable::lay() {
        Ok(cable) => cable,
        Err(why) => return println!("skipped: {why}"),
    };
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let capture = cable.capture();
    let relay = cable.node(&cable.outside, "relay", &folders[1]).arguments(&["relay"]).start();
    relay.line_with("Relay listening on https://");
    let with_relay = |setup: Setup, peer: &str| {
        let url = format!("https://{PEER}:{RELAY_PORT}");
        setup.set("PEAT_IROH_RELAY_URLS", &url).peers(&[format!("{peer}@relay")])
    };
    let outside = with_relay(cable.node(&cable.outside, "outside", &folders[1]), "inside").serve();
    let inside = with_relay(cable.node(&cable.inside, "inside", &folders[0]), "outside").serve();
    inside.line_with("Relay: connected to https://");
    check_they_speak(&inside, &outside, &cable);
    inside.stop();
    cable.send_to_the_world();

    // No name is asked for, no port is opened at a router, and nobody of the outside world is greeted.
    let packets = capture.until_the_world();
    let is_to_relay = |packet: &Packet, protocol: u8| {
        packet.to == Some(PEER) && packet.protocol == protocol && packet.port == RELAY_PORT
    };
    assert!(packets.iter().any(|packet| is_to_relay(packet, PROTOCOL_TCP)), "{packets:?}");
    assert!(packets.iter().any(|packet| is_to_relay(packet, PROTOCOL_UDP)), "{packets:?}");
    check_only(&packets, |packet| {
        is_to_relay(packet, PROTOCOL_TCP)
            || is_to_relay(packet, PROTOCOL_UDP)
            || packet.is_udp_to(PEER, QUIC_PORT.parse().unwrap())
            || packet.is_arp_for(&[PEER])
    });
}

#[test]
#[ignore = "a helper: the tests start it inside a namespace"]
fn helper_prints_every_frame() {
    /// All protocols, in network byte order.
    const EVERYTHING: i32 = 0x0003_u16.to_be() as i32;
    if std::env::var_os(HELPER).is_none() {
        return;
    }
    let mut socket = Socket::new(Domain::PACKET, Type::RAW, Some(EVERYTHING.into())).unwrap();
    // Output of a test begins in the middle of a line.
    println!("\ncapturing");
    let mut frame = vec![0; 65_536];
    loop {
        let length = socket.read(&mut frame).unwrap();
        // What comes from the node's side, and is more than a header.
        if length >= 14 && frame[6..12] == [2, 0, 0, 0, 0, 1] {
            println!("{}", Packet::of(&frame[..length]));
        }
    }
}

#[test]
#[ignore = "a helper: the tests start it inside a namespace"]
fn helper_sends_to_the_world() {
    if std::env::var_os(HELPER).is_none() {
        return;
    }
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.send_to(b"the world", (WORLD, 9)).unwrap();
}

#[test]
#[ignore = "a helper: the tests start it inside a namespace"]
fn helper_asks_a_broker() {
    if std::env::var_os(HELPER).is_none() {
        return;
    }
    let request = std::env::var("PEAT_TEST_REQUEST").unwrap();
    let [broker, method, path, body] = request.splitn(4, ' ').collect::<Vec<_>>()[..] else {
        panic!("{request}")
    };
    let body = serde_json::from_str(body).ok();
    let mut http = common::Http::connect(broker.parse().unwrap()).unwrap();
    let (status, answer) = http.request(method, path, body.as_ref()).unwrap();
    println!("\nanswer: {status} {answer}");
}
