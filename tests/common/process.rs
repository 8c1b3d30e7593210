//! The node as a real process: an environment made from nothing, its log lines as events, and HTTP.

#![allow(dead_code, unused_imports, unreachable_pub, missing_docs, missing_debug_implementations)]

mod http;
mod lines;
mod load;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

pub use http::{Answer, Http};
pub use lines::Lines;
pub use load::{Load, check_nothing_is_missing};

/// The longest any single thing may take. Far more than it needs: a time-out here means "never".
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A secret of 32 equal bytes, as base64.
pub fn secret_text(byte: u8) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode([byte; 32])
}

/// A UDP port that was free a moment ago, for nodes that must know each other before they start.
pub fn free_udp_port() -> u16 {
    UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap().local_addr().unwrap().port()
}

/// How a process is to be started.
#[derive(Clone)]
pub struct Setup {
    pub variables: BTreeMap<String, String>,
    pub arguments: Vec<String>,
    /// What stands before the program, such as a command that enters a namespace.
    pub wrapper: Vec<String>,
}

impl Setup {
    /// Nothing is set.
    pub fn empty() -> Self {
        Self { variables: BTreeMap::new(), arguments: Vec::new(), wrapper: Vec::new() }
    }

    /// A node that starts, on free ports, with nobody to connect to.
    pub fn node(name: &str, data: &Path) -> Self {
        Self::empty()
            .set("PEAT_FORMATION_SECRET", &secret_text(1))
            .set("HOSTNAME", name)
            .set("PEAT_DISCOVERY", "static")
            // An entry that names the node itself is left out, so this is the empty list.
            .set("PEAT_STATIC_PEERS", &format!("{name}@127.0.0.1:1"))
            .set("PEAT_DATA_DIR", data.to_str().unwrap())
            .set("PEAT_BROKER_PORT", "0")
            .set("PEAT_IROH_BIND_PORT", "0")
    }

    pub fn set(mut self, variable: &str, value: &str) -> Self {
        self.variables.insert(variable.to_owned(), value.to_owned());
        self
    }

    pub fn unset(mut self, variable: &str) -> Self {
        self.variables.remove(variable);
        self
    }

    pub fn peers(self, peers: &[String]) -> Self {
        self.set("PEAT_STATIC_PEERS", &peers.join(","))
    }

    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        self
    }

    pub fn wrapper(mut self, words: &[&str]) -> Self {
        self.wrapper = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Starts the process and follows what it prints.
    pub fn start(&self) -> Process {
        let program = env!("CARGO_BIN_EXE_peat-mesh-node").to_owned();
        let mut words: Vec<String> = self.wrapper.clone();
        words.push(program);
        words.extend(self.arguments.iter().cloned());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env_clear().envs(&self.variables);
        if !self.wrapper.is_empty() {
            // A wrapper is looked up and may need its tools; the node ignores this one.
            command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let out = Lines::follow(child.stdout.take().unwrap());
        let err = Lines::follow(child.stderr.take().unwrap());
        let name = self.variables.get("HOSTNAME").cloned().unwrap_or_default();
        Process { child, out, err, name, broker: None }
    }

    /// Starts a node and waits until it serves.
    pub fn serve(&self) -> Process {
        let mut node = self.start();
        let line = node.line(|line| line.contains("Broker listening on http://"));
        let (_, address) = line.split_once("http://").unwrap();
        let address = address.split('"').next().unwrap();
        node.broker = Some(address.parse().unwrap());
        node
    }

    /// Runs a process that ends by itself.
    pub fn run(&self) -> Ended {
        self.start().ended()
    }
}

/// What is left of a process.
pub struct Ended {
    pub status: ExitStatus,
    pub out: String,
    pub err: String,
}

impl Ended {
    /// All that it printed.
    pub fn all(&self) -> String {
        format!("{}\n{}", self.out, self.err)
    }
}

/// A process that is killed when it goes out of scope.
pub struct Process {
    child: Child,
    pub out: Lines,
    pub err: Lines,
    pub name: String,
    broker: Option<SocketAddr>,
}

impl Process {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The first log line that is wanted, now or within the patience.
    pub fn line(&self, wanted: impl Fn(&str) -> bool) -> String {
        self.line_after(0, wanted)
    }

    /// The same, after the first `skip` lines.
    pub fn line_after(&self, skip: usize, wanted: impl Fn(&str) -> bool) -> String {
        self.out.find(skip, wanted).unwrap_or_else(|| {
            panic!("{}: the line never came in\n{}\n{}", self.name, self.out.text(), self.err.text())
        })
    }

    pub fn line_with(&self, text: &str) -> String {
        self.line(|line| line.contains(text))
    }

    /// Waits until this node has said that it is connected to the peer, in a line after the first `skip`.
    pub fn connected_after(&self, skip: usize, peer: &str) -> String {
        let words = format!("Peer connected to Iroh peer={peer} ");
        self.line_after(skip, |line| line.contains(&words))
    }

    pub fn connected_to(&self, peer: &str) -> String {
        self.connected_after(0, peer)
    }

    /// How many lines there are so far.
    pub fn lines_count(&self) -> usize {
        self.out.all().len()
    }

    pub fn broker(&self) -> SocketAddr {
        self.broker.unwrap()
    }

    /// Where the node takes QUIC on this machine.
    pub fn quic(&self) -> SocketAddr {
        let node = self.get("/api/v1/node").1;
        let addresses = node["addresses"].as_array().unwrap();
        let all: Vec<SocketAddr> =
            addresses.iter().map(|address| address.as_str().unwrap().parse().unwrap()).collect();
        let v4 = all.iter().find(|address| address.is_ipv4()).unwrap();
        SocketAddr::from((Ipv4Addr::LOCALHOST, v4.port()))
    }

    /// How another node names this one in its list of static peers.
    pub fn entry(&self) -> String {
        format!("{}@{}", self.name, self.quic())
    }

    pub fn http(&self) -> Http {
        Http::connect(self.broker()).unwrap()
    }

    pub fn get(&self, path: &str) -> (u16, Value) {
        self.http().request("GET", path, None).unwrap()
    }

    pub fn put(&self, doc: &str, value: &Value) -> (u16, Value) {
        self.http().request("PUT", &format!("/api/v1/documents/{doc}"), Some(value)).unwrap()
    }

    /// The content of a document, when there is one.
    pub fn document(&self, doc: &str) -> Option<Value> {
        let (status, mut answer) = self.get(&format!("/api/v1/documents/{doc}"));
        (status == 200).then(|| answer["document"].take())
    }

    /// Every document of a collection.
    pub fn collection(&self, collection: &str) -> BTreeMap<String, Value> {
        let mut http = self.http();
        let mut documents = BTreeMap::new();
        let mut after = String::new();
        loop {
            let path = format!("/api/v1/documents/{collection}?limit=1000{after}");
            let (status, page) = http.request("GET", &path, None).unwrap();
            assert_eq!(status, 200, "{page}");
            for document in page["documents"].as_array().unwrap() {
                let id = document["id"].as_str().unwrap().to_owned();
                documents.insert(id, document["document"].clone());
            }
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return documents,
            }
        }
    }

    /// Waits, by the node's own event stream, until a condition on its documents holds.
    pub fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        let mut events = BufReader::new(TcpStream::connect(self.broker()).unwrap());
        let request = "GET /api/v1/events HTTP/1.1\r\nhost: n\r\n\r\n";
        events.get_mut().write_all(request.as_bytes()).unwrap();
        let mut line = String::new();
        // The stream is open from its first id on; nothing after that is missed.
        while !line.starts_with("id:") {
            line.clear();
            assert!(events.read_line(&mut line).unwrap() > 0, "{}: no event stream", self.name);
        }
        while !condition(self) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{}: never {what}\n{}", self.name, self.out.text());
            events.get_ref().set_read_timeout(Some(left)).unwrap();
            // Whatever came, be it one event or many.
            let bytes = match events.fill_buf() {
                Ok(bytes) => bytes.len(),
                Err(problem) => panic!("{}: never {what} ({problem})\n{}", self.name, self.out.text()),
            };
            assert!(bytes > 0, "{}: the event stream ended before {what}", self.name);
            events.consume(bytes);
        }
    }

    pub fn until_document(&self, doc: &str, value: &Value) {
        self.until(&format!("{doc} = {value}"), |node| node.document(doc).as_ref() == Some(value));
    }

    /// Stops the process (SIGSTOP) and returns when none of its threads runs any more; a signal that was only
    /// sent leaves them some milliseconds on a busy machine.
    pub fn freeze(&self) {
        use rustix::process::{Pid, WaitOptions, waitpid};
        self.signal("STOP");
        let pid = Pid::from_raw(self.pid().try_into().unwrap());
        let (_, status) = waitpid(pid, WaitOptions::UNTRACED).unwrap().unwrap();
        assert!(status.stopped(), "{}: {status:?} and not stopped", self.name);
    }

    pub fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.pid());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success(), "{kill}");
    }

    /// SIGKILL, and the process is gone.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until the process has ended by itself.
    pub fn ended_within(mut self, patience: Duration) -> Ended {
        let ended = self.out.until_end(patience) && self.err.until_end(patience);
        assert!(ended, "{} did not end\n{}", self.name, self.out.text());
        let status = self.child.wait().unwrap();
        Ended { status, out: self.out.text(), err: self.err.text() }
    }

    pub fn ended(self) -> Ended {
        self.ended_within(PATIENCE)
    }

    /// SIGTERM, and a clean end.
    pub fn stop(self) -> Ended {
        self.signal("TERM");
        let name = self.name.clone();
        let ended = self.ended();
        assert!(ended.status.success(), "{name}: {}\n{}", ended.status, ended.all());
        ended
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Two nodes that dial each other at ports that stay the same over restarts.
pub struct Pair {
    pub alice: Setup,
    pub bob: Setup,
    pub folders: [TempDir; 2],
}

impl Pair {
    pub fn new() -> Self {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let ports = [free_udp_port(), free_udp_port()];
        let setup = |index: usize, name: &str, peer: &str| {
            Setup::node(name, folders[index].path())
                .set("PEAT_IROH_BIND_PORT", &ports[index].to_string())
                .peers(&[format!("{peer}@127.0.0.1:{}", ports[1 - index])])
        };
        Self { alice: setup(0, "alice", "bob"), bob: setup(1, "bob", "alice"), folders }
    }

    /// Starts both and waits until they are connected.
    pub fn serve(&self) -> (Process, Process) {
        let (alice, bob) = (self.alice.serve(), self.bob.serve());
        alice.connected_to("bob");
        bob.connected_to("alice");
        (alice, bob)
    }
}

/// Whether this process may do what only root may. Says so when not.
pub fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"))
}

/// A path as a process sees it, when it has mounts of its own.
pub fn within(process: &Process, path: &Path) -> PathBuf {
    PathBuf::from(format!("/proc/{}/root", process.pid())).join(path.strip_prefix("/").unwrap())
}
