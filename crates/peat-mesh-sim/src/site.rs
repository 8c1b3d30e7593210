//! One simulated machine: a disk, and on it a process that comes and goes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use peat_mesh_core::catalog::Catalog;
use peat_mesh_core::hub::Hub;
use peat_mesh_core::presence::{Label, Me};
use peat_mesh_core::replica::{Job, Outcome, Replica, Source, Work};
use peat_mesh_core::scope::LinkScopes;
use peat_mesh_core::store::{MemoryStore, Store};
use peat_mesh_core::{DocId, EndpointId, NodeName};
use peat_mesh_overlay::Mesh;
use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Map, Value, json};

use crate::ledger::Mark;

/// Wall-clock time when a world begins.
pub(crate) const BEGINNING_MS: u64 = 1_700_000_000_000;
/// Jobs that share one commit.
const BATCH_JOBS_MAX: usize = 1024;

/// A machine of the world, in the order in which they were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Site(pub(crate) usize);

/// A request of a client, in the order in which they were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Op(pub(crate) usize);

/// What a client changes. All but `Nested` also write a key of their own into the document, which nobody
/// else ever touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edit {
    /// Only the own key.
    Field,
    /// The own key, within the object `nested`.
    Nested,
    /// The register `status`, which all write.
    Status,
    /// One up on the counter `hits`.
    Hit,
    /// One more element in the list `log`.
    Line,
    /// One more word in the text `note`.
    Note,
}

/// What waits for a commit.
#[derive(Debug)]
pub(crate) enum Ask {
    /// Read the document as it is then, change it, write it.
    Edit { op: Op, doc: DocId, edit: Edit },
    /// A client's put or delete.
    Client { op: Op, job: Job },
    /// What a peer sent.
    Merge(Job),
}

/// What the ledger has to know of a client's job in a batch.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) op: Op,
    pub(crate) mark: Mark,
    /// The client saw no document, so what it writes replaces all there ever was.
    pub(crate) saw_nothing: bool,
    /// The document that it saw.
    pub(crate) over: Option<Map<String, Value>>,
}

/// Documents, and which of all changes they consist of.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    pub(crate) store: MemoryStore,
    pub(crate) known: BTreeMap<DocId, BTreeSet<usize>>,
}

impl Disk {
    pub(crate) fn copy(&self) -> Self {
        Self { store: self.store.snapshot(), known: self.known.clone() }
    }
}

/// A commit that is on disk, and not told to anyone yet.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) ops: Vec<Option<Op>>,
    pub(crate) outcomes: Vec<Outcome>,
}

/// All that is gone after kill -9.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) mesh: Mesh,
    pub(crate) replica: Replica,
    pub(crate) incarnation: u64,
    pub(crate) waiting: VecDeque<Ask>,
    pub(crate) committing: bool,
    pub(crate) finished: VecDeque<Finished>,
    pub(crate) told_ms: u64,
    pub(crate) tick_ms: Option<u64>,
}

/// A machine.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) name: NodeName,
    pub(crate) id: EndpointId,
    pub(crate) address: SocketAddr,
    pub(crate) disk: Disk,
    pub(crate) backup: Option<Disk>,
    /// What may cross to which peers.
    pub(crate) scopes: LinkScopes,
    /// Peers that it is connected to in any case.
    pub(crate) kept: BTreeSet<EndpointId>,
    /// Up to which change of this disk a client follows it.
    pub(crate) followed: u64,
    /// How many processes there were.
    pub(crate) epoch: u64,
    pub(crate) process: Option<Process>,
    /// By how much its clock is wrong when a process starts.
    pub(crate) clock_error_ms: i64,
}

impl Machine {
    /// A new process on what the disk holds.
    pub(crate) fn start(&mut self, rng: &mut StdRng, now_ms: u64, max_peers: usize) {
        let store = &self.disk.store;
        let catalog = Catalog::load(store).expect("a store in memory can be read");
        let mut actor = [0; 16];
        rng.fill(&mut actor);
        self.epoch += 1;
        let incarnation = rng.random();
        let label = |text| Label::new(text).expect("a label that fits");
        let me = Me {
            name: self.name.clone(),
            role: label("node"),
            version: label("0.0.0"),
            epoch: (BEGINNING_MS + now_ms).saturating_add_signed(self.clock_error_ms),
            incarnation,
            started_ms: now_ms,
        };
        let mut hub = Hub::new(self.id, catalog, rng.random()).announcing(me);
        hub.set_link_scopes(self.scopes.clone());
        hub.keep(self.kept.clone());
        self.process = Some(Process {
            mesh: Mesh::new(self.id, hub, max_peers, rng.random()),
            replica: Replica::new(store, actor).expect("a store in memory can be read"),
            incarnation,
            waiting: VecDeque::new(),
            committing: false,
            finished: VecDeque::new(),
            told_ms: 0,
            tick_ms: None,
        });
    }
}

impl Process {
    /// Takes what shares the next commit. An edit that follows a peer's changes to the same document
    /// waits for the commit after, because its client has to read the document in between.
    pub(crate) fn take_batch(&mut self, store: &dyn Store) -> (Vec<Job>, Vec<Option<Planned>>) {
        let (mut jobs, mut plans) = (Vec::new(), Vec::new());
        let mut merged: BTreeSet<DocId> = BTreeSet::new();
        let mut drafts: BTreeMap<DocId, Option<Map<String, Value>>> = BTreeMap::new();
        while jobs.len() < BATCH_JOBS_MAX {
            match self.waiting.front() {
                None => break,
                Some(Ask::Edit { doc, .. }) if merged.contains(doc) => break,
                Some(_) => {}
            }
            match self.waiting.pop_front() {
                Some(Ask::Merge(job)) => {
                    merged.insert(job.doc.clone());
                    jobs.push(job);
                    plans.push(None);
                }
                Some(Ask::Client { op, job }) => {
                    let (mark, draft) = match &job.work {
                        Work::Put(object) => (Mark::Free, Some(object.clone())),
                        _ => (Mark::Delete, None),
                    };
                    drafts.insert(job.doc.clone(), draft);
                    jobs.push(job);
                    plans.push(Some(Planned { op, mark, saw_nothing: false, over: None }));
                }
                Some(Ask::Edit { op, doc, edit }) => {
                    let base = drafts.remove(&doc).unwrap_or_else(|| read(store, &doc));
                    let (saw_nothing, over) = (base.is_none(), base.clone());
                    let (object, mark) = edit.apply(op, base.unwrap_or_default());
                    drafts.insert(doc.clone(), Some(object.clone()));
                    jobs.push(Job { doc, work: Work::Put(object), source: Source::Client });
                    plans.push(Some(Planned { op, mark, saw_nothing, over }));
                }
                None => break,
            }
        }
        (jobs, plans)
    }
}

/// The document as a client reads it.
pub(crate) fn read(store: &dyn Store, doc: &DocId) -> Option<Map<String, Value>> {
    let stored = store.document(doc).expect("a store in memory can be read")?;
    Some(serde_json::from_str(&stored.json).expect("a stored document is a JSON object"))
}

impl Edit {
    /// All kinds.
    pub const ALL: [Self; 6] = [Self::Field, Self::Nested, Self::Status, Self::Hit, Self::Line, Self::Note];

    fn apply(self, op: Op, mut object: Map<String, Value>) -> (Map<String, Value>, Mark) {
        let (key, value) = (format!("k{}", op.0), json!(op.0));
        let field = |object: &mut Map<String, Value>, name: &str, new: &dyn Fn(&Value) -> Value| {
            let old = object.get(name).cloned().unwrap_or_default();
            object.insert(name.to_owned(), new(&old));
        };
        match self {
            Self::Field => {}
            Self::Nested => {
                let mut nested = match object.remove("nested") {
                    Some(Value::Object(nested)) => nested,
                    _ => Map::new(),
                };
                nested.insert(key.clone(), value);
                object.insert("nested".to_owned(), nested.into());
                return (object, Mark::Nested(key));
            }
            Self::Status => field(&mut object, "status", &|_| json!(format!("by {}", op.0))),
            Self::Hit => field(&mut object, "hits", &|old| {
                let hits = old.get("$counter").and_then(Value::as_i64).unwrap_or_default();
                json!({ "$counter": hits + 1 })
            }),
            Self::Line => field(&mut object, "log", &|old| {
                let mut lines = old.as_array().cloned().unwrap_or_default();
                lines.insert(lines.len() / 2, json!(op.0));
                lines.into()
            }),
            Self::Note => field(&mut object, "note", &|old| {
                let text = old.get("$text").and_then(Value::as_str).unwrap_or_default();
                json!({ "$text": format!("{text} {}", op.0) })
            }),
        }
        object.insert(key.clone(), value);
        (object, Mark::Root(key))
    }
}
