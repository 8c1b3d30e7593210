//! This node and the peers it knows, as they are on the wire now.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use peat_mesh_core::EndpointId;

use super::dto;
use super::error::ApiError;
use super::params::NodeKey;
use crate::handle::Handle;

pub(super) async fn node(State(handle): State<Handle>) -> Response {
    Json(dto::Node::new(&handle)).into_response()
}

pub(super) async fn peers(State(handle): State<Handle>) -> Response {
    let uptime = handle.uptime();
    let peers: Vec<_> = handle.peers().into_iter().map(|peer| dto::Peer::new(peer, uptime)).collect();
    Json(dto::Peers { count: peers.len(), peers }).into_response()
}

/// Every node that the formation knows, as it looks from here.
pub(super) async fn topology(State(handle): State<Handle>) -> Response {
    Json(dto::Topology::new(&handle)).into_response()
}

/// One peer, by its name (which has a slash when it has a cluster) or its endpoint id.
pub(super) async fn peer(
    State(handle): State<Handle>,
    NodeKey(id): NodeKey,
) -> Result<Json<dto::Peer>, ApiError> {
    let by_endpoint: Option<EndpointId> = id.parse().ok();
    let is_meant = |peer: &crate::handle::Peer| {
        let name = peer.view.name.as_ref().map(|name| name.as_str());
        name == Some(id.as_str()) || by_endpoint == Some(peer.view.peer)
    };
    let found = handle.peers().into_iter().find(is_meant);
    match found {
        Some(peer) => Ok(Json(dto::Peer::new(peer, handle.uptime()))),
        None => Err(ApiError::NoPeer { id }),
    }
}
