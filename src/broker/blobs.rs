//! Blobs: files and other bytes, streamed in and out in constant memory.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::Room;
use super::documents::is_known;
use super::dto;
use super::error::ApiError;
use super::origin::check_origin;
use super::outgoing;
use super::params::{Named, Params, hash, number};
use super::range;
use crate::handle::{Blob, BlobError, BlobHash, BlobState, Handle};

/// Longest time in which nothing comes of a body, in seconds.
pub(super) const BODY_STALL_SECS_MAX: u64 = 30;
/// How long a blob that is sent waits for others that are being sent, in seconds.
const TURN_SECS_MAX: u64 = 30;
/// Pieces of a body that may wait for the store. Each is up to 64 KiB.
const PIECES_COUNT_MAX: usize = 8;
/// Blobs of a page when the client names no number.
const PAGE_BLOBS_DEFAULT: u64 = 100;
/// Most blobs of a page.
const PAGE_BLOBS_MAX: u64 = 1000;

fn place(of: &Arc<Semaphore>, what: &'static str) -> Result<OwnedSemaphorePermit, ApiError> {
    Arc::clone(of).try_acquire_owned().map_err(|_| ApiError::Busy { what })
}

/// A place, when there is one in time.
async fn turn(of: &Arc<Semaphore>, what: &'static str) -> Result<OwnedSemaphorePermit, ApiError> {
    let waiting = tokio::time::timeout(Duration::from_secs(TURN_SECS_MAX), Arc::clone(of).acquire_owned());
    waiting.await.ok().and_then(Result::ok).ok_or(ApiError::Busy { what })
}

pub(super) async fn add(
    State(room): State<Room>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    // Blobs are sent with any content type or none, which a browser lets every page do.
    check_origin(&headers, "send blobs to")?;
    let _place = turn(&room.uploads, "blobs that are being sent").await?;
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let size = length.and_then(|text| text.parse().ok());
    let (pieces, content) = mpsc::channel(PIECES_COUNT_MAX);
    let (passed, added) = tokio::join!(pass(body, pieces), room.handle.blobs().add(content, size));
    passed?;
    let (blob, is_new) = added.map_err(|problem| failed(&room.handle, problem))?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    let etag = [(header::ETAG, etag(blob.hash))];
    Ok((status, etag, Json(dto::Blob::from(blob))).into_response())
}

/// Passes a body on until its end, or until it is not wanted any more.
async fn pass(body: Body, pieces: mpsc::Sender<io::Result<Bytes>>) -> Result<(), ApiError> {
    let mut body = body.into_data_stream();
    let stall = Duration::from_secs(BODY_STALL_SECS_MAX);
    loop {
        let next = tokio::select! {
            next = tokio::time::timeout(stall, body.next()) => next,
            () = pieces.closed() => return Ok(()),
        };
        let (piece, ended) = match next {
            Ok(None) => return Ok(()),
            Ok(Some(Ok(piece))) => (Ok(piece), Ok(())),
            Ok(Some(Err(problem))) => {
                let reason = problem.to_string();
                (Err(io::Error::other(reason.clone())), Err(ApiError::BodyBroke(reason)))
            }
            Err(_) => (Err(io::ErrorKind::TimedOut.into()), Err(ApiError::BodyStalled)),
        };
        // Not wanted any more: the store says why.
        if pieces.send(piece).await.is_err() {
            return Ok(());
        }
        ended?;
    }
}

/// The one place where a failing blob store is written to the log.
pub(super) fn failed(handle: &Handle, problem: BlobError) -> ApiError {
    if handle.stopping().is_cancelled() && matches!(problem, BlobError::Store(_)) {
        return ApiError::Stopping;
    }
    if let BlobError::Store(reason) = &problem {
        tracing::error!("a request for a blob could not be answered: {reason}");
    }
    problem.into()
}

fn etag(hash: BlobHash) -> String {
    format!("\"{hash}\"")
}

pub(super) async fn read(
    State(room): State<Room>,
    Named(hash): Named,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let etag = etag(hash);
    // The content of a hash never changes: whoever has it needs nothing, wherever it is.
    let is_known = match names_any(&headers) {
        true => whole(&room.handle, hash).await?.is_some(),
        false => is_known(&headers, &etag),
    };
    if is_known {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    let place = place(&room.downloads, "blobs that are being read")?;
    let opened = room.handle.blobs().open(hash).await;
    let reading = opened.map_err(|problem| failed(&room.handle, problem))?;
    let range = range::wanted(&headers, &etag, reading.blob.size)?;
    let mut response = head_of(reading.blob, range.as_ref());
    let range = range.unwrap_or(0..reading.blob.size);
    let content = (reading.content)(range.clone());
    *response.body_mut() = outgoing::body(content, room.handle, hash, range, place);
    Ok(response)
}

/// Whether the client has any content of this name, and wants none.
fn names_any(headers: &HeaderMap) -> bool {
    headers.get(header::IF_NONE_MATCH).is_some_and(|value| value.as_bytes().trim_ascii() == b"*")
}

/// The blob, when it is whole on this node.
async fn whole(handle: &Handle, hash: BlobHash) -> Result<Option<Blob>, ApiError> {
    match handle.blobs().state(hash).await.map_err(|problem| failed(handle, problem))? {
        BlobState::Complete { size } => Ok(Some(Blob { hash, size })),
        _ => Ok(None),
    }
}

/// The head of the answer to [`read`], for what is on this node already. HTTP knows ranges for GET alone.
pub(super) async fn head(
    State(handle): State<Handle>,
    Named(hash): Named,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let etag = etag(hash);
    match whole(&handle, hash).await? {
        Some(_) if is_known(&headers, &etag) => {
            Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response())
        }
        Some(blob) => Ok(head_of(blob, None)),
        None => Err(BlobError::NotHere { hash }.into()),
    }
}

fn head_of(blob: Blob, range: Option<&Range<u64>>) -> Response {
    const NOSNIFF: (HeaderName, HeaderValue) =
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let Blob { hash, size } = blob;
    let head = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (header::ETAG, etag(hash)),
    ];
    match range {
        Some(range) => {
            let length = [
                (header::CONTENT_LENGTH, (range.end - range.start).to_string()),
                (header::CONTENT_RANGE, format!("bytes {}-{}/{size}", range.start, range.end - 1)),
            ];
            (StatusCode::PARTIAL_CONTENT, [NOSNIFF], head, length).into_response()
        }
        None => ([NOSNIFF], head, [(header::CONTENT_LENGTH, size.to_string())]).into_response(),
    }
}

pub(super) async fn status(
    State(handle): State<Handle>,
    Named(hash): Named,
    params: Params,
) -> Result<Response, ApiError> {
    let [holders] = params.only(["holders"])?;
    let asks_peers = match holders.as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(other) => {
            return Err(ApiError::Malformed(format!("holders must be true or false, not {other:?}")));
        }
    };
    let mut answer = answer(&handle, hash).await?;
    let kept = handle.blobs().kept(hash).await.map_err(|problem| failed(&handle, problem))?;
    answer.kept = Some(dto::BlobKept::new(&handle, kept));
    if asks_peers {
        let holders = handle.blobs().holders(hash).await;
        answer.holders = Some(holders.iter().map(|holder| dto::BlobHolder::new(&handle, holder)).collect());
    }
    Ok(Json(answer).into_response())
}

/// What is here of a blob, and the fetch that is under way.
async fn answer(handle: &Handle, hash: BlobHash) -> Result<dto::BlobAnswer, ApiError> {
    let state = handle.blobs().state(hash).await.map_err(|problem| failed(handle, problem))?;
    Ok(answer_of(handle, hash, state))
}

pub(super) fn answer_of(handle: &Handle, hash: BlobHash, state: BlobState) -> dto::BlobAnswer {
    let fetching = handle.blobs().progress(hash);
    let fetch = fetching.map(|fetching| dto::Fetch::new(handle, &fetching.borrow()));
    let damaged = handle.blobs().is_damaged(hash);
    dto::BlobAnswer { status: dto::BlobStatus::new(hash, state), kept: None, damaged, fetch, holders: None }
}

pub(super) async fn delete(State(handle): State<Handle>, Named(hash): Named) -> Result<StatusCode, ApiError> {
    match handle.blobs().delete(hash).await.map_err(|problem| failed(&handle, problem))? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(BlobError::NotHere { hash }.into()),
    }
}

pub(super) async fn list(State(handle): State<Handle>, params: Params) -> Result<Response, ApiError> {
    let [limit, after] = params.only(["limit", "after"])?;
    let limit = match limit {
        Some(text) => number("limit", &text, 1, PAGE_BLOBS_MAX)?,
        None => PAGE_BLOBS_DEFAULT,
    };
    let after = after.map(|text| hash(&text)).transpose()?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let page = handle.blobs().list(after, limit).await.map_err(|problem| failed(&handle, problem))?;
    Ok(Json(dto::Blobs::from(page)).into_response())
}
