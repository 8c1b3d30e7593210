//! A member that says that it has blobs, and lies.

use iroh::endpoint::Connection;
use iroh_blobs::Hash;
use peat_mesh::blob::{ALPN, FIND_ALPN};
use tokio::task::JoinSet;

use crate::common::Http;
use crate::raw::{Honest, Raw, secret};

/// The answer that it has all of a blob, which is so long.
fn all(size: u64) -> Vec<u8> {
    [&[3][..], &size.to_be_bytes(), &size.to_be_bytes(), &[0, 0]].concat()
}

/// Answers every question with `answer`, and every request for bytes with `bytes`.
async fn lie(connection: Connection, answer: Vec<u8>, bytes: Vec<u8>) {
    while let Ok((mut send, mut recv)) = connection.accept_bi().await {
        let _ = recv.read_to_end(4096).await;
        let said = if connection.alpn() == FIND_ALPN { &answer } else { &bytes };
        let _ = send.write_all(said).await;
        let _ = send.finish();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_who_lies_about_a_blob_does_not_keep_it_from_those_who_ask_others_too() {
    const SIZE: u64 = 3 * 1024 * 1024 + 5;
    let mut honest = Honest::start();
    let header = |size: u64| size.to_le_bytes().to_vec();
    let lies = [
        (all(u64::MAX - 1), Vec::new()),
        (all(u64::MAX / 2), header(u64::MAX / 2)),
        (all(0), header(0)),
        (all(1), [header(1), vec![7]].concat()),
        (all(SIZE), [header(SIZE), vec![7; 3_000_000]].concat()),
        (all(SIZE * 2), [header(SIZE * 2), vec![0; 100_000]].concat()),
        (vec![9; 19], Vec::new()),
        (vec![3; 7], Vec::new()),
    ];
    for (number, (answer, bytes)) in lies.into_iter().enumerate() {
        let carol = Raw::member(&secret(1), "carol").await;
        let speaker = carol.join(&honest.victim, "carol").await;
        carol.endpoint.set_alpns(vec![ALPN.to_vec(), FIND_ALPN.to_vec()]);
        let endpoint = carol.endpoint.clone();
        let mut lying = JoinSet::new();
        lying.spawn(async move {
            let mut each = JoinSet::new();
            while let Some(incoming) = endpoint.accept().await {
                if let Ok(connection) = incoming.await {
                    each.spawn(lie(connection, answer.clone(), bytes.clone()));
                }
            }
        });
        let content: Vec<u8> = (0..SIZE).map(|at| (at % 251) as u8 ^ number as u8).collect();
        let hash = Hash::new(&content).to_hex();
        let mut friend: Http = honest.friend.http();
        assert_eq!(friend.exchange("POST", "/api/v1/blobs", "", &content).unwrap().status, 201);
        let mut victim = honest.victim.http();
        let got = tokio::task::spawn_blocking(move || {
            victim.exchange("GET", &format!("/api/v1/blobs/{hash}"), "", b"")
        });
        let got = got.await.unwrap().unwrap();
        assert!(got.body == content, "lie {number}: {} with {} bytes", got.status, got.body.len());
        speaker.connection.close(0_u32.into(), b"goodbye");
        carol.endpoint.close().await;
    }
    honest.check_they_go_on();
    honest.check_clean_end();
}
