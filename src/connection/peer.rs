//! One admitted connection: frames in, frames out, and how it ended.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use iroh::endpoint::{Connection, ConnectionError, RecvStream, SendStream, VarInt};
use peat_mesh_core::ConnId;
use peat_mesh_core::io::Closed;
use peat_mesh_core::limits;
use peat_mesh_core::wire::{Decoder, Frame, HEADER_BYTES, WireError};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::handshake::Proven;
use super::{ConnEvent, OUTBOX_FRAMES_MAX, Shared, path};

/// Close codes of the protocol.
pub(super) const GOODBYE: u32 = 0;
pub(super) const DUPLICATE: u32 = 1;
pub(super) const IDENTITY_ELSEWHERE: u32 = 2;
pub(super) const BROKEN_RULE: u32 = 3;
pub(super) const NO_MEMBER: u32 = 4;
pub(super) const OTHER_VERSION: u32 = 5;

/// Bytes of received frames of one connection that may wait to be dealt with.
const INBOUND_BYTES_MAX: usize = 2 * limits::FRAME_BYTES_MAX;
/// Frames that are written in one go.
const WRITE_FRAMES_MAX: usize = 128;

pub(super) fn close(connection: &Connection, code: u32, reason: &str) {
    let bytes = reason.as_bytes();
    connection.close(VarInt::from_u32(code), &bytes[..bytes.len().min(limits::REASON_BYTES_MAX)]);
}

/// Runs an admitted connection until it ends, and reports all of it.
pub(super) async fn run(
    shared: &Shared,
    connection: Connection,
    proven: Proven,
    dialed: bool,
    cancel: &CancellationToken,
) {
    let Proven { peer, hello, send, recv } = proven;
    let (outbox, frames) = mpsc::channel(OUTBOX_FRAMES_MAX);
    let conn = shared.live.add(connection.clone(), outbox);
    let address = path(&connection).and_then(|(address, _)| address);
    let admitted = ConnEvent::Admitted { conn, peer, hello, dialed, address };
    if shared.events.send(admitted).await.is_ok() {
        let ended = tokio::select! {
            problem = read(shared, conn, recv) => problem,
            () = write(shared, conn, send, frames) => None,
            _ = connection.closed() => None,
            () = cancel.cancelled() => None,
        };
        if let Some(problem) = &ended {
            close(&connection, BROKEN_RULE, &problem.to_string());
        }
        let why = match ended {
            Some(problem) => Closed::Lost(format!("it sent what is not a frame: {problem}")),
            None if cancel.is_cancelled() => Closed::Goodbye,
            None => why(&connection.closed().await),
        };
        // Nobody reads any more only when the node is shutting down.
        let _ = shared.events.send(ConnEvent::Closed { conn, why }).await;
    }
    shared.live.remove(conn);
}

fn why(problem: &ConnectionError) -> Closed {
    match problem {
        ConnectionError::ApplicationClosed(close) => match u32::try_from(close.error_code.into_inner()) {
            Ok(GOODBYE) => Closed::Goodbye,
            Ok(DUPLICATE) => Closed::Duplicate,
            Ok(IDENTITY_ELSEWHERE) => Closed::IdentityElsewhere,
            _ => Closed::Lost(format!("it closed the connection: {}", String::from_utf8_lossy(&close.reason))),
        },
        ConnectionError::LocallyClosed => Closed::Lost("this node closed the connection".to_owned()),
        ConnectionError::TimedOut => Closed::Lost("no sign of life; it is off or the way to it is cut".to_owned()),
        other => Closed::Lost(other.to_string()),
    }
}

/// Frames from the peer to the node. Ends with a problem when the peer breaks the rules, and with
/// nothing when the stream or the node ends.
async fn read(shared: &Shared, conn: ConnId, mut recv: RecvStream) -> Option<WireError> {
    let budget = Arc::new(Semaphore::new(INBOUND_BYTES_MAX));
    let decoder = Decoder::default();
    let mut header = [0; HEADER_BYTES];
    loop {
        recv.read_exact(&mut header).await.ok()?;
        let bytes = match decoder.body_bytes(&header) {
            Ok(bytes) => bytes,
            Err(problem) => return Some(problem),
        };
        // Wait until earlier frames are dealt with before memory is taken for this one.
        let cost = u32::try_from(limits::frame_cost_bytes(bytes)).ok()?;
        let permit = Arc::clone(&budget).acquire_many_owned(cost).await.ok()?;
        let mut body = BytesMut::zeroed(bytes);
        recv.read_exact(&mut body).await.ok()?;
        match Frame::decode(header[0], body.freeze()) {
            Ok(frame) => shared.events.send(ConnEvent::Received { conn, frame, permit }).await.ok()?,
            Err(problem) => return Some(problem),
        }
    }
}

/// Frames from the node to the peer.
async fn write(shared: &Shared, conn: ConnId, mut send: SendStream, mut frames: mpsc::Receiver<Bytes>) {
    let mut batch: Vec<Bytes> = Vec::with_capacity(WRITE_FRAMES_MAX);
    loop {
        if frames.recv_many(&mut batch, WRITE_FRAMES_MAX).await == 0 {
            return;
        }
        let bytes = batch.iter().map(|frame| limits::frame_cost_bytes(frame.len())).sum();
        let written = send.write_all_chunks(&mut batch).await;
        batch.clear();
        if written.is_err() || shared.events.send(ConnEvent::Sent { conn, bytes }).await.is_err() {
            return;
        }
    }
}
