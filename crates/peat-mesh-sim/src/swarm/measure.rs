//! What a swarm of some size does: the figures of `docs/performance.md`.

use bytes::Bytes;
use peat_mesh_core::replica::{Job, Replica, Source, Work};
use peat_mesh_core::store::MemoryStore;
use peat_mesh_core::wire::{Changes, Frame};
use peat_mesh_overlay::Settings;
use serde_json::{Map, Value, json};

use super::{Member, Swarm};

/// Time in which nodes find their neighbours, in milliseconds.
const FORM_MS: u64 = 60_000;
/// Time between two updates, in milliseconds.
const UPDATE_EVERY_MS: u64 = 1_000;
/// Updates until the tree is settled, for each writer.
const SETTLE_UPDATES: usize = 10;

/// How some updates travelled.
#[derive(Debug, Clone, Default)]
pub struct Spread {
    /// How many there were.
    pub updates: usize,
    /// Nodes that got each, at the least, of those that live.
    pub reached_min: usize,
    /// Bytes that came to a node for an update, on average …
    pub bytes: f64,
    /// … and how many times one copy of it (its frame) that is.
    pub copies: f64,
    /// Links that an update crossed to a node: half of them at most this …
    pub hops_half: u16,
    /// … 99 of 100 at most this …
    pub hops_99: u16,
    /// … and all of them at most this.
    pub hops_max: u16,
    /// Time until the last node had it, at most, in milliseconds.
    pub ms_max: u64,
}

/// What was found of one swarm.
#[derive(Debug, Clone)]
pub struct Measured {
    /// How many nodes.
    pub nodes: usize,
    /// Neighbours that they have, on average.
    pub degree_mean: f64,
    /// Nodes that are connected over neighbours.
    pub connected: usize,
    /// The very first update, while all links still push.
    pub first: Spread,
    /// Updates of one writer once its tree is settled.
    pub one: Spread,
    /// Updates of ten writers in turn.
    pub many: Spread,
    /// Bytes that come to an idle node in a second.
    pub idle_bytes_per_s: f64,
    /// Nodes that were left after 30 % died at once.
    pub left: usize,
    /// How many of them were connected over neighbours once the dead were noticed and replaced.
    pub left_connected: usize,
    /// Their neighbours then, on average.
    pub left_degree_mean: f64,
    /// Updates sent while nobody had noticed yet.
    pub wounded: Spread,
    /// Updates sent after.
    pub healed: Spread,
}

/// The most bytes per node and update that are fine, of one copy.
const COPIES_MAX: f64 = 1.3;

/// The most hops that are fine: twice what the neighbours would make possible.
fn hops_bound(nodes: usize, degree: f64) -> f64 {
    2.0 * (nodes as f64).log2() / degree.log2()
}

impl Measured {
    /// The most hops an update may take, by how many neighbours the nodes have.
    #[must_use]
    pub fn hops_bound(&self) -> f64 {
        hops_bound(self.nodes, self.degree_mean)
    }

    /// The same for those that are left.
    #[must_use]
    pub fn left_hops_bound(&self) -> f64 {
        hops_bound(self.left, self.left_degree_mean)
    }

    /// Which bounds do not hold, in words.
    #[must_use]
    pub fn broken(&self) -> Vec<String> {
        let Self { nodes, left, one, many, healed, .. } = self;
        // For the writer to whom the tree has settled; others use the same tree, along longer ways.
        let hops = f64::from(one.hops_max);
        let rules = [
            ("all are connected", self.connected == *nodes),
            ("every update of one reaches all", one.reached_min == *nodes),
            ("every update of ten reaches all", many.reached_min == *nodes),
            ("at most 1.3 of one copy", one.copies <= COPIES_MAX),
            ("at most 1.3 of one copy with ten writers", many.copies <= COPIES_MAX),
            ("all hops are within the bound", hops <= self.hops_bound()),
            ("those who are left are connected", self.left_connected == *left),
            ("every update reaches those who are left", healed.reached_min == *left),
        ];
        let broken = rules.iter().filter(|(_, holds)| !holds);
        broken.map(|(rule, _)| format!("{nodes} nodes: it does not hold that {rule}: {self:?}")).collect()
    }
}

/// An update as it crosses a link: the frame with the change that makes a new document of about so many bytes.
#[must_use]
pub fn update(number: usize, json_bytes: usize) -> Bytes {
    let store = MemoryStore::default();
    let mut actor = [0; 16];
    actor[..8].copy_from_slice(&(number as u64 + 1).to_be_bytes());
    actor[8..].copy_from_slice(&(json_bytes as u64 * 7_919).to_be_bytes());
    let mut replica = Replica::new(&store, actor).expect("a store in memory can be read");
    let work = Work::Put(document(number, json_bytes));
    let doc = format!("positions/unit-{number}").parse().expect("an address");
    let outcomes = replica.run(&store, vec![Job { doc, work, source: Source::Client }], 1_700_000_000_000);
    let documents =
        outcomes.into_iter().map(|it| (it.doc, it.result.expect("it can be written").new)).collect();
    Frame::Changes(Changes { repair: false, audience: Vec::new(), documents }).encode()
}

fn document(number: usize, json_bytes: usize) -> Map<String, Value> {
    let mut object = Map::new();
    let mut field = 0;
    while serde_json::to_vec(&object).map_or(0, |text| text.len()) < json_bytes {
        let (key, value) = match field % 4 {
            0 => (format!("latitude{field}"), json!(50.03 + (number * 31 + field) as f64 / 977.0)),
            1 => (format!("speed{field}"), json!((number * 7 + field * 13) % 900)),
            2 => (format!("callsign{field}"), json!(format!("UNIT-{number:05}-{field}"))),
            _ => (format!("status{field}"), json!(format!("on task, sector {}", (number + field) % 97))),
        };
        object.insert(key, value);
        field += 1;
    }
    object
}

/// Forms a swarm, sends updates of about `json_bytes` each, kills 30 % of it, and sends more.
#[must_use]
pub fn measure(nodes: usize, json_bytes: usize, settings: Settings, seed: u64) -> Measured {
    let mut swarm = Swarm::new(nodes, settings, seed);
    swarm.run_for(FORM_MS);
    let mut updates = (0..).map(|number| update(number, json_bytes));
    let degree_mean = swarm.degree_mean();
    let connected = swarm.connected();
    let before = swarm.received();
    swarm.run_for(FORM_MS);
    let idle_bytes = (swarm.received().members - before.members) as f64;
    let idle_bytes_per_s = idle_bytes / nodes as f64 / (FORM_MS as f64 / 1_000.0);

    let writer = [swarm.any()];
    let first = spread(&mut swarm, &writer, &mut updates, 1);
    spread(&mut swarm, &writer, &mut updates, SETTLE_UPDATES);
    let one = spread(&mut swarm, &writer, &mut updates, 20);
    let writers: Vec<Member> = (0..10).map(|_| swarm.any()).collect();
    spread(&mut swarm, &writers, &mut updates, writers.len() * SETTLE_UPDATES / 2);
    let many = spread(&mut swarm, &writers, &mut updates, 20);

    let mut dead: Vec<Member> = Vec::new();
    while dead.len() < nodes * 3 / 10 {
        let member = swarm.any();
        if member != writer[0] && !dead.contains(&member) {
            dead.push(member);
        }
    }
    swarm.kill(&dead);
    let wounded = spread(&mut swarm, &writer, &mut updates, 3);
    swarm.run_for(FORM_MS);
    let (left_connected, left_degree_mean) = (swarm.connected(), swarm.degree_mean());
    spread(&mut swarm, &writer, &mut updates, 2);
    let healed = spread(&mut swarm, &writer, &mut updates, 10);
    Measured {
        nodes,
        degree_mean,
        connected,
        first,
        one,
        many,
        idle_bytes_per_s,
        left: nodes - dead.len(),
        left_connected,
        left_degree_mean,
        wounded,
        healed,
    }
}

fn spread(
    swarm: &mut Swarm,
    writers: &[Member],
    updates: &mut impl Iterator<Item = Bytes>,
    count: usize,
) -> Spread {
    let alive = swarm.alive();
    let before = swarm.received();
    let (mut sent, mut payload) = (Vec::new(), 0);
    for (content, writer) in updates.take(count).zip(writers.iter().cycle()) {
        payload += content.len();
        sent.push(swarm.send(*writer, content));
        swarm.run_for(UPDATE_EVERY_MS);
    }
    // What is still on its way belongs to it.
    swarm.run_for(3 * UPDATE_EVERY_MS);
    let copies = payload as f64 * (alive.len() - 1) as f64;
    let after = swarm.received();
    let bytes = (after.updates - before.updates + after.mending - before.mending) as f64;
    let mut hops: Vec<u16> = Vec::new();
    let mut spread = Spread { updates: count, reached_min: alive.len(), ..Spread::default() };
    for number in sent {
        let reached = swarm.reached(number);
        spread.reached_min = spread.reached_min.min(reached.hops.len());
        spread.ms_max = spread.ms_max.max(reached.last_ms - reached.sent_ms);
        hops.extend(reached.hops.values());
    }
    hops.sort_unstable();
    spread.hops_half = hops[hops.len() / 2];
    spread.hops_99 = hops[hops.len() * 99 / 100];
    spread.hops_max = hops[hops.len() - 1];
    spread.bytes = bytes / (alive.len() - 1) as f64 / count as f64;
    spread.copies = bytes / copies;
    spread
}
