//! Clients that write, and what they were told: the ground for "nothing is lost".

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

use crate::node::LabNode;

/// Where all documents of the laboratory are.
pub const COLLECTION: &str = "lab";
/// The document that clients of several nodes edit, each its own field.
const SHARED: &str = "shared";

/// One answer to a client.
#[derive(Debug, Clone)]
struct Told {
    id: String,
    field: String,
    value: Value,
    /// The status, or why there is none. A write without an answer may or may not have happened.
    answer: Result<u16, String>,
}

/// All that clients were told.
#[derive(Debug, Default)]
pub struct Ledger {
    told: Vec<Told>,
    next: u64,
}

impl Ledger {
    /// A new document at a node, and a newer version of the node's own; both have to be taken.
    pub fn write(&mut self, node: &LabNode) {
        self.next += 1;
        self.must_be_taken(write(node, self.next));
    }

    /// A new document with this in it.
    pub fn write_text(&mut self, node: &LabNode, text: &Value) {
        self.next += 1;
        let id = format!("{}-{}", node.name, self.next);
        let answer = put(node, &id, &json!({"text": text}));
        self.must_be_taken([Told { id, field: "text".to_owned(), value: text.clone(), answer }]);
    }

    /// The node's field of the shared document. No edit of another node may be on its way here: a client that
    /// writes a document as it read it would take that back.
    pub fn edit(&mut self, node: &LabNode) {
        self.next += 1;
        let mut document =
            node.documents(COLLECTION).remove(SHARED).map_or(json!({}), |(_, document)| document);
        document[node.name] = json!(self.next);
        let value = json!(self.next);
        let answer = put(node, SHARED, &document);
        self.must_be_taken([Told { id: SHARED.to_owned(), field: node.name.to_owned(), value, answer }]);
    }

    fn must_be_taken(&mut self, told: impl IntoIterator<Item = Told>) {
        for told in told {
            assert!(told.is_acknowledged(), "{told:?}");
            self.told.push(told);
        }
    }

    /// What a writer that ran beside the scenario was told.
    pub fn add(&mut self, writer: Writer) {
        self.told.extend(writer.stop());
    }

    /// How many writes were acknowledged, and how many were not.
    pub fn counts(&self) -> (usize, usize) {
        let acknowledged = self.told.iter().filter(|told| told.is_acknowledged()).count();
        (acknowledged, self.told.len() - acknowledged)
    }

    /// An acknowledged write that these documents do not have, in words.
    pub fn missing(&self, documents: &BTreeMap<String, (String, Value)>) -> Option<String> {
        // Each field has one client, and that writes in order: its last acknowledged value is there, or one that it
        // tried to write after that.
        let mut allowed: BTreeMap<(&str, &str), Vec<&Value>> = BTreeMap::new();
        for told in &self.told {
            let values = allowed.entry((&told.id, &told.field)).or_default();
            if told.is_acknowledged() {
                values.clear();
            }
            values.push(&told.value);
        }
        let promised = |(id, field): &(&str, &str)| {
            let mut all = self.told.iter().filter(|told| told.id == *id && told.field == *field);
            all.any(Told::is_acknowledged)
        };
        for (place, values) in &allowed {
            let (id, field) = place;
            let found = documents.get(*id).map(|(_, document)| &document[field]);
            if promised(place) && !found.is_some_and(|found| values.contains(&found)) {
                return Some(format!("{id}.{field}: {found:?} instead of one of {values:?}"));
            }
        }
        None
    }
}

impl Told {
    fn is_acknowledged(&self) -> bool {
        matches!(self.answer, Ok(200 | 201))
    }
}

fn write(node: &LabNode, number: u64) -> [Told; 2] {
    [format!("{}-{number}", node.name), format!("{}-newest", node.name)].map(|id| {
        let answer = put(node, &id, &json!({"number": number}));
        Told { id, field: "number".to_owned(), value: json!(number), answer }
    })
}

fn put(node: &LabNode, id: &str, document: &Value) -> Result<u16, String> {
    let mut http = node.http().map_err(|problem| problem.to_string())?;
    let answer = http.request("PUT", &format!("/api/v1/documents/{COLLECTION}/{id}"), Some(document));
    answer.map(|(status, _)| status).map_err(|problem| problem.to_string())
}

/// A client that writes at one node until it is stopped.
pub struct Writer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Told>>,
}

impl Writer {
    /// Writes with `pause` between two writes. Numbers start high, apart from those of [`Ledger::write`].
    pub fn start(node: &Arc<LabNode>, pause: Duration) -> Self {
        let (node, stop) = (Arc::clone(node), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut told = Vec::new();
            let mut number = 1_000_000;
            while !stopped.load(Ordering::Relaxed) {
                number += 1;
                told.extend(write(&node, number));
                thread::sleep(pause);
            }
            told
        });
        Self { stop, thread }
    }

    fn stop(self) -> Vec<Told> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}
