//! A node sleeps for longer than its connections live, as a laptop does.

use std::time::Duration;

use super::Lab;
use crate::agreement::{
    until_all_connected, until_all_reachable, until_connected, until_converged, until_in_step,
    until_unreachable,
};
use crate::node::{LabNode, Machine};
use crate::writers::Ledger;

const ASLEEP: Duration = Duration::from_secs(30);

pub fn a_node_that_slept_catches_up(lab: &Lab) {
    let lan = lab.lan();
    let machines = ["ada", "bob", "sleeper"].map(Machine::new);
    for (number, machine) in (1..).zip(&machines) {
        machine.plug(&lan, &[&format!("10.7.0.{number}/24")]);
    }
    let nodes = machines.each_ref().map(|machine| machine.serve(&machine.mdns()));
    let nodes: [&LabNode; 3] = nodes.each_ref();
    until_all_connected(&nodes);
    let mut ledger = Ledger::default();
    nodes.iter().for_each(|node| ledger.write(node));
    until_converged(&nodes, &ledger);
    until_all_reachable(&nodes);

    nodes[2].process.freeze();
    let asleep = lab.timeline.mark("one node sleeps");
    nodes[..2].iter().for_each(|node| ledger.write(node));
    nodes[..2].iter().for_each(|node| until_unreachable(node, &["sleeper"]));
    lab.timeline.measured("the others show it as unreachable", asleep);
    until_connected(nodes[0], &["bob"]);
    until_connected(nodes[1], &["ada"]);
    lab.timeline.measured("the others have given up their connections", asleep);
    nodes[..2].iter().for_each(|node| ledger.write(node));
    lab.timeline.pass(ASLEEP.saturating_sub(asleep.elapsed()));

    nodes[2].process.signal("CONT");
    let awake = lab.timeline.mark("it wakes up");
    ledger.write(nodes[2]);
    until_converged(&nodes, &ledger);
    lab.timeline.measured("converged after 30 s of sleep", awake);
    until_all_connected(&nodes);
    lab.timeline.measured("all connected after 30 s of sleep", awake);
    until_all_reachable(&nodes);
    until_in_step(&nodes);
}
