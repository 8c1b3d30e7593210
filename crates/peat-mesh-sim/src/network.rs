//! The network between the nodes: frames go in, and come out later, out of order, twice or never.
//!
//! It is worse than QUIC on purpose. A connection has two ends that open and close at different times;
//! when it breaks, each end notices when its own silence has lasted too long.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use rand::RngExt;
use rand::rngs::StdRng;

use peat_mesh_core::ConnId;
use peat_mesh_core::io::Closed;
use peat_mesh_core::limits;

use crate::site::Site;
use crate::weather::Weather;

/// An end to which nothing comes says so after so long, in milliseconds.
const SILENT_AFTER_MS: u64 = 2_000;

/// What a lost packet costs until it was sent again, in milliseconds.
const DELAY_MS: RangeInclusive<u64> = 20..=1_500;

/// What the network does at some time.
#[derive(Debug)]
pub(crate) enum Happening {
    /// An end of a connection passed the proof.
    Admit { conn: ConnId },
    /// A frame arrives at this end.
    Deliver { conn: ConnId, frame: Vec<u8> },
    /// Bytes have left this end.
    Left { conn: ConnId, bytes: usize },
    /// Nothing has come to this end for long.
    Silence { conn: ConnId },
    /// Something comes again.
    Sound { conn: ConnId },
    /// This end closes; without `sure`, only if its peer cannot be reached then.
    Close { conn: ConnId, why: Closed, sure: bool },
}

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) site: Site,
    /// Which run of the site's process it belongs to.
    pub(crate) epoch: u64,
    pub(crate) state: EndState,
    admitted_ms: u64,
    free_ms: u64,
    last_arrival_ms: u64,
    /// Bytes that were given to this end and have not left.
    pub(crate) unsent_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndState {
    Proving,
    Open,
    Closed,
}

#[derive(Debug)]
struct Wire {
    ends: [End; 2],
    /// One end has given up: nothing gets through any more, whatever becomes of the link.
    dead: bool,
}

/// Connections, links and cuts.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) weather: Weather,
    links: BTreeSet<(Site, Site)>,
    cuts: BTreeSet<(Site, Site)>,
    /// Links that are faster or slower than the weather says, in bytes per millisecond.
    pub(crate) speeds: BTreeMap<(Site, Site), u64>,
    wires: BTreeMap<u64, Wire>,
    dialed: u64,
}

type Plan = Vec<(u64, Happening)>;

pub(crate) fn pair(a: Site, b: Site) -> (Site, Site) {
    (a.min(b), a.max(b))
}

fn other(conn: ConnId) -> ConnId {
    ConnId(conn.0 ^ 1)
}

fn silence() -> Closed {
    Closed::Lost("no sign of life".to_owned())
}

impl Network {
    pub(crate) fn new() -> Self {
        Self {
            weather: Weather::calm(),
            links: BTreeSet::new(),
            cuts: BTreeSet::new(),
            speeds: BTreeMap::new(),
            wires: BTreeMap::new(),
            dialed: 0,
        }
    }

    /// Returns whether the link is new.
    pub(crate) fn link(&mut self, a: Site, b: Site) -> bool {
        self.links.insert(pair(a, b))
    }

    pub(crate) fn neighbours(&self, of: Site) -> Vec<Site> {
        let next = |(a, b): &(Site, Site)| match (*a == of, *b == of) {
            (true, _) => Some(*b),
            (_, true) => Some(*a),
            _ => None,
        };
        self.links.iter().filter_map(next).collect()
    }

    pub(crate) fn links(&self) -> Vec<(Site, Site)> {
        self.links.iter().copied().collect()
    }

    pub(crate) fn reaches(&self, a: Site, b: Site) -> bool {
        self.links.contains(&pair(a, b)) && !self.cuts.contains(&pair(a, b))
    }

    /// Nothing gets through between two sites from now on; what is under way is lost.
    pub(crate) fn cut(&mut self, rng: &mut StdRng, now_ms: u64, a: Site, b: Site) -> Plan {
        let mut plan = Vec::new();
        if !self.cuts.insert(pair(a, b)) {
            return plan;
        }
        for number in self.between(a, b) {
            for end in 0..2 {
                let at_ms = now_ms + rng.random_range(self.weather.silence_ms.clone());
                let conn = ConnId(number * 2 + end);
                plan.push((at_ms, Happening::Close { conn, why: silence(), sure: false }));
                plan.push((now_ms + SILENT_AFTER_MS, Happening::Silence { conn }));
            }
        }
        plan
    }

    /// What is sent from now on gets through.
    pub(crate) fn heal(&mut self, now_ms: u64, a: Site, b: Site) -> Plan {
        self.cuts.remove(&pair(a, b));
        let ends =
            self.between(a, b).into_iter().flat_map(|number| [0, 1].map(|end| ConnId(number * 2 + end)));
        ends.map(|conn| (now_ms + 1, Happening::Sound { conn })).collect()
    }

    fn between(&self, a: Site, b: Site) -> Vec<u64> {
        let is_meant = |wire: &Wire| pair(wire.ends[0].site, wire.ends[1].site) == pair(a, b);
        self.wires.iter().filter(|(_, wire)| is_meant(wire)).map(|(number, _)| *number).collect()
    }

    /// All ends of open or opening connections of a site.
    pub(crate) fn ends_of(&self, site: Site) -> Vec<ConnId> {
        let ends = self.wires.iter().flat_map(|(number, wire)| {
            wire.ends.iter().enumerate().map(move |(end, it)| (ConnId(number * 2 + end as u64), it))
        });
        ends.filter(|(_, end)| end.site == site && end.state != EndState::Closed)
            .map(|(conn, _)| conn)
            .collect()
    }

    /// Makes a connection; the caller has checked that both are there. Either end may be first to pass
    /// the proof.
    pub(crate) fn dial(
        &mut self,
        rng: &mut StdRng,
        now_ms: u64,
        from: (Site, u64),
        to: (Site, u64),
    ) -> (ConnId, Plan) {
        let number = self.dialed;
        self.dialed += 1;
        let mut end = |(site, epoch): (Site, u64)| {
            let proof = 2 * rng.random_range(self.weather.latency_ms.clone())
                + rng.random_range(self.weather.latency_ms.clone());
            End {
                site,
                epoch,
                state: EndState::Proving,
                admitted_ms: now_ms + proof,
                free_ms: 0,
                last_arrival_ms: 0,
                unsent_bytes: 0,
            }
        };
        let ends = [end(from), end(to)];
        let admit = |end: usize| {
            let conn = ConnId(number * 2 + end as u64);
            (ends[end].admitted_ms, Happening::Admit { conn })
        };
        let plan = vec![admit(0), admit(1)];
        self.wires.insert(number, Wire { ends, dead: false });
        (ConnId(number * 2), plan)
    }

    pub(crate) fn end(&self, conn: ConnId) -> Option<&End> {
        Some(&self.wires.get(&(conn.0 / 2))?.ends[(conn.0 % 2) as usize])
    }

    fn end_mut(&mut self, conn: ConnId) -> Option<&mut End> {
        Some(&mut self.wires.get_mut(&(conn.0 / 2))?.ends[(conn.0 % 2) as usize])
    }

    pub(crate) fn far_end(&self, conn: ConnId) -> Option<&End> {
        self.end(other(conn))
    }

    /// Whether what one end sends can reach the other one.
    pub(crate) fn is_through(&self, conn: ConnId) -> bool {
        self.wires
            .get(&(conn.0 / 2))
            .is_some_and(|wire| !wire.dead && self.reaches(wire.ends[0].site, wire.ends[1].site))
    }

    pub(crate) fn open(&mut self, conn: ConnId) {
        if let Some(end) = self.end_mut(conn) {
            end.state = EndState::Open;
        }
    }

    /// Takes a frame from an end that is open.
    pub(crate) fn send(
        &mut self,
        rng: &mut StdRng,
        now_ms: u64,
        conn: ConnId,
        frame: &[u8],
        cost: usize,
    ) -> Plan {
        let weather = self.weather.clone();
        let mut plan = Vec::new();
        let through = self.is_through(conn);
        let far_admitted_ms = self.far_end(conn).map_or(0, |far| far.admitted_ms);
        let speed = self.speed(conn);
        let Some(end) = self.end_mut(conn) else { return plan };
        end.unsent_bytes += cost;
        end.free_ms = end.free_ms.max(now_ms) + frame.len() as u64 / speed;
        plan.push((end.free_ms, Happening::Left { conn, bytes: cost }));
        let arrival_ms = end.free_ms + rng.random_range(weather.latency_ms.clone());
        let mut arrival_ms = arrival_ms.max(end.last_arrival_ms).max(far_admitted_ms);
        if weather.delayed > 0.0 && rng.random_bool(weather.delayed) {
            arrival_ms += rng.random_range(DELAY_MS);
        }
        if rng.random_bool(weather.reordered) {
            arrival_ms += rng.random_range(1..=200);
        } else {
            end.last_arrival_ms = arrival_ms;
        }
        let deliver = || Happening::Deliver { conn: other(conn), frame: frame.to_vec() };
        if through && !rng.random_bool(weather.lost) {
            plan.push((arrival_ms, deliver()));
            if rng.random_bool(weather.duplicated) {
                plan.push((arrival_ms + rng.random_range(0..=500), deliver()));
            }
        }
        if rng.random_bool(weather.broken) {
            plan.extend(self.break_off(rng, now_ms, conn));
        }
        plan
    }

    fn speed(&self, conn: ConnId) -> u64 {
        let sites = self.end(conn).zip(self.far_end(conn)).map(|(end, far)| pair(end.site, far.site));
        let speed = sites.and_then(|sites| self.speeds.get(&sites)).copied();
        speed.unwrap_or(self.weather.bytes_per_ms).max(1)
    }

    pub(crate) fn left(&mut self, conn: ConnId, bytes: usize) {
        if let Some(end) = self.end_mut(conn) {
            end.unsent_bytes -= bytes;
        }
    }

    /// The connection is dead, and both ends find out on their own.
    pub(crate) fn break_off(&mut self, rng: &mut StdRng, now_ms: u64, conn: ConnId) -> Plan {
        let Some(wire) = self.wires.get_mut(&(conn.0 / 2)) else { return Vec::new() };
        wire.dead = true;
        let mut close = |conn| {
            let at_ms = now_ms + rng.random_range(self.weather.silence_ms.clone());
            (at_ms, Happening::Close { conn, why: silence(), sure: true })
        };
        vec![close(conn), close(other(conn))]
    }

    /// Breaks every connection between two sites.
    pub(crate) fn break_all(&mut self, rng: &mut StdRng, now_ms: u64, a: Site, b: Site) -> Plan {
        let numbers = self.between(a, b);
        numbers.into_iter().flat_map(|number| self.break_off(rng, now_ms, ConnId(number * 2))).collect()
    }

    /// Closes one end, and plans how the other one learns of it. `said` is what it is told if a word
    /// still gets through.
    pub(crate) fn close(
        &mut self,
        rng: &mut StdRng,
        now_ms: u64,
        conn: ConnId,
        said: Option<Closed>,
    ) -> Plan {
        let through = self.is_through(conn);
        let Some(wire) = self.wires.get_mut(&(conn.0 / 2)) else { return Vec::new() };
        wire.dead = true;
        wire.ends[(conn.0 % 2) as usize].state = EndState::Closed;
        let far = &wire.ends[(other(conn).0 % 2) as usize];
        if far.state == EndState::Closed {
            self.wires.remove(&(conn.0 / 2));
            return Vec::new();
        }
        let (after_ms, why) = match said {
            Some(said) if through => (rng.random_range(self.weather.latency_ms.clone()), said),
            _ => (rng.random_range(self.weather.silence_ms.clone()), silence()),
        };
        let at_ms = (now_ms + after_ms).max(far.admitted_ms + 1);
        vec![(at_ms, Happening::Close { conn: other(conn), why, sure: true })]
    }

    /// How many connections are open at both ends between two sites.
    pub(crate) fn live_between(&self, a: Site, b: Site) -> usize {
        let is_live = |number: &u64| {
            let wire = &self.wires[number];
            !wire.dead && wire.ends.iter().all(|end| end.state == EndState::Open)
        };
        self.between(a, b).iter().filter(|number| is_live(number)).count()
    }
}

/// The most that may wait unsent at one end: half a window, above which nothing more is read, then what
/// was being read by then; or one frame of any size.
pub(crate) fn unsent_bytes_max(largest_document_bytes: usize) -> usize {
    let answer_bytes = limits::CHANGES_FRAME_BYTES_TARGET + largest_document_bytes;
    let overhead = limits::frame_cost_bytes(64 * 1024);
    limits::SEND_WINDOW_BYTES + limits::ANSWERS_IN_FLIGHT_MAX * (answer_bytes + overhead)
}
