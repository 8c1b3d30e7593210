//! The lines of a history put together: records in, each request with its answer out.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use super::{Answer, History, Promise, Record, Request, Violation};

/// A request and what became of it.
#[derive(Debug)]
pub(super) struct Op<'a> {
    pub(super) id: u64,
    client: &'a str,
    pub(super) node: usize,
    node_name: &'a str,
    pub(super) doc: &'a str,
    pub(super) request: &'a Request,
    /// The line where it was sent, from 1.
    pub(super) invoked: usize,
    /// The line of the answer; the last line there can be when there was none.
    pub(super) ended: usize,
    pub(super) outcome: Outcome<'a>,
    /// The line from which on everything was at rest, and still was when this was answered.
    pub(super) settled: Option<usize>,
}

#[derive(Debug)]
pub(super) enum Outcome<'a> {
    Ok(&'a Answer),
    Fail,
    Unknown(Option<&'a Map<String, Value>>),
}

impl fmt::Display for Op<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.request {
            Request::Put { .. } => "put",
            Request::Delete => "delete",
            Request::Get => "get",
        };
        let Self { id, client, node_name, doc, invoked, .. } = self;
        write!(f, "op {id} ({what} {doc} at {node_name} by {client}, line {invoked})")
    }
}

/// The history by its operations.
#[derive(Debug, Default)]
pub(super) struct Book<'a> {
    pub(super) nodes: Vec<&'a str>,
    pub(super) ops: Vec<Op<'a>>,
    /// Nodes that got another disk, and in which line.
    pub(super) lost: Vec<(usize, usize)>,
}

impl<'a> Book<'a> {
    pub(super) fn new(history: &'a History, violations: &mut Vec<Violation>) -> Self {
        let mut book = Self::default();
        let mut by_id = BTreeMap::new();
        let mut settled = None;
        for (index, record) in history.records.iter().enumerate() {
            let line = index + 1;
            let mut wrong =
                |what: String| violations.push(Violation { promise: Promise::Record, line, what });
            let (id, outcome) = match record {
                Record::Invoke(invoke) => {
                    let node = book.node(&invoke.node);
                    if invoke.request != Request::Get {
                        settled = None;
                    }
                    if by_id.insert(invoke.op, book.ops.len()).is_some() {
                        wrong(format!("line {line} gives number {} to a second request", invoke.op));
                    }
                    book.ops.push(Op {
                        id: invoke.op,
                        client: &invoke.client,
                        node,
                        node_name: &invoke.node,
                        doc: &invoke.doc,
                        request: &invoke.request,
                        invoked: line,
                        ended: usize::MAX,
                        outcome: Outcome::Unknown(None),
                        settled,
                    });
                    continue;
                }
                Record::Ok(answer) => (answer.op, Outcome::Ok(answer)),
                Record::Fail { op, .. } => (*op, Outcome::Fail),
                Record::Unknown { op, over, .. } => (*op, Outcome::Unknown(over.as_ref())),
                Record::Lost { node } => {
                    let node = book.node(node);
                    book.lost.push((line, node));
                    settled = None;
                    continue;
                }
                Record::Stream { node, .. } => {
                    book.node(node);
                    continue;
                }
                Record::Quiet => {
                    settled = Some(line);
                    continue;
                }
                Record::Event(_) | Record::Resync { .. } | Record::Remark { .. } => continue,
            };
            match by_id.get(&id).map(|at| &mut book.ops[*at]) {
                Some(op) if op.ended == usize::MAX => {
                    op.settled = op.settled.filter(|_| op.settled == settled);
                    // What nobody knows of may still be done at any time.
                    if !matches!(outcome, Outcome::Unknown(_)) {
                        op.ended = line;
                    }
                    op.outcome = outcome;
                }
                _ => wrong(format!(
                    "line {line} answers request {id}, which was never made or was answered before"
                )),
            }
        }
        book
    }

    fn node(&mut self, name: &'a str) -> usize {
        let known = self.nodes.iter().position(|known| *known == name);
        known.unwrap_or_else(|| {
            self.nodes.push(name);
            self.nodes.len() - 1
        })
    }

    /// Which of its disks a node ran on in this line.
    pub(super) fn disk(&self, node: usize, line: usize) -> usize {
        self.lost.iter().filter(|(at, lost)| *lost == node && *at < line).count()
    }
}
