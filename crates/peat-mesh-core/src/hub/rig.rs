//! A few hubs with stores and replicas, and wires between them that lose nothing. Time stands still while frames move.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use serde_json::Value;

use super::*;
use crate::answer::answer;
use crate::heads::{ChangeHash, Heads};
use crate::id::DocId;
use crate::replica::{Job, Replica, Source, Work};
use crate::store::{ChunkWrite, DocWrite, MemoryStore, Origin, Store};
use crate::wire::{Decoder, Hello};

pub(super) struct Site {
    pub(super) hub: Hub,
    pub(super) store: MemoryStore,
    replica: Replica,
    name: NodeName,
    id: EndpointId,
    /// Reasons for which it ended connections.
    pub(super) closes: Vec<CloseReason>,
    pub(super) news: Vec<Event>,
    /// Jobs of peers that came to its replica.
    pub(super) merged: Vec<DocId>,
    /// The most that ever waited for one connection, in bytes.
    pub(super) unsent_bytes_max: usize,
}

/// A frame that arrived: from, to, kind, the documents in it, and its bytes.
#[derive(Debug, Clone)]
pub(super) struct Arrived {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) frame: Frame,
    pub(super) bytes: usize,
}

#[derive(Default)]
pub(super) struct Rig {
    pub(super) sites: Vec<Site>,
    pub(super) now_ms: u64,
    /// Connections: number, dialler, the other.
    open: BTreeMap<u64, (usize, usize)>,
    next: u64,
    wires: BTreeMap<(u64, usize), VecDeque<Bytes>>,
    inputs: VecDeque<(usize, Input)>,
    /// From, to: nothing is taken off these unless a test does it.
    pub(super) stopped: Vec<(usize, usize)>,
    pub(super) arrived: Vec<Arrived>,
}

impl Rig {
    pub(super) fn site(&mut self, name: &str, store: MemoryStore) -> usize {
        let number = self.sites.len();
        let id = EndpointId([number as u8 + 1; 32]);
        let hub = Hub::new(id, Catalog::load(&store).unwrap(), number as u64);
        let replica = Replica::new(&store, [number as u8 + 1; 16]).unwrap();
        self.sites.push(Site {
            hub,
            store,
            replica,
            name: NodeName::new(name).unwrap(),
            id,
            closes: Vec::new(),
            news: Vec::new(),
            merged: Vec::new(),
            unsent_bytes_max: 0,
        });
        number
    }

    /// Lets two sites find each other.
    pub(super) fn link(&mut self, a: usize, b: usize) {
        for (at, other) in [(a, b), (b, a)] {
            let peer = &self.sites[other];
            let addresses = vec![SocketAddr::from(([127, 0, 0, 1], 1 + other as u16))];
            let seen = Input::PeerSeen { peer: peer.id, name: Some(peer.name.clone()), addresses };
            self.inputs.push_back((at, seen));
        }
    }

    pub(super) fn put(&mut self, at: usize, doc: &str, value: &Value) {
        let work = Work::Put(value.as_object().unwrap().clone());
        let job = Job { doc: doc.parse().unwrap(), work, source: Source::Client };
        self.run_jobs(at, vec![job]);
        self.settle();
    }

    fn run_jobs(&mut self, at: usize, jobs: Vec<Job>) {
        let site = &mut self.sites[at];
        let outcomes = site.replica.run(&site.store, jobs, 1_700_000_000_000);
        self.inputs.push_back((at, Input::Committed(outcomes)));
    }

    pub(super) fn json(&self, at: usize, doc: &str) -> Option<Value> {
        let stored = self.sites[at].store.document(&doc.parse().unwrap()).unwrap()?;
        Some(serde_json::from_str(&stored.json).unwrap())
    }

    /// Takes one frame off a wire that is stopped; says whether there was one.
    pub(super) fn take_one(&mut self, from: usize, to: usize) -> bool {
        let wires = self.open.iter().filter(|(_, (a, b))| [(*a, *b), (*b, *a)].contains(&(from, to)));
        let Some(number) = wires.map(|(number, _)| *number).next_back() else { return false };
        let was = self.arrived.len();
        self.carry(number, from, to);
        let taken = self.arrived.len() > was;
        self.settle();
        taken
    }

    fn carry(&mut self, number: u64, from: usize, to: usize) -> bool {
        let Some(bytes) = self.wires.get_mut(&(number, from)).and_then(VecDeque::pop_front) else {
            return false;
        };
        let frame = Decoder::default().take(&mut BytesMut::from(&bytes[..])).unwrap().unwrap();
        let conn = ConnId(number);
        let cost = limits::frame_cost_bytes(bytes.len());
        self.arrived.push(Arrived { from, to, frame: frame.clone(), bytes: bytes.len() });
        self.inputs.push_back((from, Input::Sent { conn, bytes: cost }));
        self.inputs.push_back((to, Input::Received { conn, frame }));
        true
    }

    /// Does all that needs no time.
    pub(super) fn settle(&mut self) {
        loop {
            while let Some((at, input)) = self.inputs.pop_front() {
                for effect in self.sites[at].hub.handle(self.now_ms, input) {
                    self.effect(at, effect);
                }
                let unsent = self.sites[at].hub.links.values().map(|link| link.unsent_bytes).max();
                let site = &mut self.sites[at];
                site.unsent_bytes_max = site.unsent_bytes_max.max(unsent.unwrap_or(0));
            }
            let open: Vec<_> = self.open.iter().map(|(number, ends)| (*number, *ends)).collect();
            let mut is_idle = true;
            for (number, (a, b)) in open {
                for (from, to) in [(a, b), (b, a)] {
                    is_idle &= self.stopped.contains(&(from, to)) || !self.carry(number, from, to);
                }
            }
            if is_idle && self.inputs.is_empty() {
                return;
            }
        }
    }

    /// Lets time pass.
    pub(super) fn run_for(&mut self, ms: u64) {
        let until_ms = self.now_ms + ms;
        self.settle();
        loop {
            let wakeups = self.sites.iter().enumerate();
            let next = wakeups.filter_map(|(at, site)| Some((site.hub.next_wakeup()?, at))).min();
            let Some((at_ms, at)) = next.filter(|(at_ms, _)| *at_ms <= until_ms) else { break };
            // A hub that wants to be woken at once again and again does not stop the clock.
            self.now_ms = at_ms.max(self.now_ms + 1);
            self.inputs.push_back((at, Input::Tick));
            self.settle();
        }
        self.now_ms = self.now_ms.max(until_ms);
    }

    fn effect(&mut self, at: usize, effect: Effect) {
        match effect {
            Effect::Dial { peer, .. } => {
                let Some(to) = self.sites.iter().position(|site| site.id == peer) else { return };
                self.next += 1;
                let conn = ConnId(self.next);
                self.open.insert(self.next, (at, to));
                for (here, there, dialed) in [(at, to, true), (to, at, false)] {
                    let peer = &self.sites[there];
                    let hello = Hello { name: peer.name.clone(), incarnation: 1 };
                    let admitted = Input::Admitted { conn, peer: peer.id, hello, dialed, address: None };
                    self.inputs.push_back((here, admitted));
                }
            }
            Effect::Send { conn, frame } => self.wires.entry((conn.0, at)).or_default().push_back(frame),
            Effect::Close { conn, reason } => {
                let why = match &reason {
                    CloseReason::Duplicate => Closed::Duplicate,
                    other => Closed::Lost(format!("{other:?}")),
                };
                self.sites[at].closes.push(reason);
                if let Some((a, b)) = self.open.remove(&conn.0) {
                    self.wires.retain(|(number, _), _| *number != conn.0);
                    let other = if a == at { b } else { a };
                    self.inputs.push_back((other, Input::Closed { conn, why }));
                }
            }
            Effect::Merge { conn, from, changes } => {
                let (audience, repair) = (changes.audience.into(), changes.repair);
                let source = Source::Peer { conn, name: from, audience, repair };
                let job = |(doc, chunks)| Job { doc, work: Work::Merge(chunks), source: source.clone() };
                let jobs: Vec<Job> = changes.documents.into_iter().map(job).collect();
                self.sites[at].merged.extend(jobs.iter().map(|job| job.doc.clone()));
                self.run_jobs(at, jobs);
            }
            Effect::Answer { conn, requests } => {
                let answer = answer(&self.sites[at].store, requests);
                self.inputs.push_back((at, Input::Answered { conn, answer }));
            }
            Effect::Notify(event) => self.sites[at].news.push(event),
            Effect::Gossip { .. } | Effect::Broadcast { .. } => {}
        }
    }
}

/// Puts bytes into a store as if they were the document, with these heads.
pub(super) fn plant(store: &MemoryStore, doc: &str, chunks: Vec<u8>, head: [u8; 32]) {
    let write = DocWrite {
        doc: doc.parse().unwrap(),
        seq: store.last_seq().unwrap() + 1,
        heads: Heads::new(vec![ChangeHash(head)]),
        json: Some("{}".to_owned()),
        chunk: ChunkWrite::Replace(chunks.into()),
        origin: Origin::Local,
        changed_ms: 0,
    };
    store.commit(&[write]).unwrap();
}

/// A store with these documents.
pub(super) fn store_of(documents: impl IntoIterator<Item = (String, Value)>, actor: u8) -> MemoryStore {
    let store = MemoryStore::default();
    let job = |(doc, value): (String, Value)| Job {
        doc: doc.parse().unwrap(),
        work: Work::Put(value.as_object().unwrap().clone()),
        source: Source::Client,
    };
    let jobs = documents.into_iter().map(job).collect();
    let outcomes = Replica::new(&store, [actor; 16]).unwrap().run(&store, jobs, 1_700_000_000_000);
    assert!(outcomes.iter().all(|outcome| outcome.result.is_ok()));
    store
}
