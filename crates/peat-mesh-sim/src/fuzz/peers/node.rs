//! One of the two: a real hub, a real replica and a store in memory.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::net::SocketAddr;

use bytes::Bytes;
use peat_mesh_core::answer::answer;
use peat_mesh_core::catalog::{Catalog, Prefix};
use peat_mesh_core::document::{ActorId, Document};
use peat_mesh_core::heads::ChangeHash;
use peat_mesh_core::hub::Hub;
use peat_mesh_core::io::{Effect, Input as Fact};
use peat_mesh_core::presence::{Label, Me};
use peat_mesh_core::replica::{Job, Outcome, Replica, Source, Work};
use peat_mesh_core::store::{MemoryStore, Store};
use peat_mesh_core::wire::{Changes, Hello};
use peat_mesh_core::{ConnId, DocId, EndpointId, NodeName, limits};
use serde_json::{Map, Value, json};

/// Wall-clock time at the beginning.
const BEGINNING_MS: u64 = 1_700_000_000_000;

/// What a node wants of the network.
pub(super) enum Wish {
    Dial,
    Send(ConnId, Bytes),
    Close(ConnId),
}

pub(super) struct Node {
    number: u8,
    store: MemoryStore,
    hub: Hub,
    replica: Replica,
    run: u16,
    edits: u64,
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {:?}, peers {:?}", self.name(), self.documents(), self.hub.peers())
    }
}

impl Node {
    pub(super) fn new(number: u8) -> Self {
        let store = MemoryStore::default();
        let (hub, replica) = start(number, &store, 0, 0);
        Self { number, store, hub, replica, run: 0, edits: 0 }
    }

    /// A new process on the same disk.
    pub(super) fn restart(&mut self, now_ms: u64) {
        self.run = self.run.wrapping_add(1);
        (self.hub, self.replica) = start(self.number, &self.store, self.run, now_ms);
    }

    fn name(&self) -> NodeName {
        name(self.number)
    }

    fn id(&self) -> EndpointId {
        EndpointId([self.number + 1; 32])
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, self.number], 1))
    }

    /// What the other one's discovery says of this one.
    pub(super) fn seen(&self) -> Fact {
        Fact::PeerSeen { peer: self.id(), name: Some(self.name()), addresses: vec![self.address()] }
    }

    /// What the other one hears when a connection with this one passed the proof.
    pub(super) fn admitted(&self, conn: ConnId, dialed: bool) -> Fact {
        let hello = Hello { name: self.name(), incarnation: incarnation(self.number, self.run) };
        Fact::Admitted { conn, peer: self.id(), hello, dialed, address: Some(self.address()) }
    }

    /// Tells the hub and does what it wants done here; the rest is for the network.
    pub(super) fn handle(&mut self, now_ms: u64, fact: Fact) -> Vec<Wish> {
        let mut wishes = Vec::new();
        let mut effects = VecDeque::from(self.hub.handle(now_ms, fact));
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Dial { .. } => wishes.push(Wish::Dial),
                Effect::Close { conn, .. } => wishes.push(Wish::Close(conn)),
                Effect::Send { conn, frame } => {
                    let bytes = limits::frame_cost_bytes(frame.len());
                    wishes.push(Wish::Send(conn, frame));
                    effects.extend(self.hub.handle(now_ms, Fact::Sent { conn, bytes }));
                }
                Effect::Merge { conn, from, changes } => {
                    let Changes { repair, audience, documents } = changes;
                    let source = Source::Peer { conn, name: from, audience: audience.into(), repair };
                    let job = |(doc, chunks)| Job { doc, work: Work::Merge(chunks), source: source.clone() };
                    let outcomes = self.run(now_ms, documents.into_iter().map(job).collect());
                    effects.extend(self.hub.handle(now_ms, Fact::Committed(outcomes)));
                }
                Effect::Answer { conn, requests } => {
                    let answer = answer(&self.store, requests);
                    assert!(answer.failed.is_empty(), "all that is stored can be read: {:?}", answer.failed);
                    effects.extend(self.hub.handle(now_ms, Fact::Answered { conn, answer }));
                }
                _ => {}
            }
        }
        wishes
    }

    fn run(&mut self, now_ms: u64, jobs: Vec<Job>) -> Vec<Outcome> {
        self.replica.run(&self.store, jobs, BEGINNING_MS + now_ms)
    }

    /// A client reads a document, adds a key, and is told that it is stored.
    pub(super) fn edit(&mut self, now_ms: u64, doc: &DocId) -> (ChangeHash, Vec<Wish>) {
        self.edits += 1;
        let stored = self.store.document(doc).expect("a store in memory can be read");
        let mut object: Map<String, Value> = stored
            .map(|stored| serde_json::from_str(&stored.json).expect("what is stored is JSON"))
            .unwrap_or_default();
        object.insert(format!("k{}-{}", self.number, self.edits), json!(self.edits));
        let written = self.write(now_ms, doc, Work::Put(object));
        let (heads, wishes) = written.expect("an honest client's write is taken");
        (heads, wishes)
    }

    /// A client deletes a document; `None` when there is none.
    pub(super) fn delete(&mut self, now_ms: u64, doc: &DocId) -> (Option<ChangeHash>, Vec<Wish>) {
        match self.write(now_ms, doc, Work::Delete) {
            Some((hash, wishes)) => (Some(hash), wishes),
            None => (None, Vec::new()),
        }
    }

    fn write(&mut self, now_ms: u64, doc: &DocId, work: Work) -> Option<(ChangeHash, Vec<Wish>)> {
        let outcomes = self.run(now_ms, vec![Job { doc: doc.clone(), work, source: Source::Client }]);
        let hash = match &outcomes[0].result {
            Ok(written) => written.heads.as_slice()[0],
            Err(_) => return None,
        };
        Some((hash, self.handle(now_ms, Fact::Committed(outcomes))))
    }

    pub(super) fn holds_the_same_as(&self, other: &Self) -> bool {
        self.hub.catalog().summary(Prefix::ALL) == other.hub.catalog().summary(Prefix::ALL)
    }

    /// All documents as clients read them.
    pub(super) fn documents(&self) -> BTreeMap<DocId, Option<String>> {
        let mut all = Vec::new();
        self.store.for_each_heads(&mut |doc, _| all.push(doc)).expect("a store in memory can be read");
        let json =
            |doc: &DocId| self.store.document(doc).expect("a store in memory can be read").map(|it| it.json);
        all.into_iter().map(|doc| (doc.clone(), json(&doc))).collect()
    }

    /// What is stored loads, reads as its chunks say, and holds all that was acknowledged.
    pub(super) fn check(&self, acknowledged: &BTreeMap<DocId, BTreeSet<ChangeHash>>) {
        let loaded = Catalog::load(&self.store).expect("a store in memory can be read");
        let wanted = loaded.summary(Prefix::ALL);
        assert_eq!(self.hub.catalog().summary(Prefix::ALL), wanted, "the catalog is what the disk holds");
        for (doc, json) in self.documents() {
            let chunks = self.store.chunks(&doc).expect("a store in memory can be read");
            let document = Document::load(chunks.iter().map(|chunk| &chunk[..]), &ActorId::from([0; 16]))
                .unwrap_or_else(|problem| panic!("{doc} does not load: {problem}"));
            let found = (!document.is_deleted()).then(|| document.to_json().expect("a document has JSON"));
            assert_eq!(found, json, "{doc} reads otherwise than its chunks");
        }
        for (doc, hashes) in acknowledged {
            let chunks = self.store.chunks(doc).expect("a store in memory can be read");
            let document = Document::load(chunks.iter().map(|chunk| &chunk[..]), &ActorId::from([0; 16]))
                .expect("it was loaded above");
            for hash in hashes {
                assert!(document.knows(hash), "{} lost an acknowledged change of {doc}", self.name());
            }
        }
    }
}

fn name(number: u8) -> NodeName {
    NodeName::new(if number == 0 { "alice" } else { "bob" }).expect("a valid name")
}

fn incarnation(number: u8, run: u16) -> u64 {
    u64::from(number) << 16 | u64::from(run)
}

fn start(number: u8, store: &MemoryStore, run: u16, now_ms: u64) -> (Hub, Replica) {
    let catalog = Catalog::load(store).expect("a store in memory can be read");
    let label = |text| Label::new(text).expect("a label that fits");
    let me = Me {
        name: name(number),
        role: label("node"),
        version: label("0.0.0"),
        epoch: BEGINNING_MS + now_ms,
        incarnation: incarnation(number, run),
        started_ms: now_ms,
    };
    let seed = u64::from(number) + 1;
    let hub = Hub::new(EndpointId([number + 1; 32]), catalog, seed).announcing(me);
    let mut actor = [number + 1; 16];
    actor[..2].copy_from_slice(&run.to_be_bytes());
    (hub, Replica::new(store, actor).expect("a store in memory can be read"))
}
