//! Members of the formation that break the rules after the handshake.

use bytes::Bytes;
use peat_mesh_core::DocId;
use peat_mesh_core::catalog::{Fingerprint, Position, Prefix, Summary};
use peat_mesh_core::heads::Heads;
use peat_mesh_core::wire::{Changes, Digest, Frame, RangeItems, Want, WantStage};

use crate::raw::{BROKEN_RULE, HANDSHAKE_PATIENCE, Honest, Raw, closed, hello, secret};

fn doc(text: &str) -> DocId {
    text.parse().unwrap()
}

fn changes(doc_id: &str, chunks: &[u8]) -> Vec<u8> {
    let documents = vec![(doc(doc_id), Bytes::copy_from_slice(chunks))];
    Frame::Changes(Changes { repair: false, audience: Vec::new(), documents }).encode().into()
}

fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind, 0], &length[..], body].concat()
}

/// What is sent, its bytes, and words of the reason that has to come back.
fn broken() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let outside =
        RangeItems { prefix: Prefix::of(Position(0), 1), items: vec![(Position(u128::MAX), Digest([7; 8]))] };
    // Magic, a checksum, kind "change", four bytes of nothing.
    let hollow = [&[0x85, 0x6f, 0x4a, 0x83], &[0; 4][..], &[1, 4], &[0; 4]].concat();
    let endless = [&[0x85, 0x6f, 0x4a, 0x83], &[0; 4][..], &[1], &[0xff; 10]].concat();
    vec![
        ("a kind that there is not", frame(99, b"?"), "unknown frame kind 99"),
        ("a second byte that is not 0", vec![3, 1, 0, 0, 0, 4, 0, 0, 0, 0], "unknown frame kind 3"),
        ("a length of 4 GiB", vec![8, 0, 0xff, 0xff, 0xff, 0xff], "a frame of 4294967295 bytes is larger"),
        ("a length one above the limit", vec![8, 0, 1, 0, 0, 1], "a frame of 16777217 bytes is larger"),
        ("a body that is too short", frame(2, &[0]), "the body of a probe frame is too short"),
        ("a body that is too long", frame(3, &[0; 5]), "the body of a in-step frame is too long"),
        ("a count of a million", frame(6, &[0xc0, 0x84, 0x3d]), "at most 1024 are allowed"),
        ("a document name with dots", frame(8, b"\x00\x00\x01\x04../x\x00"), "a bad document"),
        ("a position outside its range", Frame::Items(vec![outside]).encode().into(), "outside its range"),
        (
            "changes that are no chunks",
            changes("evil/text", b"no Automerge at all"),
            "there is no Automerge chunk",
        ),
        ("a chunk without content", changes("evil/hollow", &hollow), "refused"),
        ("a chunk that never ends", changes("evil/endless", &endless), "refused"),
        ("a second hello", hello("mallory").encode().into(), "a second hello"),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_breaks_a_rule_is_told_why_and_may_come_back() {
    let mut honest = Honest::start();
    honest.check_they_go_on();
    for (number, (what, bytes, words)) in broken().into_iter().enumerate() {
        // One that breaks rules again and again has to wait, so each time it is another one.
        let who = format!("mallory-{number}");
        let mallory = Raw::member(&secret(1), &who).await;
        let seen = honest.victim.lines_count();
        let mut speaker = mallory.join(&honest.victim, &who).await;
        // Read a frame first: the connection really is in use.
        speaker.say(&Frame::Probe { round: 7, all: Summary::EMPTY }).await;
        speaker.hear().await;
        // The node may hang up before all of it is there.
        let _ = speaker.send.write_all(&bytes).await;
        let (code, reason) = closed(&speaker.connection, HANDSHAKE_PATIENCE).await;
        assert_eq!(code, BROKEN_RULE, "{what}: {reason}");
        assert!(reason.contains(words), "{what}: {reason}");
        let line =
            honest.victim.line_after(seen, |line| line.contains(&format!("Peer disconnected peer={who} ")));
        assert!(line.contains(words), "{what}: {line}");
    }
    // It comes back, and is treated as any other member.
    let mallory = Raw::member(&secret(1), "mallory-0").await;
    let mut speaker = mallory.join(&honest.victim, "mallory-0").await;
    speaker.say(&Frame::Probe { round: 8, all: Summary::EMPTY }).await;
    let given = speaker.hear_until(|frame| matches!(frame, Frame::Changes(_))).await;
    let Frame::Changes(given) = given else { unreachable!() };
    assert!(given.documents.iter().all(|(doc, _)| doc.collection() == "honest"), "{given:?}");
    honest.check_they_go_on();
    honest.check_clean_end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_that_never_comes_to_its_end_holds_up_nobody_else() {
    let mut honest = Honest::start();
    let mallory = Raw::member(&secret(1), "mallory").await;
    let mut speaker = mallory.join(&honest.victim, "mallory").await;
    // The largest frame that is allowed, and only its first byte.
    speaker.send.write_all(&[8, 0, 1, 0, 0, 0, 0]).await.unwrap();
    honest.check_they_go_on();
    assert!(speaker.connection.close_reason().is_none());
    honest.check_clean_end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_frames_that_nobody_asked_for_harm_nothing() {
    let mut honest = Honest::start();
    honest.check_they_go_on();
    let mallory = Raw::member(&secret(1), "mallory").await;
    let mut speaker = mallory.join(&honest.victim, "mallory").await;
    let nonsense = Summary { count: 12, fingerprint: Fingerprint([9; 12]) };
    for number in 0..2_000_u32 {
        let want = |index: u32| Want {
            doc: doc(&format!("evil/{number}-{index}")),
            stage: WantStage::Heads,
            heads: Heads::new(Vec::new()),
            have: Vec::new(),
        };
        let position = Position(u128::from(number) << 100);
        for frame in [
            Frame::InStep { round: number },
            Frame::Probe { round: number, all: nonsense },
            Frame::Fetch(vec![position; 16]),
            Frame::Want((0..16).map(want).collect()),
            Frame::Items(vec![RangeItems { prefix: Prefix::ALL, items: vec![(position, Digest([1; 8]))] }]),
        ] {
            // It never reads what comes back; the node may have enough of that.
            if speaker.send.write_all(&frame.encode()).await.is_err() {
                break;
            }
        }
    }
    honest.check_they_go_on();
    let status = std::fs::read_to_string(format!("/proc/{}/status", honest.victim.pid())).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
    let peak_kb: u64 = peak.map_or(0, |kb| kb.trim().parse().unwrap());
    assert!(peak_kb < 200_000, "the node took {peak_kb} kB");
    honest.check_clean_end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_says_it_is_another_one_is_refused() {
    let mut honest = Honest::start();
    let mallory = Raw::member(&secret(1), "mallory").await;
    let mut speaker = mallory.prove(&honest.victim).await;
    speaker.say(&hello("bob")).await;
    let (code, reason) = closed(&speaker.connection, HANDSHAKE_PATIENCE).await;
    assert_eq!((code, &*reason), (BROKEN_RULE, "broken handshake"));
    let line = honest.victim.line_with("it says it is bob, but its key is not the one of that name");
    assert!(line.contains(&mallory.id().short().to_string()), "{line}");
    honest.check_they_go_on();
    honest.check_clean_end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_member_sends_instead_of_its_name_is_refused() {
    let mut honest = Honest::start();
    let mallory = Raw::member(&secret(1), "mallory").await;
    let too_long = frame(1, &[b'a'; 600]);
    let other_kind = Frame::InStep { round: 1 }.encode().to_vec();
    let bad_name = frame(1, b"\x03a b\x00\x00\x00\x00\x00\x00\x00\x00");
    for bytes in [too_long, other_kind, bad_name, vec![8, 0, 0xff, 0xff, 0xff, 0xff]] {
        let mut speaker = mallory.prove(&honest.victim).await;
        let _ = speaker.send.write_all(&bytes).await;
        let (code, reason) = closed(&speaker.connection, HANDSHAKE_PATIENCE).await;
        assert_eq!((code, &*reason), (BROKEN_RULE, "broken handshake"));
    }
    honest.check_they_go_on();
    honest.check_clean_end();
}
