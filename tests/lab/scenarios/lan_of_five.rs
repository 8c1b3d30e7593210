//! Five nodes on one switch that are told nothing of each other.

use super::Lab;
use crate::agreement::{until_all_connected, until_converged, until_in_step};
use crate::node::{LabNode, Machine};
use crate::writers::Ledger;

pub fn five_nodes_meet_by_multicast_alone(lab: &Lab) {
    let lan = lab.lan();
    let machines = ["ada", "bob", "cas", "dan", "eve"].map(Machine::new);
    for (number, machine) in machines.iter().enumerate() {
        machine.plug(&lan, &[&format!("10.77.0.{}/24", number + 1)]);
    }
    let started = lab.timeline.mark("five nodes start");
    let nodes = machines.each_ref().map(|machine| machine.serve(&machine.mdns()));
    let nodes: [&LabNode; 5] = nodes.each_ref();
    lab.timeline.measured("all serve", started);
    until_all_connected(&nodes);
    lab.timeline.measured("all connected", started);
    let mut ledger = Ledger::default();
    let written = lab.timeline.mark("each takes a write");
    nodes.iter().for_each(|node| ledger.write(node));
    until_converged(&nodes, &ledger);
    lab.timeline.measured("converged", written);
    until_in_step(&nodes);
    lab.timeline.mark("all say that they are in step");
}
