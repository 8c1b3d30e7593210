//! The one provider of cryptography for TLS in the program. With two of them compiled in and none chosen, the
//! first use of TLS panics, and that would be in a cluster and not on the machine of who changed it.

use rustls::crypto::{CryptoProvider, ring};

/// Chooses ring for the whole process. Belongs first in `main`; later calls change nothing.
pub fn use_one_provider() {
    // It fails when a provider was chosen before, which then stays.
    let _ = ring::default_provider().install_default();
}

/// The name of the provider that was chosen for the process, if one was.
#[must_use]
pub fn provider() -> Option<String> {
    CryptoProvider::get_default().map(|provider| format!("{:?}", provider.secure_random).to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ring_is_the_provider_of_the_process_and_the_only_one() {
        use_one_provider();
        use_one_provider();
        assert_eq!(provider().as_deref(), Some("ring"));
        // Without a second one compiled in, rustls knows which to take.
        drop(rustls::ClientConfig::builder());
    }
}
