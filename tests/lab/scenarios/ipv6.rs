//! A network without IPv4: unique local addresses. A machine that has a link-local one only is told what is missing.

use super::Lab;
use crate::agreement::{until_all_connected, until_connected, until_converged, until_in_step};
use crate::node::{LabNode, Machine, QUIC_PORT, until};
use crate::writers::Ledger;

pub fn nodes_work_on_ipv6_alone(lab: &Lab) {
    let lan = lab.lan();
    let machines = ["ada", "bob", "told", "link-local"].map(Machine::new);
    for (machine, addresses) in
        machines.iter().zip([&["fd77::1/64"][..], &["fd77::2/64"], &["fd77::3/64"], &[]])
    {
        machine.plug(&lan, addresses);
    }
    let started = lab.timeline.mark("two nodes start");
    let met = [0, 1].map(|index| machines[index].serve(&machines[index].mdns()));
    until_all_connected(&met.each_ref());
    lab.timeline.measured("connected by multicast", started);
    let told = machines[2].serve(&machines[2].knowing(&[format!("ada@[fd77::1]:{QUIC_PORT}")]));
    until_connected(&told, &["ada"]);
    lab.timeline.mark("a third one is told of the first");
    let nodes: [&LabNode; 3] = [&met[0], &met[1], &told];
    let mut ledger = Ledger::default();
    let written = lab.timeline.mark("each takes a write");
    nodes.iter().for_each(|node| ledger.write(node));
    until_converged(&nodes, &ledger);
    lab.timeline.measured("converged", written);
    until_in_step(&nodes);

    let _link_local = machines[3].serve(&machines[3].mdns());
    until("told what is wrong with a link-local address", || {
        let peer = met[0].peer("link-local");
        let is_told = peer["last_error"].as_str().is_some_and(|error| error.contains("link-local IPv6"));
        if is_told { Ok(()) } else { Err(format!("{peer:#}\n{}", met[0].log())) }
    });
    lab.timeline.mark("the peer with a link-local address only is named with what is missing");
}
