//! Server-sent events over a real socket.

use std::time::Duration;

use axum::http::Request;
use peat_mesh_core::NodeName;
use peat_mesh_core::io::{Event, NodeRef};
use serde_json::{Value, json};

use super::rig::{CONNECTED, Rig, within};
use super::server::{Client, start};

const LONG: Duration = Duration::from_secs(60);

async fn open(address: std::net::SocketAddr, query: &str, headers: &str) -> Client {
    let mut client = Client::connect(address).await;
    client.send(&format!("GET /api/v1/events{query} HTTP/1.1\r\nhost: x\r\n{headers}\r\n")).await;
    let head = client.read_to("\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("content-type: text/event-stream\r\n"), "{head}");
    assert!(head.contains("cache-control: no-cache\r\n"), "{head}");
    client
}

/// The next event with data: its id and its data.
async fn event(client: &mut Client) -> (String, Value) {
    client.read_to("id: ").await;
    let id = client.read_to("\n").await;
    let block = client.read_to("\n").await;
    match block.strip_prefix("data: ") {
        Some(data) => (id.trim().to_owned(), serde_json::from_str(data).unwrap()),
        None => Box::pin(event(client)).await,
    }
}

#[tokio::test]
async fn a_change_comes_at_once_with_its_place_its_origin_and_its_version() {
    let rig = Rig::new();
    let (address, _server) = start(&rig, LONG).await;
    let mut client = open(address, "", "").await;
    // The place to resume from is sent first; from then on nothing is missed.
    client.read_to("id: 0\n\n").await;

    let version = rig.put("airports/EDDF", 1).await.heads.version().to_string();
    let expected = json!({
        "seq": 1, "collection": "airports", "id": "EDDF", "action": "put", "origin": "local",
        "version": version,
    });
    assert_eq!(event(&mut client).await, ("1".to_owned(), expected));

    rig.delete("airports/EDDF").await;
    let (id, data) = event(&mut client).await;
    assert_eq!((id.as_str(), &data["action"]), ("2", &json!("delete")));

    rig.receive("airports/EDDM", "alpha/peat-mesh-1").await;
    let (id, data) = event(&mut client).await;
    assert_eq!((id.as_str(), &data["origin"]), ("3", &json!("alpha/peat-mesh-1")));
    rig.stopping.cancel();
}

#[tokio::test]
async fn a_partition_is_an_event_with_a_type_and_without_a_place() {
    let rig = Rig::new();
    let (address, _server) = start(&rig, LONG).await;
    let mut client = open(address, "", "").await;
    client.read_to("id: 0\n\n").await;
    let node = NodeRef { node: CONNECTED, name: NodeName::new("alpha/peat-mesh-1").unwrap() };
    let (nodes, after_ms) = (vec![node], 7);
    rig.news.send(Event::Healed { nodes, count: 1, after_ms, reachable: 5, unreachable: 0 }).unwrap();
    client.read_to("event: healed\ndata: ").await;
    let data: Value = serde_json::from_str(&client.read_to("\n\n").await).unwrap();
    let expected = json!({
        "nodes": ["alpha/peat-mesh-1"], "count": 1, "after_ms": 7, "reachable": 5, "unreachable": 0,
    });
    assert_eq!(data, expected);
    rig.stopping.cancel();
}

#[tokio::test]
async fn a_reader_that_comes_back_resumes_where_it_was() {
    let rig = Rig::new();
    let (address, _server) = start(&rig, LONG).await;
    for id in ["a", "b", "c"] {
        rig.put(&format!("c/{id}"), 1).await;
    }
    let mut by_query = open(address, "?since=1", "").await;
    // A browser repeats the address that it was given, so the header has to win.
    let mut by_header = open(address, "?since=0", "last-event-id: 1\r\n").await;
    for client in [&mut by_query, &mut by_header] {
        assert_eq!(event(client).await.1["id"], "b");
        assert_eq!(event(client).await.1["id"], "c");
    }
    rig.put("c/d", 1).await;
    assert_eq!(event(&mut by_query).await.1["id"], "d");
    rig.stopping.cancel();
}

#[tokio::test]
async fn a_reader_is_told_to_resync_when_its_place_is_unknown_here() {
    let rig = Rig::new();
    let (address, _server) = start(&rig, LONG).await;
    rig.put("c/x", 1).await;
    let mut client = open(address, "?since=99", "").await;
    client.read_to("event: resync\n").await;
    assert_eq!(event(&mut client).await, ("0".to_owned(), json!({"since": 0})));
    assert_eq!(event(&mut client).await.1["seq"], 1);
    rig.stopping.cancel();
}

#[tokio::test]
async fn a_stream_ends_at_once_when_the_node_stops_and_its_place_is_free_again() {
    let rig = Rig::new();
    let (address, server) = start(&rig, LONG).await;
    let mut client = open(address, "", "").await;
    rig.stopping.cancel();
    let rest = client.read_to_end().await;
    assert!(rest.ends_with("0\r\n\r\n"), "the last chunk is missing in {rest:?}");
    within(server).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stream_whose_filter_matches_nothing_is_kept_alive() {
    use axum::body::Body;
    use futures_util::StreamExt;
    use tower::ServiceExt;

    let rig = Rig::new();
    let request = Request::get("/api/v1/events?collection=none").body(Body::empty()).unwrap();
    let response = rig.router().oneshot(request).await.unwrap();
    let mut pieces = response.into_body().into_data_stream();
    assert_eq!(pieces.next().await.unwrap().unwrap(), "id: 0\n\n");
    let started = tokio::time::Instant::now();
    rig.put("c/x", 1).await;
    for secs in [15, 30] {
        assert_eq!(pieces.next().await.unwrap().unwrap(), ": keep-alive\n\n");
        assert_eq!(started.elapsed().as_secs(), secs);
    }
    let free = || rig.room.streams.available_permits();
    assert_eq!(free(), super::super::STREAMS_COUNT_MAX as usize - 1);
    drop(pieces);
    assert_eq!(free(), super::super::STREAMS_COUNT_MAX as usize);
}
