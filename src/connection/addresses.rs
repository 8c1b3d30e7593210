//! Which addresses of a peer are worth a packet.

use std::net::{IpAddr, SocketAddr};

/// The addresses that can be dialled, or why none of them can.
///
/// Link-local IPv6 addresses are left out. The QUIC library forgets on which interface a packet from such an
/// address came, so its answers do not leave; and as a first packet goes to all addresses of a peer at once and the
/// peer answers the one that comes first, they would make every second dial on a LAN fail.
pub(super) fn usable(addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, String> {
    let had_some = !addresses.is_empty();
    let usable: Vec<SocketAddr> = addresses.into_iter().filter(|address| !is_link_local(address)).collect();
    if had_some && usable.is_empty() {
        return Err(
            "it has link-local IPv6 addresses (fe80::) only, which cannot be used; give its network \
                    IPv4, or unique local (fd00::/8) or global IPv6 addresses"
                .to_owned(),
        );
    }
    Ok(usable)
}

fn is_link_local(address: &SocketAddr) -> bool {
    matches!(address.ip(), IpAddr::V6(ip) if ip.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn link_local_addresses_are_left_out() {
        let all = addresses(&["10.0.0.1:1", "[fe80::1%2]:1", "[fd00::1]:1", "169.254.0.1:1"]);
        assert_eq!(usable(all), Ok(addresses(&["10.0.0.1:1", "[fd00::1]:1", "169.254.0.1:1"])));
        assert_eq!(usable(Vec::new()), Ok(Vec::new()));
    }

    #[test]
    fn a_peer_that_has_no_other_address_is_told_of() {
        let problem = usable(addresses(&["[fe80::1%2]:1"])).unwrap_err();
        assert!(problem.contains("fd00::/8"), "{problem}");
    }
}
