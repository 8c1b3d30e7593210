//! One entry of the list of static peers.
//!
//! What comes in is `name@host:port,…` as an operator writes it; what goes out are checked entries, or all
//! mistakes at once, each with an example of a right entry.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use peat_mesh_core::id::{EndpointId, NodeName};

use crate::discovery::{EndpointOf, is_dialable};

/// Most entries of the list.
pub const STATIC_ENTRIES_COUNT_MAX: usize = 1024;
/// Longest host name, in bytes.
const HOST_BYTES_MAX: usize = 253;
/// Longest part of a host name between dots, in bytes.
const LABEL_BYTES_MAX: usize = 63;
/// How much of a wrong entry is repeated in the message about it, in characters.
const SHOWN_CHARS_MAX: usize = 80;

/// What stands for the place of a peer that is reached over relays.
const RELAY: &str = "relay";

const EXAMPLE: &str = "alpha/peat-mesh-0@gateway.example.com:4719";

/// A peer from the configuration and one place where it can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticPeer {
    /// Who it is.
    pub who: Who,
    /// Where it is.
    pub place: Place,
}

/// How an entry names its peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// By its node name; the endpoint id is derived.
    Name(NodeName),
    /// By its endpoint id.
    Id(EndpointId),
}

/// Where an entry says its peer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// At an address.
    Address(SocketAddr),
    /// At whatever addresses a host name has, on this port.
    Host(HostPort),
    /// Wherever it is: reached over the relays that this node uses.
    Relay,
}

/// A host name and a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    /// The host name, in lower case.
    pub host: String,
    /// The UDP port.
    pub port: u16,
}

impl StaticPeer {
    /// Reads a list such as `PEAT_STATIC_PEERS`: entries `<name>@<host>:<port>` or
    /// `<endpoint id>@<host>:<port>` with commas between them. In place of host and port stands `relay` for
    /// a peer that is reached over relays. Space around entries and a comma at the end do not matter; an
    /// empty list is a list.
    ///
    /// # Errors
    /// All mistakes, each in a sentence with an example.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, Vec<String>> {
        let mut peers = Vec::new();
        let mut mistakes = Vec::new();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            if peers.len() + mistakes.len() >= STATIC_ENTRIES_COUNT_MAX {
                mistakes.push(format!(
                    "the list of static peers has more than {STATIC_ENTRIES_COUNT_MAX} entries"
                ));
                break;
            }
            match Self::parse(entry) {
                Ok(peer) => peers.push(peer),
                Err(mistake) => mistakes.push(mistake),
            }
        }
        if mistakes.is_empty() { Ok(peers) } else { Err(mistakes) }
    }

    /// The endpoint id, derived when the entry gives a name.
    #[must_use]
    pub fn endpoint(&self, endpoint_of: &EndpointOf) -> EndpointId {
        match &self.who {
            Who::Name(name) => endpoint_of(name),
            Who::Id(endpoint) => *endpoint,
        }
    }

    /// The name, when the entry gives one.
    #[must_use]
    pub fn name(&self) -> Option<&NodeName> {
        match &self.who {
            Who::Name(name) => Some(name),
            Who::Id(_) => None,
        }
    }

    fn parse(entry: &str) -> Result<Self, String> {
        let Some((who, place)) = entry.split_once('@') else {
            return Err(mistake(entry, "has no @ between the peer and its address", EXAMPLE));
        };
        let who = Who::parse(who).map_err(|what| mistake(entry, &what, EXAMPLE))?;
        let place = Place::parse(place).map_err(|(what, example)| mistake(entry, &what, example))?;
        Ok(Self { who, place })
    }
}

impl Who {
    fn parse(text: &str) -> Result<Self, String> {
        if let Ok(endpoint) = text.parse::<EndpointId>() {
            return Ok(Self::Id(endpoint));
        }
        match NodeName::new(text) {
            Ok(name) => Ok(Self::Name(name)),
            Err(why) => Err(format!("needs a node name or 64 hex digits before the @: {why}")),
        }
    }
}

impl Place {
    fn parse(text: &str) -> Result<Self, (String, &'static str)> {
        if text == RELAY {
            return Ok(Self::Relay);
        }
        const WITH_V4: &str = "peat-mesh-0@192.0.2.7:4719";
        const WITH_V6: &str = "peat-mesh-0@[2001:db8::7]:4719";
        if text.parse::<Ipv6Addr>().is_ok() || (text.matches(':').count() > 1 && !text.starts_with('[')) {
            let what = "has an IPv6 address that is not in brackets, or no port".to_owned();
            return Err((what, WITH_V6));
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(("has no port after the host".to_owned(), EXAMPLE));
        };
        let port = match port.parse::<u16>() {
            Ok(port) if port > 0 => port,
            _ => {
                return Err(("needs a port from 1 to 65535 after the last colon".to_owned(), EXAMPLE));
            }
        };
        if host.starts_with('[') {
            return match text.parse::<SocketAddr>() {
                Ok(address) => usable(address, WITH_V6),
                Err(_) => Err(("has no IPv6 address between the brackets".to_owned(), WITH_V6)),
            };
        }
        if let Ok(ip) = host.parse::<Ipv4Addr>() {
            return usable(SocketAddr::new(IpAddr::V4(ip), port), WITH_V4);
        }
        if let Some(what) = wrong_in_host(host) {
            return Err((what, EXAMPLE));
        }
        let host = host.to_ascii_lowercase();
        Ok(Self::Host(HostPort { host, port }))
    }
}

fn usable(address: SocketAddr, example: &'static str) -> Result<Place, (String, &'static str)> {
    if !is_dialable(&address) {
        return Err((format!("has the address {}, where no peer can be", address.ip()), example));
    }
    Ok(Place::Address(address))
}

fn wrong_in_host(host: &str) -> Option<String> {
    let name = host.strip_suffix('.').unwrap_or(host);
    if name.is_empty() {
        return Some("has no host between the @ and the port".to_owned());
    }
    if name.len() > HOST_BYTES_MAX {
        return Some(format!("has a host name longer than {HOST_BYTES_MAX} bytes"));
    }
    if name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Some("has a host of digits that is not an IPv4 address".to_owned());
    }
    for label in name.split('.') {
        if label.is_empty() || label.len() > LABEL_BYTES_MAX {
            return Some(format!("has a host name whose parts are not 1 to {LABEL_BYTES_MAX} bytes long"));
        }
        let wrong = |c: &char| !(c.is_ascii_alphanumeric() || *c == '-' || *c == '_');
        if let Some(character) = label.chars().find(wrong) {
            return Some(format!("has the character {character:?} in its host name"));
        }
    }
    None
}

fn mistake(entry: &str, what: &str, example: &str) -> String {
    let mut shown: String = entry.chars().take(SHOWN_CHARS_MAX).collect();
    if shown.len() < entry.len() {
        shown.push('…');
    }
    format!("static peer {shown:?} {what}; a right one is {example}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, who: &str, place: Place) {
        let peers = StaticPeer::parse_list(text).unwrap();
        assert_eq!(peers.len(), 1, "{text}");
        let who = who.parse().map(Who::Id).unwrap_or_else(|_| Who::Name(NodeName::new(who).unwrap()));
        assert_eq!(peers[0], StaticPeer { who, place }, "{text}");
    }

    fn host(host: &str, port: u16) -> Place {
        Place::Host(HostPort { host: host.to_owned(), port })
    }

    #[test]
    fn a_peer_is_a_name_or_an_id_at_a_host_or_an_address() {
        check("node-1@Node-1.lan:4719", "node-1", host("node-1.lan", 4719));
        check(" alpha/peat-0@gw.example.com.:1 ,", "alpha/peat-0", host("gw.example.com.", 1));
        let id = "ab".repeat(32);
        check(&format!("{id}@192.0.2.1:65535"), &id, Place::Address("192.0.2.1:65535".parse().unwrap()));
        check("b@[2001:db8::1]:7", "b", Place::Address("[2001:db8::1]:7".parse().unwrap()));
        check("alpha/peat-0@relay", "alpha/peat-0", Place::Relay);
        check("relay@relay:1", "relay", host("relay", 1));
        check("b@[fe80::1%3]:7", "b", Place::Address("[fe80::1%3]:7".parse().unwrap()));
    }

    #[test]
    fn an_empty_list_has_no_peers() {
        assert_eq!(StaticPeer::parse_list(" , ,"), Ok(vec![]));
    }

    #[test]
    fn every_mistake_is_reported_with_an_example() {
        let cases = [
            ("node-1", "no @"),
            ("a/b/c@host:1", "'/'"),
            ("@host:1", "empty"),
            ("n@host", "no port"),
            ("n@host:0", "1 to 65535"),
            ("n@host:99999", "1 to 65535"),
            ("n@host:", "1 to 65535"),
            ("n@:4719", "no host"),
            ("n@2001:db8::1:4719", "not in brackets"),
            ("n@[2001:zz::1]:4719", "between the brackets"),
            ("n@[::]:4719", "no peer can be"),
            ("n@224.0.0.1:4719", "no peer can be"),
            ("n@300.1.1.1:4719", "digits"),
            ("n@ho st:4719", "' '"),
            ("n@a..b:4719", "parts"),
        ];
        let list: Vec<&str> = cases.iter().map(|(entry, _)| *entry).collect();
        let mistakes = StaticPeer::parse_list(&format!("good@host:1,{}", list.join(","))).unwrap_err();
        assert_eq!(mistakes.len(), cases.len(), "{mistakes:#?}");
        for ((entry, what), mistake) in cases.iter().zip(&mistakes) {
            assert!(mistake.contains(what), "{entry}: {mistake}");
            let (_, example) = mistake.rsplit_once("a right one is ").unwrap();
            assert!(StaticPeer::parse_list(example).is_ok(), "{example}");
        }
    }

    #[test]
    fn a_list_that_is_too_long_is_refused() {
        let list = "n@h:1,".repeat(STATIC_ENTRIES_COUNT_MAX + 1);
        let mistakes = StaticPeer::parse_list(&list).unwrap_err();
        assert!(mistakes[0].contains("more than 1024"), "{mistakes:?}");
    }

    proptest! {
        #[test]
        fn any_text_is_a_list_or_has_mistakes(text in "[a-f0-9@:.,/%\\[\\] é-]{0,60}") {
            match StaticPeer::parse_list(&text) {
                Ok(peers) => for peer in peers {
                    if let Place::Address(address) = peer.place {
                        prop_assert!(is_dialable(&address));
                    }
                },
                Err(mistakes) => prop_assert!(!mistakes.is_empty()),
            }
        }
    }
}
