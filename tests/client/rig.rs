//! What the tests of the command line share.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use iroh_blobs::Hash;
use tempfile::TempDir;

use crate::common::{PATIENCE, Process, Setup};

/// What is said when nothing has come of a blob for some time.
pub const LOOKING: &str = "nothing has come yet; the node is looking for the blob";

/// Bytes without a pattern, the same in every run.
pub fn content(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(length).collect()
}

/// What the hash of this content has to be.
pub fn hash(content: &[u8]) -> String {
    Hash::new(content).to_hex()
}

/// A node with nobody to connect to.
pub fn node() -> (TempDir, Process) {
    let folder = tempfile::tempdir().unwrap();
    let node = Setup::node("n", folder.path()).serve();
    (folder, node)
}

/// `peat-mesh-node blob` with these words, in a folder, for the node at this address.
pub fn command(node: SocketAddr, folder: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_peat-mesh-node"));
    command.arg("blob").args(words).current_dir(folder).env_clear();
    command.env("PEAT_BROKER_PORT", node.port().to_string());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub fn blob(node: SocketAddr, folder: &Path, words: &[&str]) -> Done {
    Done::new(command(node, folder, words).output().unwrap())
}

/// The same with this on standard input.
pub fn blob_with_input(node: SocketAddr, folder: &Path, words: &[&str], input: &[u8]) -> Done {
    let mut child = command(node, folder, words).stdin(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || pipe.write_all(input).unwrap());
        Done::new(child.wait_with_output().unwrap())
    })
}

pub struct Done {
    pub code: Option<i32>,
    pub out: Vec<u8>,
    pub err: String,
}

impl Done {
    pub fn new(output: Output) -> Self {
        let err = String::from_utf8(output.stderr).unwrap();
        // On a slow machine every answer may take long enough for it.
        let err =
            err.lines().filter(|line| !line.contains(LOOKING)).map(|line| format!("{line}\n")).collect();
        Self { code: output.status.code(), out: output.stdout, err }
    }

    /// What it wrote to standard output, after checking that it went well and had nothing to say.
    pub fn well(&self) -> &str {
        assert_eq!((self.code, self.err.as_str()), (Some(0), ""));
        std::str::from_utf8(&self.out).unwrap()
    }

    /// What it said, after checking that it failed in this way and wrote nothing to standard output.
    pub fn failed(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "{}", self.err);
        assert_eq!(String::from_utf8_lossy(&self.out), "");
        &self.err
    }
}

/// Something that answers HTTP by a script: one connection after the other, each with one answer.
pub struct Scripted {
    pub address: SocketAddr,
    requests: Receiver<String>,
}

pub enum Play {
    /// This, and the connection is closed.
    Close(Vec<u8>),
    /// This, and nothing more until the client closes.
    Hold(Vec<u8>),
}

impl Scripted {
    pub fn start(plays: Vec<Play>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, requests) = sync_channel(plays.len());
        thread::spawn(move || {
            for play in plays {
                let Ok((stream, _)) = listener.accept() else { return };
                let mut stream = BufReader::new(stream);
                let head = head(&mut stream);
                let _ = sender.send(head);
                let (answer, holds) = match play {
                    Play::Close(answer) => (answer, false),
                    Play::Hold(answer) => (answer, true),
                };
                let _ = stream.get_mut().write_all(&answer);
                if !holds {
                    let _ = stream.get_ref().shutdown(Shutdown::Write);
                }
                // Closed with something unread, the client might lose the answer.
                let _ = stream.read_to_end(&mut Vec::new());
            }
        });
        Self { address, requests }
    }

    /// The head of the next request.
    pub fn request(&self) -> String {
        self.requests.recv_timeout(PATIENCE).unwrap()
    }
}

fn head(stream: &mut BufReader<TcpStream>) -> String {
    let mut head = String::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).unwrap_or(0) <= 2 {
            return head.to_ascii_lowercase();
        }
        head.push_str(&line);
    }
}

/// An answer with all of a blob in its head, and this much of it.
pub fn whole(content: &[u8], sent: usize) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", content.len());
    [head.as_bytes(), &content[..sent]].concat()
}

/// An answer with the rest of a blob.
pub fn rest(content: &[u8], first: usize) -> Vec<u8> {
    let size = content.len();
    let head = format!(
        "HTTP/1.1 206 Partial Content\r\ncontent-length: {}\r\ncontent-range: bytes {first}-{}/{size}\r\n\r\n",
        size - first,
        size - 1
    );
    [head.as_bytes(), &content[first..]].concat()
}

/// An answer with an error.
pub fn refusal(status: u16, sentence: &str) -> Vec<u8> {
    let body = serde_json::json!({"error": sentence, "status": status}).to_string();
    format!("HTTP/1.1 {status} No\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// Waits until a file is so long.
pub fn until_long(child: &mut Child, path: &Path, length: u64) {
    let start = std::time::Instant::now();
    while std::fs::metadata(path).map_or(0, |found| found.len()) < length {
        assert!(child.try_wait().unwrap().is_none(), "it ended before {} was there", path.display());
        assert!(start.elapsed() < PATIENCE, "never: {} of {length} bytes", path.display());
        thread::yield_now();
    }
}
