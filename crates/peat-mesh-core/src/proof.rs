//! The formation proof: the first thing on a connection, before anything else is read.
//!
//! Both sides show that they hold the formation's secret, without showing it:
//!
//! ```text
//!  0        4        5        6                                38
//! +--------+--------+--------+--------------------------------+
//! | "PEAT" | version| 0      | HMAC-SHA256, 32 bytes          |
//! +--------+--------+--------+--------------------------------+
//!
//! HMAC over: role (1 byte) ‖ TLS exporter (32) ‖ dialer's endpoint id (32) ‖ acceptor's (32)
//! ```
//!
//! The exporter (RFC 5705) is different for every TLS session, so a proof cannot be used again or
//! passed on; the role keeps one side from sending the other's proof back. The dialer speaks first; the
//! acceptor answers only a right proof, so that a stranger learns nothing, not even whether there is
//! such a formation here.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::id::EndpointId;
use crate::wire::PROTOCOL_VERSION;

/// Bytes of the opening message.
pub const OPENING_BYTES: usize = 38;
/// Bytes to take from the TLS exporter.
pub const EXPORTER_BYTES: usize = 32;
/// The label of the TLS exporter.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-peat-mesh-formation-1";

const MAGIC: &[u8; 4] = b"PEAT";

/// Which end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The one that dialled.
    Dialer,
    /// The one that was dialled.
    Acceptor,
}

/// Why an opening message was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// The first bytes are not ours.
    #[error("it does not speak this protocol")]
    NotPeat,
    /// Another version of the protocol.
    #[error("it speaks protocol version {theirs}, this node speaks {PROTOCOL_VERSION}")]
    Version {
        /// The peer's version.
        theirs: u8,
    },
    /// The proof is wrong.
    #[error("it does not hold this formation's secret")]
    Secret,
}

/// What both proofs of one connection are made from.
pub struct Session {
    key: Zeroizing<[u8; 32]>,
    exporter: [u8; EXPORTER_BYTES],
    dialer: EndpointId,
    acceptor: EndpointId,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("dialer", &self.dialer)
            .field("acceptor", &self.acceptor)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// `key` is derived from the formation's secret for this purpose alone.
    #[must_use]
    pub fn new(
        key: Zeroizing<[u8; 32]>,
        exporter: [u8; EXPORTER_BYTES],
        dialer: EndpointId,
        acceptor: EndpointId,
    ) -> Self {
        Self { key, exporter, dialer, acceptor }
    }

    /// The opening message of one side.
    #[must_use]
    pub fn opening(&self, role: Role) -> [u8; OPENING_BYTES] {
        let mut opening = [0; OPENING_BYTES];
        opening[..4].copy_from_slice(MAGIC);
        opening[4] = PROTOCOL_VERSION;
        opening[6..].copy_from_slice(&self.mac(role).finalize().into_bytes());
        opening
    }

    /// Checks the opening message of the other side, in constant time.
    ///
    /// # Errors
    /// When it is not one, is of another version, or its proof is wrong.
    pub fn verify(&self, role: Role, opening: &[u8; OPENING_BYTES]) -> Result<(), ProofError> {
        if &opening[..4] != MAGIC {
            return Err(ProofError::NotPeat);
        }
        if opening[4] != PROTOCOL_VERSION || opening[5] != 0 {
            return Err(ProofError::Version { theirs: opening[4] });
        }
        self.mac(role).verify_slice(&opening[6..]).map_err(|_| ProofError::Secret)
    }

    fn mac(&self, role: Role) -> Hmac<Sha256> {
        // HMAC pads a short key with zeros to the block size; doing so here cannot fail.
        let mut block = Zeroizing::new([0; 64]);
        block[..32].copy_from_slice(&*self.key);
        let mut mac = Hmac::<Sha256>::new(&(*block).into());
        mac.update(&[match role {
            Role::Dialer => 1,
            Role::Acceptor => 2,
        }]);
        mac.update(&self.exporter);
        mac.update(&self.dialer.0);
        mac.update(&self.acceptor.0);
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(key: u8, exporter: u8) -> Session {
        Session::new(Zeroizing::new([key; 32]), [exporter; 32], EndpointId([3; 32]), EndpointId([4; 32]))
    }

    #[test]
    fn a_member_is_believed() {
        let opening = session(1, 2).opening(Role::Dialer);
        assert_eq!(session(1, 2).verify(Role::Dialer, &opening), Ok(()));
    }

    #[test]
    fn another_secret_another_session_and_an_echo_are_refused() {
        let opening = session(1, 2).opening(Role::Dialer);
        assert_eq!(session(9, 2).verify(Role::Dialer, &opening), Err(ProofError::Secret));
        assert_eq!(session(1, 9).verify(Role::Dialer, &opening), Err(ProofError::Secret));
        assert_eq!(session(1, 2).verify(Role::Acceptor, &opening), Err(ProofError::Secret));
    }

    #[test]
    fn another_version_is_named() {
        let mut opening = session(1, 2).opening(Role::Dialer);
        opening[4] = 7;
        assert_eq!(session(1, 2).verify(Role::Dialer, &opening), Err(ProofError::Version { theirs: 7 }));
        assert_eq!(session(1, 2).verify(Role::Dialer, &[b'G'; OPENING_BYTES]), Err(ProofError::NotPeat));
    }

    #[test]
    fn the_proof_of_version_3_keeps_its_bytes() {
        let opening = session(1, 2).opening(Role::Dialer);
        assert_eq!(data_encoding::HEXLOWER.encode(&opening[..6]), "504541540300",);
        assert_eq!(opening.len(), OPENING_BYTES);
    }
}
