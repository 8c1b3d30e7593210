//! A cable between two switches is cut, for a moment and for long. No machine sees that: its own link stays up.

use std::time::Duration;

use super::Lab;
use crate::agreement::{
    until_all_connected, until_all_reachable, until_connected, until_converged, until_in_step,
    until_unreachable,
};
use crate::node::{LabNode, Machine};
use crate::writers::Ledger;

/// Shorter than a connection lives without a sign of the other side, and longer.
const SHORT: Duration = Duration::from_secs(5);
const LONG: Duration = Duration::from_secs(60);
/// Longer than an announcement by multicast DNS is good for.
const NIGHT: Duration = Duration::from_secs(150);

pub fn edits_on_both_sides_of_a_cut_are_all_there_after_it_heals(lab: &Lab) {
    let (left, right) = (lab.lan(), lab.lan());
    let cable = left.join(&right);
    let machines = ["left-1", "left-2", "right-1", "right-2"].map(Machine::new);
    for (number, machine) in machines.iter().enumerate() {
        let lan = if number < 2 { &left } else { &right };
        machine.plug(lan, &[&format!("10.77.0.{}/24", number + 1)]);
    }
    let nodes = machines.each_ref().map(|machine| machine.serve(&machine.mdns()));
    let nodes: [&LabNode; 4] = nodes.each_ref();
    until_all_connected(&nodes);
    lab.timeline.mark("all connected");
    let mut ledger = Ledger::default();
    nodes.iter().for_each(|node| ledger.write(node));
    ledger.edit(nodes[0]);
    until_converged(&nodes, &ledger);
    until_all_reachable(&nodes);

    cable.cut();
    lab.timeline.mark("cut");
    nodes.iter().for_each(|node| ledger.write(node));
    [nodes[0], nodes[2]].into_iter().for_each(|node| ledger.edit(node));
    lab.timeline.pass(SHORT);
    cable.heal();
    let healed = lab.timeline.mark("healed after a short cut");
    until_converged(&nodes, &ledger);
    lab.timeline.measured("converged after a cut of 5 s", healed);
    until_all_reachable(&nodes);
    lab.timeline.measured("all reachable after a cut of 5 s", healed);

    cable.cut();
    let cut = lab.timeline.mark("cut");
    nodes.iter().for_each(|node| ledger.write(node));
    for (node, side) in [(0, ["right-1", "right-2"]), (2, ["left-1", "left-2"])] {
        until_unreachable(nodes[node], &side);
    }
    lab.timeline.measured("each side shows the other as unreachable", cut);
    for (node, neighbour) in [(0, 1), (1, 0), (2, 3), (3, 2)] {
        until_connected(nodes[node], &[nodes[neighbour].name]);
    }
    lab.timeline.measured("each side has given up its connections to the other", cut);
    nodes.iter().for_each(|node| ledger.write(node));
    [nodes[0], nodes[2]].into_iter().for_each(|node| ledger.edit(node));
    [&nodes[..2], &nodes[2..]].into_iter().for_each(|side| until_converged(side, &Ledger::default()));
    lab.timeline.pass(LONG.saturating_sub(cut.elapsed()));
    cable.heal();
    let healed = lab.timeline.mark("healed after a long cut");
    until_converged(&nodes, &ledger);
    lab.timeline.measured("converged after a cut of 60 s", healed);
    until_all_connected(&nodes);
    lab.timeline.measured("all connected after a cut of 60 s", healed);
    until_all_reachable(&nodes);
    lab.timeline.measured("all reachable after a cut of 60 s", healed);
    until_in_step(&nodes);
}

pub fn a_cut_that_outlasts_all_that_was_announced_heals(lab: &Lab) {
    let (left, right) = (lab.lan(), lab.lan());
    let cable = left.join(&right);
    let machines = ["left", "right"].map(Machine::new);
    machines[0].plug(&left, &["10.77.1.1/24"]);
    machines[1].plug(&right, &["10.77.1.2/24"]);
    let nodes = machines.each_ref().map(|machine| machine.serve(&machine.mdns()));
    let nodes: [&LabNode; 2] = nodes.each_ref();
    until_all_connected(&nodes);
    let mut ledger = Ledger::default();
    nodes.iter().for_each(|node| ledger.write(node));
    until_converged(&nodes, &ledger);
    cable.cut();
    lab.timeline.mark("cut");
    nodes.iter().for_each(|node| ledger.write(node));
    lab.timeline.pass(NIGHT);
    cable.heal();
    let healed = lab.timeline.mark("healed after a very long cut");
    until_all_connected(&nodes);
    lab.timeline.measured("all connected after a cut of 150 s", healed);
    until_converged(&nodes, &ledger);
    lab.timeline.measured("converged after a cut of 150 s", healed);
    until_all_reachable(&nodes);
    until_in_step(&nodes);
}
