//! One admitted connection: frames in, frames out, and how it ended.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use iroh::endpoint::{Connection, ConnectionError, RecvStream, SendStream, VarInt};
use peat_mesh_core::ConnId;
use peat_mesh_core::hub::Rule;
use peat_mesh_core::io::{Closed, Input};
use peat_mesh_core::limits;
use peat_mesh_core::wire::{Decoder, Frame, HEADER_BYTES, WireError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::handshake::Proven;
use super::{ConnEvent, OUTBOX_FRAMES_MAX, Shared, liveness};

/// Close codes of the protocol.
pub(super) const GOODBYE: u32 = 0;
pub(super) const DUPLICATE: u32 = 1;
pub(super) const IDENTITY_ELSEWHERE: u32 = 2;
pub(super) const BROKEN_RULE: u32 = 3;
pub(super) const NO_MEMBER: u32 = 4;
pub(super) const OTHER_VERSION: u32 = 5;
pub(super) const TOO_MANY: u32 = 6;
pub(super) const NOT_NEEDED: u32 = 7;

/// Bytes of received frames of one connection that may wait to be dealt with. A larger frame waits until
/// it is the only one.
const INBOUND_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long a peer may take from the end of its stream to the end of its connection, in milliseconds.
const LEAVING_MS_MAX: u64 = 5_000;
/// The node is told of so many bytes that have left, or of the last ones of what is written in one go.
const SENT_BYTES_MIN: usize = 64 * 1024;
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
    let address = liveness::path(&connection).address;
    let admitted = Input::Admitted { conn, peer, hello, dialed, address };
    if shared.events.send(admitted.into()).await.is_ok() {
        let ended = tokio::select! {
            end = read(shared, conn, recv) => end,
            end = write(shared, conn, send, frames) => end,
            _ = connection.closed() => End::Closed,
            () = cancel.cancelled() => End::Goodbye,
        };
        let why = match ended {
            End::Garbage(problem) => {
                close(&connection, BROKEN_RULE, &problem.to_string());
                let reason = format!("it sent what is not a frame: {problem}");
                Closed::Broke { rule: Rule::Frame, reason }
            }
            End::Goodbye => {
                close(&connection, GOODBYE, "goodbye");
                Closed::Goodbye
            }
            End::Closed => {
                let leaving = Duration::from_millis(LEAVING_MS_MAX);
                match tokio::time::timeout(leaving, connection.closed()).await {
                    Ok(problem) => why(&problem),
                    Err(_) => {
                        close(&connection, BROKEN_RULE, "the stream has ended");
                        let reason = "it ended the stream and kept the connection".to_owned();
                        Closed::Broke { rule: Rule::HalfOpen, reason }
                    }
                }
            }
        };
        // Nobody reads any more only when the node is shutting down.
        let _ = shared.events.send(Input::Closed { conn, why }.into()).await;
    }
    shared.live.remove(conn);
}

/// Why the tasks of a connection stop.
enum End {
    /// The peer broke the rules of the wire.
    Garbage(WireError),
    /// This node is stopping.
    Goodbye,
    /// The connection ended, or is about to.
    Closed,
}

fn why(problem: &ConnectionError) -> Closed {
    match problem {
        ConnectionError::ApplicationClosed(close) => match u32::try_from(close.error_code.into_inner()) {
            Ok(GOODBYE) => Closed::Goodbye,
            Ok(DUPLICATE) => Closed::Duplicate,
            Ok(NOT_NEEDED) => Closed::NotNeeded,
            Ok(IDENTITY_ELSEWHERE) => Closed::IdentityElsewhere,
            _ => {
                Closed::Lost(format!("it closed the connection: {}", String::from_utf8_lossy(&close.reason)))
            }
        },
        ConnectionError::LocallyClosed => Closed::Lost("this node closed the connection".to_owned()),
        ConnectionError::TimedOut => {
            Closed::Lost("no sign of life; it is off or the way to it is cut".to_owned())
        }
        other => Closed::Lost(other.to_string()),
    }
}

/// Frames from the peer to the node.
async fn read(shared: &Shared, conn: ConnId, mut recv: RecvStream) -> End {
    let budget = Arc::new(Semaphore::new(INBOUND_BYTES_MAX));
    loop {
        match read_frame(&budget, &mut recv).await {
            Ok(Some((frame, permit))) => {
                let received = ConnEvent { input: Input::Received { conn, frame }, permit: Some(permit) };
                if shared.events.send(received).await.is_err() {
                    return End::Goodbye;
                }
            }
            // The peer is leaving. It closes when what it sent has arrived; this side keeps its own half
            // of the stream until then.
            Ok(None) => {
                tokio::time::sleep(Duration::from_millis(LEAVING_MS_MAX)).await;
                return End::Closed;
            }
            Err(problem) => return End::Garbage(problem),
        }
    }
}

async fn read_frame(
    budget: &Arc<Semaphore>,
    recv: &mut RecvStream,
) -> Result<Option<(Frame, OwnedSemaphorePermit)>, WireError> {
    let mut header = [0; HEADER_BYTES];
    if recv.read_exact(&mut header).await.is_err() {
        return Ok(None);
    }
    let bytes = Decoder::default().body_bytes(&header)?;
    // Wait until earlier frames are dealt with before memory is taken for this one.
    let cost = limits::frame_cost_bytes(bytes).min(INBOUND_BYTES_MAX) as u32;
    let Ok(permit) = Arc::clone(budget).acquire_many_owned(cost).await else { return Ok(None) };
    let mut body = BytesMut::zeroed(bytes);
    if recv.read_exact(&mut body).await.is_err() {
        return Ok(None);
    }
    Ok(Some((Frame::decode(header[0], body.freeze())?, permit)))
}

/// Frames from the node to the peer, until the node gives up the outbox; then all of them have arrived.
async fn write(
    shared: &Shared,
    conn: ConnId,
    mut send: SendStream,
    mut frames: mpsc::Receiver<Bytes>,
) -> End {
    let mut batch: Vec<Bytes> = Vec::with_capacity(WRITE_FRAMES_MAX);
    while frames.recv_many(&mut batch, WRITE_FRAMES_MAX).await > 0 {
        let mut left = &mut batch[..];
        let mut bytes = 0;
        while !left.is_empty() {
            let frames = left.len();
            let Ok(written) = send.write_many_chunks(&mut left).await else { return End::Closed };
            bytes += written + (frames - left.len()) * limits::FRAME_OVERHEAD_BYTES;
            // Over a slow path a frame takes long: that it goes on is news.
            let is_news = bytes >= SENT_BYTES_MIN || left.is_empty();
            if is_news
                && shared
                    .events
                    .send(Input::Sent { conn, bytes: mem::take(&mut bytes) }.into())
                    .await
                    .is_err()
            {
                return End::Goodbye;
            }
        }
        batch.clear();
    }
    if send.finish().is_ok() {
        // Whether it arrived or the connection broke: there is nothing more to wait for.
        let _ = send.stopped().await;
    }
    End::Goodbye
}
