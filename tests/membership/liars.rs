//! A member that says that it has blobs, and lies, or that asks for more than anybody needs.

use bao_tree::{ChunkNum, ChunkRanges};
use iroh::endpoint::Connection;
use iroh_blobs::Hash;
use iroh_blobs::api::Store;
use iroh_blobs::protocol::GetRequest;
use iroh_blobs::store::mem::MemStore;
use peat_mesh::blob::{ALPN, FIND_ALPN};
use tokio::task::JoinSet;

use crate::common::Http;
use crate::raw::{BROKEN_RULE, HANDSHAKE_PATIENCE, Honest, Raw, Speaker, closed, secret};

const SIZE: u64 = 3 * 1024 * 1024 + 5;

/// The answer that it has all of a blob, which is so long.
fn all(size: u64) -> Vec<u8> {
    [&[3][..], &size.to_be_bytes(), &size.to_be_bytes(), &[0, 0]].concat()
}

/// The same of one that is so busy that others are asked first.
fn all_but_busy(size: u64) -> Vec<u8> {
    [&[3][..], &size.to_be_bytes(), &size.to_be_bytes(), &[0xff, 0xff]].concat()
}

/// The answer that a part is there, which grows.
fn growing() -> Vec<u8> {
    [&[2][..], &[0xff; 8], &[0; 10]].concat()
}

/// News of a part that is in so many pieces.
fn pieces(count: u64) -> Vec<u8> {
    let numbers = [SIZE, 2 * count].into_iter().chain((0..2 * count).map(|at| 16 * at));
    let item: Vec<u8> = numbers.flat_map(varint).collect();
    [varint(item.len() as u64), item].concat()
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// A member that is connected, and lies.
struct Liar {
    raw: Raw,
    speaker: Speaker,
    _lying: JoinSet<()>,
}

impl Liar {
    async fn start(honest: &Honest, answer: Vec<u8>, bytes: Option<Vec<u8>>) -> Self {
        let raw = Raw::member(&secret(1), "carol").await;
        let speaker = raw.join(&honest.victim, "carol").await;
        raw.endpoint.set_alpns(vec![ALPN.to_vec(), FIND_ALPN.to_vec()]);
        let endpoint = raw.endpoint.clone();
        let mut lying = JoinSet::new();
        lying.spawn(async move {
            let mut each = JoinSet::new();
            while let Some(incoming) = endpoint.accept().await {
                if let Ok(connection) = incoming.await {
                    each.spawn(lie(connection, answer.clone(), bytes.clone()));
                }
            }
        });
        Self { raw, speaker, _lying: lying }
    }

    async fn end(self) {
        self.speaker.connection.close(0_u32.into(), b"goodbye");
        self.raw.endpoint.close().await;
    }
}

/// Reads a blob that the friend has through the victim, and checks that it comes as it is.
async fn check_it_comes(honest: &Honest, what: &str, number: u8) {
    let content: Vec<u8> = (0..SIZE).map(|at| (at % 251) as u8 ^ number).collect();
    let hash = Hash::new(&content).to_hex();
    let mut friend: Http = honest.friend.http();
    assert_eq!(friend.exchange("POST", "/api/v1/blobs", "", &content).unwrap().status, 201);
    let mut victim = honest.victim.http();
    let got = tokio::task::spawn_blocking(move || {
        victim.exchange("GET", &format!("/api/v1/blobs/{hash}"), "", b"")
    });
    let got = got.await.unwrap().unwrap();
    assert!(got.body == content, "{what}: {} with {} bytes", got.status, got.body.len());
}

/// Answers every question with `answer`, and every request for bytes with `bytes`, or never.
async fn lie(connection: Connection, answer: Vec<u8>, bytes: Option<Vec<u8>>) {
    let mut held = Vec::new();
    while let Ok((mut send, mut recv)) = connection.accept_bi().await {
        let _ = recv.read_to_end(4096).await;
        let said = if connection.alpn() == FIND_ALPN { Some(&answer) } else { bytes.as_ref() };
        let Some(said) = said else {
            held.push(send);
            continue;
        };
        let _ = send.write_all(said).await;
        let _ = send.finish();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_who_lies_about_a_blob_does_not_keep_it_from_those_who_ask_others_too() {
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
        let liar = Liar::start(&honest, answer, Some(bytes)).await;
        check_it_comes(&honest, &format!("lie {number}"), number as u8).await;
        liar.end().await;
    }
    honest.check_they_go_on();
    honest.check_clean_end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_length_that_is_too_small_is_refuted_by_the_bytes_of_another_and_the_blob_comes() {
    let mut honest = Honest::start();
    for (number, size) in [2 * 1024 * 1024 + 100_000, 3 * 1024 * 1024, 500_000].into_iter().enumerate() {
        let liar = Liar::start(&honest, all_but_busy(size), None).await;
        // Whose answer comes first is by chance.
        for round in 0..2 {
            check_it_comes(&honest, &format!("{size} bytes"), 2 * number as u8 + round).await;
        }
        liar.end().await;
    }
    honest.victim.line_with("says a length that it does not have");
    honest.check_they_go_on();
    honest.check_clean_end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_who_has_a_blob_in_very_many_pieces_is_not_used() {
    let mut honest = Honest::start();
    let liar = Liar::start(&honest, growing(), Some(pieces(10_000))).await;
    check_it_comes(&honest, "pieces", 1).await;
    honest.victim.line_with("has it in too many pieces");
    liar.end().await;
    honest.check_they_go_on();
    honest.check_clean_end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_for_very_many_pieces_ends_the_connection() {
    let mut honest = Honest::start();
    let content: Vec<u8> = (0..SIZE).map(|at| (at % 251) as u8).collect();
    let hash = Hash::new(&content);
    assert_eq!(honest.victim.http().exchange("POST", "/api/v1/blobs", "", &content).unwrap().status, 201);
    let carol = Raw::member(&secret(1), "carol").await;
    let _speaker = carol.join(&honest.victim, "carol").await;
    for (pieces, is_allowed) in [(128, true), (129, false), (100_000, false)] {
        let connection = carol.dial_with(&honest.victim, ALPN).await.unwrap();
        let bounds = (0..2 * pieces).map(|at| ChunkNum(16 * at)).collect();
        let request = GetRequest::blob_ranges(hash, ChunkRanges::new(bounds).unwrap());
        let store = MemStore::new();
        let own: &Store = &store;
        let got = own.remote().execute_get(connection.clone(), request).complete().await;
        assert_eq!(got.is_ok(), is_allowed, "{pieces}: {got:?}");
        if !is_allowed {
            assert_eq!(closed(&connection, HANDSHAKE_PATIENCE).await.0, BROKEN_RULE);
        }
    }
    honest.check_they_go_on();
    honest.check_clean_end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_questions_that_are_open_do_not_keep_the_next_from_being_answered() {
    let mut honest = Honest::start();
    let carol = Raw::member(&secret(1), "carol").await;
    let _speaker = carol.join(&honest.victim, "carol").await;
    let connection = carol.dial_with(&honest.victim, FIND_ALPN).await.unwrap();
    let question = [0; 34];
    let ask = async {
        let mut open = Vec::new();
        for _ in 0..200 {
            let (mut send, recv) = connection.open_bi().await.unwrap();
            send.write_all(&question[..1]).await.unwrap();
            open.push((send, recv));
        }
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        send.write_all(&question).await.unwrap();
        let mut answer = [9; 19];
        recv.read_exact(&mut answer).await.unwrap();
        answer[0]
    };
    assert_eq!(tokio::time::timeout(HANDSHAKE_PATIENCE, ask).await.unwrap(), 0);
    honest.check_they_go_on();
    honest.check_clean_end();
}
