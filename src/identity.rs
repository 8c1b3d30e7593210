//! What a node is: the formation's secret, and the key that the secret and the node's name make.
//!
//! Every key is HKDF-SHA256 (RFC 5869) of the decoded secret with a context of its own, so that none
//! of them tells anything about another. The same secret and name give the same key on every machine:
//! a node keeps its identity without storing it. The price is known: whoever holds the secret can make
//! every key of the formation (see `docs/adr/0001-derived-identity.md`).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use ed25519_dalek::SigningKey;
use hkdf::Hkdf;
use peat_mesh_core::{EndpointId, NodeName};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// Fewest bytes of a secret after base64.
pub const SECRET_BYTES_MIN: usize = 16;
/// Most bytes of a secret after base64.
pub const SECRET_BYTES_MAX: usize = 1024;

const NODE_KEY: &[u8] = b"peat-mesh/1 node key: ";
const PROOF_KEY: &[u8] = b"peat-mesh/1 formation proof";
const LAN_TAG: &[u8] = b"peat-mesh/1 lan tag";
const RELAY_KEY: &[u8] = b"peat-mesh/1 relay key";
const RELAY_TOKEN: &[u8] = b"peat-mesh/1 relay token";

/// The secret that makes nodes members of one formation. Never printed; wiped when dropped.
#[derive(Clone)]
pub struct FormationSecret {
    bytes: Zeroizing<Vec<u8>>,
}

/// Why a text is not a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// There is no text.
    #[error("it is empty")]
    Empty,
    /// The text is not base64.
    #[error("it is not base64")]
    NotBase64,
    /// Too little for a secret.
    #[error("it is {bytes} bytes after base64; at least {SECRET_BYTES_MIN} are needed")]
    TooShort {
        /// What it has.
        bytes: usize,
    },
    /// Too much.
    #[error("it is {bytes} bytes after base64; at most {SECRET_BYTES_MAX} are allowed")]
    TooLong {
        /// What it has.
        bytes: usize,
    },
}

impl FormationSecret {
    /// Reads base64 text, of the standard or the URL alphabet, with or without padding.
    ///
    /// # Errors
    /// When it is not base64 or has too few or too many bytes.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(SecretError::Empty);
        }
        let decoded = [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD]
            .iter()
            .find_map(|engine| engine.decode(text).ok())
            .map(Zeroizing::new)
            .ok_or(SecretError::NotBase64)?;
        match decoded.len() {
            bytes if bytes < SECRET_BYTES_MIN => Err(SecretError::TooShort { bytes }),
            bytes if bytes > SECRET_BYTES_MAX => Err(SecretError::TooLong { bytes }),
            _ => Ok(Self { bytes: decoded }),
        }
    }

    /// A new secret of 32 random bytes, as base64 text.
    #[must_use]
    pub fn generate() -> Zeroizing<String> {
        let bytes = Zeroizing::new(rand::random::<[u8; 32]>());
        Zeroizing::new(STANDARD.encode(*bytes))
    }

    fn derive(&self, context: &[&[u8]]) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(None, &self.bytes)
            .expand_multi_info(context, &mut *key)
            .expect("32 bytes are within what HKDF-SHA256 can give");
        key
    }

    fn node_key(&self, name: &NodeName) -> SigningKey {
        SigningKey::from_bytes(&self.derive(&[NODE_KEY, name.as_str().as_bytes()]))
    }

    /// The endpoint id of the member with this name.
    #[must_use]
    pub fn endpoint_of(&self, name: &NodeName) -> EndpointId {
        EndpointId(self.node_key(name).verifying_key().to_bytes())
    }

    /// The key of the formation proof.
    #[must_use]
    pub fn proof_key(&self) -> Zeroizing<[u8; 32]> {
        self.derive(&[PROOF_KEY])
    }

    /// Sixteen bytes by which members tell their formation from others on a LAN. They do not reveal the
    /// secret.
    #[must_use]
    pub fn lan_tag(&self) -> [u8; 16] {
        let mut tag = [0; 16];
        tag.copy_from_slice(&self.derive(&[LAN_TAG])[..16]);
        tag
    }

    /// The private key of the certificate that every relay of the formation shows.
    #[must_use]
    pub fn relay_key(&self) -> Zeroizing<[u8; 32]> {
        self.derive(&[RELAY_KEY])
    }

    /// The public half of [`FormationSecret::relay_key`], by which nodes know their relay.
    #[must_use]
    pub fn relay_public_key(&self) -> [u8; 32] {
        SigningKey::from_bytes(&self.relay_key()).verifying_key().to_bytes()
    }

    /// What a node shows to a relay to be let in: 64 hex digits. They do not reveal the secret.
    #[must_use]
    pub fn relay_token(&self) -> Zeroizing<String> {
        Zeroizing::new(data_encoding::HEXLOWER.encode(&*self.derive(&[RELAY_TOKEN])))
    }
}

impl fmt::Debug for FormationSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FormationSecret(…)")
    }
}

/// A node's name and key.
#[derive(Clone)]
pub struct Identity {
    name: NodeName,
    key: SigningKey,
    secret: FormationSecret,
}

impl Identity {
    /// The identity of the member with this name.
    #[must_use]
    pub fn new(secret: FormationSecret, name: NodeName) -> Self {
        Self { key: secret.node_key(&name), name, secret }
    }

    /// The node's name.
    #[must_use]
    pub fn name(&self) -> &NodeName {
        &self.name
    }

    /// The public key.
    #[must_use]
    pub fn endpoint_id(&self) -> EndpointId {
        EndpointId(self.key.verifying_key().to_bytes())
    }

    /// 32 hex digits that name the device.
    #[must_use]
    pub fn device_id(&self) -> String {
        let hash = Sha256::digest(self.endpoint_id().0);
        data_encoding::HEXLOWER.encode(&hash[..16])
    }

    /// The formation's secret.
    #[must_use]
    pub fn secret(&self) -> &FormationSecret {
        &self.secret
    }

    /// The private key, for the transport.
    #[must_use]
    pub fn private_key(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.key.to_bytes())
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(byte: u8) -> FormationSecret {
        FormationSecret::parse(&STANDARD.encode([byte; 32])).unwrap()
    }

    fn identity(byte: u8, name: &str) -> Identity {
        Identity::new(secret(byte), NodeName::new(name).unwrap())
    }

    #[test]
    fn the_same_secret_and_name_give_the_same_identity() {
        let first = identity(1, "peat-mesh-0");
        assert_eq!(first.device_id(), identity(1, "peat-mesh-0").device_id());
        assert_eq!(first.device_id().len(), 32);
        assert_eq!(first.endpoint_id(), secret(1).endpoint_of(first.name()));
    }

    #[test]
    fn another_name_another_cluster_or_another_secret_gives_another_identity() {
        let first = identity(1, "peat-mesh-0").endpoint_id();
        assert_ne!(first, identity(1, "peat-mesh-1").endpoint_id());
        assert_ne!(first, identity(1, "alpha/peat-mesh-0").endpoint_id());
        assert_ne!(first, identity(2, "peat-mesh-0").endpoint_id());
    }

    #[test]
    fn identities_of_version_1_stay_what_they_are() {
        assert_eq!(identity(1, "peat-mesh-0").device_id(), "f3bf47e134255f1094549c686e8595e5");
    }

    #[test]
    fn a_secret_is_taken_with_either_alphabet_and_a_line_end() {
        let text = STANDARD.encode([0xfb; 16]);
        for text in [text.clone(), format!("{text}\n"), URL_SAFE_NO_PAD.encode([0xfb; 16])] {
            let parsed = FormationSecret::parse(&text).unwrap();
            assert_eq!(*parsed.bytes, vec![0xfb; 16]);
        }
    }

    #[test]
    fn a_weak_or_broken_secret_is_refused() {
        assert_eq!(FormationSecret::parse(" ").unwrap_err(), SecretError::Empty);
        assert_eq!(FormationSecret::parse("%%%").unwrap_err(), SecretError::NotBase64);
        let short = STANDARD.encode([1; 15]);
        assert_eq!(FormationSecret::parse(&short).unwrap_err(), SecretError::TooShort { bytes: 15 });
    }

    #[test]
    fn nothing_secret_is_printed() {
        let identity = identity(1, "n");
        let printed = format!("{identity:?} {:?}", identity.secret());
        assert!(printed.contains("FormationSecret(…)") && !printed.contains("[1"), "{printed}");
        let generated = FormationSecret::generate();
        assert!(FormationSecret::parse(&generated).is_ok());
    }
}
