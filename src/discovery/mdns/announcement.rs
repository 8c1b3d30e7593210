//! What a node says about itself on the local network.
//!
//! What comes in is a resolved service, bytes that anybody may have sent; what goes out is an
//! [`Announcement`] of a node of this formation, or why it is none. The TXT record:
//!
//! ```text
//!  v=1                   version of this record
//!  n=alpha/peat-mesh-0   node name
//!  f=9f86d081884c7d65…   formation tag: 32 hex digits, a keyed hash, so the secret stays secret
//!  i=2cf24dba5fb0a30e    incarnation: 16 hex digits, random per process
//! ```

use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use data_encoding::HEXLOWER;
use mdns_sd::{ResolvedService, ScopedIp, TxtProperties};
use peat_mesh_core::id::NodeName;
use peat_mesh_core::limits::{NODE_NAME_BYTES_MAX, PEER_ADDRESSES_COUNT_MAX};

use crate::discovery::is_dialable;

/// The version of the TXT record.
pub(super) const VERSION: &str = "1";
/// Longest service instance name we remember, in bytes. Ours have 54.
const INSTANCE_BYTES_MAX: usize = 255;

/// Tells formations apart without telling their secret.
pub type FormationTag = [u8; 16];
/// Tells the processes that use one name apart.
pub type Incarnation = [u8; 8];

/// One process of a node of this formation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Announcement {
    /// The service instance, which names the process until it leaves.
    pub(super) instance: String,
    pub(super) name: NodeName,
    pub(super) incarnation: Incarnation,
    pub(super) addresses: Vec<SocketAddr>,
}

/// The pairs of our own TXT record.
pub(super) fn txt(
    name: &NodeName,
    tag: &FormationTag,
    incarnation: &Incarnation,
) -> [(&'static str, String); 4] {
    [
        ("v", VERSION.to_owned()),
        ("n", name.to_string()),
        ("f", HEXLOWER.encode(tag)),
        ("i", HEXLOWER.encode(incarnation)),
    ]
}

impl Announcement {
    /// Checks what came from the network.
    ///
    /// # Errors
    /// Why it is not a node of the formation with `tag`, in words for a debug log.
    pub(super) fn read(service: &ResolvedService, tag: &FormationTag) -> Result<Self, String> {
        if service.fullname.len() > INSTANCE_BYTES_MAX {
            return Err("its instance name is too long".to_owned());
        }
        let txt = &service.txt_properties;
        let version = value(txt, "v", VERSION.len())?;
        if version != VERSION {
            return Err("it speaks another version".to_owned());
        }
        if value(txt, "f", tag.len() * 2)? != HEXLOWER.encode(tag) {
            return Err("it belongs to another formation".to_owned());
        }
        let name = NodeName::new(value(txt, "n", NODE_NAME_BYTES_MAX)?).map_err(|why| why.to_string())?;
        let incarnation = HEXLOWER
            .decode(value(txt, "i", 16)?.as_bytes())
            .ok()
            .and_then(|bytes| Incarnation::try_from(bytes).ok())
            .ok_or_else(|| "its incarnation is not 16 hex digits".to_owned())?;
        let addresses = addresses(service);
        if addresses.is_empty() {
            return Err("it has no usable address".to_owned());
        }
        Ok(Self { instance: service.fullname.clone(), name, incarnation, addresses })
    }
}

fn value<'a>(txt: &'a TxtProperties, key: &str, bytes_max: usize) -> Result<&'a str, String> {
    match txt.get_property_val_str(key) {
        Some(value) if !value.is_empty() && value.len() <= bytes_max => Ok(value),
        Some(_) => Err(format!("its TXT record has an empty or too long {key}")),
        None => Err(format!("its TXT record has no {key}")),
    }
}

/// Where the service can be reached: sorted, each once, within the limit.
fn addresses(service: &ResolvedService) -> Vec<SocketAddr> {
    let places = service.addresses.iter().filter_map(|ip| address(ip, service.port)).filter(is_dialable);
    let mut addresses: Vec<SocketAddr> = places.collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(PEER_ADDRESSES_COUNT_MAX);
    addresses
}

fn address(scoped: &ScopedIp, port: u16) -> Option<SocketAddr> {
    let ip = scoped.to_ip_addr();
    match (scoped, ip) {
        // A link-local address means nothing without the interface it was heard on.
        (ScopedIp::V6(v6), IpAddr::V6(ip)) if ip.is_unicast_link_local() => match v6.scope_id().index {
            0 => None,
            index => Some(SocketAddrV6::new(ip, port, 0, index).into()),
        },
        (_, ip) => Some(SocketAddr::new(ip, port)),
    }
}

#[cfg(test)]
mod tests {
    use mdns_sd::ServiceInfo;

    use super::*;

    const TAG: FormationTag = [7; 16];

    fn service(port: u16, ips: &str, txt: &[(&str, String)]) -> ResolvedService {
        let info = ServiceInfo::new("_peat._udp.local.", "peat-1", "peat-1.local.", ips, port, txt).unwrap();
        info.as_resolved_service()
    }

    fn good() -> Vec<(&'static str, String)> {
        txt(&NodeName::new("alpha/node-1").unwrap(), &TAG, &[9; 8]).to_vec()
    }

    fn with(key: &'static str, value: &str) -> Vec<(&'static str, String)> {
        let mut pairs = good();
        pairs.retain(|(other, _)| *other != key);
        if value != "none" {
            pairs.push((key, value.to_owned()));
        }
        pairs
    }

    #[test]
    fn an_announcement_reads_as_it_was_written() {
        let service = service(4719, "192.0.2.1,2001:db8::1", &good());
        let read = Announcement::read(&service, &TAG).unwrap();
        assert_eq!(read.name.as_str(), "alpha/node-1");
        assert_eq!(read.incarnation, [9; 8]);
        let addresses = ["192.0.2.1:4719", "[2001:db8::1]:4719"].map(|text| text.parse().unwrap());
        assert_eq!(read.addresses, addresses);
        let bytes: usize = good().iter().map(|(key, value)| key.len() + value.len() + 2).sum();
        assert!(bytes < 200, "the record stays small: {bytes}");
    }

    #[test]
    fn what_is_not_of_this_formation_and_version_is_refused() {
        let cases = [
            (with("v", "2"), "another version"),
            (with("v", "none"), "no v"),
            (with("f", &"00".repeat(16)), "another formation"),
            (with("f", "0707"), "another formation"),
            (with("n", "a/b/c"), "'/'"),
            (with("n", "bad name\n"), "' '"),
            (with("n", &"x".repeat(200)), "too long n"),
            (with("n", ""), "empty"),
            (with("i", "xyz"), "16 hex"),
            (with("i", "0102"), "16 hex"),
        ];
        for (pairs, what) in cases {
            let why = Announcement::read(&service(4719, "192.0.2.1", &pairs), &TAG).unwrap_err();
            assert!(why.contains(what), "{pairs:?}: {why}");
        }
    }

    #[test]
    fn addresses_that_cannot_be_dialled_are_dropped() {
        // A link-local address without an interface, as here, is one of them.
        let ips = "0.0.0.0,224.0.0.251,255.255.255.255,::,fe80::1,192.0.2.9";
        let read = Announcement::read(&service(4719, ips, &good()), &TAG).unwrap();
        assert_eq!(read.addresses, ["192.0.2.9:4719".parse().unwrap()]);
        let why = Announcement::read(&service(0, "192.0.2.9", &good()), &TAG).unwrap_err();
        assert!(why.contains("no usable address"), "{why}");
    }
}
