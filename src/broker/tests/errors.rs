//! What is answered when something is wrong: always JSON with a sentence.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode};
use futures_util::stream;
use peat_mesh_core::limits;

use super::rig::{Reply, Rig};

#[track_caller]
fn check(reply: &Reply, status: u16, words: &str) {
    assert_eq!(reply.status.as_u16(), status, "{reply:?}");
    let json = reply.json();
    assert_eq!(json["status"], status);
    let error = json["error"].as_str().unwrap();
    assert!(error.contains(words), "{error:?} should say {words:?}");
}

#[tokio::test]
async fn a_wrong_path_or_query_says_what_is_wrong() {
    let rig = Rig::new();
    let long = format!("/api/v1/documents/{}/x", "c".repeat(limits::COLLECTION_BYTES_MAX + 1));
    for (uri, status, words) in [
        ("/", 404, "no route /"),
        ("/api/v1/nothing", 404, "no route /api/v1/nothing"),
        ("/api/v1/documents/c/", 404, "no slash at their end"),
        ("/api/v1/documents/c/x/y", 404, "no route"),
        ("/api/v1/documents/c/x", 404, "document c/x does not exist"),
        ("/api/v1/documents/a%20b/x", 400, "collection has the character ' ' at position 2"),
        ("/api/v1/documents/c/a%2Fb", 400, "document id has the character '/' at position 2"),
        ("/api/v1/documents/c/%FF", 400, "UTF-8"),
        ("/api/v1/documents/c/%zz", 400, "'%'"),
        ("/api/v1/documents/c/..", 400, "only dots"),
        ("/api/v1/documents/c%20", 400, "collection has the character ' '"),
        (&long, 400, "at most 64"),
        ("/api/v1/documents?limit=1", 400, "no parameter \"limit\""),
        ("/api/v1/documents/c?limit=0", 400, "from 1 to 1000, not \"0\""),
        ("/api/v1/documents/c?limit=1001", 400, "from 1 to 1000"),
        ("/api/v1/documents/c?limit=many", 400, "not \"many\""),
        ("/api/v1/documents/c?limit=1&limit=2", 400, "limit is given twice"),
        ("/api/v1/documents/c?offset=1", 400, "no parameter \"offset\" here; there are: limit, after"),
        ("/api/v1/documents/c?after=a%2Fb", 400, "after must be a document id"),
        ("/api/v1/events?since=-1", 400, "since must be a whole number"),
        ("/api/v1/events?collection=a%20b", 400, "collection has the character"),
        ("/api/v1/events?colection=a", 400, "collection, since"),
        ("/api/v1/peers/nobody", 404, "/api/v1/peers lists"),
        ("/api/v1/peers/%FF", 400, "UTF-8"),
        ("/api/v1/sync?wait=1", 400, "there are: wait_ms"),
        ("/api/v1/sync?wait_ms=300001", 400, "wait_ms must be a whole number from 0 to 300000"),
        ("/api/v1/documents/c/x/sync", 404, "document c/x does not exist"),
        ("/api/v1/ws", 426, "speaks WebSocket"),
    ] {
        let reply = rig.get(uri).await;
        assert_eq!(reply.status.as_u16(), status, "{uri}: {reply:?}");
        check(&reply, status, words);
    }
}

#[tokio::test]
async fn a_method_that_is_not_possible_is_405_with_those_that_are() {
    let rig = Rig::new();
    let reply = rig.send(Request::post("/api/v1/documents/c/x"), "").await;
    check(&reply, 405, "POST is not possible on /api/v1/documents/c/x");
    let mut allowed: Vec<_> = reply.header("allow").split(',').collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["DELETE", "GET", "HEAD", "PUT"]);
    let reply = rig.send(Request::delete("/api/v1/health"), "").await;
    check(&reply, 405, "DELETE");
    assert_eq!(reply.header("allow"), "GET,HEAD");
}

#[tokio::test]
async fn a_content_type_that_is_not_json_is_415() {
    let rig = Rig::new();
    let uri = "/api/v1/documents/c/x";
    check(&rig.send(Request::put(uri), "{}").await, 415, "content type is missing");
    for wrong in ["text/plain", "application/jsonp", "application/+json", "text/json+json", ""] {
        let reply = rig.send(Request::put(uri).header("content-type", wrong), "{}").await;
        check(&reply, 415, "is not JSON; send the document as content-type: application/json");
    }
    for right in ["application/json; charset=utf-8", "Application/JSON", "application/ld+json"] {
        let reply = rig.send(Request::put(uri).header("content-type", right), "{}").await;
        assert!(reply.status.is_success(), "{right}: {reply:?}");
    }
}

#[tokio::test]
async fn a_body_that_is_no_object_says_where_it_is_wrong() {
    let rig = Rig::new();
    let uri = "/api/v1/documents/c/x";
    check(&rig.put_json(uri, "").await, 400, "line 1");
    check(&rig.put_json(uri, "{\n  \"a\": ,\n}").await, 400, "line 2, column 8");
    check(&rig.put_json(uri, "[1]").await, 422, "must be a JSON object, not a list");
    check(&rig.put_json(uri, r#"{"n": 99999999999999999999}"#).await, 400, "does not fit 64 bits");
    check(&rig.put_json(uri, r#"{"n": {"$counter": "x"}}"#).await, 422, "document c/x");
    assert_eq!(rig.get(uri).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_before_and_while_it_is_read() {
    let rig = Rig::new();
    let put = || Request::put("/api/v1/documents/c/x").header("content-type", "application/json");
    let too_large = (limits::DOCUMENT_JSON_BYTES_MAX + 1).to_string();
    let never = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
    let reply = rig.send(put().header("content-length", too_large), never).await;
    check(&reply, 413, "4194304 bytes");

    let piece = Bytes::from(vec![b' '; 1024 * 1024]);
    let endless = Body::from_stream(stream::repeat_with(move || Ok::<_, Infallible>(piece.clone())));
    check(&rig.send(put(), endless).await, 413, "4194304 bytes");
    assert_eq!(rig.room.bodies.available_permits(), super::super::BODIES_BYTES_MAX as usize);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_408() {
    let rig = Rig::new();
    let never = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
    let put = Request::put("/api/v1/documents/c/x").header("content-type", "application/json");
    check(&rig.send(put, never).await, 408, "after 30 seconds");
}

#[tokio::test]
async fn bodies_beyond_the_memory_for_them_are_503() {
    let rig = Rig::new();
    let all = rig.room.bodies.acquire_many(super::super::BODIES_BYTES_MAX).await.unwrap();
    let reply = rig.put_json("/api/v1/documents/c/x", "{}").await;
    check(&reply, 503, "too many request bodies");
    assert_eq!(reply.header("retry-after"), "1");
    drop(all);
    assert_eq!(rig.put_json("/api/v1/documents/c/x", "{}").await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_store_that_fails_is_503_and_a_full_one_507_with_the_reason() {
    let rig = Rig::new();
    let uri = "/api/v1/documents/c/x";
    rig.store.fill_before_next_commit();
    check(&rig.put_json(uri, "{}").await, 507, "no space left");
    rig.store.fail_next_commit("Input/output error (os error 5)");
    check(&rig.put_json(uri, "{}").await, 503, "Input/output error");
    assert_eq!(rig.put_json(uri, "{}").await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_node_without_its_writer_says_that_it_is_shutting_down() {
    let rig = Rig::new();
    rig.stop_writing();
    check(&rig.put_json("/api/v1/documents/c/x", "{}").await, 503, "shutting down");
}

#[tokio::test]
async fn a_stream_beyond_the_limit_is_503() {
    let rig = Rig::new();
    let all = rig.room.streams.acquire_many(super::super::STREAMS_COUNT_MAX).await.unwrap();
    check(&rig.get("/api/v1/events").await, 503, "too many event streams");
    drop(all);
}
