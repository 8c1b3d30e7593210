//! Packets in one direction vanish: one machine is deaf, and what it says still arrives.

use std::time::Duration;

use super::Lab;
use crate::agreement::{
    until_all_connected, until_all_reachable, until_connected, until_converged, until_in_step,
    until_unreachable,
};
use crate::node::{LabNode, Machine};
use crate::writers::Ledger;

const DEAF: Duration = Duration::from_secs(30);

pub fn one_way_loss_loses_no_write(lab: &Lab) {
    let lan = lab.lan();
    let machines = ["ada", "bob", "deaf"].map(Machine::new);
    let ports: Vec<_> = (1..)
        .zip(&machines)
        .map(|(number, machine)| machine.plug(&lan, &[&format!("10.5.0.{number}/24")]))
        .collect();
    let nodes = machines.each_ref().map(|machine| machine.serve(&machine.mdns()));
    let nodes: [&LabNode; 3] = nodes.each_ref();
    until_all_connected(&nodes);
    let mut ledger = Ledger::default();
    nodes.iter().for_each(|node| ledger.write(node));
    ledger.edit(nodes[0]);
    until_converged(&nodes, &ledger);
    until_all_reachable(&nodes);

    ports[2].deafen();
    let deaf = lab.timeline.mark("one node hears nothing any more");
    nodes.iter().for_each(|node| ledger.write(node));
    until_unreachable(nodes[2], &["ada", "bob"]);
    lab.timeline.measured("the deaf node shows the others as unreachable", deaf);
    nodes[..2].iter().for_each(|node| until_unreachable(node, &["deaf"]));
    lab.timeline.measured("the others show it as unreachable", deaf);
    until_connected(nodes[2], &[]);
    lab.timeline.measured("the deaf node has given up its connections", deaf);
    for (node, other) in [(0, "bob"), (1, "ada")] {
        until_connected(nodes[node], &[other]);
    }
    lab.timeline.measured("the others have given up theirs", deaf);
    nodes.iter().for_each(|node| ledger.write(node));
    until_converged(&nodes[..2], &Ledger::default());
    [nodes[0], nodes[2]].into_iter().for_each(|node| ledger.edit(node));
    lab.timeline.pass(DEAF.saturating_sub(deaf.elapsed()));

    ports[2].hear_again();
    let healed = lab.timeline.mark("it hears again");
    until_converged(&nodes, &ledger);
    lab.timeline.measured("converged after 30 s of one-way loss", healed);
    until_all_connected(&nodes);
    lab.timeline.measured("all connected after 30 s of one-way loss", healed);
    until_all_reachable(&nodes);
    until_in_step(&nodes);
}
