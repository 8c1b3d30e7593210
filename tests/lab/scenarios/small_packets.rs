//! An MTU of 1280: at the machine itself, and later on the way, where packets that are too large vanish.

use std::time::Duration;

use serde_json::json;

use super::Lab;
use crate::agreement::{until_all_connected, until_converged, until_in_step};
use crate::node::{LabNode, Machine};
use crate::writers::Ledger;

pub fn documents_cross_where_packets_must_be_small(lab: &Lab) {
    let (left, right) = (lab.lan(), lab.lan());
    let cable = left.join(&right);
    let machines = ["left", "small", "right"].map(Machine::new);
    let ports: Vec<_> = [&left, &left, &right]
        .into_iter()
        .zip(1..)
        .zip(&machines)
        .map(|((lan, number), machine)| {
            machine.plug(lan, &[&format!("10.8.0.{number}/24"), &format!("fd78::{number}/64")])
        })
        .collect();
    ports[1].set_mtu(1280);
    let nodes = machines.each_ref().map(|machine| machine.serve(&machine.mdns()));
    let nodes: [&LabNode; 3] = nodes.each_ref();
    until_all_connected(&nodes);
    let mut ledger = Ledger::default();
    let written = lab.timeline.mark("each takes a large write");
    nodes.iter().for_each(|node| ledger.write_text(node, &large()));
    until_converged(&nodes, &ledger);
    lab.timeline.measured("converged", written);
    // By now the nodes with 1500 know that they may send large packets to each other.
    lab.timeline.pass(Duration::from_secs(3));
    cable.set_mtu(1280);
    let narrowed = lab.timeline.mark("large packets vanish on the way");
    nodes.iter().for_each(|node| ledger.write_text(node, &large()));
    until_converged(&nodes, &ledger);
    lab.timeline.measured("converged after the way got narrow", narrowed);
    until_all_connected(&nodes);
    until_in_step(&nodes);
}

/// Many packets.
fn large() -> serde_json::Value {
    json!("0123456789abcdef".repeat(16 * 1024))
}
