//! `GET /api/v1/ws`: document changes and news of peers as JSON text frames.
//!
//! The client has nothing to say but its pongs. Small texts are passed over; binary frames, large ones
//! and too many end the connection. Every end has a close code and a reason.

use std::time::Duration;

use axum::Error;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::HeaderMap;
use axum::response::Response;
use futures_util::SinkExt;
use peat_mesh_core::io::Event;
use serde::Serialize;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::Room;
use super::dto;
use super::error::ApiError;
use super::feed::{Feed, Item};
use super::origin::check_origin;
use super::params::{Params, Watch};
use crate::handle::Handle;

/// How often a client is pinged, in seconds.
const PING_EVERY_SECS: u64 = 15;
/// How long a client may be without a pong, in seconds.
const PONG_WITHIN_SECS: u64 = 45;
/// How long a client may take to read what is sent, in seconds.
const SEND_SECS_MAX: u64 = 10;
/// How long a client may take to answer a close, in seconds.
const CLOSE_SECS_MAX: u64 = 1;
/// Largest message of a client, in bytes.
const CLIENT_MESSAGE_BYTES_MAX: usize = 4096;
/// Most messages of a client between two pings, its own pings and pongs included.
const CLIENT_MESSAGES_COUNT_MAX: u32 = 64;
/// Most frames that are written before the socket is flushed.
const FRAMES_PER_FLUSH_MAX: usize = 64;
/// Frames that are not flushed take at most about this much, in bytes.
const WRITE_BUFFER_BYTES_MAX: usize = 256 * 1024;

pub(super) async fn upgrade(
    State(room): State<Room>,
    params: Params,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    // A browser lets a page open a WebSocket to anywhere. Without this check any page that an operator
    // visits could read along.
    check_origin(&headers, "open a WebSocket to")?;
    let watch = Watch::new(params)?;
    let upgrade = upgrade.map_err(|rejection| ApiError::NotAWebSocket(rejection.body_text()))?;
    let place = room.stream()?;
    let handle = room.handle;
    let feed = Feed::open(handle.clone(), watch)?;
    let news = handle.news();
    let upgrade = upgrade
        .max_message_size(CLIENT_MESSAGE_BYTES_MAX)
        .max_frame_size(CLIENT_MESSAGE_BYTES_MAX)
        .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX);
    // The task ends by itself soon after the node stops; the server waits for its place to be free.
    Ok(upgrade.on_upgrade(async move |socket| {
        Session { socket, feed, news, handle }.run().await;
        drop(place);
    }))
}

struct Session {
    socket: WebSocket,
    feed: Feed,
    news: broadcast::Receiver<Event>,
    handle: Handle,
}

/// Why a session ends.
enum End {
    /// The client is gone or has said goodbye.
    Gone,
    /// This code and reason are told to the client.
    Close(u16, String),
}

impl End {
    fn policy(reason: impl Into<String>) -> Self {
        Self::Close(close_code::POLICY, reason.into())
    }

    fn stopping() -> Self {
        Self::Close(close_code::AWAY, "this node is shutting down".to_owned())
    }
}

impl Session {
    async fn run(mut self) {
        if let Err(End::Close(code, reason)) = self.talk().await {
            tracing::debug!(code, reason, "closing a WebSocket");
            self.close(code, reason).await;
        }
    }

    async fn talk(&mut self) -> Result<(), End> {
        let stopping = self.handle.stopping().clone();
        let ping_every = Duration::from_secs(PING_EVERY_SECS);
        let mut ping = interval_at(Instant::now() + ping_every, ping_every);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last_pong = Instant::now();
        let mut messages = 0_u32;
        loop {
            tokio::select! {
                () = stopping.cancelled() => return Err(End::stopping()),
                item = self.feed.next() => match item {
                    Ok(Some(item)) => self.send_items(item).await?,
                    Ok(None) => return Err(End::stopping()),
                    Err(error) => {
                        let reason = ApiError::from(error).to_string();
                        return Err(End::Close(close_code::ERROR, reason));
                    }
                },
                news = self.news.recv() => self.send_news(news).await?,
                message = self.socket.recv() => {
                    messages += 1;
                    if check(message, messages)? == Said::Pong {
                        last_pong = Instant::now();
                    }
                }
                _ = ping.tick() => {
                    if last_pong.elapsed() >= Duration::from_secs(PONG_WITHIN_SECS) {
                        return Err(End::policy(format!("no pong within {PONG_WITHIN_SECS} seconds")));
                    }
                    messages = 0;
                    self.send([Message::Ping(Default::default())]).await?;
                }
            }
        }
    }

    /// Sends an item and those that wait behind it, with one flush.
    async fn send_items(&mut self, first: Item) -> Result<(), End> {
        let mut frames = vec![frame(&first)];
        while frames.len() < FRAMES_PER_FLUSH_MAX
            && let Some(item) = self.feed.ready()
        {
            frames.push(frame(&item));
        }
        self.send(frames).await
    }

    async fn send_news(&mut self, news: Result<Event, RecvError>) -> Result<(), End> {
        let frames: Vec<_> = match news {
            Ok(event) => {
                let formation = dto::FormationNews::new(&self.handle, &event);
                let formation = formation.map(|news| text(&news.typed()));
                dto::PeerNews::new(event).iter().map(text).chain(formation).collect()
            }
            // Too much has happened to tell it all: how things stand now is worth more.
            Err(RecvError::Lagged(_)) => {
                let peers = self.handle.peers().into_iter().map(|peer| text(&dto::PeerNews::of(peer)));
                let lost = dto::FormationNews::lost(&self.handle);
                peers.chain(lost.into_iter().map(|news| text(&news.typed()))).collect()
            }
            Err(RecvError::Closed) => return Err(End::stopping()),
        };
        self.send(frames).await
    }

    async fn send(&mut self, frames: impl IntoIterator<Item = Message>) -> Result<(), End> {
        let socket = &mut self.socket;
        let sent = async {
            for frame in frames {
                socket.feed(frame).await?;
            }
            socket.flush().await
        };
        match timeout(Duration::from_secs(SEND_SECS_MAX), sent).await {
            Ok(Ok(())) => Ok(()),
            // It does not read, so it would not read a reason either.
            Ok(Err(_)) | Err(_) => Err(End::Gone),
        }
    }

    async fn close(mut self, code: u16, reason: String) {
        let frame = CloseFrame { code, reason: reason_text(reason).into() };
        let farewell = async {
            if self.socket.send(Message::Close(Some(frame))).await.is_ok() {
                // What the client has sent until it answers is read, or the reason would be lost with it.
                while let Some(Ok(_)) = self.socket.recv().await {}
            }
        };
        // Whether it answered or not, the connection ends here.
        let _ = timeout(Duration::from_secs(CLOSE_SECS_MAX), farewell).await;
    }
}

#[derive(PartialEq)]
enum Said {
    Pong,
    Nothing,
}

/// Holds what a client sends against the rules.
fn check(message: Option<Result<Message, Error>>, count: u32) -> Result<Said, End> {
    if count > CLIENT_MESSAGES_COUNT_MAX {
        return Err(End::policy(format!(
            "more than {CLIENT_MESSAGES_COUNT_MAX} messages within {PING_EVERY_SECS} seconds"
        )));
    }
    match message {
        None | Some(Ok(Message::Close(_))) => Err(End::Gone),
        Some(Ok(Message::Pong(_))) => Ok(Said::Pong),
        Some(Ok(Message::Text(_) | Message::Ping(_))) => Ok(Said::Nothing),
        Some(Ok(Message::Binary(_))) => Err(End::policy("binary messages are not taken")),
        // A connection that broke ends here as well; the close then goes nowhere.
        Some(Err(_)) => Err(End::policy(format!(
            "a message of more than {CLIENT_MESSAGE_BYTES_MAX} bytes or a broken frame"
        ))),
    }
}

fn frame(item: &Item) -> Message {
    match item {
        Item::Change(change) => text(&dto::Change::typed(change)),
        Item::Resync { since } => text(&dto::Resync::typed(*since)),
    }
}

fn text(shape: &impl Serialize) -> Message {
    // The shapes are structs of strings and numbers, which always serialize.
    Message::Text(serde_json::to_string(shape).unwrap_or_default().into())
}

/// A close frame has room for 123 bytes of reason.
fn reason_text(mut reason: String) -> String {
    const REASON_BYTES_MAX: usize = 123;
    reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
    reason
}
