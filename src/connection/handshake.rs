//! The first exchange on a connection: the formation proof, then who is who.
//!
//! ```text
//! dialer                                  acceptor
//!   | opening: version, proof      ------->  |  wrong: closes, says nothing of itself
//!   | <-------  opening: version, proof      |
//!   | <-------  Hello                        |
//!   | Hello                        ------->  |
//! ```

use iroh::endpoint::{Connection, RecvStream, SendStream};
use peat_mesh_core::EndpointId;
use peat_mesh_core::proof::{EXPORTER_BYTES, EXPORTER_LABEL, OPENING_BYTES, ProofError, Role, Session};
use peat_mesh_core::wire::{Decoder, Frame, HEADER_BYTES, Hello, WireError};

use super::Shared;

/// Longest first frame of a peer, in bytes.
const HELLO_BYTES_MAX: usize = 512;

/// A peer that has shown that it is a member.
#[derive(Debug)]
pub(super) struct Proven {
    pub(super) peer: EndpointId,
    pub(super) hello: Hello,
    pub(super) send: SendStream,
    pub(super) recv: RecvStream,
}

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    #[error(transparent)]
    Proof(#[from] ProofError),
    #[error("it does not introduce itself rightly: {0}")]
    Hello(#[from] WireError),
    #[error("it says it is {said}, but its key is not the one of that name")]
    Name { said: String },
    #[error("it did not prove that it is a member in time")]
    TooSlow,
    #[error("it has no connection on which it proved that it is a member")]
    NotAdmitted,
    #[error("it has too many connections")]
    TooMany,
    #[error("{0}")]
    Transport(String),
}

impl HandshakeError {
    pub(super) fn close_code(&self) -> u32 {
        match self {
            Self::Proof(ProofError::Version { .. }) => super::peer::OTHER_VERSION,
            Self::Proof(_) | Self::NotAdmitted => super::peer::NO_MEMBER,
            Self::TooMany => super::peer::TOO_MANY,
            _ => super::peer::BROKEN_RULE,
        }
    }

    /// Whether the other side is no member, or none that keeps the rules; a connection that just broke
    /// tells nothing about it.
    pub(super) fn is_strange(&self) -> bool {
        !matches!(self, Self::Transport(_) | Self::TooMany)
    }

    /// What the other side is told: nothing that helps a stranger.
    pub(super) fn told(&self) -> &'static str {
        match self {
            Self::Proof(ProofError::Version { .. }) => "another protocol version",
            Self::Proof(_) | Self::NotAdmitted => "not a member",
            Self::TooMany => "too many connections",
            _ => "broken handshake",
        }
    }
}

/// What a failed connection means for a person.
pub(super) fn in_words(problem: &str) -> String {
    if problem.contains("not a member") {
        "it does not hold this formation's secret (or this node does not hold its)".to_owned()
    } else if problem.contains("timed out") {
        "no answer: it is not running, or UDP is blocked on the way".to_owned()
    } else {
        problem.to_owned()
    }
}

fn transport(problem: impl std::error::Error) -> HandshakeError {
    HandshakeError::Transport(in_words(&super::n0_chain(&problem)))
}

pub(super) async fn dial(shared: &Shared, connection: &Connection) -> Result<Proven, HandshakeError> {
    let session = session(shared, connection, Role::Dialer)?;
    let (mut send, mut recv) = connection.open_bi().await.map_err(transport)?;
    send.write_all(&session.opening(Role::Dialer)).await.map_err(transport)?;
    session.verify(Role::Acceptor, &opening(&mut recv).await?)?;
    send.write_all(&hello(shared)).await.map_err(transport)?;
    proven(shared, connection, send, recv).await
}

pub(super) async fn accept(shared: &Shared, connection: &Connection) -> Result<Proven, HandshakeError> {
    let session = session(shared, connection, Role::Acceptor)?;
    let (mut send, mut recv) = connection.accept_bi().await.map_err(transport)?;
    session.verify(Role::Dialer, &opening(&mut recv).await?)?;
    let both = [&session.opening(Role::Acceptor)[..], &hello(shared)].concat();
    send.write_all(&both).await.map_err(transport)?;
    proven(shared, connection, send, recv).await
}

fn session(shared: &Shared, connection: &Connection, me: Role) -> Result<Session, HandshakeError> {
    let mut exporter = [0; EXPORTER_BYTES];
    connection
        .export_keying_material(&mut exporter, EXPORTER_LABEL, b"")
        .map_err(|_| HandshakeError::Transport("the TLS session gives no keying material".to_owned()))?;
    let own = shared.identity.endpoint_id();
    let other = EndpointId(*connection.remote_id().as_bytes());
    let (dialer, acceptor) = match me {
        Role::Dialer => (own, other),
        Role::Acceptor => (other, own),
    };
    Ok(Session::new(shared.identity.secret().proof_key(), exporter, dialer, acceptor))
}

fn hello(shared: &Shared) -> bytes::Bytes {
    let hello = Hello { name: shared.identity.name().clone(), incarnation: shared.incarnation };
    Frame::Hello(hello).encode()
}

async fn opening(recv: &mut RecvStream) -> Result<[u8; OPENING_BYTES], HandshakeError> {
    let mut opening = [0; OPENING_BYTES];
    recv.read_exact(&mut opening).await.map_err(transport)?;
    Ok(opening)
}

async fn proven(
    shared: &Shared,
    connection: &Connection,
    send: SendStream,
    mut recv: RecvStream,
) -> Result<Proven, HandshakeError> {
    let mut header = [0; HEADER_BYTES];
    recv.read_exact(&mut header).await.map_err(transport)?;
    let mut body = vec![0; Decoder::with_limit(HELLO_BYTES_MAX).body_bytes(&header)?];
    recv.read_exact(&mut body).await.map_err(transport)?;
    let Frame::Hello(hello) = Frame::decode(header[0], body.into())? else {
        return Err(WireError::UnknownKind { kind: header[0] }.into());
    };
    let peer = EndpointId(*connection.remote_id().as_bytes());
    if shared.identity.secret().endpoint_of(&hello.name) != peer {
        return Err(HandshakeError::Name { said: hello.name.to_string() });
    }
    Ok(Proven { peer, hello, send, recv })
}
