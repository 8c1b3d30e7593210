//! A small HTTP client that blocks.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use super::PATIENCE;

/// What a broker answers.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// By their names in small letters.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The sentence of an error, after checking that it is one.
    pub fn error(&self, status: u16) -> String {
        let answer = self.json();
        assert_eq!((self.status, &answer["status"]), (status, &Value::from(status)), "{answer}");
        answer["error"].as_str().unwrap().to_owned()
    }
}

/// One connection to a broker.
pub struct Http {
    stream: BufReader<TcpStream>,
}

impl Http {
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect(address)?)
    }

    /// Over a connection that was made elsewhere, such as in another network namespace.
    pub fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// One request; the answer is its status and its JSON.
    pub fn request(&mut self, method: &str, path: &str, body: Option<&Value>) -> io::Result<(u16, Value)> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let answer = self.exchange(method, path, "content-type: application/json\r\n", body.as_bytes())?;
        let value = if answer.body.is_empty() { Value::Null } else { serde_json::from_slice(&answer.body)? };
        Ok((answer.status, value))
    }

    /// One request with these lines in its head, each with its line end.
    pub fn exchange(&mut self, method: &str, path: &str, lines: &str, body: &[u8]) -> io::Result<Answer> {
        let length = format!("{lines}content-length: {}\r\n", body.len());
        self.send_head(method, path, &length)?;
        self.stream.get_mut().write_all(body)?;
        self.answer(method)
    }

    /// The head of a request; its body is to be sent after it.
    pub fn send_head(&mut self, method: &str, path: &str, lines: &str) -> io::Result<()> {
        let head = format!("{method} {path} HTTP/1.1\r\nhost: node\r\n{lines}\r\n");
        self.stream.get_mut().write_all(head.as_bytes())
    }

    /// A part of a body.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    pub fn answer(&mut self, method: &str) -> io::Result<Answer> {
        let (status, headers) = self.answer_head()?;
        let length = headers.get("content-length").filter(|_| method != "HEAD" && status != 304);
        let length = length.map_or(Ok(0), |text| text.parse()).map_err(io::Error::other)?;
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(Answer { status, headers, body })
    }

    /// The head of an answer, and nothing after it.
    pub fn answer_head(&mut self) -> io::Result<(u16, BTreeMap<String, String>)> {
        let status = self.line()?;
        let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| io::Error::other("no status"))?;
        let mut headers = BTreeMap::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        Ok((status, headers))
    }

    /// The next line of a head, or of a stream of events.
    pub fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}
