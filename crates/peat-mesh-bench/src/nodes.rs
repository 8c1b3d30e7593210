//! Real nodes, each a process of its own with a temporary folder, and orders to them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use peat_mesh::identity::FormationSecret;
use serde_json::Value;
use tempfile::TempDir;

use crate::child;
use crate::http::Client;
use crate::process::Process;
use crate::usage::Usage;

/// Anything that ends a bench.
pub(crate) type Failed = Box<dyn std::error::Error + Send + Sync>;

/// How old what a node tells of its peers may be, with room to spare.
const VIEW_AGE_MAX: Duration = Duration::from_millis(250);

/// A formation on this machine. Its folder goes when it is dropped.
#[derive(Debug)]
pub(crate) struct Formation {
    secret: String,
    folder: TempDir,
}

impl Formation {
    pub(crate) fn new() -> Result<Self, Failed> {
        Ok(Self { secret: FormationSecret::generate().to_string(), folder: tempfile::tempdir()? })
    }

    /// Where the folders of the nodes are.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The data folder of a node.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts a node on its folder, which may have been used before, and returns when it serves.
    pub(crate) async fn start(&self, name: &str, peers: &[&Node]) -> Result<Node, Failed> {
        self.start_limited(name, peers, None).await
    }

    /// The same for a node whose blobs may take so many bytes per second, as with `PEAT_BLOB_BANDWIDTH`.
    pub(crate) async fn start_limited(
        &self,
        name: &str,
        peers: &[&Node],
        blob_bytes_per_s: Option<u64>,
    ) -> Result<Node, Failed> {
        let peers: Vec<String> = peers.iter().map(|peer| format!("{}@{}", peer.name, peer.quic)).collect();
        let begun = Instant::now();
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg(child::ARGUMENT)
            .env(child::SECRET, &self.secret)
            .env(child::NAME, name)
            .env(child::FOLDER, self.folder(name))
            .env(child::PEERS, peers.join(","));
        if let Some(rate) = blob_bytes_per_s {
            command.env(child::BANDWIDTH, rate.to_string());
        }
        let (process, said) = Process::start(format!("node {name}"), &mut command).await?;
        let address = |value: &Value| -> Result<SocketAddr, Failed> {
            Ok(value.as_str().ok_or("the node did not say where it listens")?.parse()?)
        };
        Ok(Node {
            name: name.to_owned(),
            http: address(&said["http"])?,
            quic: address(&said["quic"][0])?,
            started: begun.elapsed(),
            process,
        })
    }
}

/// A node that runs until it is stopped, killed or dropped.
#[derive(Debug)]
pub(crate) struct Node {
    name: String,
    pub(crate) http: SocketAddr,
    quic: SocketAddr,
    /// From starting the process until it served.
    pub(crate) started: Duration,
    process: Process,
}

impl Node {
    /// Has the node do something, see `child.rs`.
    pub(crate) async fn order(&self, order: impl Into<String>) -> Result<Value, Failed> {
        self.process.order(order).await
    }

    /// Has it write documents; returns the bytes of their changes and the seconds it took.
    pub(crate) async fn fill(
        &self,
        count: usize,
        step: usize,
        round: usize,
        at_once: usize,
    ) -> Result<(f64, f64), Failed> {
        let done = self.order(format!("fill 0 {count} {step} {round} {at_once}")).await?;
        Ok((number(&done["bytes"])?, number(&done["s"])?))
    }

    /// Waits until so many peers are in step; returns how long after the connection that was, in milliseconds.
    pub(crate) async fn in_step(&self, peers: usize) -> Result<f64, Failed> {
        number(&self.order(format!("in-step {peers}")).await?["ms"])
    }

    /// Waits until a comparison that began later than now has found so many peers equal.
    pub(crate) async fn compared(&self, peers: usize) -> Result<(), Failed> {
        self.order(format!("compared {peers}")).await.map(drop)
    }

    /// Waits until it has so many changes; returns how long after its first connection that was, in milliseconds.
    pub(crate) async fn holds(&self, seq: u64) -> Result<f64, Failed> {
        number(&self.order(format!("holds {seq}")).await?["ms"])
    }

    pub(crate) fn process_id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn usage(&self) -> Result<Usage, Failed> {
        Usage::of(self.process.id())
    }

    /// What it has sent to its peers over the present connections.
    pub(crate) async fn traffic(&self) -> Result<Traffic, Failed> {
        // The node renews what it tells of its peers every 100 ms.
        tokio::time::sleep(VIEW_AGE_MAX).await;
        let answer = Client::connect(self.http).await?.get("/api/v1/peers").await?;
        let answer: Value = serde_json::from_slice(&answer)?;
        let peers = answer["peers"].as_array().ok_or("the node has no list of peers")?;
        let sum = |key: &str| peers.iter().filter_map(|peer| peer[key].as_f64()).sum();
        Ok(Traffic {
            frame_bytes: sum("bytes_sent"),
            udp_sent_bytes: sum("udp_bytes_sent"),
            udp_received_bytes: sum("udp_bytes_received"),
        })
    }

    /// Stops it as SIGTERM does a node.
    pub(crate) async fn stop(self) -> Result<(), Failed> {
        self.process.stop().await
    }

    /// Ends it as a power cut does.
    pub(crate) fn kill(self) {
        drop(self);
    }
}

/// Bytes to and from all peers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Traffic {
    pub(crate) frame_bytes: f64,
    pub(crate) udp_sent_bytes: f64,
    pub(crate) udp_received_bytes: f64,
}

/// Two nodes that are connected.
pub(crate) async fn pair(formation: &Formation) -> Result<(Node, Node), Failed> {
    let first = formation.start("first", &[]).await?;
    let second = formation.start("second", &[&first]).await?;
    second.order("connected 1").await?;
    first.order("connected 1").await?;
    Ok((first, second))
}

pub(crate) fn number(value: &Value) -> Result<f64, Failed> {
    value.as_f64().ok_or_else(|| format!("a node answered {value} instead of a number").into())
}
