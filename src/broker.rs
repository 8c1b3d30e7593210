//! The HTTP, SSE and WebSocket API of a node: requests come in, JSON goes out.
//!
//! The room knows the node only through its [`Handle`]. Reads go to the store through it, writes wait
//! until they are on disk. Routes, shapes and limits are listed in `docs/http.md`.
//!
//! - `health`, `nodes`, `documents`: what is answered at once.
//! - `sync`, `why`: which nodes are in step, why not, and writes that wait for other nodes.
//! - `blobs`, `range`, `outgoing`: files and other bytes, streamed in and out.
//! - `fetches`, `rate`: blobs that are fetched in the background, and how that goes.
//! - `feed`: document changes in order and without gaps; `sse` and `ws` send it out.
//! - `params`, `body`, `origin`: what comes in, checked; `dto`, `error`: every JSON shape that goes out.
//! - `server`, `patience`: connections, their number, and how long they may take.

mod blobs;
mod body;
mod documents;
mod dto;
mod error;
mod feed;
mod fetches;
mod health;
mod linger;
mod metrics;
mod nodes;
mod origin;
mod outgoing;
mod params;
mod patience;
mod range;
mod rate;
mod server;
mod sse;
mod sync;
#[cfg(test)]
mod tests;
mod why;
mod ws;

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRef;
use axum::http::{Method, Uri};
use axum::routing::{get, post};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use self::server::serve;

use self::error::ApiError;
use crate::handle::Handle;

/// Most event streams (SSE and WebSocket together) at a time.
const STREAMS_COUNT_MAX: u32 = 256;
/// Most clients that wait for nodes to be in step at a time.
const WAITS_COUNT_MAX: usize = 256;
/// Most bytes of request bodies in memory at a time, until their documents are written.
const BODIES_BYTES_MAX: u32 = 64 * 1024 * 1024;
/// Most blobs that clients send at a time. Each takes up to 5 MiB of memory.
const UPLOADS_COUNT_MAX: usize = 8;
/// Most blobs that clients read at a time. Each takes up to 1 MiB of memory.
const DOWNLOADS_COUNT_MAX: usize = 64;

/// Every route of the API, for a server of one's own or for tests; [`serve`] is the whole server.
pub fn router(handle: Handle) -> Router {
    routes(Room::new(handle))
}

/// What the routes share: the node, and how much of what is left.
#[derive(Debug, Clone)]
struct Room {
    handle: Handle,
    streams: Arc<Semaphore>,
    bodies: Arc<Semaphore>,
    uploads: Arc<Semaphore>,
    downloads: Arc<Semaphore>,
    waits: Arc<Semaphore>,
}

impl Room {
    fn new(handle: Handle) -> Self {
        Self {
            handle,
            streams: Arc::new(Semaphore::new(STREAMS_COUNT_MAX as usize)),
            bodies: Arc::new(Semaphore::new(BODIES_BYTES_MAX as usize)),
            uploads: Arc::new(Semaphore::new(UPLOADS_COUNT_MAX)),
            downloads: Arc::new(Semaphore::new(DOWNLOADS_COUNT_MAX)),
            waits: Arc::new(Semaphore::new(WAITS_COUNT_MAX)),
        }
    }

    /// A place for one more event stream; it is free again when the permit is dropped.
    fn stream(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        let place = Arc::clone(&self.streams).try_acquire_owned();
        place.map_err(|_| ApiError::Busy { what: "event streams" })
    }

    /// A place for one more client that waits for nodes to be in step.
    fn wait(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        let place = Arc::clone(&self.waits).try_acquire_owned();
        place.map_err(|_| ApiError::Busy { what: "clients that wait for nodes to be in step" })
    }
}

impl FromRef<Room> for Handle {
    fn from_ref(room: &Room) -> Handle {
        room.handle.clone()
    }
}

fn routes(room: Room) -> Router {
    let blob = get(blobs::read).head(blobs::head).delete(blobs::delete);
    let document = get(documents::read).put(documents::write).delete(documents::delete);
    Router::new()
        .route("/api/v1/health", get(health::health))
        .route("/api/v1/ready", get(health::ready))
        .route("/api/v1/node", get(nodes::node))
        .route("/api/v1/peers", get(nodes::peers))
        .route("/api/v1/peers/{*id}", get(nodes::peer))
        .route("/api/v1/topology", get(nodes::topology))
        .route("/api/v1/sync", get(sync::sync))
        .route("/api/v1/documents", get(documents::collections))
        .route("/api/v1/documents/{collection}", get(documents::list))
        .route("/api/v1/documents/{collection}/{id}", document)
        .route("/api/v1/documents/{collection}/{id}/sync", get(sync::document))
        .route("/api/v1/blobs", get(blobs::list).post(blobs::add))
        .route("/api/v1/blobs/{hash}", blob)
        .route("/api/v1/blobs/{hash}/status", get(blobs::status))
        .route("/api/v1/blobs/{hash}/fetch", post(fetches::start).delete(fetches::cancel))
        .route("/api/v1/blobs/{hash}/progress", get(fetches::progress))
        .route("/api/v1/events", get(sse::events))
        .route("/api/v1/ws", get(ws::upgrade))
        .route("/metrics", get(metrics::metrics))
        .method_not_allowed_fallback(wrong_method)
        .fallback(no_route)
        .with_state(room)
}

/// What is answered on connections beyond the limit: whether the node lives, and nothing else.
fn overflow(room: Room) -> Router {
    Router::new()
        .route("/api/v1/health", get(health::health))
        .route("/api/v1/ready", get(health::ready))
        .fallback(async || ApiError::Busy { what: "connections" })
        .with_state(room)
}

async fn no_route(uri: Uri) -> ApiError {
    ApiError::NoRoute { path: uri.path().to_owned() }
}

async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    ApiError::WrongMethod { method, path: uri.path().to_owned() }
}
