//! Clients and readers of events whose requests and answers become a history that can be checked. They reach the
//! nodes through doors, so that it does not matter where those run and whether they do now.

#![allow(dead_code, unreachable_pub, missing_docs, missing_debug_implementations)]

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use peat_mesh_sim::history::{Recorder, Summary, check};
use serde_json::{Map, Value};

use crate::common::{Http, PATIENCE};

/// The longest that nothing may happen: nodes that were killed find each other again, on a slow machine.
const WAIT_MAX: Duration = PATIENCE.saturating_mul(2);

/// How to reach a node.
pub type Connect = dyn Fn() -> io::Result<Http> + Send + Sync;

/// Violations that are printed; the file has what led to all of them.
const SHOWN_MAX: usize = 20;

#[derive(Default)]
struct State {
    /// For each node how to reach it, and which of its runs that is.
    doors: BTreeMap<String, (u64, Option<Arc<Connect>>)>,
    /// Up to which change somebody follows a node.
    followed: BTreeMap<String, u64>,
    answered: usize,
    /// How many events came, of all nodes.
    told: usize,
    ended: bool,
}

/// A history that is being made.
#[derive(Default)]
pub struct Recording {
    pub recorder: Recorder,
    state: Mutex<State>,
    changed: Condvar,
}

impl Recording {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let done = change(&mut self.state.lock().unwrap());
        self.changed.notify_all();
        done
    }

    fn wait(&self, what: &str, waits: impl Fn(&State) -> bool) {
        let state = self.state.lock().unwrap();
        let waited = self.changed.wait_timeout_while(state, WAIT_MAX, |state| waits(state)).unwrap().1;
        assert!(!waited.timed_out(), "never {what}");
    }

    /// Waits until a condition on the nodes holds, by looking again whenever one of those that are followed has told
    /// a change.
    pub fn until(&self, what: &str, holds: impl Fn() -> bool) {
        loop {
            let told = self.state.lock().unwrap().told;
            if holds() {
                return;
            }
            self.wait(what, |state| state.told == told);
        }
    }

    /// The node runs, and this is how to reach it.
    pub fn opens(&self, node: &str, connect: impl Fn() -> io::Result<Http> + Send + Sync + 'static) {
        self.recorder.remark(&format!("{node} runs"));
        self.change(|state| {
            let door = state.doors.entry(node.to_owned()).or_default();
            *door = (door.0 + 1, Some(Arc::new(connect)));
        });
    }

    /// The node is about to be killed.
    pub fn closes(&self, node: &str) {
        self.recorder.remark(&format!("{node} is killed"));
        self.change(|state| state.doors.entry(node.to_owned()).or_default().1 = None);
    }

    fn door(&self, node: &str) -> Option<(u64, Arc<Connect>)> {
        let (run, connect) = self.state.lock().unwrap().doors.get(node).cloned()?;
        Some((run, connect?))
    }

    /// How many requests of clients were answered, in whatever way.
    pub fn answered(&self) -> usize {
        self.state.lock().unwrap().answered
    }

    /// Waits until enough requests were answered. The condition is looked at after each, and after each client's end.
    pub fn until_answered(&self, is_enough: impl Fn(usize) -> bool) {
        self.wait("were enough requests answered", |state| !is_enough(state.answered));
    }

    pub fn client(self: &Arc<Self>, name: &str) -> Client {
        Client { name: name.to_owned(), recording: Arc::clone(self), open: BTreeMap::new() }
    }

    /// Follows the changes of a node from the first one on, over all of its runs. What a peer has sent is read too,
    /// so that the history has the content of many versions.
    pub fn follow(self: &Arc<Self>, node: &str) -> JoinHandle<()> {
        let (recording, node) = (Arc::clone(self), node.to_owned());
        thread::spawn(move || {
            let mut reader = recording.client("reader");
            let mut seen = 0;
            loop {
                // A run that cannot be reached any more is over.
                let next = recording.door(&node).filter(|(run, _)| *run > seen);
                let Some((run, connect)) = next else {
                    let state = recording.state.lock().unwrap();
                    let waits = |state: &mut State| {
                        let is_new = |(run, door): &(u64, Option<_>)| *run > seen && door.is_some();
                        !state.ended && !state.doors.get(&node).is_some_and(is_new)
                    };
                    if recording.changed.wait_while(state, waits).unwrap().ended {
                        return;
                    }
                    continue;
                };
                match connect() {
                    Ok(mut http) => _ = recording.read_events(&node, &mut http, &mut reader),
                    Err(_) => seen = run,
                }
            }
        })
    }

    fn read_events(&self, node: &str, http: &mut Http, reader: &mut Client) -> io::Result<()> {
        let mut at = self.change(|state| *state.followed.entry(node.to_owned()).or_default());
        let stream = self.recorder.stream(node, Some(at));
        http.send_head("GET", &format!("/api/v1/events?since={at}"), "")?;
        let (status, _) = http.answer_head()?;
        if status != 200 {
            return Err(io::Error::other(status.to_string()));
        }
        let mut kind = String::new();
        loop {
            let line = http.line()?;
            if line.is_empty() {
                kind.clear();
            }
            if let Some(name) = line.strip_prefix("event: ") {
                name.clone_into(&mut kind);
            }
            let Some(data) = line.strip_prefix("data: ") else { continue };
            let data: Value = serde_json::from_str(data)?;
            let text = |key: &str| data[key].as_str().unwrap_or_default();
            if kind == "resync" {
                at = data["since"].as_u64().unwrap();
                self.recorder.resync(stream, at);
            }
            // News of nodes is no change of a document.
            if !kind.is_empty() {
                continue;
            }
            let doc = format!("{}/{}", text("collection"), text("id"));
            at = data["seq"].as_u64().unwrap();
            self.recorder.event(stream, at, &doc, text("action"), text("version"));
            self.change(|state| {
                state.followed.insert(node.to_owned(), at);
                state.told += 1;
            });
            if text("origin") != "local" {
                reader.get(node, &doc);
            }
        }
    }

    /// Waits until what the node has now has been told to whoever follows it.
    pub fn until_followed(&self, node: &str) {
        let (_, connect) = self.door(node).unwrap();
        let mut http = connect().unwrap();
        http.send_head("GET", "/api/v1/events", "").unwrap();
        http.answer_head().unwrap();
        let last: u64 = loop {
            if let Some(id) = http.line().unwrap().strip_prefix("id:") {
                break id.trim().parse().unwrap();
            }
        };
        let is_behind = |state: &State| state.followed.get(node).is_none_or(|at| *at < last);
        self.wait(&format!("were all {last} changes of {node} told"), is_behind);
    }

    /// Everything is at rest: reads each document at each node, for the last time.
    pub fn read_all(self: &Arc<Self>, nodes: &[&str], docs: &[String]) {
        self.recorder.quiet();
        let mut reader = self.client("last reader");
        for node in nodes {
            for doc in docs {
                assert!(reader.get(node, doc).is_some(), "{node} does not answer");
            }
        }
    }

    /// Ends the followers; they return when their nodes are gone.
    pub fn end(&self) {
        self.change(|state| state.ended = true);
    }

    /// Holds the history against the model. A history that breaks it stays in a file.
    #[track_caller]
    pub fn check(&self, seed: u64) -> Summary {
        let history = self.recorder.history();
        check(&history).unwrap_or_else(|violations| {
            let file = std::env::temp_dir().join(format!("peat-mesh-history-{seed}.jsonl"));
            std::fs::write(&file, history.to_string()).unwrap();
            let shown: Vec<String> =
                violations.iter().take(SHOWN_MAX).map(|violation| violation.to_string()).collect();
            panic!(
                "SEED={seed}: {} violations of docs/consistency.md; the history is in {}, look at it with\n\
                 cargo run -p peat-mesh-sim -- check {}\n{}",
                violations.len(),
                file.display(),
                file.display(),
                shown.join("\n"),
            )
        })
    }
}

enum Asked {
    Answered(u16, Value),
    /// It never left.
    NotSent(String),
    Unanswered(String),
}

/// A client of all nodes.
pub struct Client {
    name: String,
    recording: Arc<Recording>,
    /// Connections, and to which run of the node each leads.
    open: BTreeMap<String, (u64, Http)>,
}

impl Drop for Client {
    fn drop(&mut self) {
        // With the lock taken once, nobody is between looking and waiting.
        drop(self.recording.state.lock());
        self.recording.changed.notify_all();
    }
}

impl Client {
    /// Whether the node runs, as far as is known.
    pub fn reaches(&self, node: &str) -> bool {
        self.recording.door(node).is_some()
    }

    fn ask(&mut self, node: &str, method: &str, doc: &str, body: Option<&Value>) -> Asked {
        let Some((run, connect)) = self.recording.door(node) else {
            return Asked::NotSent("the node is down".to_owned());
        };
        let kept = self.open.remove(node).filter(|(of, _)| *of == run);
        let mut http = match kept.map_or_else(|| connect(), |(_, http)| Ok(http)) {
            Ok(http) => http,
            Err(problem) => return Asked::NotSent(problem.to_string()),
        };
        let answer = http.request(method, &format!("/api/v1/documents/{doc}"), body);
        self.recording.change(|state| state.answered += 1);
        match answer {
            Ok((status, value)) => {
                self.open.insert(node.to_owned(), (run, http));
                Asked::Answered(status, value)
            }
            Err(problem) => Asked::Unanswered(problem.to_string()),
        }
    }

    /// Whether it was acknowledged.
    pub fn put(&mut self, node: &str, doc: &str, value: Map<String, Value>) -> bool {
        let body = Value::Object(value.clone());
        let op = self.recording.recorder.put(&self.name, node, doc, value);
        let asked = self.ask(node, "PUT", doc, Some(&body));
        self.written(op, asked)
    }

    /// Whether it was acknowledged.
    pub fn delete(&mut self, node: &str, doc: &str) -> bool {
        let op = self.recording.recorder.delete(&self.name, node, doc);
        let asked = self.ask(node, "DELETE", doc, None);
        self.written(op, asked)
    }

    fn written(&self, op: u64, asked: Asked) -> bool {
        let recorder = &self.recording.recorder;
        match asked {
            Asked::Answered(200..300, answer) => {
                recorder.done(op, answer["version"].as_str().map(str::to_owned), None);
                return true;
            }
            Asked::Answered(status @ 400..500, answer) => recorder.fail(op, &format!("{status} {answer}")),
            Asked::Answered(status, answer) => recorder.unknown(op, &format!("{status} {answer}"), None),
            Asked::NotSent(why) => recorder.fail(op, &why),
            Asked::Unanswered(why) => recorder.unknown(op, &why, None),
        }
        false
    }

    /// The document, if there is one; nothing when there was no answer.
    pub fn get(&mut self, node: &str, doc: &str) -> Option<Option<Map<String, Value>>> {
        let op = self.recording.recorder.get(&self.name, node, doc);
        let found = match self.ask(node, "GET", doc, None) {
            Asked::Answered(200, mut answer) => {
                let version = answer["version"].as_str().unwrap().to_owned();
                Some((version, serde_json::from_value(answer["document"].take()).unwrap()))
            }
            Asked::Answered(404, _) => None,
            Asked::Answered(status, answer) => {
                self.recording.recorder.fail(op, &format!("{status} {answer}"));
                return None;
            }
            Asked::NotSent(why) | Asked::Unanswered(why) => {
                self.recording.recorder.fail(op, &why);
                return None;
            }
        };
        self.recording.recorder.read(op, found.clone());
        Some(found.map(|(_, document)| document))
    }
}
