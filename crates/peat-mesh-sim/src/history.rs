//! What clients did and saw, as lines of JSON, and whether the mesh kept its word.
//!
//! A history is a list of [`Record`]s, one a line, in the order in which they happened to one observer: a
//! request is noted before it is sent and its answer after it was read, so of two records the one with the
//! smaller line number came first. [`check`] knows nothing else; it runs over the simulator's histories and
//! over those of real processes. `docs/consistency.md` says what it checks and why.
//!
//! ```
//! use peat_mesh_sim::history::{History, check};
//!
//! let history = History::parse(concat!(
//!     r#"{"type":"invoke","op":1,"client":"c","node":"alice","doc":"d/1","do":"put","value":{"a":1}}"#, "\n",
//!     r#"{"type":"ok","op":1,"version":"x"}"#, "\n",
//!     r#"{"type":"invoke","op":2,"client":"c","node":"alice","doc":"d/1","do":"get"}"#, "\n",
//!     r#"{"type":"ok","op":2}"#, "\n",
//! ))
//! .unwrap();
//! let violations = check(&history).unwrap_err();
//! assert!(violations[0].to_string().starts_with("read your writes: "));
//! ```

mod book;
mod document;
mod events;
mod flat;
mod judge;
mod past;
mod recorder;
mod set;

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::recorder::Recorder;

/// One line of a history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Record {
    /// A request is about to be sent.
    Invoke(Invoke),
    /// It was done. The fields are those of the answer.
    Ok(Answer),
    /// It was certainly not done, and never will be.
    Fail {
        /// The request.
        op: u64,
        /// What was said.
        why: String,
    },
    /// Nobody knows: the connection broke, or the node died. It may still be done.
    Unknown {
        /// The request.
        op: u64,
        /// What happened.
        why: String,
        /// As in [`Answer::over`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        over: Option<Map<String, Value>>,
    },
    /// A client opened a stream of changes.
    Stream {
        /// A number of its own.
        stream: u64,
        /// At this node.
        node: String,
        /// After this sequence number, or from now on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<u64>,
    },
    /// A change came out of a stream.
    Event(Event),
    /// The stream said that changes after this number may be folded into later ones.
    Resync {
        /// The stream.
        stream: u64,
        /// The number.
        since: u64,
    },
    /// The node runs on another disk from now on: an empty one, or one from a backup.
    Lost {
        /// The node.
        node: String,
    },
    /// Something that explains what follows to a reader: a cut, a kill.
    Remark {
        /// What.
        text: String,
    },
    /// All faults are over and every node has come to rest. What is read from here on has to be final.
    Quiet,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Invoke {
    /// A number of its own.
    pub op: u64,
    /// Who asks.
    pub client: String,
    /// The node that is asked.
    pub node: String,
    /// The document.
    pub doc: String,
    /// What is asked.
    #[serde(flatten)]
    pub request: Request,
}

/// What a client wants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Request {
    /// The document is to be this object.
    Put {
        /// The object.
        value: Map<String, Value>,
    },
    /// The document is to be gone.
    Delete,
    /// To read it.
    Get,
}

/// What a client was told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Answer {
    /// The request.
    pub op: u64,
    /// The version of the document after a put, or of what was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What was read; nothing when there is no such document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Map<String, Value>>,
    /// Of a put: the content of the living document that it replaced, when the recorder knows. Then it is known
    /// what the put changed; without it, only what it may have changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<Map<String, Value>>,
}

/// A change as a stream of one node tells it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Event {
    /// The stream.
    pub stream: u64,
    /// The number of the change at the node.
    pub seq: u64,
    /// The document.
    pub doc: String,
    /// `put` or `delete`.
    pub action: String,
    /// The version after it.
    pub version: String,
}

/// What was recorded.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// Its lines.
    pub records: Vec<Record>,
}

impl History {
    /// Reads lines of JSON; empty ones are passed over.
    ///
    /// # Errors
    /// The first line that is no record, and why.
    pub fn parse(text: &str) -> Result<Self, String> {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let records = lines.map(|(number, line)| {
            serde_json::from_str(line).map_err(|problem| format!("line {}: {problem}", number + 1))
        });
        Ok(Self { records: records.collect::<Result<_, _>>()? })
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for record in &self.records {
            writeln!(f, "{}", serde_json::to_string(record).map_err(|_| fmt::Error)?)?;
        }
        Ok(())
    }
}

/// A promise of `docs/consistency.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Promise {
    /// What was acknowledged is there.
    Durability,
    /// A node shows what it acknowledged.
    ReadYourWrites,
    /// What a node has shown it goes on showing, or something later.
    MonotonicReads,
    /// Whoever sees a write sees all that its node knew when it took it.
    CausalOrder,
    /// What is read was written.
    NoPhantoms,
    /// What is deleted stays away, unless somebody wrote who did not know of the deletion.
    Deletes,
    /// In the end all nodes hold the same.
    Convergence,
    /// One version is one content.
    Versions,
    /// Changes are told in order, and each of them.
    Events,
    /// The history makes no sense; the recorder is wrong.
    Record,
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Durability => "durability",
            Self::ReadYourWrites => "read your writes",
            Self::MonotonicReads => "monotonic reads",
            Self::CausalOrder => "causal order",
            Self::NoPhantoms => "phantom",
            Self::Deletes => "deletes",
            Self::Convergence => "convergence",
            Self::Versions => "versions",
            Self::Events => "events",
            Self::Record => "the history itself",
        })
    }
}

/// A promise that was broken, and by what.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// Which.
    pub promise: Promise,
    /// The line where it shows, from 1.
    pub line: usize,
    /// In words, with the operations.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.promise, self.what)
    }
}

/// What a history had in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Documents that were asked for.
    pub documents: usize,
    /// Puts and deletes that were acknowledged.
    pub acknowledged: usize,
    /// Puts and deletes of which nobody knows.
    pub unknown: usize,
    /// Reads that were answered.
    pub reads: usize,
    /// Events.
    pub events: usize,
    /// Puts of which it is known what they replaced.
    pub exact: usize,
}

/// Holds a history against the model.
///
/// # Errors
/// Everything that the model does not allow, in the order of the lines.
pub fn check(history: &History) -> Result<Summary, Vec<Violation>> {
    let mut violations = Vec::new();
    let book = book::Book::new(history, &mut violations);
    let told = events::Told::new(history, &book, &mut violations);
    let mut summary = Summary { events: told.count(), ..Summary::default() };
    for doc in document::documents(&book, &told, &mut violations) {
        let pasts = past::Pasts::new(&doc);
        judge::judge(&doc, &pasts, &mut violations);
        events::check_all_are_told(&doc, &told, &mut violations);
        doc.count(&mut summary);
    }
    violations.sort_by_key(|violation| violation.line);
    if violations.is_empty() { Ok(summary) } else { Err(violations) }
}
