//! What admitted peers may ask: bytes of one blob, one request after the other on each connection.
//!
//! Nobody can put anything here: requests to push, to observe, or for several blobs at once are refused.

use std::sync::Arc;
use std::time::Duration;

use iroh::endpoint::{Connection, VarInt};
use iroh_blobs::api::Store;
use iroh_blobs::protocol::Request;
use iroh_blobs::provider::events::{EventMask, EventSender, RequestMode};
use iroh_blobs::provider::{self, StreamPair};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::Inner;

/// How long a request may take to come.
const REQUEST: Duration = Duration::from_secs(5);
/// How long a connection may be there without a request.
const IDLE: Duration = Duration::from_secs(30);
/// Close codes, as in `docs/protocol.md`.
const GOODBYE: u32 = 0;
const BROKEN_RULE: u32 = 3;

/// Serves connections until it is told to stop.
pub(super) async fn run(
    inner: Arc<Inner>,
    mut connections: mpsc::Receiver<Connection>,
    cancel: CancellationToken,
) {
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            () = cancel.cancelled() => break,
            Some(connection) = connections.recv() => {
                tasks.spawn(serve(connection, (*inner.store).clone()));
            }
            () = inner.leftovers.wanted() => {
                let leftovers = Arc::clone(&inner.leftovers);
                tasks.spawn(async move { leftovers.sweep().await });
            }
            Some(ended) = tasks.join_next() => {
                if let Err(problem) = ended && problem.is_panic() {
                    warn!("a task that served blobs has panicked; this is a bug: {problem}");
                }
            }
        }
    }
    tasks.shutdown().await;
}

async fn serve(connection: Connection, store: Store) {
    let (code, reason) = requests(&connection, &store).await;
    connection.close(VarInt::from_u32(code), reason.as_bytes());
}

/// Answers requests until there is a reason to end the connection.
async fn requests(connection: &Connection, store: &Store) -> (u32, &'static str) {
    let mask =
        EventMask { get_many: RequestMode::Disabled, push: RequestMode::Disabled, ..EventMask::DEFAULT };
    let (events, _) = EventSender::channel(1, mask);
    loop {
        let Ok(stream) = tokio::time::timeout(IDLE, connection.accept_bi()).await else {
            return (GOODBYE, "idle");
        };
        let Ok((send, recv)) = stream else {
            return (GOODBYE, "");
        };
        let mut pair = StreamPair::new(connection.stable_id() as u64, recv, send, events.clone());
        let Ok(Ok(request)) = tokio::time::timeout(REQUEST, pair.read_request()).await else {
            return (BROKEN_RULE, "that is no request for a blob");
        };
        let answered = match request {
            Request::Get(request) if request.ranges.is_blob() => {
                provider::handle_get(pair, store.clone(), request).await
            }
            Request::GetMany(request) => provider::handle_get_many(pair, store.clone(), request).await,
            Request::Push(request) => provider::handle_push(pair, store.clone(), request).await,
            _ => return (BROKEN_RULE, "only single blobs can be asked for"),
        };
        if let Err(problem) = answered {
            // It is not here, not whole, or the peer does not want it any more: told to the peer already.
            debug!("a request for a blob was not answered to its end: {problem}");
        }
    }
}
