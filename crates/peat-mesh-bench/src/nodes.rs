//! Real nodes, each a process of its own with a temporary folder, and orders to them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use peat_mesh::identity::FormationSecret;
use serde_json::Value;
use tempfile::TempDir;

use crate::child;
use crate::http::Client;
use crate::usage::Usage;

/// Anything that ends a bench.
pub(crate) type Failed = Box<dyn std::error::Error + Send + Sync>;

/// How old what a node tells of its peers may be, with room to spare.
const VIEW_AGE_MAX: Duration = Duration::from_millis(250);
/// Longest wait for a node that stops.
const STOP_MAX: Duration = Duration::from_secs(60);

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
        let peers: Vec<String> = peers.iter().map(|peer| format!("{}@{}", peer.name, peer.quic)).collect();
        let begun = Instant::now();
        let mut process = Command::new(std::env::current_exe()?)
            .arg(child::ARGUMENT)
            .env(child::SECRET, &self.secret)
            .env(child::NAME, name)
            .env(child::FOLDER, self.folder(name))
            .env(child::PEERS, peers.join(","))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = process.stdin.take().ok_or("the node has no input")?;
        let output = BufReader::new(process.stdout.take().ok_or("the node has no output")?);
        // From here on the process ends with its `Guard`.
        let process = Guard(process);
        let pipes = Arc::new(Mutex::new(Pipes { input, output }));
        let said = on_thread(Arc::clone(&pipes), None).await?;
        let address = |value: &Value| -> Result<SocketAddr, Failed> {
            Ok(value.as_str().ok_or("the node did not say where it listens")?.parse()?)
        };
        Ok(Node {
            name: name.to_owned(),
            http: address(&said["http"])?,
            quic: address(&said["quic"][0])?,
            started: begun.elapsed(),
            process,
            pipes,
        })
    }
}

/// Ends a process on every way out.
#[derive(Debug)]
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[derive(Debug)]
struct Pipes {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// Sends an order, if there is one, and reads the answer.
async fn on_thread(pipes: Arc<Mutex<Pipes>>, order: Option<String>) -> Result<Value, Failed> {
    let asked = tokio::task::spawn_blocking(move || {
        let mut pipes = pipes.lock().map_err(|_| "an earlier order has panicked")?;
        if let Some(order) = order {
            writeln!(pipes.input, "{order}")?;
        }
        let mut line = String::new();
        if pipes.output.read_line(&mut line)? == 0 {
            return Err("a node has ended; what it said is above".into());
        }
        let answer: Value = serde_json::from_str(&line)?;
        match answer["error"].as_str() {
            Some(problem) => Err(Failed::from(problem)),
            None => Ok(answer),
        }
    });
    asked.await?
}

/// A node that runs until it is stopped, killed or dropped.
#[derive(Debug)]
pub(crate) struct Node {
    name: String,
    pub(crate) http: SocketAddr,
    quic: SocketAddr,
    /// From starting the process until it served.
    pub(crate) started: Duration,
    process: Guard,
    pipes: Arc<Mutex<Pipes>>,
}

impl Node {
    /// Has the node do something, see `child.rs`.
    pub(crate) async fn order(&self, order: impl Into<String>) -> Result<Value, Failed> {
        let order = order.into();
        on_thread(Arc::clone(&self.pipes), Some(order.clone()))
            .await
            .map_err(|problem| format!("node {}, order {order:?}: {problem}", self.name).into())
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

    pub(crate) fn usage(&self) -> Result<Usage, Failed> {
        Usage::of(self.process.0.id())
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
        let Self { mut process, pipes, .. } = self;
        // Its input ends with the pipes.
        drop(pipes);
        let deadline = Instant::now() + STOP_MAX;
        while Instant::now() < deadline {
            if let Some(status) = process.0.try_wait()? {
                return if status.success() {
                    Ok(())
                } else {
                    Err(format!("a node ended with {status}").into())
                };
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Err(format!("a node did not stop within {} s", STOP_MAX.as_secs()).into())
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
