//! Blobs that are fetched, as clients see it: progress, status, and content that breaks off.

use std::time::Duration;

use axum::http::Request;
use peat_mesh_core::EndpointId;
use serde_json::{Value, json};

use super::rig::{CONNECTED, Rig, UNNAMED};
use super::server::{Client, start};
use crate::handle::{BlobHash, BlobState, FetchStep, Fetching, Holder, Kept};

const LONG: Duration = Duration::from_secs(60);
const HASH: BlobHash = BlobHash([0x5a; 32]);

fn path(rest: &str) -> String {
    format!("/api/v1/blobs/{HASH}{rest}")
}

fn fetching(step: FetchStep, have_bytes: u64, from: &[(EndpointId, u64)]) -> Fetching {
    Fetching { hash: HASH, step, size: Some(1_000_000), have_bytes, from: from.to_vec() }
}

async fn watch(rig: &Rig) -> Client {
    let (address, _server) = start(rig, LONG).await;
    let mut client = Client::connect(address).await;
    client.send(&format!("GET {} HTTP/1.1\r\nhost: x\r\n\r\n", path("/progress"))).await;
    let head = client.read_to("\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("content-type: text/event-stream\r\n"), "{head}");
    client
}

async fn event(client: &mut Client) -> Value {
    client.read_to("data: ").await;
    serde_json::from_str(&client.read_to("\n\n").await).unwrap()
}

#[tokio::test]
async fn progress_tells_at_once_how_a_fetch_goes_and_ends_with_its_last_step() {
    let rig = Rig::new();
    rig.blobs.step(fetching(FetchStep::Looking, 0, &[]));
    let mut client = watch(&rig).await;
    let expected = json!({
        "hash": HASH.to_string(), "state": "looking", "size": 1_000_000, "have_bytes": 0,
        "bytes_per_second": null, "seconds_left": null, "from": [], "reason": null,
    });
    assert_eq!(event(&mut client).await, expected);

    rig.blobs.step(fetching(FetchStep::Coming, 1_000, &[(CONNECTED, 600), (UNNAMED, 400)]));
    let coming = event(&mut client).await;
    assert_eq!(coming["state"], "fetching");
    let from = json!([{"peer": "alpha/peat-mesh-1", "bytes": 600}, {"peer": UNNAMED.short(), "bytes": 400}]);
    assert_eq!(coming["from"], from);

    let reason = "nobody has it".to_owned();
    rig.blobs.step(fetching(FetchStep::Waiting { reason }, 1_000, &[]));
    let mut waiting = event(&mut client).await;
    while waiting["state"] == "fetching" {
        waiting = event(&mut client).await;
    }
    assert_eq!((&waiting["state"], &waiting["reason"]), (&json!("waiting"), &json!("nobody has it")));

    rig.blobs.step(fetching(FetchStep::Complete, 1_000_000, &[]));
    let last = event(&mut client).await;
    assert_eq!((&last["state"], &last["seconds_left"]), (&json!("complete"), &json!(0)));
    assert!(!client.read_to("0\r\n\r\n").await.contains("data:"), "nothing follows the last step");
}

#[tokio::test]
async fn many_steps_come_as_few_events_with_a_rate_and_the_last_one_is_among_them() {
    let rig = Rig::new();
    rig.blobs.step(fetching(FetchStep::Coming, 0, &[]));
    let mut client = watch(&rig).await;
    assert_eq!(event(&mut client).await["have_bytes"], 0);
    let mut step = tokio::time::interval(Duration::from_millis(5));
    let mut have_bytes = 0;
    let mut events = Vec::new();
    // Until there is a rate, however long that takes here.
    while events.last().is_none_or(|event: &Value| event["bytes_per_second"].is_null()) {
        tokio::select! {
            event = event(&mut client) => events.push(event),
            _ = step.tick() => {
                have_bytes += 10;
                rig.blobs.step(fetching(FetchStep::Coming, have_bytes, &[]));
            }
        }
    }
    assert!((events.len() as u64) <= 1 + have_bytes / 10, "{events:?}");
    let newest = &events[events.len() - 1];
    assert!(newest["seconds_left"].as_u64().unwrap() > 0, "{newest}");
    rig.blobs.step(fetching(FetchStep::Ended { reason: "cancelled".to_owned() }, have_bytes, &[]));
    let rest = client.read_to("0\r\n\r\n").await;
    assert!(rest.contains("\"ended\"") && rest.contains("\"cancelled\""), "{rest}");
}

#[tokio::test]
async fn a_watcher_of_a_fetch_that_vanishes_gets_an_end() {
    let rig = Rig::new();
    rig.blobs.step(fetching(FetchStep::Coming, 10, &[]));
    let mut client = watch(&rig).await;
    event(&mut client).await;
    rig.blobs.fetch.lock().unwrap().take();
    let last = event(&mut client).await;
    assert_eq!((&last["state"], &last["have_bytes"]), (&json!("ended"), &json!(10)));
    client.read_to("0\r\n\r\n").await;
}

#[tokio::test]
async fn without_a_fetch_there_is_the_present_state_or_none() {
    let rig = Rig::new();
    let none = rig.get(&path("/progress")).await;
    assert_eq!(none.status, 404);
    assert!(none.text.contains(&format!("POST /api/v1/blobs/{HASH}/fetch starts one")), "{}", none.text);
    *rig.blobs.state.lock().unwrap() = BlobState::Complete { size: 7 };
    let whole = rig.get(&path("/progress")).await;
    assert_eq!((whole.status.as_u16(), whole.text.matches("data:").count()), (200, 1));
    assert!(whole.text.contains("\"complete\""), "{}", whole.text);
}

#[tokio::test]
async fn a_stream_of_progress_takes_a_place_and_ends_when_the_node_stops() {
    let rig = Rig::new();
    rig.blobs.step(fetching(FetchStep::Looking, 0, &[]));
    let mut client = watch(&rig).await;
    event(&mut client).await;
    let places = rig.room.streams.try_acquire_many(256).unwrap();
    let full = rig.get(&path("/progress")).await;
    assert_eq!(full.status, 503);
    assert!(full.text.contains("too many event streams"), "{}", full.text);
    drop(places);
    rig.stopping.cancel();
    client.read_to("0\r\n\r\n").await;
}

#[tokio::test]
async fn a_fetch_is_started_seen_and_cancelled() {
    let rig = Rig::new();
    let started = rig.send(Request::post(path("/fetch")), "").await;
    assert_eq!(started.status, 202);
    let fetch = json!({
        "hash": HASH.to_string(), "state": "looking", "size": null, "have_bytes": 0, "from": [], "reason": null,
    });
    let status = json!({
        "hash": HASH.to_string(), "state": "absent", "size": null, "have_bytes": 0, "damaged": false, "fetch": fetch,
    });
    assert_eq!(started.json(), status);
    let mut kept = json!({"references": 0, "pinned": false, "collected_after": null});
    kept.as_object_mut().unwrap().extend(status.as_object().unwrap().clone());
    assert_eq!(rig.get(&path("/status")).await.json(), kept);
    assert_eq!(rig.send(Request::delete(path("/fetch")), "").await.status, 204);
    let again = rig.send(Request::delete(path("/fetch")), "").await;
    assert_eq!(again.status, 404);
    assert!(again.text.contains("no fetch of blob"), "{}", again.text);
    assert_eq!(rig.get(&path("/status")).await.json()["fetch"], Value::Null);

    *rig.blobs.state.lock().unwrap() = BlobState::Complete { size: 7 };
    let whole = rig.send(Request::post(path("/fetch")), "").await;
    assert_eq!((whole.status.as_u16(), &whole.json()["state"]), (200, &json!("complete")));
    let foreign = Request::post(path("/fetch")).header("origin", "http://evil.example");
    assert_eq!(rig.send(foreign, "").await.status, 403);
}

#[tokio::test]
async fn status_says_what_keeps_a_blob_and_until_when() {
    let rig = Rig::new();
    *rig.blobs.kept.lock().unwrap() = Kept { references: 2, pinned: true, collected_in_ms: None };
    let status = rig.get(&path("/status")).await.json();
    assert_eq!([&status["references"], &status["pinned"]], [&json!(2), &json!(true)]);
    assert_eq!(status["collected_after"], Value::Null);
    let day_ms = 24 * 60 * 60 * 1_000;
    let mut days = [1, 2].map(|days| Kept { collected_in_ms: Some(days * day_ms), ..Kept::default() });
    let mut moments = Vec::new();
    for kept in &mut days {
        *rig.blobs.kept.lock().unwrap() = *kept;
        let status = rig.get(&path("/status")).await.json();
        moments.push(status["collected_after"].as_str().unwrap().to_owned());
    }
    assert!(moments[0].ends_with('Z') && moments[0] < moments[1], "{moments:?}");
}

#[tokio::test]
async fn status_says_who_has_it_when_asked_to() {
    let rig = Rig::new();
    *rig.blobs.holders.lock().unwrap() = vec![
        Holder { peer: CONNECTED, state: BlobState::Complete { size: 9 } },
        Holder { peer: UNNAMED, state: BlobState::Partial { size: None, have_bytes: 3 } },
    ];
    assert!(rig.get(&path("/status")).await.json().get("holders").is_none());
    let asked = rig.get(&path("/status?holders=true")).await.json();
    let holders = json!([
        {"peer": "alpha/peat-mesh-1", "state": "complete", "have_bytes": 9, "size": 9},
        {"peer": UNNAMED.short(), "state": "partial", "have_bytes": 3, "size": null},
    ]);
    assert_eq!(asked["holders"], holders);
    let wrong = rig.get(&path("/status?holders=perhaps")).await;
    assert_eq!(wrong.status, 400);
    rig.blobs.is_damaged.store(true, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(rig.get(&path("/status")).await.json()["damaged"], true);
}

#[tokio::test]
async fn content_that_breaks_off_cuts_the_connection() {
    let breaks = [
        vec![Ok("12345"), Err("the last provider is gone")],
        // Too little, without a word.
        vec![Ok("12345")],
    ];
    for pieces in breaks {
        let rig = Rig::new();
        *rig.blobs.reading.lock().unwrap() = Some((10, pieces));
        let (address, _server) = start(&rig, LONG).await;
        let mut client = Client::connect(address).await;
        client.send(&format!("GET {} HTTP/1.1\r\nhost: x\r\n\r\n", path(""))).await;
        let answer = client.read_to_end().await;
        assert!(answer.contains("content-length: 10\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\n12345") || answer.ends_with("\r\n\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn conditions_and_ranges_mean_what_http_says() {
    let rig = Rig::new();
    let any = || Request::get(path("")).header("if-none-match", "*");
    // Not here, so there is nothing that the client could have meant.
    assert_eq!(rig.send(any(), "").await.status, 404);
    *rig.blobs.state.lock().unwrap() = BlobState::Complete { size: 10 };
    assert_eq!(rig.send(any(), "").await.status, 304);
    let tag = format!("\"{HASH}\"");
    let head = || Request::head(path(""));
    assert_eq!(rig.send(head().header("if-none-match", &tag), "").await.status, 304);
    let ranged = rig.send(head().header("range", "bytes=2-3"), "").await;
    assert_eq!((ranged.status.as_u16(), ranged.header("content-length")), (200, "10"));
    let outside = rig.send(head().header("range", "bytes=100-"), "").await;
    assert_eq!(outside.status, 200);
}
