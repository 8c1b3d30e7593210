//! Log lines about strangers: every one is named, but a flood of them does not flood the log.

use std::net::SocketAddr;
use std::time::Instant;

use peat_mesh_core::EndpointId;
use tracing::warn;

use super::handshake::HandshakeError;
use crate::flood::{Flood, Verdict};

#[derive(Debug, Default)]
pub(super) struct Strangers(Flood);

impl Strangers {
    pub(super) fn refused(&self, who: EndpointId, address: Option<SocketAddr>, why: &HandshakeError) {
        let address = address.map_or_else(|| "an unknown address".to_owned(), |at| at.to_string());
        let Verdict { left_out, is_told } = self.0.next(Instant::now());
        if left_out > 0 {
            warn!("{left_out} more connections of strangers were refused in the last minute");
        }
        if is_told {
            warn!("Refused a connection from {address}, endpoint_id={}: {why}", who.short());
        }
    }
}
