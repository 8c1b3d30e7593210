//! `GET /api/v1/events`: document changes as server-sent events.
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

use super::Room;
use super::dto;
use super::error::ApiError;
use super::feed::{Feed, Item};
use super::params::{Params, Watch, number};

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
    let feed = Feed::open(room.handle.clone(), watch)?;
    let start = stream::iter([start(&feed)]);
    let changes = stream::unfold((feed, place), async |(mut feed, place)| {
        let event = next(&mut feed).await?;
        Some((event, (feed, place)))
    });
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

async fn next(feed: &mut Feed) -> Option<Event> {
    let item = match feed.next().await {
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
