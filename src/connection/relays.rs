//! Relays from a node's side: which there are, how one is known to be ours, and how this node stands with
//! them.
//!
//! A relay passes packets between nodes that have no direct path (yet), and tells a node under which address
//! the outside sees it. It sees who talks to whom and how much, and nothing of what is said: the packets
//! are QUIC between the two nodes. Only the relays of the configuration are ever contacted.
//!
//! A relay is trusted when its certificate has the key that the formation's secret derives, or when it is
//! one that the public authorities vouch for, as that of a TLS proxy in front of a relay.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use iroh::endpoint::RelayStatus;
use iroh::tls::CaTlsConfig;
use iroh::{Endpoint, NetReportConfig, RelayConfig, RelayMap, RelayUrl, Watcher};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::config::RELAYS_COUNT_MAX;
use crate::identity::FormationSecret;

/// What stands before the 32 bytes of an Ed25519 key in a certificate (RFC 8410).
const ED25519_KEY_INFO: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// How long no relay may answer before the log says so, in milliseconds.
const SILENT_MS_MAX: u64 = 10_000;

/// Reads the addresses of relays.
///
/// # Errors
/// In a sentence, when one of them is none.
pub(super) fn parse(texts: &[String]) -> Result<Vec<RelayUrl>, String> {
    if texts.len() > RELAYS_COUNT_MAX {
        return Err(format!("there are {} relays; at most {RELAYS_COUNT_MAX} are used", texts.len()));
    }
    texts.iter().map(|text| parse_one(text)).collect()
}

/// Checks the address of a relay.
///
/// # Errors
/// In a sentence, when it is none.
pub fn check(text: &str) -> Result<(), String> {
    parse_one(text).map(drop)
}

fn parse_one(text: &str) -> Result<RelayUrl, String> {
    let wrong = |what: &str| format!("{text:?} {what}");
    let url: RelayUrl = text.parse().map_err(|_| wrong("is not a URL"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("does not begin with https:// or http://"));
    }
    if url.host_str().is_none_or(str::is_empty) || url.port_or_known_default() == Some(0) {
        return Err(wrong("has no host or a port of 0"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("has a user or a password; the formation's secret is what lets a node in"));
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("has more than a host and a port"));
    }
    Ok(url)
}

/// The relays as the endpoint takes them: with what lets a node in, and with the discovery of addresses at
/// the UDP port of the same number.
pub(super) fn map(urls: &[RelayUrl], secret: &FormationSecret) -> RelayMap {
    let token = secret.relay_token();
    let one = |url: &RelayUrl| {
        let port = url.port_or_known_default().map(iroh_relay::RelayQuicConfig::new);
        RelayConfig::new(url.clone(), port).with_auth_token(token.as_str())
    };
    urls.iter().map(one).collect()
}

/// What is asked of relays beside relaying: how far away they are, by UDP and by HTTP, and nothing else.
pub(super) fn probes() -> NetReportConfig {
    let mut probes = NetReportConfig::minimal();
    probes.https_probes = true;
    probes
}

/// Which certificates of relays are good.
pub(super) fn trust(secret: &FormationSecret) -> CaTlsConfig {
    let mut key = ED25519_KEY_INFO.to_vec();
    key.extend(secret.relay_public_key());
    CaTlsConfig::custom_server_cert_verifier(Arc::new(move |provider: Arc<CryptoProvider>| {
        Ok(Arc::new(Trust {
            key: key.clone(),
            algorithms: provider.signature_verification_algorithms,
            public: CaTlsConfig::embedded().server_cert_verifier(provider)?,
            has_warned: AtomicBool::new(false),
        }))
    }))
}

#[derive(Debug)]
struct Trust {
    /// The one key that needs no authority, as it stands in a certificate.
    key: Vec<u8>,
    algorithms: WebPkiSupportedAlgorithms,
    public: Arc<dyn ServerCertVerifier>,
    has_warned: AtomicBool,
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // Whoever shows the certificate still has to sign with its key, which only members can make.
        if ParsedCertificate::try_from(certificate)?.subject_public_key_info()[..] == self.key[..] {
            return Ok(ServerCertVerified::assertion());
        }
        let verified = self.public.verify_server_cert(certificate, chain, name, ocsp, now);
        if verified.is_err() && !self.has_warned.swap(true, Ordering::Relaxed) {
            warn!(
                "The relay at {} is not one of this formation, and no public authority vouches for it. Is \
                 it running with the same PEAT_FORMATION_SECRET?",
                name.to_str()
            );
        }
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// How a node stands with its relays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    configured: String,
    /// The relay at which this node is reached, once one is chosen.
    home: Option<String>,
    problem: Option<String>,
}

impl Standing {
    pub(super) fn new(urls: &[RelayUrl]) -> Self {
        let configured: Vec<&str> = urls.iter().map(|url| url.as_str().trim_end_matches('/')).collect();
        Self { configured: configured.join(", "), home: None, problem: None }
    }

    /// Whether other nodes can reach this one over a relay.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.home.is_some() && self.problem.is_none()
    }

    fn with(&self, relays: &[RelayStatus]) -> Self {
        let connected = relays.iter().find(|relay| relay.is_connected());
        let home = connected.or(relays.first());
        let problem = home.filter(|relay| !relay.is_connected()).map(|relay| {
            match (relay.auth_denied_reason(), relay.last_error()) {
                (Some(reason), _) => format!("it refuses this node: {reason}"),
                (None, Some(problem)) => format!("{problem:#}"),
                (None, None) => "connecting".to_owned(),
            }
        });
        let home = home.map(|relay| relay.url().as_str().trim_end_matches('/').to_owned());
        Self { configured: self.configured.clone(), home, problem }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.home, &self.problem) {
            (Some(home), None) => write!(f, "connected to {home}"),
            (Some(home), Some(problem)) => {
                write!(f, "not connected to {home}: {problem}; peers with a direct path are not affected")
            }
            (None, _) => write!(
                f,
                "no answer from {}. Is `peat-mesh-node relay` running there, and are scheme and port right? \
                 Peers with a direct path are not affected",
                self.configured
            ),
        }
    }
}

/// Follows how the endpoint stands with its relays, and tells the log what an operator acts on, once.
pub(super) async fn watch(endpoint: Endpoint, standing: watch::Sender<Standing>, cancel: CancellationToken) {
    let mut relays = endpoint.home_relay_status();
    let silent = tokio::time::sleep(Duration::from_millis(SILENT_MS_MAX));
    tokio::pin!(silent);
    let mut is_silent = false;
    let mut said = None;
    loop {
        let now = standing.borrow().with(&relays.get());
        if now.is_connected() {
            if said.replace(now.clone()).as_ref() != Some(&now) {
                info!("Relay: {now}");
            }
        } else if is_silent && said.as_ref().is_none_or(Standing::is_connected) {
            warn!("Relay: {now}");
            said = Some(now.clone());
        } else {
            debug!("relay: {now}");
        }
        standing.send_replace(now);
        tokio::select! {
            () = cancel.cancelled() => return,
            updated = relays.updated() => if updated.is_err() { return },
            () = &mut silent, if !is_silent => is_silent = true,
        }
        if !is_silent && standing.borrow().is_connected() {
            is_silent = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_is_a_url_of_host_and_port() {
        for good in ["https://relay.example", "http://10.0.0.1:3340/", "https://[2001:db8::1]:3340"] {
            assert!(parse_one(good).is_ok(), "{good}");
        }
        for (bad, what) in [
            ("relay.example:3340", "begin with"),
            ("nonsense", "not a URL"),
            ("ftp://relay.example", "begin with"),
            ("https://user:pass@relay.example", "user"),
            ("https://relay.example/relay", "more than"),
            ("https://relay.example:0", "port"),
        ] {
            let problem = parse_one(bad).unwrap_err();
            assert!(problem.contains(what), "{problem}");
        }
        let many = vec!["http://r".to_owned(); RELAYS_COUNT_MAX + 1];
        assert!(parse(&many).is_err());
    }
}
