//! Several nodes: chains, several providers at once, providers that go away or are damaged, limits.

use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;
use std::thread;

use tempfile::TempDir;

use crate::common::{Process, Setup, free_udp_port};
use crate::rig::{add, ask, content, get, send, state, status, until};

const MIB: usize = 1024 * 1024;

/// Nodes that are linked to some of each other.
struct Mesh {
    setups: Vec<Setup>,
    folders: Vec<TempDir>,
}

impl Mesh {
    /// So many nodes, `a`, `b` and so on, with these links.
    fn new(count: usize, links: &[(usize, usize)]) -> Self {
        let name = |index: usize| String::from(char::from(b'a' + index as u8));
        let ports: Vec<u16> = (0..count).map(|_| free_udp_port()).collect();
        let folders: Vec<TempDir> = (0..count).map(|_| tempfile::tempdir().unwrap()).collect();
        let setup = |index: usize| {
            let setup = Setup::node(&name(index), folders[index].path())
                .set("PEAT_IROH_BIND_PORT", &ports[index].to_string());
            let others = links.iter().filter_map(|(one, other)| match index {
                index if index == *one => Some(*other),
                index if index == *other => Some(*one),
                _ => None,
            });
            let peers: Vec<String> =
                others.map(|other| format!("{}@127.0.0.1:{}", name(other), ports[other])).collect();
            setup.peers(&peers)
        };
        Self { setups: (0..count).map(setup).collect(), folders }
    }

    /// All nodes around the last one.
    fn star(count: usize) -> Self {
        let links: Vec<_> = (0..count - 1).map(|index| (index, count - 1)).collect();
        Self::new(count, &links)
    }

    fn set(mut self, variable: &str, value: &str) -> Self {
        self.setups = self.setups.into_iter().map(|setup| setup.set(variable, value)).collect();
        self
    }

    /// Starts all of them, and waits until the last one is connected to its peers.
    fn serve(&self) -> Vec<Process> {
        let nodes: Vec<Process> = self.setups.iter().map(Setup::serve).collect();
        for (setup, node) in self.setups.iter().zip(&nodes) {
            for peer in setup.variables["PEAT_STATIC_PEERS"].split(',') {
                node.connected_to(peer.split('@').next().unwrap());
            }
        }
        nodes
    }
}

/// A number of a node's metrics.
fn metric(node: &Process, name: &str) -> u64 {
    let answer = node.http().exchange("GET", "/metrics", "", b"").unwrap();
    let text = String::from_utf8(answer.body).unwrap();
    let line = text.lines().find(|line| line.split(' ').next() == Some(name));
    let line = line.unwrap_or_else(|| panic!("no {name} in {text}"));
    line.split(' ').nth(1).unwrap().parse::<f64>().unwrap() as u64
}

fn sent(node: &Process) -> u64 {
    metric(node, "peat_blob_sent_bytes_total")
}

/// Turns over the bits of a byte of a blob's file.
fn damage(folder: &Path, hash: &str, at: u64) {
    let path = folder.join(format!("blobs/data/{hash}.data"));
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[!byte[0]], at).unwrap();
}

#[test]
fn a_blob_crosses_a_chain_of_nodes() {
    let mesh = Mesh::new(4, &[(0, 1), (1, 2), (2, 3)]);
    let nodes = mesh.serve();
    for (seed, size) in [(1, 100), (2, 5 * MIB)] {
        let bytes = content(seed, size);
        let hash = add(&nodes[0], &bytes);
        assert!(get(&nodes[3], &hash).body == bytes);
        // Those between have it now, for the next one who asks.
        until("the middle has it", || state(&nodes[2], &hash) == "complete");
    }
    let nobodys = crate::rig::hash(b"nobody has this");
    assert!(get(&nodes[3], &nobodys).error(404).contains("no connected node has it"));
}

#[test]
fn several_providers_each_bring_a_part() {
    let mesh = Mesh::star(4).set("PEAT_BLOB_BANDWIDTH", "20MB");
    let nodes = mesh.serve();
    let bytes = content(3, 48 * MIB);
    let hash = add(&nodes[0], &bytes);
    for node in &nodes[1..3] {
        assert_eq!(add(node, &bytes), hash);
    }
    assert!(get(&nodes[3], &hash).body == bytes);
    for node in &nodes[..3] {
        assert!(sent(node) > 4 * MIB as u64, "one sent only {}", sent(node));
    }
    let all: u64 = nodes[..3].iter().map(sent).sum();
    assert!(all < 60 * MIB as u64, "{all} bytes were sent for {}", bytes.len());
}

#[test]
fn a_fetch_goes_on_when_one_of_two_providers_is_killed() {
    let mesh = Mesh::star(3).set("PEAT_BLOB_BANDWIDTH", "20MB");
    let mut nodes = mesh.serve();
    let bytes = content(4, 48 * MIB);
    let hash = add(&nodes[0], &bytes);
    add(&nodes[1], &bytes);
    let reader = nodes.pop().unwrap();
    let killed = nodes.pop().unwrap();
    thread::scope(|scope| {
        let reading = scope.spawn(|| get(&reader, &hash));
        until("both bring some", || sent(&killed) > 2 * MIB as u64 && sent(&nodes[0]) > 2 * MIB as u64);
        killed.kill();
        assert!(reading.join().unwrap().body == bytes);
    });
}

#[test]
fn a_flipped_byte_at_a_provider_is_told_fetched_elsewhere_and_mended() {
    let mesh = Mesh::new(3, &[(0, 1), (0, 2), (1, 2)]);
    let nodes = mesh.serve();
    let bytes = content(5, 12 * MIB);
    let hash = add(&nodes[0], &bytes);
    add(&nodes[1], &bytes);
    for at in [20_000, 7 * MIB as u64] {
        damage(mesh.folders[0].path(), &hash, at);
    }
    assert!(get(&nodes[2], &hash).body == bytes);
    // It was asked for the damaged part or it was not; reading it there finds all of it.
    assert!(get(&nodes[0], &hash).body == bytes);
    nodes[0].line_with("a blob is damaged on the disk of this node");
    nodes[0].line_with("a damaged blob is whole again");
    until("all is mended", || metric(&nodes[0], "peat_blob_damaged") == 0);
    let file = std::fs::read(mesh.folders[0].path().join(format!("blobs/data/{hash}.data"))).unwrap();
    assert!(file == bytes);
}

#[test]
fn a_blob_whose_file_is_gone_is_fetched_again() {
    let mesh = Mesh::star(2);
    let nodes = mesh.serve();
    let bytes = content(9, 3 * MIB);
    let hash = add(&nodes[0], &bytes);
    add(&nodes[1], &bytes);
    std::fs::remove_file(mesh.folders[0].path().join(format!("blobs/data/{hash}.data"))).unwrap();
    until("it is whole again", || is_read(&nodes[0], &hash, &bytes));
    assert_eq!(state(&nodes[0], &hash), "complete");
}

/// Puts a link to itself in the place of a blob's file, which no user can open. The file is beside it.
fn make_unreadable(folder: &Path, hash: &str) {
    let [file, away] = ["data", "away"].map(|end| folder.join(format!("blobs/data/{hash}.{end}")));
    std::fs::rename(&file, away).unwrap();
    symlink(&file, &file).unwrap();
}

fn make_readable(folder: &Path, hash: &str) {
    let [file, away] = ["data", "away"].map(|end| folder.join(format!("blobs/data/{hash}.{end}")));
    assert!(file.is_symlink(), "it was dropped");
    std::fs::rename(away, file).unwrap();
}

/// Whether a blob is read as these bytes.
fn is_read(node: &Process, hash: &str, bytes: &[u8]) -> bool {
    let mut http = node.http();
    http.send_head("GET", &format!("/api/v1/blobs/{hash}"), "").unwrap();
    http.answer("GET").is_ok_and(|answer| answer.body == bytes)
}

#[test]
fn a_blob_that_cannot_be_read_just_now_is_not_dropped() {
    let mesh = Mesh::star(2);
    let nodes = mesh.serve();
    let bytes = content(11, 3 * MIB);
    let hash = add(&nodes[0], &bytes);
    add(&nodes[1], &bytes);
    make_unreadable(mesh.folders[0].path(), &hash);
    until("it cannot be read", || !is_read(&nodes[0], &hash, &bytes));
    nodes[0].line_with("could not be mended: its files cannot be read");
    assert_eq!(state(&nodes[0], &hash), "complete");
    make_readable(mesh.folders[0].path(), &hash);
    until("it is read", || is_read(&nodes[0], &hash, &bytes));
    assert_eq!(sent(&nodes[1]), 0, "it was fetched again");
}

#[test]
fn a_blob_whose_file_is_gone_is_not_dropped_on_the_word_of_a_peer_that_cannot_read_its_own() {
    let mesh = Mesh::star(2);
    let nodes = mesh.serve();
    let bytes = content(12, 3 * MIB);
    let hash = add(&nodes[0], &bytes);
    add(&nodes[1], &bytes);
    std::fs::remove_file(mesh.folders[0].path().join(format!("blobs/data/{hash}.data"))).unwrap();
    make_unreadable(mesh.folders[1].path(), &hash);
    until("it cannot be read", || !is_read(&nodes[0], &hash, &bytes));
    nodes[0].line_with("could not be mended: its files cannot be read");
    assert_eq!([&nodes[0], &nodes[1]].map(|node| state(node, &hash)), ["complete"; 2]);
    make_readable(mesh.folders[1].path(), &hash);
    for node in &nodes {
        until("it is read", || is_read(node, &hash, &bytes));
    }
}

#[test]
fn damage_without_another_copy_cuts_the_answer_and_is_not_given_on() {
    let mesh = Mesh::star(2);
    let nodes = mesh.serve();
    let bytes = content(6, 3 * MIB);
    let hash = add(&nodes[0], &bytes);
    damage(mesh.folders[0].path(), &hash, 2 * MIB as u64);
    let mut http = nodes[0].http();
    http.send_head("GET", &format!("/api/v1/blobs/{hash}"), "").unwrap();
    assert!(http.answer("GET").is_err(), "it has to end early");
    nodes[0].line_with("could not be mended: no connected node has it whole");
    // The good parts are given, the bad one is not.
    let good = ask(&nodes[0], "GET", &format!("/{hash}"), "range: bytes=0-99999\r\n");
    assert!(good.body == bytes[..100_000]);
    let mut http = nodes[1].http();
    http.send_head("GET", &format!("/api/v1/blobs/{hash}"), "").unwrap();
    assert!(!http.answer("GET").is_ok_and(|answer| answer.status == 200));
    assert_ne!(state(&nodes[1], &hash), "complete");
}

#[test]
fn blobs_take_no_more_than_they_may() {
    let mesh = Mesh::star(2);
    let small = mesh.setups[0].clone().set("PEAT_BLOB_MAX_BYTES", "1MB").serve();
    let large = mesh.setups[1].serve();
    small.connected_to("b");
    let full = "PEAT_BLOB_MAX_BYTES";
    // Of a length that is known, before anything is read.
    let mut http = small.http();
    http.send_head("POST", "/api/v1/blobs", "content-length: 1000001\r\n").unwrap();
    assert!(http.answer("POST").unwrap().error(507).contains(full));
    let kept = add(&small, &content(1, 600_000));
    assert!(send(&small, &content(2, 500_000)).error(507).contains(full));
    // Of one that comes from a peer, too.
    let foreign = add(&large, &content(3, 500_000));
    assert!(get(&small, &foreign).error(507).contains(full));
    assert_eq!(get(&small, &kept).body.len(), 600_000);
    assert_eq!(ask(&small, "DELETE", &format!("/{kept}"), "").status, 204);
    assert_eq!(get(&small, &foreign).body.len(), 500_000);
    // It counts after a restart, too.
    small.stop();
    let small = mesh.setups[0].clone().set("PEAT_BLOB_MAX_BYTES", "1MB").serve();
    assert!(send(&small, &content(2, 600_000)).error(507).contains(full));
    assert_eq!(metric(&small, "peat_blob_stored_bytes"), 500_000);
    drop(large);
}

#[test]
fn uploads_at_once_take_no_more_than_they_may() {
    const SIZE: usize = 300_000;
    let folder = tempfile::tempdir().unwrap();
    let node = Setup::node("n", folder.path()).set("PEAT_BLOB_MAX_BYTES", "1MB").serve();
    // Whoever is refused comes again, while others are stored. The node may close before all was sent to it.
    let send = |seed| drop(node.http().exchange("POST", "/api/v1/blobs", "", &content(seed, SIZE)));
    thread::scope(|scope| {
        for client in 0..6 {
            let send = &send;
            scope.spawn(move || (0..40).for_each(|round| send(client * 1_000 + round)));
        }
    });
    assert_eq!(metric(&node, "peat_blob_stored_bytes"), 3 * SIZE as u64);
}

#[test]
fn a_blob_that_is_stored_anew_while_it_is_deleted_is_on_the_disk_and_counts() {
    let folder = tempfile::tempdir().unwrap();
    let node = Setup::node("n", folder.path()).serve();
    let bytes = content(13, 50_000);
    let path = format!("/{}", add(&node, &bytes));
    let file = folder.path().join(format!("blobs/data{path}.data"));
    for round in 0..100 {
        let sent = thread::scope(|scope| {
            scope.spawn(|| ask(&node, "DELETE", &path, "").status);
            send(&node, &bytes).status
        });
        assert!([200, 201, 503].contains(&sent), "{sent}");
        if sent == 201 {
            // It had no tag any more when it was stored.
            assert!(file.exists(), "it is gone in round {round}");
            assert_eq!(metric(&node, "peat_blob_stored_bytes"), 50_000, "in round {round}");
        }
        send(&node, &bytes);
    }
}

#[test]
fn a_fetch_in_the_background_waits_for_a_provider_and_goes_on_after_a_restart() {
    let mesh = Mesh::star(2).set("PEAT_BLOB_BANDWIDTH", "10MB");
    let bytes = content(7, 24 * MIB);
    let alone = mesh.setups[1].serve();
    let hash = crate::rig::hash(&bytes);
    assert_eq!(ask(&alone, "POST", &format!("/{hash}/fetch"), "content-length: 0\r\n").status, 202);
    until("it waits", || status(&alone, &hash)["fetch"]["state"] == "waiting");
    let provider = mesh.setups[0].serve();
    assert_eq!(add(&provider, &bytes), hash);
    until("a part is here", || status(&alone, &hash)["have_bytes"].as_u64().unwrap() > 2 * MIB as u64);
    alone.kill();
    provider.kill();
    let [provider, again] = [0, 1].map(|index| mesh.setups[index].serve());
    until("it is whole", || state(&again, &hash) == "complete");
    assert!(sent(&provider) < bytes.len() as u64, "it began again: {}", sent(&provider));
    assert!(get(&again, &hash).body == bytes);
}

#[test]
fn only_what_is_read_is_fetched() {
    let mesh = Mesh::star(2);
    let nodes = mesh.serve();
    let bytes = content(8, 64 * MIB);
    let hash = add(&nodes[0], &bytes);
    for start in [40 * MIB + 1, 1, 64 * MIB - 50_000] {
        let line = format!("range: bytes={start}-{}\r\n", start + 49_999);
        let part = ask(&nodes[1], "GET", &format!("/{hash}"), &line);
        assert!(part.status == 206 && part.body == bytes[start..start + 50_000], "{}", part.status);
    }
    assert_eq!(state(&nodes[1], &hash), "partial");
    assert!(sent(&nodes[0]) < MIB as u64, "{} bytes were sent", sent(&nodes[0]));
}

#[test]
fn a_part_counts_against_what_blobs_may_take() {
    let mesh = Mesh::star(2);
    let other = mesh.setups[0].serve();
    let small = mesh.setups[1].clone().set("PEAT_BLOB_MAX_BYTES", "20MiB").serve();
    small.connected_to("a");
    let hash = add(&other, &content(14, 16 * MIB));
    let range = format!("range: bytes=0-{}\r\n", 8 * MIB - 1);
    assert_eq!(ask(&small, "GET", &format!("/{hash}"), &range).status, 206);
    until("it counts", || metric(&small, "peat_blob_stored_bytes") >= 8 * MIB as u64);
    let full = send(&small, &content(15, 13 * MIB));
    assert!(full.error(507).contains("PEAT_BLOB_MAX_BYTES"));
    // All of it counts once.
    assert_eq!(get(&small, &hash).body.len(), 16 * MIB);
    until("it counts as one", || metric(&small, "peat_blob_stored_bytes") == 16 * MIB as u64);
}

#[test]
fn slow_readers_whose_part_is_here_do_not_keep_others_from_fetching() {
    const PART: usize = 16 * MIB;
    let mesh = Mesh::star(2);
    let nodes = mesh.serve();
    let readers: Vec<_> = (0..8)
        .map(|seed| {
            let hash = add(&nodes[0], &content(20 + seed, PART + MIB));
            let mut http = nodes[1].http();
            let range = format!("range: bytes=0-{}\r\n", PART - 1);
            http.send_head("GET", &format!("/api/v1/blobs/{hash}"), &range).unwrap();
            // The head is read, and no more.
            assert_eq!(http.answer_head().unwrap().0, 206);
            until("the part is here", || {
                status(&nodes[1], &hash)["have_bytes"].as_u64().unwrap() >= PART as u64
            });
            (http, hash)
        })
        .collect();
    let bytes = content(30, 2 * MIB);
    let hash = add(&nodes[0], &bytes);
    assert!(get(&nodes[1], &hash).body == bytes);
    for (_, hash) in &readers {
        assert_ne!(status(&nodes[1], hash)["fetch"], serde_json::Value::Null, "it is not read any more");
    }
}
