//! Names of relays are looked up by the operating system, as names of static peers are. The QUIC library's
//! own resolver would turn to public name servers when the system's do not answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use iroh::dns::{BoxIter, DnsError, DnsResolver, Resolver, TxtRecordData};

/// The resolver of the operating system.
#[derive(Debug, Clone, Copy)]
struct System;

/// The operating system's resolver, for the endpoint.
pub(super) fn system() -> DnsResolver {
    DnsResolver::custom(System)
}

/// What the name has, which may be nothing: the caller tells that as "no response".
async fn lookup<T: Send + 'static>(
    host: String,
    pick: fn(IpAddr) -> Option<T>,
) -> Result<BoxIter<T>, DnsError> {
    // The port is not looked at.
    let found = tokio::net::lookup_host((host, 0)).await;
    let found: Vec<T> = found.map_or_else(
        |_| Vec::new(),
        |addresses| addresses.filter_map(|address| pick(address.ip())).collect(),
    );
    Ok(Box::new(found.into_iter()))
}

fn v4(ip: IpAddr) -> Option<Ipv4Addr> {
    match ip {
        IpAddr::V4(v4) => Some(v4),
        IpAddr::V6(_) => None,
    }
}

fn v6(ip: IpAddr) -> Option<Ipv6Addr> {
    match ip {
        IpAddr::V4(_) => None,
        IpAddr::V6(v6) => Some(v6),
    }
}

impl Resolver for System {
    fn lookup_ipv4(&self, host: String) -> BoxFuture<'static, Result<BoxIter<Ipv4Addr>, DnsError>> {
        lookup(host, v4).boxed()
    }

    fn lookup_ipv6(&self, host: String) -> BoxFuture<'static, Result<BoxIter<Ipv6Addr>, DnsError>> {
        lookup(host, v6).boxed()
    }

    fn lookup_txt(&self, _: String) -> BoxFuture<'static, Result<BoxIter<TxtRecordData>, DnsError>> {
        // Nothing here asks for text.
        async { Ok(Box::new(std::iter::empty()) as BoxIter<_>) }.boxed()
    }

    fn clear_cache(&self) {}

    fn reset(&self) -> Box<dyn Resolver> {
        Box::new(*self)
    }
}
