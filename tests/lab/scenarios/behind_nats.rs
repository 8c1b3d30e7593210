//! Two nodes, each behind a NAT of its own, and a relay in the world outside.

use std::time::Duration;

use super::Lab;
use crate::agreement::{until_all_connected, until_converged, until_in_step};
use crate::common::{Process, Setup, secret_text};
use crate::net::{Lan, Nat, Ports};
use crate::node::{LabNode, Machine, until};
use crate::writers::Ledger;

const RELAY: &str = "https://203.0.113.10:3340";
/// How long two nodes without a way to each other try to find one.
const TRYING: Duration = Duration::from_secs(10);

/// The relay on its machine, which is kept with it.
fn relay(world: &Lan) -> (Process, Machine) {
    let machine = Machine::new("relay");
    machine.plug(world, &["203.0.113.10/24"]);
    let setup = Setup::empty().set("PEAT_FORMATION_SECRET", &secret_text(1)).arguments(&["relay"]);
    let relay = setup.wrapper(&["ip", "netns", "exec", &machine.space.name]).start();
    relay.line_with("Relay listening");
    (relay, machine)
}

/// Two homes, each with a router and a machine.
fn homes(lab: &Lab, world: &Lan, ports: Ports) -> [(Machine, Nat); 2] {
    [("near", 1), ("far", 2)].map(|(name, number)| {
        let home = lab.lan();
        let machine = Machine::new(name);
        let inside = format!("192.168.{number}.1");
        machine.plug(&home, &[&format!("192.168.{number}.2/24")]);
        let outside = format!("203.0.113.{number}/24");
        let router = Nat::new((&home, &format!("{inside}/24")), (world, &outside), ports);
        machine.space.ip(&format!("route add default via {inside}"));
        (machine, router)
    })
}

/// The address of the path in use; `None` while it is the relay.
fn direct(node: &LabNode, peer: &str) -> Option<String> {
    node.peer(peer)["path"].as_str().map(str::to_owned)
}

fn serve(homes: &[(Machine, Nat); 2]) -> [LabNode; 2] {
    [(0, "far@relay"), (1, "near@relay")].map(|(index, peer)| {
        let machine = &homes[index].0;
        machine.serve(&machine.knowing(&[peer.to_owned()]).set("PEAT_IROH_RELAY_URLS", RELAY))
    })
}

pub fn nodes_behind_nats_meet_over_a_relay_and_move_to_a_direct_path(lab: &Lab) {
    let world = lab.lan();
    let (relay, _machine) = relay(&world);
    let homes = homes(lab, &world, Ports::Kept);
    let started = lab.timeline.mark("two nodes start");
    let nodes = serve(&homes);
    let nodes: [&LabNode; 2] = nodes.each_ref();
    until_all_connected(&nodes);
    lab.timeline.measured("connected", started);
    let mut ledger = Ledger::default();
    nodes.iter().for_each(|node| ledger.write(node));
    until_converged(&nodes, &ledger);
    lab.timeline.measured("converged", started);
    for (node, peer) in [(nodes[0], "far"), (nodes[1], "near")] {
        until(&format!("a direct path from {}", node.name), || match direct(node, peer) {
            Some(address) if address.starts_with("203.0.113.") => Ok(()),
            other => Err(format!("{other:?}\n{}\n{}", nodes[0].log(), nodes[1].log())),
        });
    }
    lab.timeline.measured("both have a direct path", started);
    relay.kill();
    let gone = lab.timeline.mark("the relay is gone");
    nodes.iter().for_each(|node| ledger.write(node));
    until_converged(&nodes, &ledger);
    lab.timeline.measured("converged without the relay", gone);
}

pub fn nodes_behind_symmetric_nats_stay_on_the_relay(lab: &Lab) {
    let world = lab.lan();
    let (_relay, _machine) = relay(&world);
    let homes = homes(lab, &world, Ports::Random);
    let started = lab.timeline.mark("two nodes start");
    let nodes = serve(&homes);
    let nodes: [&LabNode; 2] = nodes.each_ref();
    until_all_connected(&nodes);
    lab.timeline.measured("connected", started);
    let mut ledger = Ledger::default();
    nodes.iter().for_each(|node| ledger.write(node));
    until_converged(&nodes, &ledger);
    lab.timeline.measured("converged", started);
    lab.timeline.pass(TRYING);
    assert_eq!((direct(nodes[0], "far"), direct(nodes[1], "near")), (None, None));
    nodes.iter().for_each(|node| ledger.write(node));
    until_converged(&nodes, &ledger);
    until_in_step(&nodes);
}
