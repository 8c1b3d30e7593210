//! `GET /api/v1/events`: document changes and news of the formation as server-sent events.
//!
//! A reader that comes back says where it was, in `Last-Event-ID` (browsers do that by themselves) or
//! `?since=`. A stream ends when the node stops or its store cannot be read; the reader then comes back.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, StreamExt};
use peat_mesh_core::io::Event as News;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::{self, error::RecvError};

use super::Room;
use super::dto;
use super::error::ApiError;
use super::feed::{Feed, Item};
use super::params::{Params, Watch, number};
use crate::handle::{Handle, RequestError};

/// After how many seconds without an event a comment is sent, so that nothing in between closes the
/// connection and a reader that is gone is noticed.
pub(super) const KEEP_ALIVE_SECS: u64 = 15;

pub(super) async fn events(
    State(room): State<Room>,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let mut watch = Watch::new(params)?;
    // The header wins: a browser repeats the address, `since` and all, whenever it comes back.
    if let Some(seq) = last_event_id(&headers)? {
        watch.since = Some(seq);
    }
    let place = room.stream()?;
    let handle = room.handle;
    let news = handle.news();
    let feed = Feed::open(handle.clone(), watch)?;
    let start = stream::iter([start(&feed)]);
    let reader = Reader { feed, news, handle, _place: place };
    let changes = stream::unfold(reader, async |mut reader| Some((reader.next().await?, reader)));
    let events = start.chain(changes).map(Ok::<_, Infallible>);
    let keep_alive = KeepAlive::new().interval(Duration::from_secs(KEEP_ALIVE_SECS)).text("keep-alive");
    let unbuffered = [(HeaderName::from_static("x-accel-buffering"), "no")];
    Ok((unbuffered, Sse::new(events).keep_alive(keep_alive)).into_response())
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let Some(value) = headers.get("last-event-id").filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(value.as_bytes());
    number("Last-Event-ID", text.trim(), 0, u64::MAX).map(Some)
}

/// An id without data: no event to the reader, but the place from which it resumes if it loses the
/// connection before the first event.
fn start(feed: &Feed) -> Event {
    Event::default().id(feed.at().to_string())
}

struct Reader {
    feed: Feed,
    news: broadcast::Receiver<News>,
    handle: Handle,
    _place: OwnedSemaphorePermit,
}

impl Reader {
    async fn next(&mut self) -> Option<Event> {
        loop {
            tokio::select! {
                item = self.feed.next() => return change(item),
                news = self.news.recv() => match news {
                    // Without an id: where a reader resumes is a place in the changes.
                    Ok(news) => if let Some(news) = dto::FormationNews::new(&self.handle, &news) {
                        return Event::default().event(news.name()).json_data(&news).ok();
                    },
                    // How things stand is at `/api/v1/topology`.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                },
            }
        }
    }
}

fn change(item: Result<Option<Item>, RequestError>) -> Option<Event> {
    let item = match item {
        Ok(item) => item?,
        Err(error) => {
            // Converted for the log alone: the status has been sent long ago.
            let _ = ApiError::from(error);
            return None;
        }
    };
    let event = match &item {
        Item::Change(change) => {
            Event::default().id(change.seq.to_string()).json_data(dto::Change::new(change))
        }
        Item::Resync { since } => {
            Event::default().event("resync").id(since.to_string()).json_data(dto::Resync::new(*since))
        }
    };
    event.ok()
}
