//! The shape of the formation, asked of real processes, and what they say when one of them falls silent.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::{Process, Setup, free_udp_port};

const NAMES: [&str; 3] = ["alpha/alice", "bob", "carol"];

/// Three nodes that know each other's addresses.
struct Three {
    setups: [Setup; 3],
    _folders: [TempDir; 3],
}

impl Three {
    fn new() -> Self {
        let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
        let ports = [(); 3].map(|()| free_udp_port());
        let entry = |index: usize| format!("{}@127.0.0.1:{}", NAMES[index], ports[index]);
        let setup = |index: usize| {
            let others: Vec<String> = (0..3).filter(|other| *other != index).map(entry).collect();
            let setup = Setup::node(NAMES[index], folders[index].path())
                .set("PEAT_IROH_BIND_PORT", &ports[index].to_string())
                .peers(&others);
            match NAMES[index].split_once('/') {
                Some((cluster, host)) => setup.set("PEAT_CLUSTER", cluster).set("HOSTNAME", host),
                None => setup,
            }
        };
        Self { setups: [setup(0), setup(1), setup(2)], _folders: folders }
    }

    /// Starts all and waits until each knows all.
    fn serve(&self) -> [Process; 3] {
        let nodes = self.setups.each_ref().map(Setup::serve);
        nodes.iter().for_each(until_all_are_up);
        nodes
    }
}

fn topology(node: &Process) -> Value {
    let (status, topology) = node.get("/api/v1/topology");
    assert_eq!(status, 200, "{topology}");
    topology
}

fn node_in(topology: &Value, name: &str) -> Option<Value> {
    topology["nodes"].as_array().unwrap().iter().find(|node| node["node_id"] == name).cloned()
}

fn state_of(node: &Process, name: &str) -> Option<String> {
    let found = node_in(&topology(node), name)?;
    found["state"].as_str().map(str::to_owned)
}

fn until_all_are_up(node: &Process) {
    node.until("everybody is reachable", |node| topology(node)["formation"]["reachable"] == json!(3));
}

#[test]
fn each_of_three_nodes_shows_all_of_them_and_their_links() {
    let three = Three::new();
    let nodes = three.serve();
    for asked in &nodes {
        // Links are spoken of a moment after a node is.
        let links = |topology: &Value| -> usize {
            let nodes = topology["nodes"].as_array().unwrap().clone();
            let up = |node: &Value| {
                let links = node["links"].as_array().unwrap();
                links.iter().filter(|link| link["state"] == "up" && link["path"] == "direct").count()
            };
            nodes.iter().map(up).sum()
        };
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut seen = topology(asked);
        while links(&seen) < 6 && Instant::now() < deadline {
            // Any write makes an event everywhere, and looking again costs little.
            nodes[0].put("t/tick", &json!({ "at": seen["as_of"] }));
            seen = topology(asked);
        }
        assert_eq!(links(&seen), 6, "{seen:#}");
        for name in NAMES {
            let node = node_in(&seen, name).unwrap();
            let cluster = name.split_once('/').map(|(cluster, _)| cluster);
            assert_eq!(node["cluster"], json!(cluster));
            assert_eq!(node["version"], env!("CARGO_PKG_VERSION"));
            let role = if cluster.is_some() { "gateway" } else { "node" };
            assert_eq!(node["role"], role, "{node}");
            assert_eq!(node["unreachable_since"], json!(null));
            let links = node["links"].as_array().unwrap();
            assert_eq!(links.len(), 2, "{node:#}");
            assert!(links.iter().all(|link| link["address"].is_string()), "{node:#}");
        }
    }
}

#[test]
fn a_node_that_is_killed_is_lost_at_the_others_and_found_when_it_runs_again() {
    let three = Three::new();
    let [alice, bob, carol] = three.serve();
    let killed = Instant::now();
    carol.kill();
    for node in [&alice, &bob] {
        let line = node.line_with("Partition: carol cannot be reached");
        println!("{}: known after at most {} ms", node.name, killed.elapsed().as_millis());
        assert!(
            line.contains("WARN") && line.contains("reachable=1") && line.contains("unreachable=1"),
            "{line}"
        );
        // What the log says, the API shows already.
        assert_eq!(state_of(node, "carol").as_deref(), Some("unreachable"));
        let carol = node_in(&topology(node), "carol").unwrap();
        assert!(carol["unreachable_since"].is_string() && carol["uptime_secs"].is_null(), "{carol}");
    }
    let carol = three.setups[2].serve();
    for node in [&alice, &bob] {
        node.line_with("Healed: carol can be reached again");
        assert_eq!(state_of(node, "carol").as_deref(), Some("reachable"));
    }
    until_all_are_up(&carol);
}

#[test]
fn a_node_that_stops_for_a_while_is_lost_and_found_on_the_same_connection() {
    let three = Three::new();
    let [alice, bob, carol] = three.serve();
    let lines = [&alice, &bob, &carol].map(Process::lines_count);
    let frozen = Instant::now();
    carol.freeze();
    for node in [&alice, &bob] {
        node.line_with("Partition: carol cannot be reached");
    }
    let silent = alice.get("/api/v1/peers/carol").1;
    alice.put("c/while", &json!({ "carol": "sleeps" }));
    carol.signal("CONT");
    // A connection is given up after 12 s; a machine that is so slow shows nothing here.
    let is_in_time = frozen.elapsed() < Duration::from_secs(9);
    for node in [&alice, &bob] {
        node.line_with("Healed: carol can be reached again");
    }
    carol.until_document("c/while", &json!({ "carol": "sleeps" }));
    if !is_in_time {
        println!("the machine is too slow to see that nobody reconnects");
        return;
    }
    assert_eq!((&silent["connected"], silent["silent_secs"].is_u64()), (&json!(true), true), "{silent}");
    for (node, lines) in [&alice, &bob, &carol].into_iter().zip(lines) {
        let all = node.out.all();
        let is_reconnect =
            |line: &&String| line.contains("Peer connected") || line.contains("Peer disconnected");
        let reconnects: Vec<&String> = all[lines..].iter().filter(is_reconnect).collect();
        assert!(reconnects.is_empty(), "{}: {reconnects:#?}", node.name);
    }
}

#[test]
fn a_node_that_is_stopped_properly_has_left_and_is_not_lost() {
    let three = Three::new();
    let [alice, bob, carol] = three.serve();
    carol.stop();
    for node in [&alice, &bob] {
        node.until("carol has left", |node| state_of(node, "carol").as_deref() == Some("left"));
    }
}
