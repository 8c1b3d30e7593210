//! Which nodes are in step, and writes that wait for other nodes.

use axum::http::{Request, StatusCode};
use serde_json::{Value, json};

use super::rig::{Reply, Rig};

const DOCUMENT: &str = "/api/v1/documents/c/x";

async fn put(rig: &Rig, query: &str) -> Reply {
    rig.put_json(&format!("{DOCUMENT}{query}"), r#"{"value": 1}"#).await
}

async fn delete(rig: &Rig, query: &str) -> Reply {
    rig.send(Request::delete(format!("{DOCUMENT}{query}")), "").await
}

#[tokio::test]
async fn a_write_that_enough_nodes_hold_says_how_many_and_which() {
    let rig = Rig::with_peer(true, true);
    let reply = put(&rig, "?acks=2").await;
    assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
    let json = reply.json();
    assert_eq!(json["acks"], 2);
    assert_eq!(json["nodes"], json!(["peat-mesh-0", "alpha/peat-mesh-1"]));
    assert_eq!(reply.header("etag"), format!("\"{}\"", json["version"].as_str().unwrap()));
    assert_eq!(json.get("error"), None);
    let reply = delete(&rig, "?acks=2&timeout_ms=60000").await;
    assert_eq!((reply.status, &reply.json()["acks"]), (StatusCode::OK, &json!(2)));
}

#[tokio::test]
async fn a_write_that_too_few_nodes_hold_is_504_with_how_many_and_stays() {
    let rig = Rig::new();
    let reply = put(&rig, "?acks=2&timeout_ms=20").await;
    assert_eq!(reply.status, StatusCode::GATEWAY_TIMEOUT, "{reply:?}");
    let json = reply.json();
    assert_eq!((&json["status"], &json["acks"], &json["wanted"]), (&json!(504), &json!(1), &json!(2)));
    assert_eq!(json["nodes"], json!(["peat-mesh-0"]));
    let error = json["error"].as_str().unwrap();
    assert!(
        error.contains("1 of 2 nodes") && error.contains("after 20 ms") && error.contains("stays"),
        "{error}"
    );
    assert_eq!(rig.get(DOCUMENT).await.json()["version"], json["version"]);
    let reply = delete(&rig, "?acks=3&timeout_ms=0").await;
    assert_eq!((reply.status, &reply.json()["wanted"]), (StatusCode::GATEWAY_TIMEOUT, &json!(3)));
    assert_eq!(rig.get(DOCUMENT).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_write_that_waits_for_nobody_is_answered_as_ever() {
    let rig = Rig::new();
    assert_eq!(put(&rig, "?acks=1").await.json()["acks"], 1);
    let plain = put(&rig, "").await.json();
    assert_eq!(plain.as_object().unwrap().keys().collect::<Vec<_>>(), ["collection", "id", "version"]);
    let reply = delete(&rig, "").await;
    assert_eq!((reply.status, &*reply.text), (StatusCode::NO_CONTENT, ""));
}

#[tokio::test]
async fn a_wrong_number_of_nodes_or_time_is_refused_before_anything_is_written() {
    let rig = Rig::new();
    for (query, words) in [
        ("?acks=0", "acks must be a whole number from 1 to 256"),
        ("?acks=257", "from 1 to 256"),
        ("?acks=all", "not \"all\""),
        ("?acks=2&timeout_ms=60001", "timeout_ms must be a whole number from 0 to 60000"),
        ("?timeout_ms=5", "say for how many with acks"),
        ("?ack=2", "there are: acks, timeout_ms"),
    ] {
        for reply in [put(&rig, query).await, delete(&rig, query).await] {
            assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{query}: {reply:?}");
            let error = reply.json()["error"].as_str().unwrap().to_owned();
            assert!(error.contains(words), "{query}: {error}");
        }
    }
    assert_eq!(rig.get(DOCUMENT).await.status, StatusCode::NOT_FOUND);
}

fn peer<'a>(sync: &'a Value, name: &str) -> &'a Value {
    sync["peers"].as_array().unwrap().iter().find(|peer| peer["name"] == name).unwrap()
}

#[tokio::test]
async fn a_node_in_step_with_all_it_is_connected_to_says_so_and_whom_it_lacks() {
    let rig = Rig::with_peer(true, true);
    rig.put("c/x", 1).await;
    for query in ["", "?wait_ms=30000"] {
        let reply = rig.get(&format!("/api/v1/sync{query}")).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        let json = reply.json();
        assert_eq!(
            (&json["in_step"], &json["documents"], &json["connected"]),
            (&json!(true), &json!(1), &json!(1))
        );
        assert_eq!(json["quarantined"], json!([]));
        let summary = json["summary"].as_str().unwrap();
        assert!(summary.contains("in step with 1 connected peer; cdcd"), "{summary}");
        let one = peer(&json, "alpha/peat-mesh-1");
        assert_eq!(
            (&one["state"], &one["in_step"], &one["why"]),
            (&json!("connected"), &json!(true), &json!(null))
        );
        assert_eq!(one["last_reconciliation"]["rounds"], 1);
        assert!(one["last_reconciliation"]["at"].as_str().unwrap().ends_with('Z'));
        let away =
            json["peers"].as_array().unwrap().iter().find(|peer| peer["state"] != "connected").unwrap();
        let why = away["why"].as_str().unwrap();
        assert!(why.starts_with("not connected: nobody answers; "), "{why}");
    }
}

#[tokio::test]
async fn a_node_that_is_not_in_step_says_why_and_is_504_only_when_it_was_waited_for() {
    let rig = Rig::new();
    rig.put("c/x", 1).await;
    let reply = rig.get("/api/v1/sync?wait_ms=20").await;
    assert_eq!(reply.status, StatusCode::GATEWAY_TIMEOUT, "{reply:?}");
    let json = reply.json();
    assert_eq!((&json["status"], &json["in_step"]), (&json!(504), &json!(false)));
    assert!(json["error"].as_str().unwrap().contains("not in step with alpha/peat-mesh-1: "));
    let why = peer(&json, "alpha/peat-mesh-1")["why"].as_str().unwrap();
    assert!(why.contains("compare") || why.contains("was asked"), "{why}");
    let reply = rig.get("/api/v1/sync").await;
    assert_eq!((reply.status, &reply.json()["in_step"]), (StatusCode::OK, &json!(false)));
    assert_eq!(reply.json().get("error"), None);
}

#[tokio::test]
async fn a_document_says_who_holds_it_and_why_the_others_do_not() {
    let rig = Rig::with_peer(true, true);
    let written = rig.put("c/x", 1).await;
    let json = rig.get("/api/v1/documents/c/x/sync?wait_ms=10000").await.json();
    assert_eq!(json["version"], written.heads.version().to_string());
    assert_eq!((&json["deleted"], &json["all_connected_hold"]), (&json!(false), &json!(true)));
    assert_eq!(json["holders"], json!(["peat-mesh-0", "alpha/peat-mesh-1"]));
    let one = peer(&json, "alpha/peat-mesh-1");
    assert_eq!((&one["holds"], &one["why"]), (&json!(true), &json!(null)));
    let away = json["peers"].as_array().unwrap().iter().find(|peer| peer["holds"] == json!(null)).unwrap();
    assert!(away["why"].as_str().unwrap().starts_with("not connected"), "{away}");

    let rig = Rig::new();
    rig.put("c/x", 1).await;
    rig.delete("c/x").await;
    let reply = rig.get("/api/v1/documents/c/x/sync?wait_ms=20").await;
    assert_eq!(reply.status, StatusCode::GATEWAY_TIMEOUT, "{reply:?}");
    let json = reply.json();
    assert_eq!((&json["deleted"], &json["holders"]), (&json!(true), &json!(["peat-mesh-0"])));
    let one = peer(&json, "alpha/peat-mesh-1");
    assert_eq!(one["holds"], false);
    assert!(one["why"].as_str().unwrap().contains("has not said that it has it on disk"), "{one}");
}

#[tokio::test]
async fn a_client_that_waits_is_answered_when_the_node_stops() {
    let rig = Rig::new();
    rig.put("c/x", 1).await;
    let stop = async { rig.stopping.cancel() };
    let (reply, ()) = tokio::join!(rig.get("/api/v1/sync?wait_ms=300000"), stop);
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "{reply:?}");
    let reply = put(&rig, "?acks=2&timeout_ms=60000").await;
    assert_eq!(reply.status, StatusCode::GATEWAY_TIMEOUT, "{reply:?}");
    assert!(reply.json()["error"].as_str().unwrap().contains("is shutting down"));
}
