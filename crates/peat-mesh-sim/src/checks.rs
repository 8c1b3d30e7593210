//! What must hold: a world in, what is wrong with it out.

mod steps;

use std::collections::BTreeSet;

use peat_mesh_core::catalog::Prefix;
use peat_mesh_core::document::{ActorId, Document};
use peat_mesh_core::presence::{NodeState, NodeView};
use peat_mesh_core::store::Store;
use peat_mesh_core::{DocId, EndpointId, Heads};
use serde_json::{Map, Value};

use crate::ledger::Expected;
use crate::site::Site;
use crate::world::World;

pub(crate) use steps::check_step;

/// The first difference between the nodes that run; `None` when all hold the same and nothing waits.
#[must_use]
pub fn difference(world: &World) -> Option<String> {
    if world.is_writing() {
        return Some("commits are under way".to_owned());
    }
    let summary = |site: Site| {
        let process = world.machine(site).process.as_ref()?;
        Some((site, process.mesh.hub().catalog().summary(Prefix::ALL)))
    };
    let all: Vec<_> = world.sites().into_iter().filter_map(summary).collect();
    let (first, wanted) = all.first()?;
    let (other, found) = all.iter().find(|(_, found)| found != wanted)?;
    let names = [world.name(*first), world.name(*other)];
    Some(format!(
        "{} has {} documents and {} has {}, with different fingerprints",
        names[0], wanted.count, names[1], found.count
    ))
}

/// The first node of which another one does not know that it can be reached; `None` when there is none.
#[must_use]
pub(crate) fn absence(world: &World) -> Option<String> {
    let sites = world.sites();
    sites.iter().find_map(|at| {
        let nodes = world.topology(*at).nodes;
        let is_here = |node: &&NodeView| node.state == NodeState::Reachable;
        let known: BTreeSet<EndpointId> = nodes.iter().filter(is_here).map(|node| node.node).collect();
        let of = sites.iter().find(|of| !known.contains(&world.machine(**of).id))?;
        Some(format!("{} does not know that {} is there", world.name(*at), world.name(*of)))
    })
}

/// Everything that must hold when all nodes run, nothing is cut and the mesh has come to rest.
///
/// # Errors
/// All that does not, one a line.
pub fn check(world: &World) -> Result<(), String> {
    let mut problems: Vec<String> = world.ledger.violations.clone();
    problems.extend(difference(world));
    for site in world.sites() {
        check_disk(world, site, &mut problems);
        for doc in world.ledger.documents() {
            check_document(world, site, doc, &mut problems);
        }
    }
    check_connections(world, &mut problems);
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
}

/// What lies on one disk fits together, and the catalog knows it.
fn check_disk(world: &World, site: Site, problems: &mut Vec<String>) {
    let (store, name) = (world.store(site), world.name(site));
    let mut held = Vec::new();
    store.for_each_heads(&mut |doc, heads| held.push((doc, heads))).expect("a store in memory can be read");
    for (doc, heads) in held {
        check_chunks(world, site, &doc, &heads, problems);
        if let Some(process) = &world.machine(site).process
            && process.mesh.hub().catalog().heads(&doc) != Some(&heads)
        {
            problems.push(format!("the catalog of {name} has other heads of {doc} than the disk"));
        }
    }
}

/// The chunks of a document load, say what the store says, and hold every change that was committed.
fn check_chunks(world: &World, site: Site, doc: &DocId, heads: &Heads, problems: &mut Vec<String>) {
    let (store, name) = (world.store(site), world.name(site));
    let chunks = store.chunks(doc).expect("a store in memory can be read");
    let loaded = Document::load(chunks.iter().map(|chunk| &chunk[..]), &ActorId::from([0; 16]));
    let document = match loaded {
        Ok(document) => document,
        Err(problem) => {
            problems.push(format!("{doc} on {name} does not load: {problem}"));
            return;
        }
    };
    let stored = store.document(doc).expect("a store in memory can be read");
    let json = document.to_json().ok().filter(|_| !document.is_deleted());
    if stored.map(|stored| stored.json) != json {
        problems.push(format!("{doc} on {name} reads otherwise than its chunks"));
    }
    if document.heads() != *heads {
        problems.push(format!("{doc} on {name} has other heads than its chunks"));
    }
    let known = world.machine(site).disk.known.get(doc).cloned().unwrap_or_default();
    let is_gone = |hash| !document.knows(hash);
    if world.ledger.hashes(doc, &known).iter().any(is_gone) {
        problems.push(format!("{doc} on {name} has lost a change that was committed there"));
    }
}

/// The document is the one that the ledger expects, with every acknowledged write in it.
fn check_document(world: &World, site: Site, doc: &DocId, problems: &mut Vec<String>) {
    let none = BTreeSet::new();
    let known = world.machine(site).disk.known.get(doc).unwrap_or(&none);
    let name = world.name(site);
    problems.extend(world.ledger.missing(doc, known).into_iter().map(|what| format!("on {name}: {what}")));
    check_content(world, site, doc, problems);
}

/// The document is what the changes make that were committed here.
fn check_content(world: &World, site: Site, doc: &DocId, problems: &mut Vec<String>) {
    let Some(known) = world.machine(site).disk.known.get(doc).filter(|known| !known.is_empty()) else {
        return;
    };
    let name = world.name(site);
    let expected = world.ledger.expected(doc, known);
    let found = world.get(site, doc.as_str());
    if world.heads(site, doc.as_str()).unwrap_or(Heads::none())
        != expected.heads.clone().unwrap_or(Heads::none())
    {
        problems.push(format!("{doc} on {name} has other heads than its changes make"));
    }
    match found {
        None if expected.lives => problems.push(format!("{doc} is gone on {name} though it was not deleted")),
        Some(_) if !expected.lives => problems.push(format!("{doc} is back on {name} though it was deleted")),
        Some(Value::Object(found)) if !expected.free => {
            problems.extend(
                compare(&expected, &found).into_iter().map(|what| format!("{doc} on {name}: {what}")),
            );
        }
        _ => {}
    }
}

fn compare(expected: &Expected, found: &Map<String, Value>) -> Vec<String> {
    let mut problems = Vec::new();
    let empty = Map::new();
    let nested = found.get("nested").and_then(Value::as_object).unwrap_or(&empty);
    for (part, wanted, found, open) in [
        ("", &expected.root, found, &BTreeSet::new()),
        ("nested.", &expected.nested, nested, &expected.nested_open),
    ] {
        for (key, value) in wanted {
            if found.get(key).and_then(Value::as_u64) != Some(*value as u64) {
                problems.push(format!("{part}{key} is {:?} instead of {value}", found.get(key)));
            }
        }
        let is_own = |key: &str| key.strip_prefix('k').is_some_and(|rest| rest.parse::<usize>().is_ok());
        for key in found.keys().filter(|key| is_own(key)) {
            if !wanted.contains_key(key) && !open.contains(key) {
                problems.push(format!("{part}{key} is back"));
            }
        }
    }
    problems
}

/// Each pair that can reach each other holds one connection.
fn check_connections(world: &World, problems: &mut Vec<String>) {
    for (a, b) in world.links() {
        let count = world.connections(a, b);
        if count > 1 {
            problems.push(format!("{} and {} hold {count} connections", world.name(a), world.name(b)));
        }
    }
}
