//! What must hold at every moment, looked at after each step of a scenario.
//!
//! Only what was written since the last look is read again, so a look costs in proportion to what happened.

use std::collections::BTreeSet;

use peat_mesh_core::{DocId, limits};

use super::{check_chunks, check_content};
use crate::site::Site;
use crate::world::World;

/// So many nodes have their bounds looked at after one step, in turn.
const BOUNDS_SITES: usize = 8;

/// What must hold after step number `step`: nothing acknowledged is lost, nothing deleted is back, documents are what
/// their changes make, and nothing has outgrown its bound.
///
/// # Errors
/// What does not, one problem a line.
pub(crate) fn check_step(world: &mut World, step: usize) -> Result<(), String> {
    let touched = world.take_touched();
    let mut problems = world.ledger.violations.clone();
    for (site, doc) in &touched {
        match world.heads(*site, doc.as_str()) {
            Some(heads) => check_chunks(world, *site, doc, &heads, &mut problems),
            None if world.machine(*site).disk.known.get(doc).is_none_or(BTreeSet::is_empty) => {}
            None => problems.push(format!("{doc} is gone from the disk of {}", world.name(*site))),
        }
        check_content(world, *site, doc, &mut problems);
    }
    let documents: BTreeSet<&DocId> = touched.iter().map(|(_, doc)| doc).collect();
    for doc in documents {
        let known: Vec<_> =
            world.sites().into_iter().filter_map(|site| world.machine(site).disk.known.get(doc)).collect();
        let is_known = |number| known.iter().any(|known| known.contains(&number));
        problems.extend(world.ledger.nowhere(doc, is_known));
    }
    let count = world.sites().len();
    for number in 0..count.min(BOUNDS_SITES) {
        check_bounds(world, Site((step * BOUNDS_SITES + number) % count), &mut problems);
    }
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
}

/// Queues, caches and tables of one node. What waits unsent is looked at whenever something is sent.
fn check_bounds(world: &World, site: Site, problems: &mut Vec<String>) {
    let Some(process) = &world.machine(site).process else { return };
    let nodes = world.sites().len() as u64;
    let documents = process.mesh.hub().catalog().len();
    let peers = world.peers(site);
    let longest = peers.iter().map(|peer| peer.documents_to_send).max().unwrap_or_default();
    let linked = peers.iter().filter(|peer| peer.conn.is_some()).count() as u64;
    let rules = [
        ("peers in its table", peers.len() as u64, nodes - 1),
        ("connections in use", linked, nodes - 1),
        ("nodes in its presence table", world.topology(site).nodes.len() as u64, nodes),
        ("documents waiting to be sent to one peer", longest, documents),
        (
            "bytes of loaded documents",
            process.replica.cached_bytes() as u64,
            limits::DOCUMENT_CACHE_BYTES_MAX as u64,
        ),
        (
            "bytes of updates kept by its overlay",
            process.mesh.kept_bytes() as u64,
            peat_mesh_overlay::limits::KEPT_BYTES_MAX as u64,
        ),
        (
            "peers that messages of its overlay wait for",
            process.mesh.waiting_peers() as u64,
            peat_mesh_overlay::limits::WAITING_PEERS_MAX as u64,
        ),
    ];
    for (what, found, most) in rules {
        if found > most {
            problems.push(format!("{} has {found} {what}, more than {most}", world.name(site)));
        }
    }
}
