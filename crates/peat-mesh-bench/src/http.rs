//! Just enough of HTTP/1.1 to measure with: one connection, one request after the other.

use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::nodes::Failed;

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
        let status = self.line().await?;
        if !status.starts_with("HTTP/1.1 2") {
            return Err(format!("{head} was answered with {status}").into());
        }
        let mut body_bytes = 0;
        loop {
            let line = self.line().await?.to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                body_bytes = value.trim().parse()?;
            }
            if line.is_empty() {
                return Ok(body_bytes);
            }
        }
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
