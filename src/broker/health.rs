//! Whether the process lives and whether the node is ready: what probes of an orchestrator ask.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::dto;
use crate::handle::Handle;

/// The process lives and answers; whether it can work is for [`ready`] to say.
pub(super) async fn health(State(handle): State<Handle>) -> Response {
    let node_id = handle.name().as_str();
    Json(dto::Health { status: "healthy", node_id }).into_response()
}

/// Every condition of being ready. None of them waits for peers to exist.
pub(super) async fn ready(State(handle): State<Handle>) -> Response {
    let checks = handle.checks();
    let ready = checks.iter().all(|check| check.ok);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let checks = checks.into_iter().map(dto::Check::from).collect();
    let node_id = handle.name().as_str();
    (status, Json(dto::Ready { ready, node_id, checks })).into_response()
}
