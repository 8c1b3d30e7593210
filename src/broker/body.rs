//! Request bodies: bytes of a client come in, one JSON object goes out.
//!
//! Type and length are checked before anything is read, the length again while reading.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use futures_util::StreamExt;
use peat_mesh_core::document::parse_object;
use peat_mesh_core::limits;
use serde_json::{Map, Value};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Room;
use super::error::ApiError;

/// Longest time from the head of a request to the end of its body, in seconds.
pub(super) const BODY_READ_SECS_MAX: u64 = 30;

/// An object that a client sent, and the memory that is set aside for it until it is written.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) object: Map<String, Value>,
    pub(super) memory: Option<OwnedSemaphorePermit>,
}

/// Reads a body that must be one JSON object.
pub(super) async fn read_object(room: &Room, headers: &HeaderMap, body: Body) -> Result<Incoming, ApiError> {
    check_type(headers)?;
    check_length(headers)?;
    let read = read(&room.bodies, body);
    let time = Duration::from_secs(BODY_READ_SECS_MAX);
    let (text, memory) = tokio::time::timeout(time, read).await.map_err(|_| ApiError::BodyTooSlow)??;
    Ok(Incoming { object: parse_object(&text)?, memory })
}

/// `application/json` and what is built on it. A web page of another origin cannot send these without
/// asking first, so a missing type is refused as well.
fn check_type(headers: &HeaderMap) -> Result<(), ApiError> {
    const WANTED: &str = "send the document as content-type: application/json";
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Err(ApiError::ContentType(format!("the content type is missing; {WANTED}")));
    };
    let text = String::from_utf8_lossy(value.as_bytes());
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let built_on_json = essence.strip_prefix("application/").is_some_and(|subtype| {
        subtype == "json" || subtype.strip_suffix("+json").is_some_and(|name| !name.is_empty())
    });
    if built_on_json {
        return Ok(());
    }
    Err(ApiError::ContentType(format!("the content type {essence:?} is not JSON; {WANTED}")))
}

fn check_length(headers: &HeaderMap) -> Result<(), ApiError> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    match length.and_then(|text| text.parse::<u64>().ok()) {
        Some(bytes) if bytes > limits::DOCUMENT_JSON_BYTES_MAX as u64 => Err(ApiError::TooLarge),
        _ => Ok(()),
    }
}

/// Each piece is paid for when it is here. So many slow senders hold little, and what is announced but
/// never sent holds nothing.
async fn read(room: &Arc<Semaphore>, body: Body) -> Result<(Bytes, Option<OwnedSemaphorePermit>), ApiError> {
    let mut pieces = body.into_data_stream();
    let mut text: Vec<u8> = Vec::new();
    let mut memory: Option<OwnedSemaphorePermit> = None;
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| ApiError::BodyBroke(error.to_string()))?;
        if piece.len() > limits::DOCUMENT_JSON_BYTES_MAX - text.len() {
            return Err(ApiError::TooLarge);
        }
        let bytes = u32::try_from(piece.len()).map_err(|_| ApiError::TooLarge)?;
        let more = Arc::clone(room).try_acquire_many_owned(bytes);
        let more = more.map_err(|_| ApiError::Busy { what: "request bodies" })?;
        match &mut memory {
            Some(memory) => memory.merge(more),
            None => memory = Some(more),
        }
        text.extend_from_slice(&piece);
    }
    Ok((text.into(), memory))
}
