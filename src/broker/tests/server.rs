//! The server over real sockets: starting, stopping, and clients that misbehave.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::rig::{Rig, within};
use crate::broker::serve;

pub(super) async fn start(rig: &Rig, grace: Duration) -> (SocketAddr, JoinHandle<io::Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (address, tokio::spawn(serve(listener, rig.handle(), grace)))
}

/// A client that writes and reads bytes.
pub(super) struct Client {
    pub(super) stream: TcpStream,
    seen: String,
}

impl Client {
    pub(super) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        Self { stream, seen: String::new() }
    }

    pub(super) async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads until `words` have come, and returns all up to their end. What follows is kept.
    pub(super) async fn read_to(&mut self, words: &str) -> String {
        let mut bytes = [0; 4096];
        loop {
            if let Some(at) = self.seen.find(words) {
                let rest = self.seen.split_off(at + words.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            let count = within(self.stream.read(&mut bytes)).await.unwrap();
            assert!(count > 0, "the connection ended after {:?}", self.seen);
            self.seen.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        }
    }

    /// Reads until the other side closes.
    pub(super) async fn read_to_end(&mut self) -> String {
        let mut rest = Vec::new();
        within(self.stream.read_to_end(&mut rest)).await.unwrap();
        std::mem::take(&mut self.seen) + &String::from_utf8_lossy(&rest)
    }
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_connection_carries_one_request_after_the_other_until_the_node_stops() {
    let rig = Rig::new();
    let (address, server) = start(&rig, LONG).await;
    let mut client = Client::connect(address).await;
    for _ in 0..2 {
        client.send("GET /api/v1/health HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let reply = client.read_to("\"peat-mesh-0\"}").await;
        assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
    }
    rig.stopping.cancel();
    assert_eq!(client.read_to_end().await, "");
    within(server).await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_request_in_flight_is_answered_within_the_grace_period() {
    let rig = Rig::new();
    let (address, server) = start(&rig, LONG).await;
    let mut client = Client::connect(address).await;
    let head = "PUT /api/v1/documents/c/x HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
    client.send(&format!("{head}expect: 100-continue\r\ncontent-length: 2\r\n\r\n")).await;
    client.read_to("100 Continue\r\n\r\n").await;
    rig.stopping.cancel();
    client.send("{}").await;
    let reply = client.read_to_end().await;
    assert!(reply.starts_with("HTTP/1.1 201 Created\r\n"), "{reply}");
    within(server).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_request_that_outlasts_the_grace_period_is_dropped() {
    let rig = Rig::new();
    let (address, server) = start(&rig, Duration::from_millis(20)).await;
    let mut client = Client::connect(address).await;
    let head = "PUT /api/v1/documents/c/x HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
    client.send(&format!("{head}expect: 100-continue\r\ncontent-length: 2\r\n\r\n")).await;
    client.read_to("100 Continue\r\n\r\n").await;
    rig.stopping.cancel();
    within(server).await.unwrap().unwrap();
    assert_eq!(client.read_to_end().await, "");
}

#[tokio::test]
async fn a_body_announced_too_large_is_refused_and_the_connection_closed() {
    let rig = Rig::new();
    let (address, _server) = start(&rig, LONG).await;
    let mut client = Client::connect(address).await;
    let head = "PUT /api/v1/documents/c/x HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
    client.send(&format!("{head}content-length: 4194305\r\n\r\n")).await;
    let reply = client.read_to_end().await;
    assert!(reply.starts_with("HTTP/1.1 413 "), "{reply}");
    assert!(reply.ends_with("\"status\":413}"), "{reply}");
    rig.stopping.cancel();
}

#[tokio::test]
async fn connections_beyond_the_limit_learn_whether_the_node_lives_and_nothing_else() {
    let rig = Rig::new();
    let router = crate::broker::overflow(rig.room.clone());
    let get = |uri: &str| {
        let request = axum::http::Request::get(uri).body(axum::body::Body::empty()).unwrap();
        tower::ServiceExt::oneshot(router.clone(), request)
    };
    assert_eq!(get("/api/v1/health").await.unwrap().status(), 200);
    assert_eq!(get("/api/v1/documents").await.unwrap().status(), 503);
}

#[tokio::test]
async fn a_request_whose_head_does_not_come_is_given_up() {
    let rig = Rig::new();
    let (address, _server) = start(&rig, LONG).await;
    let mut client = Client::connect(address).await;
    client.send("GET /api/v1/hea").await;
    tokio::time::pause();
    let started = tokio::time::Instant::now();
    // With a broken request there is nobody to answer, so any end will do.
    let _ = client.stream.read_to_end(&mut Vec::new()).await;
    assert_eq!(started.elapsed().as_secs(), 30);
    rig.stopping.cancel();
}

#[tokio::test]
async fn a_request_head_without_an_end_is_cut_off() {
    let rig = Rig::new();
    let (address, _server) = start(&rig, LONG).await;
    let mut client = Client::connect(address).await;
    client.send(&format!("GET /api/v1/health HTTP/1.1\r\nx: {}", "x".repeat(64 * 1024))).await;
    let reply = client.read_to("\r\n\r\n").await;
    assert!(reply.starts_with("HTTP/1.1 431 "), "{reply}");
    rig.stopping.cancel();
}

#[tokio::test]
async fn a_client_that_is_refused_while_it_sends_can_read_why() {
    let rig = Rig::new();
    let (address, server) = start(&rig, LONG).await;
    for _ in 0..20 {
        let mut client = Client::connect(address).await;
        client
            .send("PUT /api/v1/documents/c/x HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n")
            .await;
        client.send("content-length: 50000000\r\n\r\n").await;
        let body = [b' '; 64 * 1024];
        for _ in 0..50_000_000 / body.len() {
            // The server may stop taking it at any time.
            if within(client.stream.write_all(&body)).await.is_err() {
                break;
            }
        }
        let reply = client.read_to_end().await;
        assert!(reply.starts_with("HTTP/1.1 413 "), "{reply:?}");
    }
    rig.stopping.cancel();
    within(server).await.unwrap().unwrap();
}
