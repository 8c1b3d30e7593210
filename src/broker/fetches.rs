//! Blobs that are fetched in the background: started, ended, and watched as server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep_until};

use super::Room;
use super::blobs::{answer_of, failed};
use super::dto;
use super::error::ApiError;
use super::origin::check_origin;
use super::params::Named;
use super::rate::Rate;
use super::sse::KEEP_ALIVE_SECS;
use crate::handle::{BlobHash, BlobState, FetchStep, Fetching, Handle};

/// Shortest time between two events of a stream, in milliseconds; the last one does not wait.
const EVENT_MS_MIN: u64 = 200;
/// After so long without news while it comes there is an event all the same, since the rate falls, in milliseconds.
const EVENT_MS_MAX: u64 = 1_000;

/// Begins to fetch a blob, or says that it is here.
pub(super) async fn start(
    State(handle): State<Handle>,
    Named(hash): Named,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    check_origin(&headers, "start a fetch on")?;
    let state = handle.blobs().request(hash).await.map_err(|problem| failed(&handle, problem))?;
    let status = match state {
        BlobState::Complete { .. } => StatusCode::OK,
        _ => StatusCode::ACCEPTED,
    };
    Ok((status, Json(answer_of(&handle, hash, state))).into_response())
}

/// Ends a fetch; what has come is kept.
pub(super) async fn cancel(State(handle): State<Handle>, Named(hash): Named) -> Result<StatusCode, ApiError> {
    match handle.blobs().cancel(hash).await.map_err(|problem| failed(&handle, problem))? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(ApiError::NoFetch { hash }),
    }
}

/// How a fetch goes, until it ends.
pub(super) async fn progress(State(room): State<Room>, Named(hash): Named) -> Result<Response, ApiError> {
    let place = room.stream()?;
    let handle = room.handle;
    let source = match handle.blobs().progress(hash) {
        Some(source) => source,
        // It has ended or there was none; one that has just ended has left the whole blob.
        None => watch::channel(complete(&handle, hash).await?.ok_or(ApiError::NoFetch { hash })?).1,
    };
    let watcher = Watcher { hash, source, handle, rate: Rate::default(), sent: None, _place: place };
    let events = stream::unfold(Some(watcher), async |watcher| {
        let mut watcher = watcher?;
        let (event, is_last) = watcher.next().await?;
        Some((event, (!is_last).then_some(watcher)))
    });
    let keep_alive = KeepAlive::new().interval(Duration::from_secs(KEEP_ALIVE_SECS)).text("keep-alive");
    let unbuffered = [(HeaderName::from_static("x-accel-buffering"), "no")];
    Ok((unbuffered, Sse::new(events.map(Ok::<_, Infallible>)).keep_alive(keep_alive)).into_response())
}

/// The last step of a fetch that nobody remembers, when the blob is here.
async fn complete(handle: &Handle, hash: BlobHash) -> Result<Option<Fetching>, ApiError> {
    match handle.blobs().state(hash).await.map_err(|problem| failed(handle, problem))? {
        BlobState::Complete { size } => {
            let step = FetchStep::Complete;
            Ok(Some(Fetching { hash, step, size: Some(size), have_bytes: size, from: Vec::new() }))
        }
        _ => Ok(None),
    }
}

struct Watcher {
    hash: BlobHash,
    source: watch::Receiver<Fetching>,
    handle: Handle,
    rate: Rate,
    /// When the last event was sent, and whether bytes came then.
    sent: Option<(Instant, bool)>,
    _place: OwnedSemaphorePermit,
}

impl Watcher {
    /// The next event, and whether it is the last one. `None` when the node stops.
    async fn next(&mut self) -> Option<(Event, bool)> {
        let fetching = match self.sent {
            None => self.source.borrow_and_update().clone(),
            Some((sent, is_coming)) => tokio::select! {
                () = self.handle.stopping().cancelled() => return None,
                fetching = until_due(&mut self.source, sent, is_coming) => match fetching {
                    Some(fetching) => fetching,
                    None => self.last().await,
                },
            },
        };
        let now = Instant::now();
        let is_coming = fetching.step == FetchStep::Coming;
        match is_coming {
            true => self.rate.note(now, fetching.have_bytes),
            false => self.rate.forget(),
        }
        self.sent = Some((now, is_coming));
        let is_last = fetching.step.is_last();
        Some((Event::default().json_data(self.shape(&fetching)).ok()?, is_last))
    }

    /// The end of a fetch that ended without one.
    async fn last(&self) -> Fetching {
        if let Ok(Some(complete)) = complete(&self.handle, self.hash).await {
            return complete;
        }
        let reason = "the node has ended it; what has come is kept".to_owned();
        Fetching { step: FetchStep::Ended { reason }, from: Vec::new(), ..self.source.borrow().clone() }
    }

    fn shape(&self, fetching: &Fetching) -> dto::Progress {
        let bytes_per_second = self.rate.bytes_per_second();
        let bytes_left = fetching.size.map(|size| size.saturating_sub(fetching.have_bytes));
        let seconds_left = match (bytes_left, bytes_per_second) {
            (Some(0), _) => Some(0),
            (Some(bytes), Some(rate)) if rate > 0 => Some(bytes.div_ceil(rate)),
            _ => None,
        };
        dto::Progress { fetch: dto::Fetch::new(&self.handle, fetching), bytes_per_second, seconds_left }
    }
}

/// Waits until there is something to tell, and it is time to. `None` when nothing will follow.
async fn until_due(
    source: &mut watch::Receiver<Fetching>,
    sent: Instant,
    is_coming: bool,
) -> Option<Fetching> {
    let earliest = sent + Duration::from_millis(EVENT_MS_MIN);
    let latest = sent + Duration::from_millis(EVENT_MS_MAX);
    let mut is_news = false;
    loop {
        tokio::select! {
            changed = source.changed() => {
                changed.ok()?;
                is_news = true;
                if source.borrow().step.is_last() {
                    break;
                }
            }
            () = sleep_until(earliest), if is_news => break,
            () = sleep_until(latest), if is_coming => break,
        }
    }
    Some(source.borrow_and_update().clone())
}
