//! A machine gets another address while its node runs; then again, while nobody can see it.

use std::time::Duration;

use super::Lab;
use crate::agreement::{
    until_all_connected, until_all_reachable, until_connected, until_converged, until_in_step,
    until_unreachable,
};
use crate::node::{LabNode, Machine};
use crate::writers::Ledger;

pub fn a_node_keeps_its_place_when_its_address_changes(lab: &Lab) {
    let lan = lab.lan();
    let machines = ["ada", "bob", "mover"].map(Machine::new);
    let ports: Vec<_> = (1..)
        .zip(&machines)
        .map(|(number, machine)| machine.plug(&lan, &[&format!("10.6.0.{number}/24")]))
        .collect();
    let nodes = machines.each_ref().map(|machine| machine.serve(&machine.mdns()));
    let nodes: [&LabNode; 3] = nodes.each_ref();
    until_all_connected(&nodes);
    let mut ledger = Ledger::default();
    nodes.iter().for_each(|node| ledger.write(node));
    until_converged(&nodes, &ledger);
    until_all_reachable(&nodes);

    // Two connections of a pair that are made within 5 s count as dialled by both at once.
    lab.timeline.pass(Duration::from_secs(6));
    ports[2].remove_address("10.6.0.3/24");
    ports[2].add_address("10.6.0.33/24");
    let moved = lab.timeline.mark("another address");
    nodes.iter().for_each(|node| ledger.write(node));
    until_converged(&nodes, &ledger);
    lab.timeline.measured("converged after another address", moved);
    until_all_connected(&nodes);
    lab.timeline.measured("all connected after another address", moved);

    ports[2].cut();
    let cut = lab.timeline.mark("unplugged");
    nodes[..2].iter().for_each(|node| until_unreachable(node, &["mover"]));
    lab.timeline.measured("the others show it as unreachable", cut);
    until_connected(nodes[0], &["bob"]);
    until_connected(nodes[1], &["ada"]);
    lab.timeline.measured("the others have given up their connections", cut);
    nodes.iter().for_each(|node| ledger.write(node));
    ports[2].remove_address("10.6.0.33/24");
    ports[2].add_address("10.6.0.66/24");
    lab.timeline.pass(Duration::from_secs(5));
    ports[2].heal();
    let back = lab.timeline.mark("plugged in again, with another address");
    until_converged(&nodes, &ledger);
    lab.timeline.measured("converged after a move while unplugged", back);
    until_all_connected(&nodes);
    lab.timeline.measured("all connected after a move while unplugged", back);
    until_all_reachable(&nodes);
    until_in_step(&nodes);
}
