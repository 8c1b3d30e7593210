//! Which nodes are in step, and writes that wait for other nodes.

use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use peat_mesh_core::DocId;
use peat_mesh_core::replica::Written;
use tokio::sync::OwnedSemaphorePermit;

use super::Room;
use super::dto;
use super::error::ApiError;
use super::params::{Address, Params, number};
use crate::handle::Concern;

/// Most nodes that a write can be made to wait for.
const ACKS_COUNT_MAX: u64 = 256;
/// How long a write waits for other nodes when the client names no time, in milliseconds.
const ACKS_MS_DEFAULT: u64 = 2_000;
/// The longest, in milliseconds.
const ACKS_MS_MAX: u64 = 60_000;
/// How long a question is looked into when the client does not want to wait, in milliseconds: a comparison with
/// peers that answer.
const LOOK_MS: u64 = 1_000;
/// The longest that a client can wait for nodes to be in step, in milliseconds.
const WAIT_MS_MAX: u64 = 300_000;

/// How far this node and its peers are in step.
pub(super) async fn sync(State(room): State<Room>, params: Params) -> Result<Response, ApiError> {
    let wait = Wait::new(&room, params)?;
    let state = room.handle.sync(wait.within).await?;
    let is_late = wait.is_asked && !state.in_step;
    let body = dto::Sync::new(&room.handle, state, wait.waited_ms(), is_late);
    Ok((status(is_late), Json(body)).into_response())
}

/// Which nodes hold a document as it is here.
pub(super) async fn document(
    State(room): State<Room>,
    Address(doc): Address,
    params: Params,
) -> Result<Response, ApiError> {
    let wait = Wait::new(&room, params)?;
    let Some(found) = room.handle.holders(&doc, wait.within).await? else {
        return Err(ApiError::NoDocument { doc });
    };
    let is_late = wait.is_asked && !found.is_held_by_all;
    let body = dto::Holders::new(&room.handle, &doc, found, wait.waited_ms(), is_late);
    Ok((status(is_late), Json(body)).into_response())
}

fn status(is_late: bool) -> StatusCode {
    if is_late { StatusCode::GATEWAY_TIMEOUT } else { StatusCode::OK }
}

/// How long somebody waits: `?wait_ms=`.
struct Wait {
    within: Duration,
    is_asked: bool,
    began: Instant,
    _place: OwnedSemaphorePermit,
}

impl Wait {
    fn new(room: &Room, params: Params) -> Result<Self, ApiError> {
        let [wait_ms] = params.only(["wait_ms"])?;
        let wait_ms = wait_ms.map(|text| number("wait_ms", &text, 0, WAIT_MS_MAX)).transpose()?;
        Ok(Self {
            within: Duration::from_millis(wait_ms.unwrap_or(LOOK_MS)),
            is_asked: wait_ms.is_some(),
            began: Instant::now(),
            _place: room.wait()?,
        })
    }

    fn waited_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }
}

/// How many nodes a write waits for: `?acks=&timeout_ms=`. `None` when the client does not say.
pub(super) fn concern(params: Params) -> Result<Option<Concern>, ApiError> {
    let [acks, timeout_ms] = params.only(["acks", "timeout_ms"])?;
    let timeout_ms = timeout_ms.map(|text| number("timeout_ms", &text, 0, ACKS_MS_MAX)).transpose()?;
    let Some(acks) = acks else {
        return match timeout_ms {
            None => Ok(None),
            Some(_) => Err(ApiError::Malformed(
                "timeout_ms is for writes that wait for other nodes; say for how many with acks".to_owned(),
            )),
        };
    };
    let nodes = number("acks", &acks, 1, ACKS_COUNT_MAX)?;
    let within = Duration::from_millis(timeout_ms.unwrap_or(ACKS_MS_DEFAULT));
    Ok(Some(Concern { nodes: usize::try_from(nodes).unwrap_or(usize::MAX), within }))
}

/// The answer to a write that is to wait for other nodes, when they hold it or the time is over.
pub(super) async fn acknowledge(
    room: &Room,
    doc: DocId,
    written: Written,
    concern: Concern,
    began: Instant,
    success: StatusCode,
) -> Response {
    let until = began + concern.within;
    let done = room.handle.until_held(doc.clone(), written, concern.nodes, until).await;
    let etag = [(header::ETAG, format!("\"{}\"", done.written.heads.version()))];
    let body = dto::Acknowledged::new(&doc, &done.written, &done.holders, concern.nodes);
    if done.is_enough {
        return (success, etag, Json(body)).into_response();
    }
    let because = match room.handle.stopping().is_cancelled() {
        true => "and the node that was asked is shutting down".to_owned(),
        false => format!("after {} ms", concern.within.as_millis()),
    };
    (StatusCode::GATEWAY_TIMEOUT, etag, Json(body.late(&because))).into_response()
}
