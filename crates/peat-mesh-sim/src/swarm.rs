//! Very many nodes with nothing but their part in the overlay: who is whose neighbour, and how updates travel.
//!
//! The protocol, its messages and their bytes are the real ones; a link is a delay, and there are no documents.
//! A thousand nodes run in seconds. [`World`](crate::World) is for few nodes with everything.

mod measure;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use peat_mesh_core::EndpointId;
use peat_mesh_core::wire::HEADER_BYTES;
use peat_mesh_overlay::{Output, Overlay, Settings, Topic};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::clock::Agenda;

pub use measure::{Measured, Spread, measure, update};

/// How far apart two nodes are, in milliseconds, one way.
const LATENCY_MS: std::ops::RangeInclusive<u64> = 10..=50;
/// What a new connection costs beside the message on it, in one-way trips.
const DIAL_TRIPS: u64 = 4;
/// How long it takes to notice that a neighbour is dead, or that nobody answers a dial, in milliseconds.
const NOTICE_MS: u64 = 3_000;

/// What the frame around a message takes, in bytes: its header and the flag.
const FRAME_BYTES: usize = HEADER_BYTES + 1;

/// A node of the swarm, by its number.
pub type Member = usize;

/// An update, in the order in which they were made.
pub type Update = usize;

#[derive(Debug)]
enum Event {
    Arrives { from: Member, to: Member, bytes: Bytes },
    Wakes(Member),
    Loses { who: Member, whom: Member },
}

/// Who got an update, after how many hops and when.
#[derive(Debug, Clone, Default)]
pub struct Reached {
    /// The number of links it crossed to each node that got it.
    pub hops: BTreeMap<Member, u16>,
    /// When it was sent, and when the last one got it, in milliseconds.
    pub sent_ms: u64,
    /// See there.
    pub last_ms: u64,
}

/// What came to a node, in bytes, frame headers included.
#[derive(Debug, Clone, Copy, Default)]
pub struct Came {
    /// Messages about who is whose neighbour.
    pub members: u64,
    /// Updates.
    pub updates: u64,
    /// Announcements of updates and what mends the tree.
    pub mending: u64,
}

/// The swarm. See the module's text.
#[derive(Debug)]
pub struct Swarm {
    rng: StdRng,
    settings: Settings,
    agenda: Agenda<Event>,
    overlays: Vec<Option<Overlay>>,
    ids: Vec<EndpointId>,
    wakes_ms: Vec<Option<u64>>,
    numbers: BTreeMap<EndpointId, Member>,
    links: BTreeSet<(Member, Member)>,
    updates: BTreeMap<Bytes, Update>,
    reached: Vec<Reached>,
    /// Bytes that came to each node, frame headers included.
    received_bytes: Vec<Came>,
    most_kept_bytes: usize,
}

impl Swarm {
    /// `count` nodes that all know of each other and start within the same few seconds.
    #[must_use]
    pub fn new(count: usize, settings: Settings, seed: u64) -> Self {
        let mut swarm = Self {
            rng: StdRng::seed_from_u64(seed),
            settings,
            agenda: Agenda::new(),
            overlays: Vec::new(),
            ids: Vec::new(),
            wakes_ms: Vec::new(),
            numbers: BTreeMap::new(),
            links: BTreeSet::new(),
            updates: BTreeMap::new(),
            reached: Vec::new(),
            received_bytes: Vec::new(),
            most_kept_bytes: 0,
        };
        swarm.add(count);
        swarm
    }

    /// More nodes.
    pub fn add(&mut self, count: usize) {
        for _ in 0..count {
            let number = self.overlays.len();
            let mut id = [0; 32];
            self.rng.fill(&mut id);
            let overlay = Overlay::new(EndpointId(id), self.settings.clone(), self.rng.random());
            self.numbers.insert(EndpointId(id), number);
            self.ids.push(EndpointId(id));
            self.overlays.push(Some(overlay));
            self.wakes_ms.push(None);
            self.received_bytes.push(Came::default());
            self.agenda.at(self.agenda.now_ms() + self.rng.random_range(0..5_000), Event::Wakes(number));
        }
        let others = self.overlays.len() - 1;
        self.overlays.iter_mut().flatten().for_each(|overlay| overlay.set_known_count(others));
    }

    /// The nodes that live.
    #[must_use]
    pub fn alive(&self) -> Vec<Member> {
        (0..self.overlays.len()).filter(|number| self.overlays[*number].is_some()).collect()
    }

    /// A random node that lives.
    pub fn any(&mut self) -> Member {
        let alive = self.alive();
        alive[self.rng.random_range(0..alive.len())]
    }

    /// Ends nodes, all at once and without a word.
    pub fn kill(&mut self, members: &[Member]) {
        let now_ms = self.agenda.now_ms();
        for whom in members {
            self.overlays[*whom] = None;
        }
        for (a, b) in self.links.clone() {
            for (who, whom) in [(a, b), (b, a)] {
                if self.overlays[whom].is_none() && self.overlays[who].is_some() {
                    self.agenda.at(now_ms + NOTICE_MS, Event::Loses { who, whom });
                }
            }
        }
        let overlays = &self.overlays;
        self.links.retain(|(a, b)| overlays[*a].is_some() && overlays[*b].is_some());
    }

    /// Lets time pass.
    pub fn run_for(&mut self, ms: u64) {
        let until_ms = self.agenda.now_ms() + ms;
        while let Some(event) = self.agenda.next(until_ms) {
            match event {
                Event::Arrives { from, to, bytes } => self.arrives(from, to, &bytes),
                Event::Wakes(who) => {
                    self.wakes_ms[who] = None;
                    self.with(who, |overlay, now_ms| overlay.tick(now_ms));
                }
                Event::Loses { who, whom } => {
                    if !self.links.contains(&link(who, whom)) || self.overlays[whom].is_none() {
                        let peer = self.id(whom);
                        self.with(who, |overlay, now_ms| overlay.lost(now_ms, peer));
                    }
                }
            }
        }
        self.agenda.advance(until_ms);
    }

    /// Spreads an update of one node. No two may be equal.
    pub fn send(&mut self, from: Member, content: Bytes) -> Update {
        let (number, sent_ms) = (self.reached.len(), self.agenda.now_ms());
        self.updates.insert(content.clone(), number);
        self.reached.push(Reached { hops: BTreeMap::from([(from, 0)]), sent_ms, last_ms: sent_ms });
        self.with(from, |overlay, now_ms| overlay.broadcast(now_ms, content).unwrap_or_default());
        number
    }

    /// Who got an update.
    #[must_use]
    pub fn reached(&self, update: Update) -> &Reached {
        &self.reached[update]
    }

    /// What came to the nodes that live, in all.
    #[must_use]
    pub fn received(&self) -> Came {
        let came = self.alive().into_iter().map(|number| self.received_bytes[number]);
        came.fold(Came::default(), |sum, came| Came {
            members: sum.members + came.members,
            updates: sum.updates + came.updates,
            mending: sum.mending + came.mending,
        })
    }

    /// The most bytes of updates that any node kept at any time.
    #[must_use]
    pub fn most_kept_bytes(&self) -> usize {
        self.most_kept_bytes
    }

    /// How many neighbours the nodes that live have, on average.
    #[must_use]
    pub fn degree_mean(&self) -> f64 {
        let counts = self.overlays.iter().flatten().map(|overlay| overlay.neighbours().len());
        counts.sum::<usize>() as f64 / self.alive().len() as f64
    }

    /// How many nodes that live a walk over links between neighbours reaches from one of them.
    #[must_use]
    pub fn connected(&self) -> usize {
        let Some(first) = self.alive().first().copied() else { return 0 };
        let (mut seen, mut waiting) = (BTreeSet::from([first]), vec![first]);
        while let Some(member) = waiting.pop() {
            let mine = self.overlays[member].iter().flat_map(Overlay::neighbours);
            for number in mine.map(|id| self.numbers[id]) {
                let theirs = self.overlays[number].as_ref().map(Overlay::neighbours);
                if theirs.is_some_and(|it| it.contains(&self.id(member))) && seen.insert(number) {
                    waiting.push(number);
                }
            }
        }
        seen.len()
    }

    fn id(&self, member: Member) -> EndpointId {
        self.ids[member]
    }

    fn arrives(&mut self, from: Member, to: Member, bytes: &Bytes) {
        if self.overlays[to].is_none() {
            return;
        }
        let came = &mut self.received_bytes[to];
        let count = match Topic::of(bytes) {
            Topic::Members => &mut came.members,
            Topic::Update => &mut came.updates,
            Topic::Mending => &mut came.mending,
        };
        *count += (bytes.len() + FRAME_BYTES) as u64;
        let peer = self.id(from);
        self.with(to, |overlay, now_ms| {
            overlay.received(now_ms, peer, &[], bytes).expect("nodes of a swarm keep the rules")
        });
    }

    fn with(&mut self, who: Member, act: impl FnOnce(&mut Overlay, u64) -> Vec<Output>) {
        let now_ms = self.agenda.now_ms();
        let Some(overlay) = &mut self.overlays[who] else { return };
        let outputs = act(overlay, now_ms);
        self.most_kept_bytes = self.most_kept_bytes.max(overlay.kept_bytes());
        for output in outputs {
            self.output(who, output);
        }
        let next_ms = self.overlays[who].as_ref().and_then(Overlay::next_wakeup);
        if let Some(next_ms) = next_ms
            && self.wakes_ms[who].is_none_or(|planned_ms| next_ms < planned_ms)
        {
            self.wakes_ms[who] = Some(next_ms);
            self.agenda.at(next_ms, Event::Wakes(who));
        }
    }

    fn output(&mut self, who: Member, output: Output) {
        let now_ms = self.agenda.now_ms();
        match output {
            Output::Send { to, bytes } => {
                let to = self.numbers[&to];
                if self.overlays[to].is_none() {
                    if !self.links.contains(&link(who, to)) {
                        self.agenda.at(now_ms + NOTICE_MS, Event::Loses { who, whom: to });
                    }
                    return;
                }
                let trips = if self.links.insert(link(who, to)) { 1 + DIAL_TRIPS } else { 1 };
                let at_ms = now_ms + trips * latency_ms(who, to);
                self.agenda.at(at_ms, Event::Arrives { from: who, to, bytes });
            }
            Output::NeighbourUp(_) | Output::NeighbourDown(_) => {}
            Output::LetGo(peer) => {
                let whom = self.numbers[&peer];
                self.links.remove(&link(who, whom));
                let at_ms = now_ms + latency_ms(who, whom) + 1;
                self.agenda.at(at_ms, Event::Loses { who, whom });
                self.agenda.at(at_ms, Event::Loses { who: whom, whom: who });
            }
            Output::Deliver { content, hops, .. } => {
                let reached = &mut self.reached[self.updates[&content]];
                reached.hops.insert(who, hops);
                reached.last_ms = now_ms;
            }
            Output::DeliverOnly { .. } | Output::Heard { .. } => {}
            Output::SeekContact => {
                let contact = self.any();
                if contact != who {
                    let peer = self.id(contact);
                    self.with(who, |overlay, now_ms| overlay.meet(now_ms, peer));
                }
            }
        }
    }
}

fn link(a: Member, b: Member) -> (Member, Member) {
    (a.min(b), a.max(b))
}

/// The same for a pair, always.
fn latency_ms(a: Member, b: Member) -> u64 {
    let (a, b) = link(a, b);
    StdRng::seed_from_u64((a as u64) << 32 | b as u64).random_range(LATENCY_MS)
}
