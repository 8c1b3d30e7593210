//! A machine with a namespace and a disk of its own, and the node process on it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::common::{Http, Process, Setup};
use crate::net::{Lan, Port, Space};

/// The longest anything may take. Far more than it needs: a time-out here means "never".
pub const PATIENCE: Duration = Duration::from_secs(180);
/// How often a condition is looked at that more than one process has to fulfil.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Each machine is alone in its namespace, so all of them use the same ports.
pub const QUIC_PORT: u16 = 11204;
const BROKER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8081);

/// Waits until a condition holds, by looking again and again; panics with `describe` when it never does.
pub fn until(what: &str, mut holds: impl FnMut() -> Result<(), String>) {
    let deadline = Instant::now() + PATIENCE;
    while let Err(why) = holds() {
        assert!(Instant::now() < deadline, "never {what}: {why}");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// A machine on which one node may run.
pub struct Machine {
    pub name: &'static str,
    pub space: Arc<Space>,
    disk: TempDir,
}

impl Machine {
    pub fn new(name: &'static str) -> Self {
        Self { name, space: Arc::new(Space::new(name)), disk: tempfile::tempdir().unwrap() }
    }

    pub fn plug(&self, lan: &Lan, addresses: &[&str]) -> Port {
        lan.plug(&self.space, addresses)
    }

    /// A node that finds others by multicast and by nothing else.
    pub fn mdns(&self) -> Setup {
        let setup = self.alone().set("PEAT_DISCOVERY", "mdns");
        setup.unset("PEAT_STATIC_PEERS")
    }

    /// A node that knows these peers, `name@address:port`.
    pub fn knowing(&self, peers: &[String]) -> Setup {
        self.alone().peers(peers)
    }

    fn alone(&self) -> Setup {
        let setup = match std::env::var("RUST_LOG") {
            Ok(filter) => Setup::node(self.name, self.disk.path()).set("RUST_LOG", &filter),
            Err(_) => Setup::node(self.name, self.disk.path()),
        };
        setup
            .set("PEAT_IROH_BIND_PORT", &QUIC_PORT.to_string())
            .set("PEAT_BROKER_PORT", &BROKER.port().to_string())
            .wrapper(&["ip", "netns", "exec", &self.space.name])
    }

    /// Starts a node that was set up for this machine and waits until it serves.
    pub fn serve(&self, setup: &Setup) -> LabNode {
        LabNode { name: self.name, space: Arc::clone(&self.space), process: setup.serve() }
    }
}

/// A node that runs.
pub struct LabNode {
    pub name: &'static str,
    pub space: Arc<Space>,
    pub process: Process,
}

/// A folder for all that the nodes print, for whoever wants to read it; `RUST_LOG` is handed on to them.
const LOGS: &str = "PEAT_LAB_LOGS";

impl Drop for LabNode {
    fn drop(&mut self) {
        if let Some(folder) = std::env::var_os(LOGS) {
            let file = std::path::Path::new(&folder).join(&self.space.name).with_extension("log");
            let mut file = std::fs::OpenOptions::new().create(true).append(true).open(file).unwrap();
            file.write_all(self.process.out.text().as_bytes()).unwrap();
        }
    }
}

impl LabNode {
    /// Ends the process at once, as a power cut does.
    pub fn kill(self) {
        drop(self);
    }

    pub fn http(&self) -> std::io::Result<Http> {
        Self::reach(&self.space)
    }

    /// Reaches the node in a namespace, whichever process that is now.
    pub fn reach(space: &Space) -> std::io::Result<Http> {
        Http::over(space.connect(BROKER)?)
    }

    pub fn get(&self, path: &str) -> Value {
        let (status, value) = self.http().unwrap().request("GET", path, None).unwrap();
        assert_eq!(status, 200, "{}: {path}: {value}", self.name);
        value
    }

    /// Every document of a collection with its version.
    pub fn documents(&self, collection: &str) -> BTreeMap<String, (String, Value)> {
        let mut documents = BTreeMap::new();
        let mut after = String::new();
        loop {
            let page = self.get(&format!("/api/v1/documents/{collection}?limit=1000{after}"));
            for document in page["documents"].as_array().unwrap() {
                let text = |key: &str| document[key].as_str().unwrap().to_owned();
                documents.insert(text("id"), (text("version"), document["document"].clone()));
            }
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return documents,
            }
        }
    }

    /// The peers that this node says it is connected to.
    pub fn connected(&self) -> BTreeSet<String> {
        let peers = self.get("/api/v1/peers");
        let peers = peers["peers"].as_array().unwrap();
        let connected = peers.iter().filter(|peer| peer["connected"] == true);
        connected.map(|peer| peer["id"].as_str().unwrap().to_owned()).collect()
    }

    /// What is known of one peer; null when it is not known.
    pub fn peer(&self, name: &str) -> Value {
        let peers = self.get("/api/v1/peers");
        let peers = peers["peers"].as_array().unwrap();
        peers.iter().find(|peer| peer["id"] == name).cloned().unwrap_or(Value::Null)
    }

    /// What it printed last, for a failure.
    pub fn log(&self) -> String {
        let lines = self.process.out.all();
        let last = lines.len().saturating_sub(60);
        format!("--- {}\n{}\n{}", self.name, lines[last..].join("\n"), self.process.err.text())
    }
}
