//! Blobs: files and other bytes, streamed in and out in constant memory.

use std::io;
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
use super::params::{Named, Params, hash, number};
use super::range;
use crate::handle::{Blob, BlobError, BlobHash, BlobState, Handle};

/// Longest time in which nothing comes of a body, in seconds.
pub(super) const BODY_STALL_SECS_MAX: u64 = 30;
/// Pieces of a body that may wait for the store. Each is up to 64 KiB.
const PIECES_COUNT_MAX: usize = 8;
/// Blobs of a page when the client names no number.
const PAGE_BLOBS_DEFAULT: u64 = 100;
/// Most blobs of a page.
const PAGE_BLOBS_MAX: u64 = 1000;

fn place(of: &Arc<Semaphore>, what: &'static str) -> Result<OwnedSemaphorePermit, ApiError> {
    Arc::clone(of).try_acquire_owned().map_err(|_| ApiError::Busy { what })
}

pub(super) async fn add(
    State(room): State<Room>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    // Blobs are sent with any content type or none, which a browser lets every page do.
    check_origin(&headers, "send blobs to")?;
    let _place = place(&room.uploads, "blobs that are being sent")?;
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
fn failed(handle: &Handle, problem: BlobError) -> ApiError {
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
    if is_known(&headers, &etag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    let place = place(&room.downloads, "blobs that are being read")?;
    let fetched = room.handle.blobs().fetch(hash).await;
    let blob = fetched.map_err(|problem| failed(&room.handle, problem))?;
    let (mut response, range) = head_of(blob, &headers)?;
    let content = room.handle.blobs().read(hash, range);
    let content = content.map(move |piece| {
        // Free again when the last piece was taken, or the client is gone.
        let _held = &place;
        piece
    });
    *response.body_mut() = Body::from_stream(content);
    Ok(response)
}

/// The head of the answer to [`read`], for what is on this node already.
pub(super) async fn head(
    State(handle): State<Handle>,
    Named(hash): Named,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    match handle.blobs().state(hash).await.map_err(|problem| failed(&handle, problem))? {
        BlobState::Complete { size } => Ok(head_of(Blob { hash, size }, &headers)?.0),
        _ => Err(BlobError::NotHere { hash }.into()),
    }
}

fn head_of(blob: Blob, headers: &HeaderMap) -> Result<(Response, std::ops::Range<u64>), ApiError> {
    const NOSNIFF: (HeaderName, HeaderValue) =
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let Blob { hash, size } = blob;
    let etag = etag(hash);
    let range = range::wanted(headers, &etag, size)?;
    let head = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (header::ETAG, etag),
    ];
    Ok(match range {
        Some(range) => {
            let length = [
                (header::CONTENT_LENGTH, (range.end - range.start).to_string()),
                (header::CONTENT_RANGE, format!("bytes {}-{}/{size}", range.start, range.end - 1)),
            ];
            ((StatusCode::PARTIAL_CONTENT, [NOSNIFF], head, length).into_response(), range)
        }
        None => {
            let length = [(header::CONTENT_LENGTH, size.to_string())];
            (([NOSNIFF], head, length).into_response(), 0..size)
        }
    })
}

pub(super) async fn status(State(handle): State<Handle>, Named(hash): Named) -> Result<Response, ApiError> {
    let state = handle.blobs().state(hash).await.map_err(|problem| failed(&handle, problem))?;
    Ok(Json(dto::BlobStatus::new(hash, state)).into_response())
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
