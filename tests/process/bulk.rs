//! Much at once: documents of megabytes over one connection.

use serde_json::json;

use crate::common::Pair;

#[test]
fn large_documents_reach_a_new_peer_over_one_connection() {
    let pair = Pair::new();
    let alice = pair.alice.serve();
    let mut http = alice.http();
    for number in 0..16 {
        // Text that does not compress to nothing.
        let words: Vec<String> = (0..60_000_u64)
            .map(|word| format!("{:016x}", (word + number * 60_000).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
            .collect();
        let value = json!({"n": number, "words": words.join(" ")});
        let path = format!("/api/v1/documents/large/{number}");
        assert_eq!(http.request("PUT", &path, Some(&value)).unwrap().0, 201);
    }
    let bob = pair.bob.serve();
    bob.until("all large documents are there", |bob| {
        bob.get("/api/v1/documents").1["collections"][0]["count"] == json!(16)
    });
    for node in [&alice, &bob] {
        let log = node.out.text();
        assert!(!log.contains("Peer disconnected"), "{log}");
    }
}
