//! Three nodes on this machine with real data: the whole thing in one command.
//!
//! It writes airports into the first node, shows them arrive on the other two, edits one airport on two
//! nodes at once and shows what the third makes of it. It prints to standard output.

mod airports;
mod progress;

use std::time::{Duration, Instant};

use peat_mesh_core::{DocId, NodeName};
use progress::Progress;
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::config::Config;
use crate::discovery::fixed::StaticPeer;
use crate::handle::Handle;
use crate::identity::FormationSecret;
use crate::service::Service;

const NAMES: [&str; 3] = ["alpha", "bravo", "charlie"];
const COLLECTION: &str = "airports";
/// The airport that two nodes edit at once.
const EDITED: &str = "EDDF";
/// The demo has failed when the nodes do not agree within this time, in seconds.
const AGREE_SECS_MAX: u64 = 60;
/// Writes that are under way at once.
const WRITES_COUNT_MAX: usize = 64;
/// How long requests in flight may take when the demo stops, in seconds.
const GRACE_SECS: u64 = 2;

/// Why the demo failed, in words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DemoError(String);

impl DemoError {
    fn new(problem: impl ToString) -> Self {
        Self(problem.to_string())
    }
}

/// Runs the demo. With `exit` it ends when all nodes agree, otherwise when `stop` is done.
///
/// # Errors
/// When a node cannot start, or the nodes do not agree within a minute.
pub async fn run(exit: bool, stop: impl Future<Output = ()>) -> Result<(), DemoError> {
    let mut nodes = Vec::new();
    let folders = [folder()?, folder()?, folder()?];
    let secret = FormationSecret::parse(&FormationSecret::generate()).map_err(DemoError::new)?;
    for (name, folder) in NAMES.into_iter().zip(&folders) {
        let config = config(&secret, name, folder, &nodes)?;
        let grace = Duration::from_secs(GRACE_SECS);
        nodes.push(Service::start(config, grace).await.map_err(DemoError::new)?);
    }
    let shown = async {
        let limit = Duration::from_secs(AGREE_SECS_MAX);
        let handles = nodes.iter().map(|node| node.handle().clone()).collect();
        let late = || DemoError(format!("the three nodes did not agree within {AGREE_SECS_MAX} s"));
        tokio::time::timeout(limit, show(handles)).await.map_err(|_| late())??;
        print_what_to_try(&nodes);
        if !exit {
            println!("\nCtrl-C ends the demo and removes its data.");
            std::future::pending::<()>().await;
        }
        Ok(())
    };
    let shown = tokio::select! {
        shown = shown => shown,
        () = stop => if exit { Err(DemoError::new("stopped before all three agreed")) } else { Ok(()) },
    };
    let mut stopping = JoinSet::new();
    nodes.into_iter().for_each(|node| _ = stopping.spawn(node.shutdown()));
    stopping.join_all().await;
    shown
}

fn folder() -> Result<TempDir, DemoError> {
    tempfile::tempdir().map_err(|problem| DemoError(format!("no temporary folder: {problem}")))
}

fn config(
    secret: &FormationSecret,
    name: &str,
    folder: &TempDir,
    others: &[Service],
) -> Result<Config, DemoError> {
    let peers: Vec<String> = others
        .iter()
        .map(Service::handle)
        .flat_map(|peer| peer.bound_addresses().into_iter().map(|at| format!("{}@{at}", peer.name())))
        .collect();
    let static_peers =
        StaticPeer::parse_list(&peers.join(",")).map_err(|problems| DemoError(problems.join("; ")))?;
    let name = NodeName::new(name).map_err(DemoError::new)?;
    Ok(Config::on_loopback(secret.clone(), name, folder.path().to_owned(), static_peers))
}

async fn show(handles: Vec<Handle>) -> Result<(), DemoError> {
    let airports = airports::all().map_err(DemoError)?;
    let count = airports.len();
    println!("Three nodes of one formation run on this machine: {}.", NAMES.join(", "));
    println!("Writing {count} airports into {}; each is acknowledged when it is on disk.\n", NAMES[0]);
    let started = Instant::now();
    let mut arrivals = Progress::start(&handles, COLLECTION, count as u64);
    write(&handles[0], airports).await?;
    let written = started.elapsed();
    arrivals.all_arrived().await;
    let arrived = started.elapsed();
    println!(
        "{count} airports are on disk of {} after {} ms and of all three after {} ms.\n",
        NAMES[0],
        written.as_millis(),
        arrived.as_millis()
    );
    edit_at_once(&handles).await?;
    let agreed = agree(&handles).await?;
    println!("\nAll three agree on {agreed} documents after {} ms.", started.elapsed().as_millis());
    Ok(())
}

async fn write(handle: &Handle, airports: Vec<airports::Airport>) -> Result<(), DemoError> {
    let mut writes = JoinSet::new();
    for (doc, object) in airports {
        if writes.len() >= WRITES_COUNT_MAX {
            finished(writes.join_next().await)?;
        }
        let handle = handle.clone();
        writes.spawn(async move { handle.put(doc, object).await });
    }
    while !writes.is_empty() {
        finished(writes.join_next().await)?;
    }
    Ok(())
}

fn finished<T, E: ToString>(
    joined: Option<Result<Result<T, E>, tokio::task::JoinError>>,
) -> Result<(), DemoError> {
    match joined {
        Some(Ok(Err(problem))) => Err(DemoError::new(problem)),
        Some(Err(problem)) => Err(DemoError::new(problem)),
        _ => Ok(()),
    }
}

/// One airport, two editors who do not know of each other, one result.
async fn edit_at_once(handles: &[Handle]) -> Result<(), DemoError> {
    let doc = DocId::new(COLLECTION, EDITED).map_err(DemoError::new)?;
    let on_alpha = edited(&handles[0], &doc, "fuel", json!({"jet_a1": true}))?;
    let on_bravo = edited(&handles[1], &doc, "runways", json!({"07C/25C": "4000 m"}))?;
    println!("Now {EDITED} is edited on two nodes at the same moment:");
    println!("  {:<8} adds  fuel    = {}", NAMES[0], on_alpha["fuel"]);
    println!("  {:<8} adds  runways = {}", NAMES[1], on_bravo["runways"]);
    let mut changes = handles[2].changes();
    let both = tokio::join!(handles[0].put(doc.clone(), on_alpha), handles[1].put(doc.clone(), on_bravo));
    both.0.map_err(DemoError::new)?;
    both.1.map_err(DemoError::new)?;
    let merged = loop {
        let merged = read(&handles[2], &doc)?;
        if merged.contains_key("fuel") && merged.contains_key("runways") {
            break merged;
        }
        // One that is too slow reads again all the same.
        let _ = changes.recv().await;
    };
    let text = serde_json::to_string_pretty(&merged).map_err(DemoError::new)?;
    println!("What {} has a moment later, nothing of it lost:\n{text}", NAMES[2]);
    Ok(())
}

fn edited(handle: &Handle, doc: &DocId, field: &str, value: Value) -> Result<Map<String, Value>, DemoError> {
    let mut object = read(handle, doc)?;
    object.insert(field.to_owned(), value);
    Ok(object)
}

fn read(handle: &Handle, doc: &DocId) -> Result<Map<String, Value>, DemoError> {
    let stored = handle.document(doc).map_err(DemoError::new)?;
    let stored = stored.ok_or_else(|| DemoError(format!("{doc} is not on {}", handle.name())))?;
    serde_json::from_str(&stored.json).map_err(DemoError::new)
}

/// Waits until all nodes have the same version of every document, and says how many there are.
async fn agree(handles: &[Handle]) -> Result<usize, DemoError> {
    let mut changes: Vec<_> = handles.iter().map(Handle::changes).collect();
    loop {
        let first = versions(&handles[0]).await?;
        let second = versions(&handles[1]).await?;
        let third = versions(&handles[2]).await?;
        if first == second && second == third {
            return Ok(first.len());
        }
        let [a, b, c] = &mut changes[..] else { return Err(DemoError::new("there are three nodes")) };
        tokio::select! {
            _ = a.recv() => {}
            _ = b.recv() => {}
            _ = c.recv() => {}
        }
    }
}

async fn versions(handle: &Handle) -> Result<Vec<(DocId, String)>, DemoError> {
    let mut versions = Vec::new();
    let mut after = None;
    loop {
        let page = handle.list(COLLECTION, after.as_deref(), 1000).await.map_err(DemoError::new)?;
        versions.extend(page.documents.into_iter().map(|found| (found.doc, found.version.to_string())));
        after = page.next;
        if after.is_none() {
            return Ok(versions);
        }
    }
}

fn print_what_to_try(nodes: &[Service]) {
    println!("\nTry it yourself:");
    for node in nodes {
        println!("  {:<8} http://{}", node.handle().name(), node.address());
    }
    let (first, last) = (nodes[0].address(), nodes[2].address());
    println!("\n  curl -X PUT -H 'content-type: application/json' -d '{{\"hello\":\"mesh\"}}' \\");
    println!("    http://{first}/api/v1/documents/notes/one");
    println!("  curl http://{last}/api/v1/documents/notes/one");
}
