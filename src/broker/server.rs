//! Connections: accepted, counted, served, and let go when the node stops.
//!
//! In: a listener. Every connection is a task of this function and ends with it. On stopping nothing
//! more is accepted, event streams end at once, requests in flight get the grace period.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::linger::Lingering;
use super::patience::Patient;
use super::{Room, STREAMS_COUNT_MAX, overflow, routes};
use crate::handle::Handle;

/// Most connections at a time. Event streams over WebSocket are counted apart.
const CONNECTIONS_COUNT_MAX: usize = 1024;
/// Connections beyond the limit that are told so; more than these are closed without a word.
const REFUSALS_COUNT_MAX: usize = 64;
/// Longest time for the head of a request, and for a connection to be idle, in seconds.
const HEADER_SECS_MAX: u64 = 30;
/// The same for a connection beyond the limit, in seconds.
const REFUSAL_HEADER_SECS_MAX: u64 = 2;
/// Longest time in which a client reads nothing of what it asked for, in seconds.
const WRITE_STALL_SECS_MAX: u64 = 30;
/// Most bytes that are buffered of what comes and of what goes, for each connection.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Wait after an accept that failed: most often there is no file descriptor left, in milliseconds.
const ACCEPT_RETRY_MS: u64 = 100;
/// After so many failures in a row the listener is given up.
const ACCEPT_FAILURES_COUNT_MAX: u32 = 600;

/// Serves the API on `listener` until the node stops; then for at most `grace` what is in flight.
///
/// # Errors
/// When the listener does not accept connections any more.
pub async fn serve(listener: TcpListener, handle: Handle, grace: Duration) -> io::Result<()> {
    let room = Room::new(handle);
    let mut connections = JoinSet::new();
    let accepted = accept(listener, &room, &mut connections).await;

    let finish = async {
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
        // WebSockets left their connection's task when they were upgraded; a place that is free is one
        // that ended.
        let _ = room.streams.acquire_many(STREAMS_COUNT_MAX).await;
    };
    if tokio::time::timeout(grace, finish).await.is_err() {
        tracing::warn!(?grace, "requests were still in flight after the grace period and are dropped");
    }
    connections.shutdown().await;
    accepted
}

/// Accepts until the node stops, and drops the listener then.
async fn accept(listener: TcpListener, room: &Room, connections: &mut JoinSet<()>) -> io::Result<()> {
    let stopping = room.handle.stopping().clone();
    let full = Kind::new(routes(room.clone()), CONNECTIONS_COUNT_MAX, HEADER_SECS_MAX, true);
    let refusal = Kind::new(overflow(room.clone()), REFUSALS_COUNT_MAX, REFUSAL_HEADER_SECS_MAX, false);
    let mut failures = 0;
    loop {
        let accepted = tokio::select! {
            biased;
            () = stopping.cancelled() => return Ok(()),
            Some(ended) = connections.join_next() => {
                report(ended);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                failures = 0;
                let kind = [&full, &refusal].into_iter().find_map(|kind| Some((kind, kind.place()?)));
                if let Some((kind, place)) = kind {
                    connections.spawn(kind.clone().serve(stream, place, stopping.clone()));
                }
            }
            Err(error) if failures < ACCEPT_FAILURES_COUNT_MAX => {
                failures += 1;
                if failures == 1 {
                    tracing::warn!(%error, "a connection could not be accepted");
                }
                tokio::time::sleep(Duration::from_millis(ACCEPT_RETRY_MS)).await;
            }
            Err(error) => return Err(error),
        }
    }
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection's task panicked");
    }
}

/// How a connection is served: as meant, or to be told that there are too many.
#[derive(Debug, Clone)]
struct Kind {
    routes: Router,
    places: Arc<Semaphore>,
    http: http1::Builder,
}

impl Kind {
    fn new(routes: Router, places: usize, header_secs: u64, keep_alive: bool) -> Self {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(Duration::from_secs(header_secs))
            .max_buf_size(BUFFER_BYTES_MAX)
            .keep_alive(keep_alive);
        Self { routes, places: Arc::new(Semaphore::new(places)), http }
    }

    fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    async fn serve(self, stream: TcpStream, place: OwnedSemaphorePermit, stopping: CancellationToken) {
        // Answers and events are small and must not wait for the next one.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::trace!(%error, "a connection was gone before it was served");
            return;
        }
        let stream = Lingering::new(stream, stopping.clone());
        let stream = Patient::new(stream, Duration::from_secs(WRITE_STALL_SECS_MAX));
        let service = TowerToHyperService::new(self.routes);
        let connection = self.http.serve_connection(TokioIo::new(stream), service).with_upgrades();
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stopping.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::trace!(%error, "a connection ended early");
        }
        drop(place);
    }
}
