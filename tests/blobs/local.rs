//! One node: what its HTTP routes for blobs answer.

use crate::common::{Process, Setup};
use crate::rig::{add, ask, content, files, get, hash, send, state, status, until};
use serde_json::json;

fn alone() -> (tempfile::TempDir, Process) {
    let folder = tempfile::tempdir().unwrap();
    let node = Setup::node("n", folder.path()).serve();
    (folder, node)
}

#[test]
fn a_blob_is_stored_once_and_read_again_byte_for_byte() {
    let (_folder, node) = alone();
    for size in [0, 1, 16 * 1024, 16 * 1024 + 1, 3_000_000] {
        let bytes = content(size as u64, size);
        let hash = add(&node, &bytes);
        let again = send(&node, &bytes);
        assert_eq!((again.status, again.headers["etag"].as_str()), (200, &*format!("\"{hash}\"")));
        let answer = get(&node, &hash);
        assert_eq!(answer.status, 200);
        assert_eq!(answer.headers["etag"], format!("\"{hash}\""));
        assert_eq!(answer.headers["content-type"], "application/octet-stream");
        assert!(answer.body == bytes, "{size} bytes came back as others");
        let mut whole = status(&node, &hash);
        // In a week, unless a document names it.
        assert!(whole["collected_after"].take().is_string(), "{whole}");
        let expected = json!({
            "hash": hash, "state": "complete", "size": size, "have_bytes": size, "damaged": false,
            "references": 0, "pinned": false, "collected_after": null, "fetch": null,
        });
        assert_eq!(whole, expected);
    }
    node.stop();
}

#[test]
fn a_body_of_unknown_length_is_taken() {
    let (_folder, node) = alone();
    let bytes = content(1, 100_000);
    let mut http = node.http();
    http.send_head("POST", "/api/v1/blobs", "transfer-encoding: chunked\r\n").unwrap();
    for piece in bytes.chunks(30_000) {
        http.send(format!("{:x}\r\n", piece.len()).as_bytes()).unwrap();
        http.send(piece).unwrap();
        http.send(b"\r\n").unwrap();
    }
    http.send(b"0\r\n\r\n").unwrap();
    assert_eq!(http.answer("POST").unwrap().json()["hash"], hash(&bytes));
    assert!(get(&node, &hash(&bytes)).body == bytes);
}

#[test]
fn a_part_of_a_blob_can_be_asked_for() {
    let (_folder, node) = alone();
    let bytes = content(2, 100_000);
    let path = format!("/{}", add(&node, &bytes));
    for (range, first, end) in
        [("0-0", 0, 1), ("16380-16390", 16380, 16391), ("99990-", 99_990, 100_000), ("-7", 99_993, 100_000)]
    {
        let answer = ask(&node, "GET", &path, &format!("range: bytes={range}\r\n"));
        assert_eq!(answer.status, 206, "{range}");
        assert_eq!(answer.headers["content-range"], format!("bytes {first}-{}/100000", end - 1));
        assert!(answer.body == bytes[first..end], "{range}");
    }
    let outside = ask(&node, "GET", &path, "range: bytes=100000-\r\n");
    assert_eq!(outside.headers["content-range"], "bytes */100000");
    assert!(outside.error(416).contains("100000 bytes"));
    let several = ask(&node, "GET", &path, "range: bytes=0-1,5-6\r\n");
    assert_eq!((several.status, several.body.len()), (200, 100_000));
}

#[test]
fn who_has_a_blob_is_not_sent_it_again_and_head_sends_only_the_head() {
    let (_folder, node) = alone();
    let hash = add(&node, b"content");
    let path = format!("/{hash}");
    let known = ask(&node, "GET", &path, &format!("if-none-match: \"{hash}\"\r\n"));
    assert_eq!((known.status, known.body.len()), (304, 0));
    let head = ask(&node, "HEAD", &path, "");
    assert_eq!((head.status, head.headers["content-length"].as_str()), (200, "7"));
    assert_eq!(head.headers["accept-ranges"], "bytes");
    assert_eq!(ask(&node, "HEAD", &format!("/{}", crate::rig::hash(b"other")), "").status, 404);
}

#[test]
fn a_deleted_blob_is_gone_from_the_disk() {
    let (folder, node) = alone();
    let data = folder.path().join("blobs/data");
    let [kept, gone] = [content(1, 50_000), content(2, 60_000)].map(|bytes| add(&node, &bytes));
    assert_eq!(files(&data).len(), 2);
    let path = format!("/{gone}");
    assert_eq!(ask(&node, "DELETE", &path, "").status, 204);
    assert_eq!(files(&data), [format!("{kept}.data")]);
    assert_eq!(state(&node, &gone), "absent");
    assert!(get(&node, &gone).error(404).contains("no node that could have it is connected"));
    assert!(ask(&node, "DELETE", &path, "").error(404).contains(&gone));
    assert_eq!(get(&node, &kept).body.len(), 50_000);
    // It can come back.
    assert_eq!(add(&node, &content(2, 60_000)), gone);
    assert_eq!(get(&node, &gone).body.len(), 60_000);
}

#[test]
fn blobs_are_listed_in_pages() {
    let (_folder, node) = alone();
    let mut all: Vec<String> = (0..5_u8).map(|number| add(&node, &[number; 100])).collect();
    all.sort();
    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        let page = ask(&node, "GET", &format!("?limit=2{after}"), "").json();
        assert_eq!(page["count"], 5);
        for blob in page["blobs"].as_array().unwrap() {
            assert_eq!(blob["size"], 100);
            seen.push(blob["hash"].as_str().unwrap().to_owned());
        }
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(seen, all);
}

#[test]
fn what_cannot_be_meant_is_refused_in_words() {
    let (_folder, node) = alone();
    for method in ["GET", "DELETE"] {
        assert!(ask(&node, method, "/abc", "").error(400).contains("64 hex digits"));
    }
    assert!(ask(&node, "GET", "?after=x", "").error(400).contains("64 hex digits"));
    assert!(ask(&node, "GET", "?limit=0", "").error(400).contains("limit"));
    assert_eq!(ask(&node, "PUT", "", "").status, 405);
    let foreign = node.http().exchange("POST", "/api/v1/blobs", "origin: http://evil.example\r\n", b"x");
    assert!(foreign.unwrap().error(403).contains("evil.example"));
}

#[test]
fn clients_that_do_not_read_on_do_not_take_more_than_their_places() {
    let (_folder, node) = alone();
    let hash = add(&node, &content(6, 30_000_000));
    let path = format!("/api/v1/blobs/{hash}");
    let readers: Vec<_> = (0..64)
        .map(|_| {
            let mut http = node.http();
            http.send_head("GET", &path, "").unwrap();
            assert_eq!(http.answer_head().unwrap().0, 200);
            http
        })
        .collect();
    let one_more = ask(&node, "GET", &format!("/{hash}"), "");
    assert_eq!(one_more.headers["retry-after"], "1");
    assert!(one_more.error(503).contains("too many blobs that are being read"));
    drop(readers);
    until("there is a place again", || {
        ask(&node, "GET", &format!("/{hash}"), "range: bytes=0-0\r\n").status == 206
    });
    // One more that sends waits for a place.
    let senders: Vec<_> = (0..8)
        .map(|_| {
            let mut http = node.http();
            http.send_head("POST", "/api/v1/blobs", "expect: 100-continue\r\ncontent-length: 10\r\n")
                .unwrap();
            assert_eq!(http.answer_head().unwrap().0, 100);
            http
        })
        .collect();
    std::thread::scope(|scope| {
        let one_more = scope.spawn(|| send(&node, b"one more").status);
        assert!(!one_more.is_finished());
        drop(senders);
        assert_eq!(one_more.join().unwrap(), 201);
    });
}

#[test]
fn many_who_read_one_blob_at_once_all_get_all_of_it() {
    let (_folder, node) = alone();
    let bytes = content(7, 300_000);
    let hash = add(&node, &bytes);
    for _ in 0..5 {
        std::thread::scope(|scope| {
            let readers: Vec<_> = (0..60).map(|_| scope.spawn(|| get(&node, &hash).body == bytes)).collect();
            assert!(readers.into_iter().all(|reader| reader.join().unwrap()));
        });
    }
    assert!(!node.stop().out.contains(" WARN "));
}
