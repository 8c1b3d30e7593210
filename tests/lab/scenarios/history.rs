//! Clients write at all of three nodes in a row while cables between them are cut and nodes are killed. All that they
//! did and saw has to keep to `docs/consistency.md`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::Lab;
use crate::clients;
use crate::net::Cable;
use crate::node::{LabNode, Machine};
use crate::recording::Recording;

const NAMES: [&str; 3] = ["alice", "bob", "carol"];
const CLIENTS: usize = 6;
/// What each client does.
const EACH: usize = 1_000;
/// Something is cut, joined, killed or started after so many more requests at most.
const FAULT_REQUESTS_MAX: usize = 700;

/// Three machines in a row; a cable between each and the next.
struct Row {
    machines: [Machine; 3],
    /// And whether each is cut.
    cables: [(Cable, bool); 2],
    nodes: BTreeMap<usize, LabNode>,
    recording: Arc<Recording>,
    cuts: usize,
    kills: usize,
}

impl Row {
    fn new(lab: &Lab) -> Self {
        let lans = [lab.lan(), lab.lan(), lab.lan()];
        let cables = [(lans[0].join(&lans[1]), false), (lans[1].join(&lans[2]), false)];
        let machines = NAMES.map(Machine::new);
        for (number, (machine, lan)) in machines.iter().zip(&lans).enumerate() {
            machine.plug(lan, &[&format!("10.77.2.{}/24", number + 1)]);
        }
        let recording = Recording::new();
        let mut row = Self { machines, cables, nodes: BTreeMap::new(), recording, cuts: 0, kills: 0 };
        (0..NAMES.len()).for_each(|number| row.start(number));
        row
    }

    fn start(&mut self, number: usize) {
        let machine = &self.machines[number];
        let node = machine.serve(&machine.mdns());
        let space = Arc::clone(&node.space);
        self.recording.opens(NAMES[number], move || LabNode::reach(&space));
        self.nodes.insert(number, node);
    }

    fn kill(&mut self, number: usize) {
        if let Some(node) = self.nodes.remove(&number) {
            self.recording.closes(NAMES[number]);
            node.kill();
            self.kills += 1;
        }
    }

    fn change(&mut self, rng: &mut StdRng) {
        if rng.random_range(0..3) == 0 {
            let number = rng.random_range(0..NAMES.len());
            match self.nodes.contains_key(&number) {
                true if self.nodes.len() > 1 => self.kill(number),
                true => {}
                false => self.start(number),
            }
            return;
        }
        let (cable, is_cut) = &mut self.cables[rng.random_range(0..2)];
        *is_cut = !*is_cut;
        if *is_cut {
            cable.cut();
            self.cuts += 1;
        } else {
            cable.heal();
        }
    }

    fn mend(&mut self) {
        self.cables.iter().for_each(|(cable, _)| cable.heal());
        for number in 0..NAMES.len() {
            if !self.nodes.contains_key(&number) {
                self.start(number);
            }
        }
    }
}

pub fn what_clients_did_and_saw_during_cuts_and_kills_keeps_to_the_model(lab: &Lab) {
    let seed =
        std::env::var("SEED").map_or_else(|_| rand::random_range(0..1_000_000), |it| it.parse().unwrap());
    lab.timeline.mark(&format!("SEED={seed}"));
    let mut rng = StdRng::seed_from_u64(seed);
    let mut row = Row::new(lab);
    let recording = Arc::clone(&row.recording);
    let followers = NAMES.map(|node| recording.follow(node));
    let finished = AtomicUsize::new(0);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (client, seed) = (recording.client(&format!("c{number}")), rng.random());
                let finished = &finished;
                scope.spawn(move || {
                    let client = clients::write_and_read(client, &NAMES, number, seed, EACH);
                    finished.fetch_add(1, Ordering::SeqCst);
                    // Whoever waits for requests looks again.
                    drop(client);
                })
            })
            .collect();
        let all_write = || finished.load(Ordering::SeqCst) == 0;
        while all_write() {
            row.change(&mut rng);
            let enough = recording.answered() + rng.random_range(1..=FAULT_REQUESTS_MAX);
            recording.until_answered(|answered| answered >= enough || !all_write());
        }
        clients.into_iter().for_each(|client| client.join().unwrap());
    });
    row.mend();
    let mended = lab.timeline.mark(&format!("mended after {} cuts and {} kills", row.cuts, row.kills));
    recording.until("did all hold the same", || {
        let all: Vec<_> = row.nodes.values().map(|node| clients::versions(|path| node.get(path))).collect();
        all.windows(2).all(|pair| pair[0] == pair[1])
    });
    lab.timeline.measured("converged after cuts and kills", mended);
    NAMES.iter().for_each(|node| recording.until_followed(node));
    recording.read_all(&NAMES, &clients::documents(CLIENTS));
    let summary = recording.check(seed);
    lab.timeline.mark(&format!("{summary:?}"));
    assert!(row.cuts > 0 && summary.acknowledged > CLIENTS * EACH / 10, "{} cuts, {summary:?}", row.cuts);
    recording.end();
    row.nodes.keys().copied().collect::<Vec<_>>().into_iter().for_each(|number| row.kill(number));
    followers.into_iter().for_each(|follower| follower.join().unwrap());
}
