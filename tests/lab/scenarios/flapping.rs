//! The link of one machine goes up and down for two minutes, while clients write everywhere.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::Lab;
use crate::agreement::{until_all_connected, until_all_reachable, until_converged, until_in_step};
use crate::node::{LabNode, Machine};
use crate::writers::{Ledger, Writer};

const FLAPPING: Duration = Duration::from_secs(120);
/// How long the link is up or down at a time, in milliseconds.
const PHASE_MS: std::ops::Range<u64> = 300..6_000;
const WRITE_EVERY: Duration = Duration::from_millis(500);

pub fn a_flapping_link_loses_no_write(lab: &Lab) {
    let lan = lab.lan();
    let machines = ["ada", "bob", "flapper"].map(Machine::new);
    let ports: Vec<_> = (1..)
        .zip(&machines)
        .map(|(number, machine)| machine.plug(&lan, &[&format!("10.12.0.{number}/24")]))
        .collect();
    let nodes = machines.each_ref().map(|machine| Arc::new(machine.serve(&machine.mdns())));
    let all: [&LabNode; 3] = nodes.each_ref().map(|node| &**node);
    until_all_connected(&all);
    let flapping = lab.timeline.mark("flapping begins");
    let writers = nodes.each_ref().map(|node| Writer::start(node, WRITE_EVERY));
    let mut random = StdRng::seed_from_u64(12);
    let mut cuts = 0;
    while flapping.elapsed() < FLAPPING {
        ports[2].cut();
        lab.timeline.pass(Duration::from_millis(random.random_range(PHASE_MS)));
        ports[2].heal();
        lab.timeline.pass(Duration::from_millis(random.random_range(PHASE_MS)));
        cuts += 1;
    }
    let healed = lab.timeline.mark(&format!("stays up after {cuts} cuts"));
    let mut ledger = Ledger::default();
    writers.into_iter().for_each(|writer| ledger.add(writer));
    let (acknowledged, others) = ledger.counts();
    lab.timeline.mark(&format!("{acknowledged} writes were acknowledged, {others} were not"));
    until_converged(&all, &ledger);
    lab.timeline.measured("converged after two minutes of flapping", healed);
    until_all_connected(&all);
    lab.timeline.measured("all connected after two minutes of flapping", healed);
    until_all_reachable(&all);
    until_in_step(&all);
}
