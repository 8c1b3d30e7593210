//! When nodes agree: the same documents with the same heads and the same JSON, all that clients were promised in
//! them, and connections to exactly those who can be reached.

use std::collections::BTreeSet;

use crate::node::{LabNode, until};
use crate::writers::{COLLECTION, Ledger};

fn logs(nodes: &[&LabNode]) -> String {
    nodes.iter().map(|node| node.log()).collect::<Vec<_>>().join("\n")
}

/// Waits until all nodes hold the same, and nothing that was acknowledged is missing.
pub fn until_converged(nodes: &[&LabNode], ledger: &Ledger) {
    until("the same everywhere", || {
        let first = nodes[0].documents(COLLECTION);
        ledger.missing(&first).map_or(Ok(()), |missing| Err(format!("{} lacks {missing}", nodes[0].name)))?;
        for node in &nodes[1..] {
            let here = node.documents(COLLECTION);
            if let Some((id, _)) = first.iter().find(|(id, document)| here.get(*id) != Some(document)) {
                let (there, here) = (&first[id], here.get(id));
                return Err(format!(
                    "{id}: {} has {there:?}, {} {here:?}\n{}",
                    nodes[0].name,
                    node.name,
                    logs(nodes)
                ));
            }
            if here.len() > first.len() {
                return Err(format!("{} has {} documents more", node.name, here.len() - first.len()));
            }
        }
        Ok(())
    });
}

/// Waits until every node says that it is connected to all the others, and to nobody else.
pub fn until_all_connected(nodes: &[&LabNode]) {
    for node in nodes {
        let others = nodes.iter().map(|other| other.name).filter(|other| *other != node.name);
        until_connected(node, &others.collect::<Vec<_>>());
    }
}

/// Waits until a node says that it is connected to these, and to nobody else.
pub fn until_connected(node: &LabNode, wanted: &[&str]) {
    let wanted: BTreeSet<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
    until(&format!("connected: {} to {wanted:?}", node.name), || {
        let connected = node.connected();
        if connected == wanted {
            return Ok(());
        }
        Err(format!("{connected:?}\n{}\n{:#}", node.log(), node.get("/api/v1/peers")))
    });
}

/// Waits until a node's topology shows these nodes as unreachable.
pub fn until_unreachable(node: &LabNode, names: &[&str]) {
    until_state(node, names, "unreachable");
}

/// Waits until the topology of every node shows all of them as reachable.
pub fn until_all_reachable(nodes: &[&LabNode]) {
    let names: Vec<&str> = nodes.iter().map(|node| node.name).collect();
    nodes.iter().for_each(|node| until_state(node, &names, "reachable"));
}

fn until_state(node: &LabNode, names: &[&str], wanted: &str) {
    until(&format!("{wanted} for {}: {names:?}", node.name), || {
        let topology = node.get("/api/v1/topology");
        let nodes = topology["nodes"].as_array().unwrap();
        let is_so =
            |name: &&str| nodes.iter().any(|seen| seen["node_id"] == **name && seen["state"] == wanted);
        match names.iter().find(|name| !is_so(name)) {
            Some(name) => Err(format!("{name}: {topology:#}\n{}", node.log())),
            None => Ok(()),
        }
    });
}

/// Waits until every node says of all its connected peers that both have the same.
pub fn until_in_step(nodes: &[&LabNode]) {
    for node in nodes {
        until(&format!("in step: {}", node.name), || {
            let peers = node.get("/api/v1/peers");
            let behind = |peer: &&serde_json::Value| peer["connected"] == true && peer["in_step"] != true;
            match peers["peers"].as_array().unwrap().iter().find(behind) {
                Some(peer) => Err(format!("{peer:#}\n{}", node.log())),
                None => Ok(()),
            }
        });
    }
}
