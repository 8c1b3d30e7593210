//! Two switches with no cable between them, and one machine that is plugged into both and routes nothing.

use super::Lab;
use crate::agreement::{until_connected, until_converged, until_in_step};
use crate::node::Machine;
use crate::writers::Ledger;

pub fn a_gateway_carries_documents_between_two_networks(lab: &Lab) {
    let (near, far) = (lab.lan(), lab.lan());
    let machines = ["near-1", "near-2", "gate", "far-1", "far-2"].map(Machine::new);
    for number in [0, 1, 2] {
        machines[number].plug(&near, &[&format!("10.1.0.{}/24", number + 1)]);
    }
    for number in [2, 3, 4] {
        machines[number].plug(&far, &[&format!("10.2.0.{}/24", number + 1)]);
    }
    let [near_1, near_2, gate, far_1, far_2] =
        machines.each_ref().map(|machine| machine.serve(&machine.mdns()));
    let met = |gate: &crate::node::LabNode| {
        until_connected(&near_1, &["gate", "near-2"]);
        until_connected(&near_2, &["gate", "near-1"]);
        until_connected(&far_1, &["far-2", "gate"]);
        until_connected(&far_2, &["far-1", "gate"]);
        until_connected(gate, &["far-1", "far-2", "near-1", "near-2"]);
    };
    met(&gate);
    lab.timeline.mark("each side is connected to the gateway");
    let mut ledger = Ledger::default();
    let written = lab.timeline.mark("each node takes a write");
    let all = [&near_1, &near_2, &gate, &far_1, &far_2];
    all.iter().for_each(|node| ledger.write(node));
    until_converged(&all, &ledger);
    lab.timeline.measured("converged through the gateway", written);

    gate.kill();
    lab.timeline.mark("the gateway is killed");
    until_connected(&near_1, &["near-2"]);
    until_connected(&far_1, &["far-2"]);
    [&near_1, &near_2, &far_1, &far_2].into_iter().for_each(|node| ledger.write(node));
    [&near_1, &far_1].into_iter().for_each(|node| ledger.edit(node));
    let back = lab.timeline.mark("the gateway starts again");
    let gate = machines[2].serve(&machines[2].mdns());
    let all = [&near_1, &near_2, &gate, &far_1, &far_2];
    until_converged(&all, &ledger);
    lab.timeline.measured("converged after the gateway came back", back);
    met(&gate);
    until_in_step(&all);
}
