//! The WebSocket over a real socket.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use peat_mesh_core::NodeName;
use peat_mesh_core::io::{Event, NodeRef};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::rig::{BROADCAST_CHANGES, CONNECTED, Rig, within};
use super::server::{Client, start};

const LONG: Duration = Duration::from_secs(60);

const UPGRADE: &str = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                       sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn open(address: SocketAddr, query: &str) -> Socket {
    let url = format!("ws://{address}/api/v1/ws{query}");
    within(connect_async(url)).await.unwrap().0
}

async fn next(socket: &mut Socket) -> Value {
    loop {
        match within(socket.next()).await.unwrap().unwrap() {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Ping(_) => {}
            other => panic!("{other:?} is not an event"),
        }
    }
}

/// Reads up to the close frame: its code and its reason.
async fn closed(socket: &mut Socket) -> (u16, String) {
    loop {
        if let Message::Close(frame) = within(socket.next()).await.unwrap().unwrap() {
            let frame = frame.expect("a close has a code");
            return (frame.code.into(), frame.reason.to_string());
        }
    }
}

#[tokio::test]
async fn changes_come_as_text_frames_from_where_the_client_wants_them() {
    let rig = Rig::new();
    let (address, _server) = start(&rig, LONG).await;
    let version = rig.put("c/x", 1).await.heads.version().to_string();
    let mut socket = open(address, "?since=0&collection=c").await;
    let expected = json!({
        "type": "change", "seq": 1, "collection": "c", "id": "x", "action": "put", "origin": "local",
        "version": version,
    });
    assert_eq!(next(&mut socket).await, expected);
    rig.put("d/x", 1).await;
    rig.delete("c/x").await;
    let change = next(&mut socket).await;
    assert_eq!((&change["seq"], &change["action"]), (&json!(3), &json!("delete")));
    rig.stopping.cancel();
}

#[tokio::test]
async fn a_partition_and_its_end_are_told() {
    let rig = Rig::new();
    let (address, _server) = start(&rig, LONG).await;
    let mut socket = open(address, "").await;
    let node = NodeRef { node: CONNECTED, name: NodeName::new("alpha/peat-mesh-1").unwrap() };
    rig.news.send(Event::NodeUnreachable { node: node.clone(), since_ms: 0 }).unwrap();
    let nodes = vec![node.clone()];
    rig.news
        .send(Event::Partition { nodes: nodes.clone(), count: 1, since_ms: 0, reachable: 4, unreachable: 1 })
        .unwrap();
    let lost = next(&mut socket).await;
    assert_eq!((&lost["type"], &lost["node"]), (&json!("node"), &json!("alpha/peat-mesh-1")));
    assert_eq!((&lost["state"], lost["since"].is_string()), (&json!("unreachable"), true));
    let mut partition = next(&mut socket).await;
    assert!(partition["since"].take().is_string());
    let expected = json!({
        "type": "partition", "nodes": ["alpha/peat-mesh-1"], "count": 1, "since": null, "reachable": 4,
        "unreachable": 1,
    });
    assert_eq!(partition, expected);
    rig.news.send(Event::Healed { nodes, count: 1, after_ms: 7, reachable: 5, unreachable: 0 }).unwrap();
    let expected = json!({
        "type": "healed", "nodes": ["alpha/peat-mesh-1"], "count": 1, "after_ms": 7, "reachable": 5,
        "unreachable": 0,
    });
    assert_eq!(next(&mut socket).await, expected);
    rig.stopping.cancel();
}

#[tokio::test]
async fn peers_that_come_and_go_are_told() {
    let rig = Rig::new();
    let (address, _server) = start(&rig, LONG).await;
    let mut socket = open(address, "").await;
    let name = NodeName::new("alpha/peat-mesh-1").unwrap();
    let addresses = Vec::new();
    rig.news.send(Event::PeerConnected { peer: CONNECTED, name: name.clone(), addresses }).unwrap();
    let (peer, reason) = (CONNECTED, "timed out".to_owned());
    rig.news.send(Event::PeerDisconnected { peer, name, reason }).unwrap();
    let endpoint_id = CONNECTED.to_string();
    let expected = json!({
        "type": "peer", "peer": "alpha/peat-mesh-1", "endpoint_id": endpoint_id, "state": "connected",
    });
    assert_eq!(next(&mut socket).await, expected);
    let expected = json!({
        "type": "peer", "peer": "alpha/peat-mesh-1", "endpoint_id": endpoint_id,
        "state": "disconnected", "reason": "timed out",
    });
    assert_eq!(next(&mut socket).await, expected);
    rig.stopping.cancel();
}

#[tokio::test]
async fn a_client_whose_place_is_unknown_here_is_told_to_resync() {
    let rig = Rig::new();
    let (address, _server) = start(&rig, LONG).await;
    rig.put("c/x", 1).await;
    let mut socket = open(address, "?since=99").await;
    assert_eq!(next(&mut socket).await, json!({"type": "resync", "since": 0}));
    assert_eq!(next(&mut socket).await["seq"], 1);
    rig.stopping.cancel();
}

#[tokio::test]
async fn many_changes_come_in_order_without_a_gap() {
    let rig = Rig::new();
    let (address, _server) = start(&rig, LONG).await;
    let mut socket = open(address, "?since=0").await;
    let many = BROADCAST_CHANGES * 100;
    let writes = async {
        for number in 0..many {
            rig.put(&format!("c/{number}"), 1).await;
        }
    };
    let reads = async {
        let mut seqs = Vec::new();
        while seqs.len() < many {
            let frame = next(&mut socket).await;
            if frame["type"] == "change" {
                seqs.push(frame["seq"].as_u64().unwrap());
            }
        }
        seqs
    };
    let ((), seqs) = tokio::join!(writes, reads);
    assert_eq!(seqs, (1..=many as u64).collect::<Vec<_>>());
    rig.stopping.cancel();
}

#[tokio::test]
async fn stopping_says_going_away_and_the_server_ends() {
    let rig = Rig::new();
    let (address, server) = start(&rig, LONG).await;
    let mut socket = open(address, "").await;
    rig.stopping.cancel();
    assert_eq!(closed(&mut socket).await, (1001, "this node is shutting down".to_owned()));
    drop(socket);
    within(server).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_says_too_much_is_told_why_it_is_closed() {
    let rig = Rig::new();
    let (address, _server) = start(&rig, LONG).await;

    let mut socket = open(address, "").await;
    socket.send(Message::text("hello")).await.unwrap();
    socket.send(Message::binary(vec![1])).await.unwrap();
    assert_eq!(closed(&mut socket).await, (1008, "binary messages are not taken".to_owned()));

    let mut socket = open(address, "").await;
    socket.send(Message::text("x".repeat(5000))).await.unwrap();
    let (code, reason) = closed(&mut socket).await;
    assert_eq!(code, 1008);
    assert!(reason.contains("4096 bytes"), "{reason}");

    let mut socket = open(address, "").await;
    for _ in 0..65 {
        socket.send(Message::text("hello")).await.unwrap();
    }
    let (code, reason) = closed(&mut socket).await;
    assert_eq!(code, 1008);
    assert!(reason.contains("more than 64 messages"), "{reason}");
    rig.stopping.cancel();
}

/// A client that never reads, on a server with the rig's own room, so that its places can be watched.
async fn silent_client(rig: &Rig) -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, rig.router()).into_future());
    let mut client = Client::connect(address).await;
    client.send(&format!("GET /api/v1/ws HTTP/1.1\r\nhost: x\r\n{UPGRADE}\r\n")).await;
    client.read_to("\r\n\r\n").await;
    client
}

#[tokio::test]
async fn a_client_that_does_not_read_is_dropped_long_before_a_pong_is_due() {
    let rig = Rig::new();
    let _client = silent_client(&rig).await;
    tokio::time::pause();
    let started = tokio::time::Instant::now();
    let name = NodeName::new("alpha/peat-mesh-1").unwrap();
    let reason = "x".repeat(100_000);
    loop {
        let (name, reason) = (name.clone(), reason.clone());
        // Nobody listens any more once the client is dropped.
        let _ = rig.news.send(Event::PeerDisconnected { peer: CONNECTED, name, reason });
        tokio::select! {
            all = rig.room.streams.acquire_many(super::super::STREAMS_COUNT_MAX) => break drop(all),
            () = tokio::time::sleep(Duration::from_millis(1)) => {}
        }
    }
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_closed() {
    let rig = Rig::new();
    let mut client = silent_client(&rig).await;
    // Nothing is read at this end, so time runs on from ping to ping.
    tokio::time::pause();
    drop(rig.room.streams.acquire_many(super::super::STREAMS_COUNT_MAX).await.unwrap());
    tokio::time::resume();
    let frames = client.read_to_end().await;
    assert!(frames.ends_with("no pong within 45 seconds"), "{frames:?}");
}

#[tokio::test]
async fn a_page_of_another_origin_may_not_listen() {
    let rig = Rig::new();
    let (address, _server) = start(&rig, LONG).await;
    for (origin, status) in [("http://evil.example", "403"), ("http://mesh.example:8081", "101")] {
        let mut client = Client::connect(address).await;
        let host = "host: mesh.example:8081\r\n";
        client.send(&format!("GET /api/v1/ws HTTP/1.1\r\n{host}{UPGRADE}origin: {origin}\r\n\r\n")).await;
        let head = client.read_to("\r\n\r\n").await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{head}");
        client.stream.shutdown().await.unwrap();
    }
    rig.stopping.cancel();
}
