//! Everything that can go wrong with a request: as a status and one sentence that a person can act on.

use axum::Json;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use peat_mesh_core::id::NameError;
use peat_mesh_core::limits;
use peat_mesh_core::replica::WriteError;
use peat_mesh_core::store::StoreError;
use peat_mesh_core::{DocId, document::ParseError};

use super::blobs::BODY_STALL_SECS_MAX;
use super::body::BODY_READ_SECS_MAX;
use super::dto;
use crate::handle::{BlobError, BlobHash, RequestError};

/// After how many seconds a client that met a full node should try again.
const RETRY_AFTER_SECS: u16 = 1;

/// Why a request is not answered as it was meant.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    #[error("there is no route {path}; all routes begin with /api/v1/ and have no slash at their end")]
    NoRoute { path: String },
    #[error("{method} is not possible on {path}; the Allow header names what is")]
    WrongMethod { method: Method, path: String },
    /// The path, the query or a header cannot be understood; in a sentence.
    #[error("{0}")]
    Malformed(String),
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("document {doc} does not exist")]
    NoDocument { doc: DocId },
    #[error("no peer has the name or endpoint id {id}; /api/v1/peers lists those that are known")]
    NoPeer { id: String },
    #[error("{0}")]
    ContentType(String),
    #[error("a document may have {} bytes of JSON at most", limits::DOCUMENT_JSON_BYTES_MAX)]
    TooLarge,
    #[error("the request body was not here after {} seconds", BODY_READ_SECS_MAX)]
    BodyTooSlow,
    #[error("the request body broke off: {0}")]
    BodyBroke(String),
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// The document cannot be stored as it is; in a sentence.
    #[error("{0}")]
    Refused(String),
    #[error("this route speaks WebSocket: {0}")]
    NotAWebSocket(String),
    #[error("a page of {origin} may not {act} this node; pages of the node's own address may")]
    ForeignOrigin { origin: String, act: &'static str },
    #[error("the blob has {size} bytes; nothing of it lies in the range that was asked for")]
    NoSuchRange { size: u64 },
    #[error("no more of the request body came for {} seconds", BODY_STALL_SECS_MAX)]
    BodyStalled,
    #[error(transparent)]
    Blob(#[from] BlobError),
    #[error("no fetch of blob {hash} is under way; POST /api/v1/blobs/{hash}/fetch starts one")]
    NoFetch { hash: BlobHash },
    #[error("this node has too many {what} at the moment; try again in a second")]
    Busy { what: &'static str },
    #[error(transparent)]
    Store(StoreError),
    /// What is stored of one document cannot be used; in a sentence.
    #[error("{0}")]
    Damaged(String),
    #[error("this node is shutting down; use another one or try again when it is back")]
    Stopping,
}

impl ApiError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(_) | Self::Name(_) | Self::BodyBroke(_) => StatusCode::BAD_REQUEST,
            Self::Parse(ParseError::NotAnObject { .. }) | Self::Refused(_) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Self::Parse(_) => StatusCode::BAD_REQUEST,
            Self::ForeignOrigin { .. } => StatusCode::FORBIDDEN,
            Self::NoRoute { .. } | Self::NoDocument { .. } | Self::NoPeer { .. } | Self::NoFetch { .. } => {
                StatusCode::NOT_FOUND
            }
            Self::WrongMethod { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoSuchRange { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::Blob(problem) => blob_status(problem),
            Self::BodyTooSlow | Self::BodyStalled => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::ContentType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::NotAWebSocket(_) => StatusCode::UPGRADE_REQUIRED,
            Self::Damaged(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Store(StoreError::Full { .. }) => StatusCode::INSUFFICIENT_STORAGE,
            Self::Store(_) | Self::Busy { .. } | Self::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

fn blob_status(problem: &BlobError) -> StatusCode {
    match problem {
        BlobError::NotFound { .. } | BlobError::NotHere { .. } => StatusCode::NOT_FOUND,
        BlobError::InFetch { .. } => StatusCode::CONFLICT,
        BlobError::Full { .. } | BlobError::Quota { .. } => StatusCode::INSUFFICIENT_STORAGE,
        BlobError::Source(_) => StatusCode::BAD_REQUEST,
        BlobError::Interrupted { .. } => StatusCode::BAD_GATEWAY,
        BlobError::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

impl From<RequestError> for ApiError {
    /// The one place where a failed read is written to the log; failed writes are told by the writer,
    /// once and not for each client.
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Write(WriteError::NotFound { doc }) => Self::NoDocument { doc },
            RequestError::Write(error @ WriteError::Refused { .. }) => Self::Refused(error.to_string()),
            RequestError::Write(WriteError::Store(error)) => Self::Store(error),
            RequestError::Write(error) => Self::Damaged(error.to_string()),
            RequestError::Store(error) => {
                tracing::error!(%error, "a request could not be answered");
                Self::Store(error)
            }
            RequestError::Stopping => Self::Stopping,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status();
        let error = self.to_string();
        let body = Json(dto::Error { error: &error, status: status.as_u16() });
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        match self {
            Self::Busy { .. } => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECS));
            }
            Self::NoSuchRange { size } => {
                if let Ok(value) = HeaderValue::from_str(&format!("bytes */{size}")) {
                    headers.insert(header::CONTENT_RANGE, value);
                }
            }
            Self::Blob(_) if status != StatusCode::NOT_FOUND => {
                // Of a blob that was sent, the rest may still be on its way.
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Self::NotAWebSocket(_) => {
                headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            }
            // The rest of the body is not read, so the connection is of no more use.
            Self::TooLarge | Self::BodyTooSlow | Self::BodyStalled => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response
    }
}
