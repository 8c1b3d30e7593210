//! Two formations on one switch. They have a node name in common, and one is even told of a node of the other.

use super::Lab;
use crate::agreement::{until_all_connected, until_converged, until_in_step};
use crate::common::secret_text;
use crate::node::{LabNode, Machine, QUIC_PORT};
use crate::writers::{COLLECTION, Ledger};

pub fn two_formations_on_one_network_do_not_see_each_other(lab: &Lab) {
    let lan = lab.lan();
    let machines = ["red", "same", "blue", "same"].map(Machine::new);
    for (number, machine) in (1..).zip(&machines) {
        machine.plug(&lan, &[&format!("10.9.0.{number}/24")]);
    }
    let setups = [0, 1, 2, 3].map(|index| {
        let secret = secret_text(if index < 2 { 1 } else { 2 });
        machines[index].mdns().set("PEAT_FORMATION_SECRET", &secret)
    });
    let blue = format!("blue@10.9.0.3:{QUIC_PORT}");
    let setups = {
        let [red, rest @ ..] = setups;
        let [a, b, c] = rest;
        [red.peers(&[blue]), a, b, c]
    };
    let nodes: Vec<LabNode> =
        machines.iter().zip(&setups).map(|(machine, setup)| machine.serve(setup)).collect();
    let [red, red_same, blue, blue_same] = [0, 1, 2, 3].map(|index| &nodes[index]);
    until_all_connected(&[red, red_same]);
    until_all_connected(&[blue, blue_same]);
    lab.timeline.mark("each formation is connected");
    let (mut reds, mut blues) = (Ledger::default(), Ledger::default());
    [red, red_same].iter().for_each(|node| reds.write(node));
    [blue, blue_same].iter().for_each(|node| blues.write(node));
    until_converged(&[red, red_same], &reds);
    until_converged(&[blue, blue_same], &blues);
    // Nodes derive their keys from the secret, so who answers at blue's address is not who was meant.
    red.process.line_with("Peer could not be reached");
    until_in_step(&[red, red_same, blue, blue_same]);
    lab.timeline.mark("the one that is told of the other formation could not reach it");
    for (node, others) in [(red, "blue-"), (red_same, "blue-"), (blue, "red-"), (blue_same, "red-")] {
        let documents = node.documents(COLLECTION);
        assert!(!documents.keys().any(|id| id.starts_with(others)), "{}: {documents:?}", node.name);
        let peers = node.get("/api/v1/peers");
        let own = peers["peers"].as_array().unwrap().iter().filter(|peer| peer["connected"] == true).count();
        assert_eq!(own, 1, "{}: {peers:#}", node.name);
        assert!(!node.process.out.text().contains("WARN"), "{}", node.log());
    }
}
