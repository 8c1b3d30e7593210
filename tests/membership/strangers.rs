//! Endpoints that do not hold the secret.

use std::time::Instant;

use peat_mesh_core::proof::Role;

use crate::common::{Pair, secret_text};
use crate::raw::{HANDSHAKE_PATIENCE, Honest, NO_MEMBER, Raw, closed, secret};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_with_another_secret_gets_nothing_and_is_named_in_the_log() {
    let mut honest = Honest::start();
    let stranger = Raw::stranger().await;
    let connection = stranger.dial(&honest.victim).await;
    let opening = stranger.session(&connection, &secret(2)).opening(Role::Dialer);
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    send.write_all(&opening).await.unwrap();
    let mut byte = [0; 1];
    assert!(!matches!(recv.read(&mut byte).await, Ok(Some(_))), "a stranger was told something");
    let (code, reason) = closed(&connection, HANDSHAKE_PATIENCE).await;
    assert_eq!((code, &*reason), (NO_MEMBER, "not a member"));

    let line = honest.victim.line_with("Refused a connection from 127.0.0.1:");
    let port = stranger.endpoint.bound_sockets()[0].port();
    assert!(line.contains(&format!("127.0.0.1:{port}, endpoint_id={}: ", stranger.id().short())), "{line}");
    assert!(line.contains("WARN") && line.contains("does not hold this formation's secret"), "{line}");
    assert!(!honest.victim.out.text().contains(&secret_text(1)));
    honest.check_they_go_on();
    honest.check_clean_end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_of_another_formation_with_a_name_of_this_one_is_refused() {
    let mut honest = Honest::start();
    // The same name, but the key that another secret derives for it.
    let stranger = Raw::member(&secret(2), "bob").await;
    let connection = stranger.dial(&honest.victim).await;
    let (mut send, _recv) = connection.open_bi().await.unwrap();
    send.write_all(&stranger.session(&connection, &secret(2)).opening(Role::Dialer)).await.unwrap();
    assert_eq!(closed(&connection, HANDSHAKE_PATIENCE).await.0, NO_MEMBER);
    honest.check_they_go_on();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_that_was_made_for_another_connection_is_refused() {
    let mut honest = Honest::start();
    let member = Raw::member(&secret(1), "carol").await;
    let [first, second] = [member.dial(&honest.victim).await, member.dial(&honest.victim).await];
    let (mut send, _recv) = second.open_bi().await.unwrap();
    send.write_all(&member.session(&first, &secret(1)).opening(Role::Dialer)).await.unwrap();
    let (code, reason) = closed(&second, HANDSHAKE_PATIENCE).await;
    assert_eq!((code, &*reason), (NO_MEMBER, "not a member"));
    honest.check_they_go_on();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_that_sends_garbage_is_cut_off_at_once() {
    let mut honest = Honest::start();
    for garbage in
        [vec![0; 38], vec![0xff; 64 * 1024], b"GET / HTTP/1.1\r\nhost: node\r\n\r\n--------".to_vec()]
    {
        let stranger = Raw::stranger().await;
        let connection = stranger.dial(&honest.victim).await;
        let (mut send, _recv) = connection.open_bi().await.unwrap();
        // The node may hang up before all of it is there.
        let _ = send.write_all(&garbage).await;
        let (code, reason) = closed(&connection, HANDSHAKE_PATIENCE).await;
        assert_eq!((code, &*reason), (NO_MEMBER, "not a member"));
    }
    honest.check_they_go_on();
    honest.check_clean_end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_that_stalls_is_cut_off_in_time_while_a_peer_goes_on() {
    let mut honest = Honest::start();
    let strangers =
        [Raw::stranger().await, Raw::stranger().await, Raw::stranger().await, Raw::stranger().await];
    let started = Instant::now();
    let silent = strangers[0].dial(&honest.victim).await;

    let half = strangers[1].dial(&honest.victim).await;
    let (mut half_send, _half_recv) = half.open_bi().await.unwrap();
    let opening = strangers[1].session(&half, &secret(1)).opening(Role::Dialer);
    half_send.write_all(&opening[..20]).await.unwrap();

    // A holder of the secret who never says who it is.
    let nameless = strangers[2].prove(&honest.victim).await;

    let opener = strangers[3].dial(&honest.victim).await;
    let opening = opener.clone();
    let opening = tokio::spawn(async move {
        let mut streams = Vec::new();
        while let Ok((mut send, recv)) = opening.open_bi().await {
            send.write_all(b"P").await.unwrap();
            streams.push((send, recv));
        }
        streams.len()
    });

    honest.check_they_go_on();
    for connection in [&silent, &half, &nameless.connection, &opener] {
        closed(connection, HANDSHAKE_PATIENCE).await;
    }
    assert!(started.elapsed() < HANDSHAKE_PATIENCE, "{:?}", started.elapsed());
    assert_eq!(opening.await.unwrap(), 1, "only one stream may be open at a time");
    honest.check_they_go_on();
    honest.check_clean_end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_that_take_every_place_do_not_keep_a_peer_out_for_long() {
    let pair = Pair::new();
    let victim = pair.alice.serve();
    let stranger = Raw::stranger().await;
    let mut silent = Vec::new();
    // Until the node has no more room for handshakes and turns the next one away.
    while silent.len() < 200 {
        match stranger.dial_with(&victim, peat_mesh_core::wire::ALPN).await {
            Ok(connection) => silent.push(connection),
            Err(_) => break,
        }
    }
    assert!(silent.len() < 200, "there is no end to handshakes");
    let friend = pair.bob.serve();
    friend.connected_to("alice");
    victim.connected_to("bob");
    assert_eq!(friend.put("c/x", &serde_json::json!({"n": 1})).0, 201);
    victim.until_document("c/x", &serde_json::json!({"n": 1}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_protocol_is_refused() {
    let mut honest = Honest::start();
    let member = Raw::member(&secret(1), "carol").await;
    for alpn in [&b"/iroh-bytes/3"[..], b"cap/automerge/0", b"cap/automerge/10", b"h3"] {
        assert!(member.dial_with(&honest.victim, alpn).await.is_err(), "{alpn:?}");
    }
    honest.check_they_go_on();
    honest.check_clean_end();
}
