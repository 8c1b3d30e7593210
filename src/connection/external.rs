//! Addresses at which this node is reached from outside and that it cannot find by itself: a NodePort, a load
//! balancer, a forwarded port. Connected peers are told them, so that a pair on a relay finds a direct path.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use iroh::Endpoint;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// How often host names among them are looked up again, in milliseconds.
const LOOKUP_EVERY_MS: u64 = 30_000;

/// Keeps the endpoint's list in step with what the names resolve to. A name that stops resolving keeps its last
/// addresses.
pub(super) async fn tell(endpoint: Endpoint, places: Vec<String>, cancel: CancellationToken) {
    let mut told: Vec<BTreeSet<SocketAddr>> = vec![BTreeSet::new(); places.len()];
    let mut is_first = true;
    loop {
        for (place, told) in places.iter().zip(&mut told) {
            let Some(found) = cancel.run_until_cancelled(tokio::net::lookup_host(place)).await else {
                return;
            };
            let found: BTreeSet<SocketAddr> = found.map(Iterator::collect).unwrap_or_default();
            if found.is_empty() {
                if is_first {
                    warn!("{place} in PEAT_EXTERNAL_ADDR does not resolve; will keep trying");
                }
                continue;
            }
            for new in found.difference(told) {
                endpoint.add_external_addr(*new).await;
            }
            for old in told.difference(&found) {
                endpoint.remove_external_addr(old).await;
            }
            *told = found;
        }
        is_first = false;
        let pause = tokio::time::sleep(Duration::from_millis(LOOKUP_EVERY_MS));
        if cancel.run_until_cancelled(pause).await.is_none() {
            return;
        }
    }
}
