//! A network without IPv4: unique local addresses, and a machine that has a link-local one only.

use super::Lab;
use crate::agreement::{until_all_connected, until_converged, until_in_step};
use crate::node::{LabNode, Machine, QUIC_PORT};
use crate::writers::Ledger;

pub fn nodes_work_on_ipv6_alone(lab: &Lab) {
    let lan = lab.lan();
    let machines = ["ada", "bob", "link-local", "told"].map(Machine::new);
    for (machine, addresses) in
        machines.iter().zip([&["fd77::1/64"][..], &["fd77::2/64"], &[], &["fd77::4/64"]])
    {
        machine.plug(&lan, addresses);
    }
    let started = lab.timeline.mark("three nodes start");
    let met = [0, 1, 2].map(|index| machines[index].serve(&machines[index].mdns()));
    until_all_connected(&met.each_ref());
    lab.timeline.measured("all connected by multicast", started);
    let told = machines[3].serve(&machines[3].knowing(&[format!("ada@[fd77::1]:{QUIC_PORT}")]));
    told.process.connected_to("ada");
    lab.timeline.mark("a fourth one is told of the first");
    let nodes: [&LabNode; 4] = [&met[0], &met[1], &met[2], &told];
    let mut ledger = Ledger::default();
    let written = lab.timeline.mark("each takes a write");
    nodes.iter().for_each(|node| ledger.write(node));
    until_converged(&nodes, &ledger);
    lab.timeline.measured("converged", written);
    until_in_step(&nodes);
}
