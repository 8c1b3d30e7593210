//! Who may ask a node for blobs.

use iroh::endpoint::Connection;
use iroh_blobs::api::Store;
use iroh_blobs::get::request::get_blob;
use iroh_blobs::protocol::{ChunkRangesSeq, PushRequest};
use iroh_blobs::store::mem::MemStore;
use iroh_blobs::{ALPN, Hash};
use peat_mesh::blob::FIND_ALPN;
use peat_mesh_core::catalog::Summary;
use peat_mesh_core::wire::Frame;

use crate::common::{PATIENCE, Process};
use crate::raw::{BROKEN_RULE, HANDSHAKE_PATIENCE, Honest, NO_MEMBER, Raw, closed, secret};

const CONTENT: &[u8] = b"only for members";

fn add(node: &Process, content: &[u8]) -> Hash {
    let answer = node.http().exchange("POST", "/api/v1/blobs", "", content).unwrap();
    assert_eq!(answer.status, 201, "{answer:?}");
    Hash::new(content)
}

/// Asks for a blob as any client of iroh-blobs does.
async fn get(connection: &Connection, hash: Hash) -> Option<Vec<u8>> {
    let got = tokio::time::timeout(PATIENCE, get_blob(connection.clone(), hash).bytes_and_stats());
    got.await.unwrap().ok().map(|(bytes, _)| bytes.to_vec())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_that_knows_the_hash_of_a_blob_gets_nothing() {
    let mut honest = Honest::start();
    let hash = add(&honest.victim, CONTENT);
    let strangers = [
        Raw::stranger().await,
        // The same name, but the key that another secret derives for it.
        Raw::member(&secret(2), "bob").await,
        // A member, but without a connection on which it has proved that.
        Raw::member(&secret(1), "carol").await,
    ];
    for stranger in &strangers {
        for alpn in [ALPN, FIND_ALPN] {
            let connection = stranger.dial_with(&honest.victim, alpn).await.unwrap();
            assert_eq!(get(&connection, hash).await, None);
            let (code, reason) = closed(&connection, HANDSHAKE_PATIENCE).await;
            assert_eq!((code, &*reason), (NO_MEMBER, "not a member"));
        }
        honest.victim.line_with(&format!("endpoint_id={}: it has no connection", stranger.id().short()));
    }
    honest.check_they_go_on();
    honest.check_clean_end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connected_member_gets_blobs_until_its_connection_for_documents_ends() {
    let mut honest = Honest::start();
    let hash = add(&honest.victim, CONTENT);
    let carol = Raw::member(&secret(1), "carol").await;
    let speaker = carol.join(&honest.victim, "carol").await;
    let connection = carol.dial_with(&honest.victim, ALPN).await.unwrap();
    for _ in 0..3 {
        assert_eq!(get(&connection, hash).await.as_deref(), Some(CONTENT));
    }
    assert_eq!(get(&connection, Hash::new(b"something else")).await, None);
    assert_eq!(
        get(&connection, hash).await.as_deref(),
        Some(CONTENT),
        "a blob that is not there harms nothing"
    );
    speaker.connection.close(0_u32.into(), b"goodbye");
    assert_eq!(closed(&connection, HANDSHAKE_PATIENCE).await.0, NO_MEMBER);
    let again = carol.dial_with(&honest.victim, ALPN).await.unwrap();
    assert_eq!(closed(&again, HANDSHAKE_PATIENCE).await.0, NO_MEMBER);
    honest.check_they_go_on();
    honest.check_clean_end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_a_connection_for_blobs_ends_that_connection_only() {
    let mut honest = Honest::start();
    let hash = add(&honest.victim, CONTENT);
    let carol = Raw::member(&secret(1), "carol").await;
    let mut speaker = carol.join(&honest.victim, "carol").await;
    let other = carol.dial_with(&honest.victim, ALPN).await.unwrap();
    let garbage = [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 100_000], &[0], &[2], &[1; 33]];
    for (alpn, garbage) in [ALPN, FIND_ALPN].into_iter().flat_map(|alpn| garbage.map(|one| (alpn, one))) {
        let connection = carol.dial_with(&honest.victim, alpn).await.unwrap();
        let (mut send, _recv) = connection.open_bi().await.unwrap();
        // The node may hang up before all of it is there.
        let _ = send.write_all(garbage).await;
        let _ = send.finish();
        let (code, reason) = closed(&connection, HANDSHAKE_PATIENCE).await;
        assert_eq!(code, BROKEN_RULE, "{reason}");
    }
    assert_eq!(get(&other, hash).await.as_deref(), Some(CONTENT));
    speaker.say(&Frame::Probe { round: 7, all: Summary::EMPTY }).await;
    speaker.hear().await;
    honest.check_they_go_on();
    honest.check_clean_end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_can_push_a_blob_into_a_node() {
    let mut honest = Honest::start();
    let carol = Raw::member(&secret(1), "carol").await;
    let _speaker = carol.join(&honest.victim, "carol").await;
    let connection = carol.dial_with(&honest.victim, ALPN).await.unwrap();
    let store = MemStore::new();
    let own: &Store = &store;
    let pushed = own.add_slice(b"pushed").await.unwrap();
    let request = PushRequest::new(pushed.hash, ChunkRangesSeq::root());
    // Whether sending fails depends on when the refusal comes.
    let _ = own.remote().execute_push(connection.clone(), request).complete().await;
    assert_eq!(get(&connection, pushed.hash).await, None);
    let path = format!("/api/v1/blobs/{}/status", pushed.hash.to_hex());
    assert_eq!(honest.victim.get(&path).1["state"], "absent");
    honest.check_they_go_on();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_has_only_so_many_connections_for_blobs() {
    let mut honest = Honest::start();
    let hash = add(&honest.victim, CONTENT);
    let carol = Raw::member(&secret(1), "carol").await;
    let _speaker = carol.join(&honest.victim, "carol").await;
    let mut held = Vec::new();
    for _ in 0..8 {
        let connection = carol.dial_with(&honest.victim, ALPN).await.unwrap();
        assert_eq!(get(&connection, hash).await.as_deref(), Some(CONTENT));
        held.push(connection);
    }
    let ninth = carol.dial_with(&honest.victim, ALPN).await.unwrap();
    assert_eq!(closed(&ninth, HANDSHAKE_PATIENCE).await, (6, "too many connections".to_owned()));
    assert_eq!(get(&held[0], hash).await.as_deref(), Some(CONTENT));
    honest.check_they_go_on();
    honest.check_clean_end();
}
