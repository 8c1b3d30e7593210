//! Documents and collections: reading, listing, writing, deleting.
//!
//! What is stored goes out as the text it is stored as. A write is answered when it is on disk.

use std::time::Instant;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use peat_mesh_core::DocId;

use super::Room;
use super::body::{Incoming, read_object};
use super::dto;
use super::error::ApiError;
use super::params::{Address, Collection, Params, number};
use super::sync;
use crate::handle::Handle;

/// Documents of a page when the client names no number.
const PAGE_DOCUMENTS_DEFAULT: u64 = 100;
/// Most documents of a page.
const PAGE_DOCUMENTS_MAX: u64 = 1000;

const JSON: (HeaderName, HeaderValue) = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));

pub(super) async fn collections(State(handle): State<Handle>, params: Params) -> Result<Response, ApiError> {
    let [] = params.only([])?;
    let collections: Vec<_> = handle
        .collections()
        .await?
        .into_iter()
        .map(|(collection, count)| dto::Collection { collection, count })
        .collect();
    Ok(Json(dto::Collections { count: collections.len(), collections }).into_response())
}

pub(super) async fn list(
    State(handle): State<Handle>,
    Collection(collection): Collection,
    params: Params,
) -> Result<Response, ApiError> {
    let [limit, after] = params.only(["limit", "after"])?;
    let limit = match limit {
        Some(text) => number("limit", &text, 1, PAGE_DOCUMENTS_MAX)?,
        None => PAGE_DOCUMENTS_DEFAULT,
    };
    if let Some(after) = &after {
        let named = DocId::new(&collection, after);
        named.map_err(|error| ApiError::Malformed(format!("after must be a document id: {error}")))?;
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let page = handle.list(&collection, after.as_deref(), limit).await?;
    Ok(([JSON], dto::page(&collection, &page)).into_response())
}

pub(super) async fn read(
    State(handle): State<Handle>,
    Address(doc): Address,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let Some(stored) = handle.document(&doc)? else {
        return Err(ApiError::NoDocument { doc });
    };
    let tag = format!("\"{}\"", stored.version);
    let etag = [(header::ETAG, tag.clone())];
    if is_known(&headers, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, etag).into_response());
    }
    Ok((etag, [JSON], dto::document(&stored)).into_response())
}

/// Whether `If-None-Match` names this version: `*`, or a list of tags, each of which may be weak.
pub(super) fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let values = headers.get_all(header::IF_NONE_MATCH).into_iter();
    let mut tags = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    tags.any(|known| {
        let known = known.trim();
        known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag
    })
}

pub(super) async fn write(
    State(room): State<Room>,
    Address(doc): Address,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let concern = sync::concern(params)?;
    let Incoming { object, memory } = read_object(&room, &headers, body).await?;
    let began = Instant::now();
    let written = room.handle.put(doc.clone(), object).await?;
    drop(memory);
    let status = if written.created { StatusCode::CREATED } else { StatusCode::OK };
    if let Some(concern) = concern {
        return Ok(sync::acknowledge(&room, doc, written, concern, began, status).await);
    }
    let version = written.heads.version().to_string();
    let etag = [(header::ETAG, format!("\"{version}\""))];
    let body = dto::Written { collection: doc.collection(), id: doc.key(), version: &version };
    Ok((status, etag, Json(body)).into_response())
}

pub(super) async fn delete(
    State(room): State<Room>,
    Address(doc): Address,
    params: Params,
) -> Result<Response, ApiError> {
    let concern = sync::concern(params)?;
    let began = Instant::now();
    let written = room.handle.delete(doc.clone()).await?;
    if let Some(concern) = concern {
        return Ok(sync::acknowledge(&room, doc, written, concern, began, StatusCode::OK).await);
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}
