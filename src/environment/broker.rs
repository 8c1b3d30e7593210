//! The variables of the HTTP API, for the node and for clients on the same machine.

use std::net::IpAddr;

use super::{BROKER_PORT_DEFAULT, Mistakes, Reader, Strings};

impl Reader<'_> {
    pub(super) fn broker(&mut self) -> (IpAddr, u16) {
        let bind = self.parse("PEAT_BROKER_BIND", "an IP address", "PEAT_BROKER_BIND=0.0.0.0");
        let port = self.port("PEAT_BROKER_PORT", BROKER_PORT_DEFAULT, "PEAT_BROKER_PORT=8081");
        (bind.unwrap_or(IpAddr::from([127, 0, 0, 1])), port)
    }
}

/// Reads only where the HTTP API is.
///
/// # Errors
/// All mistakes at once.
pub fn broker(strings: &dyn Strings) -> Result<(IpAddr, u16), Mistakes> {
    let mut reader = Reader { strings, mistakes: Vec::new() };
    let broker = reader.broker();
    if reader.mistakes.is_empty() { Ok(broker) } else { Err(Mistakes(reader.mistakes)) }
}
