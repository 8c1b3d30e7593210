//! Watches this node's own addresses. In: the endpoint's view of them. Out: `AddressLost` when one is gone.

use std::collections::BTreeSet;
use std::net::IpAddr;

use futures_util::StreamExt;
use iroh::{Endpoint, EndpointAddr, Watcher};
use peat_mesh_core::io::Input;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::ConnEvent;

/// Runs until the endpoint closes or is to stop.
pub(super) async fn watch(endpoint: Endpoint, events: mpsc::Sender<ConnEvent>, cancel: CancellationToken) {
    let mut changes = endpoint.watch_addr().stream();
    let mut had = BTreeSet::new();
    while let Some(Some(address)) = cancel.run_until_cancelled(changes.next()).await {
        let has = own(&address);
        let lost: Vec<&IpAddr> = had.difference(&has).collect();
        // Without any address there is nothing to dial from; the cut is over when there is one again.
        if !lost.is_empty() && !has.is_empty() {
            info!(?lost, ?has, "This machine's addresses changed, connecting anew");
            if events.send(Input::AddressLost.into()).await.is_err() {
                return;
            }
        }
        if !has.is_empty() {
            had = has;
        }
    }
}

fn own(address: &EndpointAddr) -> BTreeSet<IpAddr> {
    address.ip_addrs().map(|address| address.ip()).collect()
}
