//! Just enough of HTTP/1.1 to measure with: one connection, one request after the other.

use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::nodes::Failed;

/// Bytes that are read at once and thrown away.
const DRAIN_BYTES: usize = 256 * 1024;

pub(crate) fn is_success(status: u16) -> bool {
    (200..300).contains(&status)
}

/// A connection that is kept.
#[derive(Debug)]
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self, Failed> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    async fn send(&mut self, head: &str, body: &str) -> Result<usize, Failed> {
        let length = body.len();
        let request = format!(
            "{head} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        self.stream.get_mut().write_all(request.as_bytes()).await?;
        let (status, body_bytes) = self.head().await?;
        if !is_success(status) {
            return Err(format!("{head} was answered with {status}").into());
        }
        Ok(body_bytes.unwrap_or(0))
    }

    /// The status of an answer, and the length of its body if it is said.
    async fn head(&mut self) -> Result<(u16, Option<usize>), Failed> {
        let line = self.line().await?;
        let status = line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.split(' ').next());
        let status = status.ok_or_else(|| format!("{line:?} is no answer of HTTP"))?.parse()?;
        let mut body_bytes = None;
        loop {
            let line = self.line().await?.to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                body_bytes = Some(value.trim().parse()?);
            }
            if line.is_empty() {
                return Ok((status, body_bytes));
            }
        }
    }

    /// Sends a POST whose body is so many bytes in pieces; returns the status and the body of the answer.
    pub(crate) async fn post(
        &mut self,
        path: &str,
        bytes: u64,
        pieces: impl Iterator<Item = Result<Vec<u8>, Failed>>,
    ) -> Result<(u16, Vec<u8>), Failed> {
        let head = format!("POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-length: {bytes}\r\n\r\n");
        self.stream.get_mut().write_all(head.as_bytes()).await?;
        for piece in pieces {
            // The answer says why the rest is not wanted.
            if self.stream.get_mut().write_all(&piece?).await.is_err() {
                break;
            }
        }
        let (status, body_bytes) = self.head().await?;
        let mut answer = vec![0; body_bytes.unwrap_or(0)];
        self.stream.read_exact(&mut answer).await?;
        Ok((status, answer))
    }

    /// Sends a GET and takes the body of the answer in, which is thrown away; returns its length.
    pub(crate) async fn drain(&mut self, path: &str) -> Result<u64, Failed> {
        let bytes = self.send(&format!("GET {path}"), "").await?;
        let mut piece = vec![0; DRAIN_BYTES];
        let mut left = bytes;
        while left > 0 {
            let room = left.min(DRAIN_BYTES);
            match self.stream.read(&mut piece[..room]).await? {
                0 => return Err(format!("GET {path}: the answer broke off with {left} bytes missing").into()),
                read => left -= read,
            }
        }
        Ok(bytes as u64)
    }

    /// Sends a PUT and waits for the whole answer.
    pub(crate) async fn put(&mut self, path: &str, body: &str) -> Result<(), Failed> {
        self.whole(&format!("PUT {path}"), body).await.map(drop)
    }

    /// Sends a GET and returns the body of the answer.
    pub(crate) async fn get(&mut self, path: &str) -> Result<Vec<u8>, Failed> {
        self.whole(&format!("GET {path}"), "").await
    }

    /// Sends a DELETE and waits for the answer.
    pub(crate) async fn delete(&mut self, path: &str) -> Result<(), Failed> {
        self.whole(&format!("DELETE {path}"), "").await.map(drop)
    }

    async fn whole(&mut self, head: &str, body: &str) -> Result<Vec<u8>, Failed> {
        let bytes = self.send(head, body).await?;
        let mut answer = vec![0; bytes];
        self.stream.read_exact(&mut answer).await?;
        Ok(answer)
    }

    /// Asks for a stream of events and returns when it has begun.
    pub(crate) async fn events(&mut self, path: &str) -> Result<(), Failed> {
        self.send(&format!("GET {path}"), "").await?;
        Ok(())
    }

    /// The data of the next event.
    pub(crate) async fn event(&mut self) -> Result<String, Failed> {
        loop {
            if let Some(data) = self.line().await?.strip_prefix("data: ") {
                return Ok(data.to_owned());
            }
        }
    }

    async fn line(&mut self) -> Result<String, Failed> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).await? == 0 {
            return Err("the node has closed the connection".into());
        }
        Ok(line.trim_end().to_owned())
    }
}
