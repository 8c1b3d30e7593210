//! Who may use the relay: nodes that show the formation's token.

use std::fmt;
use std::time::Instant;

use hmac::{Hmac, KeyInit, Mac};
use iroh_relay::server::{Access, AccessControl, ClientRequest};
use sha2::Sha256;
use tracing::{debug, warn};
use zeroize::Zeroizing;

use crate::flood::{Flood, Verdict};
use crate::identity::FormationSecret;

/// Lets in whoever shows the token of the formation.
pub(super) struct Members {
    /// Random for this run. Tokens are compared by their MACs, so that the time it takes tells nothing.
    key: Zeroizing<[u8; 32]>,
    wanted: [u8; 32],
    flood: Flood,
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Members(…)")
    }
}

impl Members {
    pub(super) fn new(secret: &FormationSecret) -> Self {
        let key = Zeroizing::new(rand::random::<[u8; 32]>());
        let wanted = mac(&key, &secret.relay_token()).finalize().into_bytes().into();
        Self { key, wanted, flood: Flood::default() }
    }

    fn judge(&self, token: Option<&str>) -> Result<(), &'static str> {
        let Some(token) = token else {
            return Err("it shows no token: it is no node of this version, or a stranger");
        };
        let is_right = mac(&self.key, token).verify_slice(&self.wanted).is_ok();
        is_right.then_some(()).ok_or("it has another formation secret")
    }
}

fn mac(key: &[u8; 32], token: &str) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(token.as_bytes());
    mac
}

impl AccessControl for Members {
    async fn on_connect(&self, request: &ClientRequest) -> Access {
        let who = request.endpoint_id().fmt_short();
        let token = request.auth_token().map(Zeroizing::new);
        let Err(why) = self.judge(token.as_ref().map(|token| token.as_str())) else {
            debug!(endpoint_id = %who, "a node has connected to the relay");
            return Access::Allow;
        };
        let Verdict { left_out, is_told } = self.flood.next(Instant::now());
        if left_out > 0 {
            warn!("{left_out} more nodes were refused in the last minute");
        }
        if is_told {
            warn!("Relay: refused endpoint_id={who}: {why}");
        }
        Access::Deny { reason: Some(why.to_owned()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_of_the_formation_lets_a_node_in() {
        let secret = |byte: u8| FormationSecret::parse(&data_encoding::BASE64.encode(&[byte; 32])).unwrap();
        let members = Members::new(&secret(1));
        assert!(members.judge(Some(&secret(1).relay_token())).is_ok());
        for token in [None, Some(""), Some(&secret(2).relay_token()[..]), Some(&secret(1).relay_token()[1..])]
        {
            assert!(members.judge(token).is_err(), "{token:?}");
        }
        assert!(!format!("{members:?}").contains(&secret(1).relay_token()[..8]));
    }
}
