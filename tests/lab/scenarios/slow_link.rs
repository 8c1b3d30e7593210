//! A link with 300 ms delay and 10 % loss in each direction: slow is not dead.

use std::net::SocketAddr;
use std::time::Duration;

use super::Lab;
use crate::agreement::{until_all_connected, until_all_reachable, until_converged, until_in_step};
use crate::net::{Manners, Space, Wire};
use crate::node::{LabNode, Machine, QUIC_PORT};
use crate::writers::Ledger;

const MANNERS: Manners = Manners { delay: Duration::from_millis(300), lost_percent: 10 };
/// How long the link is watched, with a write on each side every second.
const WATCHED_S: u32 = 20;

pub fn a_slow_link_that_loses_packets_stays_connected(lab: &Lab) {
    let (near, far) = (lab.lan(), lab.lan());
    let machines = ["left", "right"].map(Machine::new);
    let wire = std::sync::Arc::new(Space::new("wire"));
    machines[0].plug(&near, &["10.3.1.1/24"]);
    machines[1].plug(&far, &["10.3.2.1/24"]);
    near.plug(&wire, &["10.3.1.2/24"]);
    far.plug(&wire, &["10.3.2.2/24"]);
    let at = |text: &str| SocketAddr::new(text.parse().unwrap(), QUIC_PORT);
    let ends = [(at("10.3.1.2"), at("10.3.1.1")), (at("10.3.2.2"), at("10.3.2.1"))];
    let _laid = Wire::lay(&wire, ends, MANNERS);

    let entries = [format!("right@{}", ends[0].0), format!("left@{}", ends[1].0)];
    let started = lab.timeline.mark("two nodes start");
    let nodes = [0, 1].map(|index| {
        let machine = &machines[index];
        machine.serve(&machine.knowing(&entries[index..=index]))
    });
    let nodes: [&LabNode; 2] = nodes.each_ref();
    until_all_connected(&nodes);
    lab.timeline.measured("connected", started);
    let mut ledger = Ledger::default();
    let written = lab.timeline.mark("30 writes on each side");
    (0..30).for_each(|_| nodes.iter().for_each(|node| ledger.write(node)));
    until_converged(&nodes, &ledger);
    lab.timeline.measured("converged", written);
    for _ in 0..WATCHED_S {
        nodes.iter().for_each(|node| ledger.write(node));
        lab.timeline.pass(Duration::from_secs(1));
    }
    let written = lab.timeline.mark("the last writes");
    nodes.iter().for_each(|node| ledger.write(node));
    until_converged(&nodes, &ledger);
    lab.timeline.measured("converged after the last write", written);
    until_in_step(&nodes);
    until_all_reachable(&nodes);
    for node in nodes {
        let lines = node.process.out.text();
        for loss in ["Peer disconnected", "Partition:"] {
            assert!(!lines.contains(loss), "a slow link was given up\n{lines}");
        }
    }
}
