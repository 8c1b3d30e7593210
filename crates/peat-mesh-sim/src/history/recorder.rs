//! Writing a history down while it happens, from any thread.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value};

use super::{Answer, Event, History, Invoke, Record, Request};

/// A history that grows. Note a request before it is sent, and its answer after it was read.
#[derive(Debug, Default)]
pub struct Recorder {
    growing: Mutex<Growing>,
}

#[derive(Debug, Default)]
struct Growing {
    records: Vec<Record>,
    given_out: u64,
}

impl Growing {
    fn number(&mut self) -> u64 {
        self.given_out += 1;
        self.given_out
    }
}

impl Recorder {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn growing(&self) -> MutexGuard<'_, Growing> {
        self.growing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, record: Record) {
        self.growing().records.push(record);
    }

    fn invoke(&self, client: &str, node: &str, doc: &str, request: Request) -> u64 {
        let mut growing = self.growing();
        let op = growing.number();
        let (client, node, doc) = (client.to_owned(), node.to_owned(), doc.to_owned());
        growing.records.push(Record::Invoke(Invoke { op, client, node, doc, request }));
        op
    }

    /// A client is about to put. Returns the number of the request.
    pub fn put(&self, client: &str, node: &str, doc: &str, value: Map<String, Value>) -> u64 {
        self.invoke(client, node, doc, Request::Put { value })
    }

    /// A client is about to delete.
    pub fn delete(&self, client: &str, node: &str, doc: &str) -> u64 {
        self.invoke(client, node, doc, Request::Delete)
    }

    /// A client is about to read.
    pub fn get(&self, client: &str, node: &str, doc: &str) -> u64 {
        self.invoke(client, node, doc, Request::Get)
    }

    /// A put or delete was acknowledged. `over` is what a put replaced, if that is known.
    pub fn done(&self, op: u64, version: Option<String>, over: Option<Map<String, Value>>) {
        self.note(Record::Ok(Answer { op, version, over, ..Answer::default() }));
    }

    /// A read was answered: the version and the document, or that there is none.
    pub fn read(&self, op: u64, found: Option<(String, Map<String, Value>)>) {
        let (version, value) = found.unzip();
        self.note(Record::Ok(Answer { op, version, value, ..Answer::default() }));
    }

    /// A request was refused.
    pub fn fail(&self, op: u64, why: &str) {
        self.note(Record::Fail { op, why: why.to_owned() });
    }

    /// A request got no answer, or one that leaves open whether it was done.
    pub fn unknown(&self, op: u64, why: &str, over: Option<Map<String, Value>>) {
        self.note(Record::Unknown { op, why: why.to_owned(), over });
    }

    /// A stream of changes is about to be opened. Returns its number.
    pub fn stream(&self, node: &str, since: Option<u64>) -> u64 {
        let mut growing = self.growing();
        let stream = growing.number();
        growing.records.push(Record::Stream { stream, node: node.to_owned(), since });
        stream
    }

    /// A change came out of a stream.
    pub fn event(&self, stream: u64, seq: u64, doc: &str, action: &str, version: &str) {
        let (doc, action, version) = (doc.to_owned(), action.to_owned(), version.to_owned());
        self.note(Record::Event(Event { stream, seq, doc, action, version }));
    }

    /// A stream told its reader to expect folded changes.
    pub fn resync(&self, stream: u64, since: u64) {
        self.note(Record::Resync { stream, since });
    }

    /// A node got another disk.
    pub fn lost(&self, node: &str) {
        self.note(Record::Lost { node: node.to_owned() });
    }

    /// Something for the reader of the history.
    pub fn remark(&self, text: &str) {
        self.note(Record::Remark { text: text.to_owned() });
    }

    /// Everything has come to rest; reads from now on are final.
    pub fn quiet(&self) {
        self.note(Record::Quiet);
    }

    /// What was recorded so far.
    #[must_use]
    pub fn history(&self) -> History {
        History { records: self.growing().records.clone() }
    }
}
