//! Pages of other origins: what a browser would let them do here, and this node does not.

use axum::http::{HeaderMap, header};

use super::error::ApiError;

/// A browser names the origin of the page that makes it ask. One that is not of this node may not `act` on
/// it; programs name none.
pub(super) fn check_origin(headers: &HeaderMap, act: &'static str) -> Result<(), ApiError> {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Ok(());
    };
    let origin = String::from_utf8_lossy(origin.as_bytes()).into_owned();
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let page_host = origin.split_once("://").map(|(_, host)| host);
    if page_host.is_some_and(|page_host| host.is_some_and(|host| host.eq_ignore_ascii_case(page_host))) {
        return Ok(());
    }
    Err(ApiError::ForeignOrigin { origin, act })
}
