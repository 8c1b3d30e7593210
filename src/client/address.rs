//! Which node is asked: `http://host:port`, or what the variables of the node say.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use hyper::Uri;

use crate::environment::{self, BROKER_PORT_DEFAULT, Strings};

/// Where a node answers HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// A name or an IP address, the latter without brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

/// Words that name no node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct AddressError(String);

impl Address {
    /// The node that has the same variables.
    pub(super) fn of_environment(strings: &dyn Strings) -> Result<Self, AddressError> {
        let (bind, port) = environment::broker(strings).map_err(|mistakes| {
            AddressError(format!("the node to ask is not known; mend this or give --node:\n{mistakes}"))
        })?;
        if port == 0 {
            let problem =
                "PEAT_BROKER_PORT is 0, so the node's port is not known; give --node http://host:port";
            return Err(AddressError(problem.to_owned()));
        }
        let host = match bind {
            IpAddr::V4(any) if any.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(any) if any.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            bind => bind,
        };
        Ok(Self { host: host.to_string(), port })
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = |why: &str| AddressError(format!("{why}; give it as http://host:port"));
        let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: Uri = with_scheme.parse().map_err(|problem| wrong(&format!("{problem}")))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(wrong("nodes speak http only, without TLS")),
            _ => return Err(wrong("this is no http address")),
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong("the address of a node has no path"));
        }
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
        let authority = authority.ok_or_else(|| wrong("this is no host and port"))?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let rest = &authority.as_str()[authority.host().len()..];
        let port = match rest.strip_prefix(':') {
            None => Some(BROKER_PORT_DEFAULT),
            Some(port) => port.parse().ok().filter(|port| *port > 0),
        };
        let port = port.ok_or_else(|| wrong("the port is no number from 1 to 65535"))?;
        if host.is_empty() {
            return Err(wrong("there is no host"));
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') {
            write!(f, "http://[{host}]:{port}")
        } else {
            write!(f, "http://{host}:{port}")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_node_is_given_as_an_address_of_http() {
        for (text, shown) in [
            ("http://10.0.0.7:9000", "http://10.0.0.7:9000"),
            ("http://vehicle-7:9000/", "http://vehicle-7:9000"),
            ("http://[::1]:9000", "http://[::1]:9000"),
            ("vehicle-7:9000", "http://vehicle-7:9000"),
            ("http://vehicle-7", "http://vehicle-7:8081"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), shown, "{text}");
        }
        for text in [
            "https://a:1",
            "ftp://a:1",
            "http://a:1/api",
            "http://a:0",
            "http://a:x",
            "",
            ":1",
            "http://me@a:1",
        ] {
            let problem = text.parse::<Address>().unwrap_err().to_string();
            assert!(problem.contains("http://host:port"), "{text}: {problem}");
        }
        assert!("https://a:1".parse::<Address>().unwrap_err().to_string().contains("without TLS"));
    }

    #[test]
    fn without_one_it_is_the_node_with_the_same_variables() {
        let of = |bind: &str, port: &str| {
            let variables = [("PEAT_BROKER_BIND", bind), ("PEAT_BROKER_PORT", port)];
            let strings: BTreeMap<_, _> =
                variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            Address::of_environment(&strings).map(|address| address.to_string()).map_err(|e| e.to_string())
        };
        assert_eq!(of("", "").unwrap(), "http://127.0.0.1:8081");
        assert_eq!(of("0.0.0.0", "9000").unwrap(), "http://127.0.0.1:9000");
        assert_eq!(of("::", "").unwrap(), "http://[::1]:8081");
        assert_eq!(of("10.0.0.7", "").unwrap(), "http://10.0.0.7:8081");
        assert!(of("", "0").unwrap_err().contains("--node"));
        assert!(of("localhost", "x").unwrap_err().contains("PEAT_BROKER_BIND"));
        assert!(of("localhost", "x").unwrap_err().contains("PEAT_BROKER_PORT"));
    }
}
