//! The world: machines, the network between them, and clients. Calls of a test go in; documents, counts
//! and violations come out.

mod effects;
mod run;
mod trouble;
mod watching;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use peat_mesh_core::hub::PeerView;
use peat_mesh_core::io::Event as News;
use peat_mesh_core::presence::Topology;
use peat_mesh_core::replica::{Job, Source, Work};
use peat_mesh_core::scope::LinkScopes;
use peat_mesh_core::store::{MemoryStore, Store};
use peat_mesh_core::{DocId, EndpointId, Heads, NodeName};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value};

use self::run::Event;
use crate::clock::Agenda;
use crate::history::Recorder;
use crate::ledger::Ledger;
use crate::network::{Network, pair};
use crate::site::{Ask, Disk, Edit, Machine, Op, Site, read};
use crate::trace::{Trace, number_of};
use crate::traffic::Traffic;
use crate::weather::Weather;

/// What became of a client's request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// Nothing was said yet.
    Waiting,
    /// It is done and on disk.
    Done,
    /// It was refused or failed; in words.
    Failed(String),
    /// The node crashed before it said anything.
    Never,
}

#[derive(Debug)]
struct Asked {
    site: Site,
    reply: Reply,
    recorded: Option<Recorded>,
}

/// A request in the history.
#[derive(Debug)]
struct Recorded {
    number: u64,
    /// What a put replaces.
    over: Option<Map<String, Value>>,
}

/// A whole mesh in one thread. See the crate's text.
#[derive(Debug)]
pub struct World {
    rng: StdRng,
    agenda: Agenda<Event>,
    machines: Vec<Machine>,
    net: Network,
    asked: Vec<Asked>,
    pub(crate) ledger: Ledger,
    traffic: Traffic,
    news: Vec<(Site, u64, News)>,
    trace: Trace,
    recorder: Option<Recorder>,
    largest_document_bytes: usize,
    peak_unsent_bytes: usize,
    worked_ms: u64,
    /// What was written since the last look, see `checks::steps`.
    touched: BTreeSet<(Site, DocId)>,
    /// The longest that a commit and reading for an answer take, in milliseconds.
    commit_ms_max: u64,
    answer_ms_max: u64,
    max_peers: usize,
}

/// Building the world.
impl World {
    /// A world without machines.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            agenda: Agenda::new(),
            machines: Vec::new(),
            net: Network::new(),
            asked: Vec::new(),
            ledger: Ledger::default(),
            traffic: Traffic::default(),
            news: Vec::new(),
            trace: Trace::new(),
            recorder: None,
            largest_document_bytes: 0,
            peak_unsent_bytes: 0,
            worked_ms: 0,
            touched: BTreeSet::new(),
            commit_ms_max: 5,
            answer_ms_max: 5,
            max_peers: usize::MAX / 4,
        }
    }

    /// Prints what happens to standard error.
    pub fn print_trace(&mut self) {
        self.trace.print();
    }

    /// Sets how bad the network is from now on.
    pub fn set_weather(&mut self, weather: Weather) {
        self.net.weather = weather;
    }

    /// Sets how fast frames leave for one link, whatever the weather.
    pub fn set_speed(&mut self, a: Site, b: Site, bytes_per_ms: u64) {
        self.net.speeds.insert(pair(a, b), bytes_per_ms);
    }

    /// Sets how slow the disks are.
    pub fn set_disk_ms(&mut self, commit_ms_max: u64, answer_ms_max: u64) {
        (self.commit_ms_max, self.answer_ms_max) = (commit_ms_max, answer_ms_max);
    }

    /// Sets up to how many nodes in all a node that starts from now on connects to all others.
    pub fn set_max_peers(&mut self, max_peers: usize) {
        self.max_peers = max_peers;
    }

    /// A machine with this name and an empty disk, and the node running on it.
    pub fn node(&mut self, name: &str) -> Site {
        let site = Site(self.machines.len());
        let mut id = [0; 32];
        StdRng::seed_from_u64(number_of(name) ^ self.rng.random::<u64>()).fill(&mut id);
        let mut machine = Machine {
            name: NodeName::new(name).expect("a test gives valid names"),
            id: EndpointId(id),
            address: address(site, 0),
            disk: Disk::default(),
            backup: None,
            scopes: LinkScopes::default(),
            kept: Default::default(),
            followed: 0,
            epoch: 0,
            process: None,
            clock_error_ms: 0,
        };
        machine.start(&mut self.rng, self.agenda.now_ms(), self.max_peers);
        self.machines.push(machine);
        site
    }

    /// Several machines.
    pub fn nodes<const N: usize>(&mut self, names: [&str; N]) -> [Site; N] {
        names.map(|name| self.node(name))
    }

    /// Makes two machines able to reach each other, and tells both by discovery.
    pub fn link(&mut self, a: Site, b: Site) {
        if self.net.link(a, b) {
            self.discover(a, b, 0);
            self.discover(b, a, 0);
        }
    }

    /// Links all pairs.
    pub fn link_all(&mut self, sites: &[Site]) {
        for (number, a) in sites.iter().enumerate() {
            sites[number + 1..].iter().for_each(|b| self.link(*a, *b));
        }
    }

    /// Says what may cross from and to a machine, as `PEAT_LINK_SCOPES`, and restarts its node with it.
    pub fn set_scopes(&mut self, site: Site, text: &str) {
        self.machines[site.0].scopes = LinkScopes::parse(text).expect("a test gives valid scopes");
        self.reboot(site);
    }

    /// Makes two machines gateways of one another, as with `PEAT_STATIC_PEERS` on both, and restarts their nodes.
    pub fn keep(&mut self, a: Site, b: Site) {
        for (site, peer) in [(a, b), (b, a)] {
            let id = self.machines[peer.0].id;
            self.machines[site.0].kept.insert(id);
            self.reboot(site);
        }
    }

    /// Puts documents on a disk past the network and the clients, as if they had been there for long.
    pub fn preload(&mut self, site: Site, documents: impl IntoIterator<Item = (String, Value)>) {
        let jobs: Vec<Job> = documents
            .into_iter()
            .map(|(doc, value)| Job {
                doc: parse(&doc),
                work: Work::Put(object(value)),
                source: Source::Client,
            })
            .collect();
        let plans = jobs.iter().map(|_| None).collect();
        let outcomes = self.commit(site, jobs, plans).outcomes;
        assert!(outcomes.iter().all(|outcome| outcome.result.is_ok()), "what is preloaded can be written");
        self.reboot(site);
    }

    /// Gives a machine a copy of another one's disk.
    pub fn copy_disk(&mut self, from: Site, to: Site) {
        self.machines[to.0].disk = self.machines[from.0].disk.copy();
        self.reboot(to);
    }

    fn reboot(&mut self, site: Site) {
        self.crash(site);
        self.restart(site);
    }
}

/// Clients.
impl World {
    /// Writes a whole document.
    pub fn put(&mut self, site: Site, doc: &str, value: Value) -> Op {
        self.client(site, doc, Work::Put(object(value)))
    }

    /// Deletes a document.
    pub fn delete(&mut self, site: Site, doc: &str) -> Op {
        self.client(site, doc, Work::Delete)
    }

    /// Reads a document, changes it, and writes it.
    pub fn edit(&mut self, site: Site, doc: &str, edit: Edit) -> Op {
        let (op, doc) = self.ask(site, doc);
        self.enqueue(site, Ask::Edit { op, doc, edit });
        op
    }

    fn client(&mut self, site: Site, doc: &str, work: Work) -> Op {
        let (op, doc) = self.ask(site, doc);
        self.enqueue(site, Ask::Client { op, job: Job { doc, work, source: Source::Client } });
        op
    }

    fn ask(&mut self, site: Site, doc: &str) -> (Op, DocId) {
        let op = Op(self.asked.len());
        let reply = if self.is_up(site) { Reply::Waiting } else { Reply::Never };
        self.asked.push(Asked { site, reply, recorded: None });
        (op, parse(doc))
    }

    /// What the client was told.
    #[must_use]
    pub fn reply(&self, op: Op) -> &Reply {
        &self.asked[op.0].reply
    }

    /// The name of the key that an edit wrote.
    #[must_use]
    pub fn key_of(&self, op: Op) -> String {
        format!("k{}", op.0)
    }

    /// Reads a document; `None` when it does not exist there.
    #[must_use]
    pub fn get(&self, site: Site, doc: &str) -> Option<Value> {
        read(self.store(site), &parse(doc)).map(Value::Object)
    }
}

/// Looking around.
impl World {
    /// Virtual time since the world began, in milliseconds.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.agenda.now_ms()
    }

    /// A number that is equal for two runs in which the same happened.
    #[must_use]
    pub fn trace_hash(&self) -> u64 {
        self.trace.hash()
    }

    /// What was sent since [`World::reset_traffic`].
    #[must_use]
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Starts to count from zero.
    pub fn reset_traffic(&mut self) {
        self.traffic = Traffic::default();
    }

    /// All machines.
    #[must_use]
    pub fn sites(&self) -> Vec<Site> {
        (0..self.machines.len()).map(Site).collect()
    }

    /// All links, cut or not.
    #[must_use]
    pub fn links(&self) -> Vec<(Site, Site)> {
        self.net.links()
    }

    /// A machine's name.
    #[must_use]
    pub fn name(&self, site: Site) -> &str {
        self.machines[site.0].name.as_str()
    }

    /// The disk of a machine.
    #[must_use]
    pub fn store(&self, site: Site) -> &MemoryStore {
        &self.machines[site.0].disk.store
    }

    /// The heads of a document on a disk.
    #[must_use]
    pub fn heads(&self, site: Site, doc: &str) -> Option<Heads> {
        let record = self.store(site).record(&parse(doc)).expect("a store in memory can be read");
        record.map(|record| record.heads)
    }

    /// What a node says of its peers; nothing while it is down.
    #[must_use]
    pub fn peers(&self, site: Site) -> Vec<PeerView> {
        self.machines[site.0].process.as_ref().map(|process| process.mesh.hub().peers()).unwrap_or_default()
    }

    /// The neighbours of a node that keeps only some.
    #[must_use]
    pub fn neighbours(&self, site: Site) -> Option<Vec<Site>> {
        let neighbours = self.machines[site.0].process.as_ref()?.mesh.neighbours()?;
        let sites = (0..self.machines.len()).map(Site);
        Some(sites.filter(|site| neighbours.contains(&self.machines[site.0].id)).collect())
    }

    /// What a node says of the formation; nothing while it is down.
    #[must_use]
    pub fn topology(&self, site: Site) -> Topology {
        self.machines[site.0]
            .process
            .as_ref()
            .map(|process| process.mesh.hub().topology())
            .unwrap_or_default()
    }

    /// What the nodes told of, since this was last asked: who, when, what.
    pub fn take_news(&mut self) -> Vec<(Site, u64, News)> {
        std::mem::take(&mut self.news)
    }

    /// The most that ever waited to leave one end of a connection, in bytes.
    #[must_use]
    pub fn peak_unsent_bytes(&self) -> usize {
        self.peak_unsent_bytes
    }

    /// How many connections two nodes hold.
    #[must_use]
    pub fn connections(&self, a: Site, b: Site) -> usize {
        self.net.live_between(a, b)
    }

    pub(crate) fn machine(&self, site: Site) -> &Machine {
        &self.machines[site.0]
    }

    /// Writes a line into the trace.
    pub fn remark(&mut self, line: &str) {
        self.trace.note(self.agenda.now_ms(), line);
    }

    pub(super) fn note(&mut self, site: Site, what: &str) {
        let line = format!("{} {what}", self.machines[site.0].name);
        self.trace.note(self.agenda.now_ms(), &line);
    }
}

fn address(site: Site, number: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, site.0 as u8], number))
}

pub(crate) fn parse(doc: &str) -> DocId {
    doc.parse().expect("a test gives valid addresses")
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => panic!("a document is a JSON object"),
    }
}
