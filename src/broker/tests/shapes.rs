//! What is answered when all is well.

use axum::http::{Request, StatusCode};
use serde_json::json;

use super::rig::{CONNECTED, Rig, UNNAMED, object};

#[tokio::test]
async fn health_names_the_node() {
    let reply = Rig::new().get("/api/v1/health").await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.text, r#"{"status":"healthy","node_id":"peat-mesh-0"}"#);
}

#[tokio::test]
async fn ready_lists_its_checks_and_one_that_fails_makes_it_503() {
    let reply = Rig::new().get("/api/v1/ready").await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.json()["ready"], true);
    let reply = Rig::with(false).get("/api/v1/ready").await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    let expected = json!({"ready": false, "node_id": "peat-mesh-0", "checks": [
        {"name": "store", "ok": true, "detail": "store was looked at"},
        {"name": "sockets", "ok": false, "detail": "sockets was looked at"},
    ]});
    assert_eq!(reply.json(), expected);
}

#[tokio::test]
async fn metrics_tell_the_state_of_the_node_and_of_each_peer() {
    let rig = Rig::with(false);
    rig.put("c/x", 1).await;
    let reply = rig.get("/metrics").await;
    assert_eq!(reply.status, StatusCode::OK);
    for line in [
        "peat_store_documents 1",
        r#"peat_node_ready_check{check="store"} 1"#,
        r#"peat_node_ready_check{check="sockets"} 0"#,
        r#"peat_peer_count{state="connected"} 1"#,
        r#"peat_peer_connected{peer="alpha/peat-mesh-1"} 1"#,
        r#"peat_peer_round_trip_seconds{peer="alpha/peat-mesh-1"} 0.000123"#,
        r#"peat_peer_loss_ratios{peer="alpha/peat-mesh-1"} 0.02"#,
        r#"peat_peer_silent{peer="alpha/peat-mesh-1"} 0"#,
        r#"peat_mesh_broken_rules_total{rule="frame"} 0"#,
        r#"peat_mesh_broken_rules_total{rule="not_answering"} 0"#,
        "peat_mesh_quarantined 0",
        r#"peat_formation_nodes{state="reachable"} 2"#,
        r#"peat_formation_nodes{state="unreachable"} 1"#,
    ] {
        assert!(reply.text.lines().any(|found| found == line), "{line} is missing in {}", reply.text);
    }
    let types: Vec<&str> = reply.text.lines().filter(|line| line.starts_with("# TYPE")).collect();
    let once: std::collections::BTreeSet<_> = types.iter().collect();
    assert_eq!(types.len(), once.len(), "{types:?}");
    assert!(reply.text.ends_with("\n# EOF\n"), "{}", reply.text);
}

#[tokio::test]
async fn node_says_who_it_is_and_where() {
    let node = Rig::new().get("/api/v1/node").await.json();
    let expected = json!({
        "node_id": "peat-mesh-0",
        "uptime_secs": 0,
        "version": env!("CARGO_PKG_VERSION"),
        "endpoint_id": "01".repeat(32),
        "device_id": "00112233445566778899aabbccddeeff",
        "addresses": ["0.0.0.0:11204"],
    });
    assert_eq!(node, expected);
}

#[tokio::test]
async fn peers_show_name_state_path_and_the_last_error() {
    let peers = Rig::new().get("/api/v1/peers").await.json();
    assert_eq!(peers["count"], 2);
    let all = peers["peers"].as_array().unwrap();
    let named = all.iter().find(|peer| peer["id"] == "alpha/peat-mesh-1").unwrap();
    assert_eq!(named["endpoint_id"], CONNECTED.to_string());
    assert_eq!((&named["connected"], &named["state"]), (&json!(true), &json!("connected")));
    assert_eq!((&named["rtt_ms"], &named["path"]), (&json!(0.123), &json!("10.0.0.2:11204")));
    assert_eq!((&named["path_kind"], &named["loss"]), (&json!("direct"), &json!(0.02)));
    assert_eq!((&named["udp_bytes_sent"], &named["udp_bytes_received"]), (&json!(5_000), &json!(6_000)));
    assert_eq!(named["silent_secs"], json!(null));
    assert_eq!(named["addresses"], json!(["10.0.0.2:11204"]));
    assert_eq!((&named["last_error"], &named["next_dial_ms"]), (&json!(null), &json!(null)));
    assert_eq!(named["metadata"], json!({"site": "harbour"}));
    assert_eq!(named["relay_url"], "https://relay.example");
    for field in
        ["since_secs", "in_step", "in_step_secs_ago", "documents_to_send", "documents_received", "bytes_sent"]
    {
        assert!(named.get(field).is_some(), "{field} is missing in {named}");
    }

    let unnamed = all.iter().find(|peer| peer["id"] == UNNAMED.to_string()).unwrap();
    assert_eq!((&unnamed["connected"], &unnamed["state"]), (&json!(false), &json!("waiting")));
    assert_eq!((&unnamed["rtt_ms"], &unnamed["path"]), (&json!(null), &json!(null)));
    assert_eq!(unnamed["last_error"], "nobody answers");
    assert_eq!((&unnamed["metadata"], &unnamed["relay_url"]), (&json!({}), &json!(null)));
    assert!(unnamed["next_dial_ms"].as_u64().unwrap() <= 1_000);
}

#[tokio::test]
async fn topology_shows_every_node_its_links_and_since_when_it_is_lost() {
    let topology = Rig::new().get("/api/v1/topology").await.json();
    assert_eq!(topology["node_id"], "peat-mesh-0");
    assert_eq!(topology["formation"], json!({"known": 3, "reachable": 2, "unreachable": 1, "left": 0}));
    let nodes = topology["nodes"].as_array().unwrap();
    let names: Vec<&str> = nodes.iter().map(|node| node["node_id"].as_str().unwrap()).collect();
    assert_eq!(names, ["alpha/peat-mesh-1", "beta/lost", "peat-mesh-0"]);
    let [near, lost, me] = &nodes[..] else { panic!("{nodes:?}") };
    assert_eq!((&near["cluster"], &near["role"]), (&json!("alpha"), &json!("gateway")));
    assert_eq!((&near["state"], &near["unreachable_since"]), (&json!("reachable"), &json!(null)));
    let link = json!({
        "peer": "peat-mesh-0", "state": "up", "path": "direct", "address": "10.0.0.2:11204", "rtt_ms": 0.123,
        "loss": 0.02,
    });
    assert_eq!(near["links"], json!([link]));
    assert_eq!((&lost["state"], &lost["links"]), (&json!("unreachable"), &json!([])));
    assert_eq!((&lost["unreachable_since"], &lost["uptime_secs"]), (&lost["since"], &json!(null)));
    assert_eq!(
        (&me["is_self"], &me["cluster"], &me["version"]),
        (&json!(true), &json!(null), &json!("0.1.0"))
    );
    for field in ["since", "started_at", "heard_at", "uptime_secs", "endpoint_id"] {
        assert!(me.get(field).is_some_and(|value| !value.is_null()), "{field} is missing in {me}");
    }
}

#[tokio::test]
async fn a_peer_is_found_by_its_name_with_a_slash_or_its_endpoint_id() {
    let rig = Rig::new();
    let by_endpoint = format!("/api/v1/peers/{CONNECTED}");
    for uri in ["/api/v1/peers/alpha/peat-mesh-1", "/api/v1/peers/alpha%2Fpeat-mesh-1", &by_endpoint] {
        let reply = rig.get(uri).await;
        assert_eq!(reply.status, StatusCode::OK, "{uri}");
        assert_eq!(reply.json()["id"], "alpha/peat-mesh-1");
    }
    assert_eq!(rig.get("/api/v1/peers/peat-mesh-1").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_new_document_is_201_and_a_changed_one_200() {
    let rig = Rig::new();
    let reply = rig.put_json("/api/v1/documents/airports/EDDF", r#"{"runways": 4}"#).await;
    assert_eq!(reply.status, StatusCode::CREATED);
    let first = reply.json();
    assert_eq!((&first["collection"], &first["id"]), (&json!("airports"), &json!("EDDF")));
    let version = first["version"].as_str().unwrap().to_owned();
    assert_eq!(version.len(), 32);
    assert_eq!(reply.header("etag"), format!("\"{version}\""));

    let reply = rig.put_json("/api/v1/documents/airports/EDDF", r#"{"runways": 5}"#).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_ne!(reply.json()["version"], version);
}

#[tokio::test]
async fn a_document_is_read_with_its_version_and_the_text_that_is_stored() {
    let rig = Rig::new();
    let written = rig.put("airports/EDDF", 4).await;
    let version = written.heads.version().to_string();
    let reply = rig.get("/api/v1/documents/airports/EDDF").await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.header("etag"), format!("\"{version}\""));
    let expected = json!({
        "collection": "airports", "id": "EDDF", "version": version, "document": object(4),
    });
    assert_eq!(reply.json(), expected);

    let head = rig.send(Request::head("/api/v1/documents/airports/EDDF"), "").await;
    assert_eq!((head.status, head.text.as_str()), (StatusCode::OK, ""));
    assert_eq!(head.header("etag"), reply.header("etag"));
    assert_eq!(head.header("content-length"), reply.text.len().to_string());
}

#[tokio::test]
async fn a_reader_that_has_the_version_gets_304() {
    let rig = Rig::new();
    let version = rig.put("c/x", 1).await.heads.version().to_string();
    for known in [format!("\"{version}\""), format!("\"0\", W/\"{version}\""), "*".to_owned()] {
        let request = Request::get("/api/v1/documents/c/x").header("if-none-match", &known);
        let reply = rig.send(request, "").await;
        assert_eq!((reply.status, reply.text.as_str()), (StatusCode::NOT_MODIFIED, ""), "{known}");
        assert_eq!(reply.header("etag"), format!("\"{version}\""));
    }
    let request = Request::get("/api/v1/documents/c/x").header("if-none-match", "\"0\"");
    assert_eq!(rig.send(request, "").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_deleted_document_is_gone_and_cannot_be_deleted_again() {
    let rig = Rig::new();
    rig.put("c/x", 1).await;
    let delete = || Request::delete("/api/v1/documents/c/x");
    let reply = rig.send(delete(), "").await;
    assert_eq!((reply.status, reply.text.as_str()), (StatusCode::NO_CONTENT, ""));
    assert_eq!(rig.get("/api/v1/documents/c/x").await.status, StatusCode::NOT_FOUND);
    assert_eq!(rig.send(delete(), "").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_collection_is_listed_page_by_page() {
    let rig = Rig::new();
    for id in ["a", "b", "c"] {
        rig.put(&format!("airports/{id}"), 1).await;
    }
    let page = rig.get("/api/v1/documents/airports?limit=2").await.json();
    assert_eq!((&page["collection"], &page["count"]), (&json!("airports"), &json!(3)));
    let ids = |page: &serde_json::Value| -> Vec<String> {
        let documents = page["documents"].as_array().unwrap().iter();
        documents.map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&page), ["a", "b"]);
    assert_eq!(page["next"], "b");
    assert_eq!(page["documents"][0]["document"], json!(object(1)));
    assert_eq!(page["documents"][0]["version"].as_str().unwrap().len(), 32);

    let page = rig.get("/api/v1/documents/airports?limit=2&after=b").await.json();
    assert_eq!((ids(&page), &page["next"]), (vec!["c".to_owned()], &json!(null)));
}

#[tokio::test]
async fn an_unknown_collection_is_empty() {
    let page = Rig::new().get("/api/v1/documents/nothing").await.json();
    assert_eq!(page, json!({"collection": "nothing", "count": 0, "documents": [], "next": null}));
}

#[tokio::test]
async fn collections_are_listed_with_how_many_documents_they_have() {
    let rig = Rig::new();
    rig.put("b/x", 1).await;
    rig.put("a/x", 1).await;
    rig.put("a/y", 1).await;
    let expected = json!({"count": 2, "collections": [
        {"collection": "a", "count": 2},
        {"collection": "b", "count": 1},
    ]});
    assert_eq!(rig.get("/api/v1/documents").await.json(), expected);
}
