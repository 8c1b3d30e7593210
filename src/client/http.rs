//! One request to a node and its answer, each on a connection of its own.

use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use futures_util::StreamExt;
use hyper::header::{HOST, HeaderMap, HeaderName};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::address::Address;
use super::error::{ClientError, in_words};

/// Longest time to connect, in seconds.
const CONNECT_SECS_MAX: u64 = 10;
/// Longest time in which nothing comes of an answer, in seconds. A node that looks for a blob takes its time.
const SILENCE_SECS_MAX: u64 = 120;
/// Most bytes of an answer that is JSON.
const JSON_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The way to one node.
#[derive(Debug)]
pub(super) struct Client {
    address: Address,
}

/// The head of an answer; its content is still to come.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    content: BodyDataStream,
    address: Address,
    /// Ends when this is dropped.
    _connection: JoinSet<()>,
}

/// Every failed request.
#[derive(serde::Deserialize)]
struct Refusal {
    error: String,
}

impl Client {
    pub(super) fn new(address: Address) -> Self {
        Self { address }
    }

    pub(super) async fn get(&self, path: &str) -> Result<Answer, ClientError> {
        self.soon(self.send(Method::GET, path, &[], Body::empty())).await
    }

    /// An answer that does not wait for long.
    pub(super) async fn soon(
        &self,
        answer: impl Future<Output = Result<Answer, ClientError>>,
    ) -> Result<Answer, ClientError> {
        self.within(SILENCE_SECS_MAX, std::future::ready(()), answer).await
    }

    /// An answer that comes within so many seconds after something has happened.
    pub(super) async fn within<T>(
        &self,
        secs: u64,
        after: impl Future<Output = ()>,
        answer: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        let silence = async {
            after.await;
            tokio::time::sleep(Duration::from_secs(secs)).await;
        };
        tokio::select! {
            answer = answer => answer,
            () = silence => Err(ClientError::Silent { address: self.address.clone(), secs }),
        }
    }

    /// Sends a request under `/api/v1` and waits for the head of the answer.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, String)],
        body: Body,
    ) -> Result<Answer, ClientError> {
        let Address { host, port } = &self.address;
        let address = || self.address.clone();
        let no_node = |reason| ClientError::NoNode { address: address(), reason };
        let limit = Duration::from_secs(CONNECT_SECS_MAX);
        let stream = match tokio::time::timeout(limit, TcpStream::connect((host.as_str(), *port))).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(problem)) => return Err(no_node(problem.to_string())),
            Err(_) => return Err(no_node(format!("not within {CONNECT_SECS_MAX} s"))),
        };
        let broke = |problem: &dyn std::error::Error| ClientError::Broke {
            address: address(),
            reason: in_words(problem),
        };
        stream.set_nodelay(true).map_err(|problem| broke(&problem))?;
        let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut requests, connection) = shaken.map_err(|problem| broke(&problem))?;
        let mut task = JoinSet::new();
        // What goes wrong with it is told with the answer or its content.
        task.spawn(async { _ = connection.await });

        let authority = self.address.to_string().replacen("http://", "", 1);
        let mut request =
            Request::builder().method(method).uri(format!("/api/v1{path}")).header(HOST, authority);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(body).map_err(|problem| broke(&problem))?;
        let answer = requests.send_request(request).await.map_err(|problem| broke(&problem))?;
        let (head, content) = answer.into_parts();
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            content: Body::new(content).into_data_stream(),
            address: address(),
            _connection: task,
        })
    }
}

impl Answer {
    /// The answer, when it is what was asked for; otherwise what the node says.
    pub(super) async fn good(self) -> Result<Self, ClientError> {
        if self.status.is_success() {
            return Ok(self);
        }
        let status = self.status;
        let refusal: Refusal = self.json().await?;
        Err(ClientError::Refused { status, sentence: refusal.error })
    }

    /// The next piece of the content.
    pub(super) async fn piece(&mut self) -> Result<Option<Bytes>, ClientError> {
        let limit = Duration::from_secs(SILENCE_SECS_MAX);
        match tokio::time::timeout(limit, self.content.next()).await {
            Ok(piece) => piece.transpose().map_err(|problem| ClientError::Broke {
                address: self.address.clone(),
                reason: in_words(&problem),
            }),
            Err(_) => Err(ClientError::Silent { address: self.address.clone(), secs: SILENCE_SECS_MAX }),
        }
    }

    /// All of the content, as JSON of this shape.
    pub(super) async fn json<T: DeserializeOwned>(mut self) -> Result<T, ClientError> {
        let mut text = Vec::new();
        while let Some(piece) = self.piece().await? {
            if text.len() + piece.len() > JSON_BYTES_MAX {
                return Err(self.strange());
            }
            text.extend_from_slice(&piece);
        }
        serde_json::from_slice(&text).map_err(|_| self.strange())
    }

    /// The error for an answer that no node gives.
    pub(super) fn strange(&self) -> ClientError {
        ClientError::NotANode { address: self.address.clone(), status: self.status }
    }

    /// A header, as far as it is text.
    pub(super) fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_may_be_late_only_after_all_was_sent() {
        let client = Client::new("http://127.0.0.1:1".parse().unwrap());
        let began = tokio::time::Instant::now();
        let sent = tokio::time::sleep(Duration::from_secs(1000));
        let answer = client.within(60, sent, pending::<Result<(), ClientError>>()).await;
        assert!(matches!(answer, Err(ClientError::Silent { secs: 60, .. })));
        assert_eq!(began.elapsed().as_secs(), 1060);
        assert!(client.within(60, pending(), async { Ok(()) }).await.is_ok());
    }
}
