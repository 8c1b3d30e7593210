//! A QUIC endpoint that does as it likes, and the honest nodes it meets.

use std::time::Duration;

use iroh::endpoint::{Connection, ConnectionError, RecvStream, SendStream, presets};
use iroh::{Endpoint, EndpointAddr, RelayMode, SecretKey, TransportAddr};
use peat_mesh::identity::{FormationSecret, Identity};
use peat_mesh_core::proof::{EXPORTER_BYTES, EXPORTER_LABEL, OPENING_BYTES, Role, Session};
use peat_mesh_core::wire::{ALPN, Frame, HEADER_BYTES, Hello};
use peat_mesh_core::{EndpointId, NodeName};
use serde_json::json;

use crate::common::{PATIENCE, Pair, Process, secret_text};

/// Close codes of the protocol.
pub const BROKEN_RULE: u64 = 3;
pub const NO_MEMBER: u64 = 4;
/// How long a node lets a handshake take, with what a busy machine may add. Below the idle time-out.
pub const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);

pub fn secret(byte: u8) -> FormationSecret {
    FormationSecret::parse(&secret_text(byte)).unwrap()
}

pub fn name(text: &str) -> NodeName {
    NodeName::new(text).unwrap()
}

/// Two honest nodes that are connected; `victim` is the one that is attacked.
pub struct Honest {
    pub victim: Process,
    pub friend: Process,
    writes: u32,
    _pair: Pair,
}

impl Honest {
    pub fn start() -> Self {
        let pair = Pair::new();
        let (victim, friend) = pair.serve();
        victim.line_with("Mesh joined");
        Self { victim, friend, writes: 0, _pair: pair }
    }

    /// What is written on one is read on the other, both ways, and no document is there that nobody wrote.
    pub fn check_they_go_on(&mut self) {
        self.writes += 1;
        let value = json!({"n": self.writes});
        let (status, answer) = self.victim.put("honest/victim", &value);
        assert!(status < 300, "{answer}");
        self.friend.until_document("honest/victim", &value);
        let (status, answer) = self.friend.put("honest/friend", &value);
        assert!(status < 300, "{answer}");
        self.victim.until_document("honest/friend", &value);
        let (status, ready) = self.victim.get("/api/v1/ready");
        assert_eq!(status, 200, "{ready}");
        let collections = self.victim.get("/api/v1/documents").1;
        assert_eq!(collections["collections"], json!([{"collection": "honest", "count": 2}]));
    }

    /// Both stop cleanly, and neither noticed more than a peer that broke a rule.
    pub fn check_clean_end(self) {
        for node in [self.victim, self.friend] {
            let ended = node.stop();
            assert!(!ended.out.contains(" ERROR "), "{}", ended.out);
            assert!(!ended.all().contains("panicked"), "{}", ended.all());
        }
    }
}

/// An endpoint with a key of its own.
pub struct Raw {
    pub endpoint: Endpoint,
}

impl Raw {
    async fn bind(key: SecretKey) -> Self {
        let builder = Endpoint::builder(presets::Minimal)
            .secret_key(key)
            .relay_mode(RelayMode::Disabled)
            .clear_address_lookup()
            .clear_ip_transports()
            .bind_addr("127.0.0.1:0")
            .unwrap();
        Self { endpoint: builder.bind().await.unwrap() }
    }

    /// Nobody that anyone knows.
    pub async fn stranger() -> Self {
        Self::bind(SecretKey::from_bytes(&rand::random())).await
    }

    /// The member with this name.
    pub async fn member(of: &FormationSecret, who: &str) -> Self {
        let identity = Identity::new(of.clone(), name(who));
        Self::bind(SecretKey::from_bytes(&identity.private_key())).await
    }

    pub fn id(&self) -> EndpointId {
        EndpointId(*self.endpoint.id().as_bytes())
    }

    pub async fn dial_with(&self, node: &Process, alpn: &[u8]) -> Result<Connection, String> {
        let id = secret(1).endpoint_of(&name(&node.name));
        let id = iroh::EndpointId::from_bytes(&id.0).unwrap();
        let address = EndpointAddr::from_parts(id, [TransportAddr::Ip(node.quic())]);
        let dialed = tokio::time::timeout(PATIENCE, self.endpoint.connect(address, alpn)).await.unwrap();
        dialed.map_err(|problem| format!("{problem:?}"))
    }

    pub async fn dial(&self, node: &Process) -> Connection {
        self.dial_with(node, ALPN).await.unwrap()
    }

    /// The proof that a holder of `with` makes for a connection that it dialled.
    pub fn session(&self, connection: &Connection, with: &FormationSecret) -> Session {
        let mut exporter = [0; EXPORTER_BYTES];
        connection.export_keying_material(&mut exporter, EXPORTER_LABEL, b"").unwrap();
        let acceptor = EndpointId(*connection.remote_id().as_bytes());
        Session::new(with.proof_key(), exporter, self.id(), acceptor)
    }

    /// The honest half of a handshake, up to the place where this side says who it is.
    pub async fn prove(&self, node: &Process) -> Speaker {
        let connection = self.dial(node).await;
        let session = self.session(&connection, &secret(1));
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        send.write_all(&session.opening(Role::Dialer)).await.unwrap();
        let mut opening = [0; OPENING_BYTES];
        recv.read_exact(&mut opening).await.unwrap();
        session.verify(Role::Acceptor, &opening).unwrap();
        Speaker { connection, send, recv }
    }

    /// A whole handshake, as the member with this name.
    pub async fn join(&self, node: &Process, who: &str) -> Speaker {
        let mut speaker = self.prove(node).await;
        speaker.say(&hello(who)).await;
        assert!(matches!(speaker.hear().await, Frame::Hello(hello) if hello.name == name(&node.name)));
        speaker
    }
}

pub fn hello(who: &str) -> Frame {
    Frame::Hello(Hello { name: name(who), incarnation: rand::random() })
}

/// The end of a connection that has proved the secret.
pub struct Speaker {
    pub connection: Connection,
    pub send: SendStream,
    pub recv: RecvStream,
}

impl Speaker {
    pub async fn say(&mut self, frame: &Frame) {
        self.send.write_all(&frame.encode()).await.unwrap();
    }

    pub async fn hear(&mut self) -> Frame {
        let heard = tokio::time::timeout(PATIENCE, async {
            let mut header = [0; HEADER_BYTES];
            self.recv.read_exact(&mut header).await.unwrap();
            let length = u32::from_be_bytes([header[2], header[3], header[4], header[5]]);
            let mut body = vec![0; length as usize];
            self.recv.read_exact(&mut body).await.unwrap();
            Frame::decode(header[0], body.into()).unwrap()
        });
        heard.await.unwrap()
    }

    /// Waits for a frame among others.
    pub async fn hear_until(&mut self, wanted: impl Fn(&Frame) -> bool) -> Frame {
        loop {
            let frame = self.hear().await;
            if wanted(&frame) {
                return frame;
            }
        }
    }
}

/// How the other side ended a connection: its code and its reason.
pub async fn closed(connection: &Connection, patience: Duration) -> (u64, String) {
    match tokio::time::timeout(patience, connection.closed()).await {
        Ok(ConnectionError::ApplicationClosed(close)) => {
            (close.error_code.into_inner(), String::from_utf8_lossy(&close.reason).into_owned())
        }
        Ok(other) => panic!("the connection was not closed but ended: {other}"),
        Err(_) => panic!("the connection was not closed"),
    }
}
