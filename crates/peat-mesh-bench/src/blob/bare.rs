//! Bare iroh-blobs, to compare with: a process with an endpoint and a store on disk, all as they come, that takes
//! orders as a node of the bench does.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use iroh::endpoint::presets;
use iroh::protocol::Router;
use iroh::{Endpoint, EndpointAddr, RelayMode, TransportAddr};
use iroh_blobs::store::fs::FsStore;
use iroh_blobs::{BlobsProtocol, Hash};
use serde_json::{Value, json};

use crate::nodes::{Failed, number};
use crate::process::{Process, answer, orders};

/// The hidden argument.
pub(crate) const ARGUMENT: &str = "bare-blobs";
const FOLDER: &str = "BENCH_FOLDER";

/// The hidden side.
pub(crate) async fn child() -> Result<(), Failed> {
    let folder = PathBuf::from(std::env::var(FOLDER)?);
    let endpoint = Endpoint::builder(presets::Minimal)
        .relay_mode(RelayMode::Disabled)
        .clear_ip_transports()
        .bind_addr("127.0.0.1:0")?
        .bind()
        .await?;
    let store = FsStore::load(folder.join("blobs")).await?;
    let router =
        Router::builder(endpoint.clone()).accept(iroh_blobs::ALPN, BlobsProtocol::new(&store, None)).spawn();
    let address = endpoint.bound_sockets().first().copied().ok_or("the endpoint is bound to nothing")?;
    answer(&json!({"id": endpoint.id().to_string(), "address": address}))?;
    let mut orders = orders();
    while let Some(order) = orders.recv().await {
        match obey(&endpoint, &store, &order).await {
            Ok(done) => answer(&done)?,
            Err(problem) => answer(&json!({"error": problem.to_string()}))?,
        }
    }
    router.shutdown().await?;
    Ok(())
}

async fn obey(endpoint: &Endpoint, store: &FsStore, order: &str) -> Result<Value, Failed> {
    let begun = Instant::now();
    match order.split(' ').collect::<Vec<_>>().as_slice() {
        ["add", file] => {
            let added = store.add_path(file).await?;
            Ok(json!({"hash": added.hash.to_string(), "s": begun.elapsed().as_secs_f64()}))
        }
        ["fetch", hash, id, address] => {
            let hash: Hash = hash.parse()?;
            let address = EndpointAddr::from_parts(id.parse()?, [TransportAddr::Ip(address.parse()?)]);
            let connection = endpoint.connect(address, iroh_blobs::ALPN).await?;
            store.remote().fetch(connection, hash).complete().await?;
            if !store.has(hash).await? {
                return Err("bare iroh-blobs did not bring all of it".into());
            }
            Ok(json!({"s": begun.elapsed().as_secs_f64()}))
        }
        _ => Err(format!("there is no order {order:?}").into()),
    }
}

/// One such process.
#[derive(Debug)]
pub(crate) struct Bare {
    process: Process,
    id: String,
    address: String,
}

impl Bare {
    pub(crate) async fn start(folder: PathBuf) -> Result<Self, Failed> {
        std::fs::create_dir_all(&folder)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(ARGUMENT).env(FOLDER, folder);
        let (process, said) = Process::start("bare iroh-blobs".to_owned(), &mut command).await?;
        let text = |key: &str| {
            said[key].as_str().map(str::to_owned).ok_or("bare iroh-blobs did not say where it is")
        };
        Ok(Self { id: text("id")?, address: text("address")?, process })
    }

    /// Has it take a file in; returns the hash.
    pub(crate) async fn add(&self, file: &std::path::Path) -> Result<String, Failed> {
        let added = self.process.order(format!("add {}", file.display())).await?;
        Ok(added["hash"].as_str().ok_or("bare iroh-blobs did not say the hash")?.to_owned())
    }

    /// Has it fetch from another one; returns the seconds, from connecting until the blob is whole in the store.
    pub(crate) async fn fetch(&self, hash: &str, from: &Self) -> Result<f64, Failed> {
        let done = self.process.order(format!("fetch {hash} {} {}", from.id, from.address)).await?;
        number(&done["s"])
    }

    pub(crate) fn process_id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) async fn stop(self) -> Result<(), Failed> {
        self.process.stop().await
    }
}
