//! Durable PUTs through HTTP, from many clients at once.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::figure::Figure;
use crate::http::Client;
use crate::nodes::{Failed, Formation};
use crate::samples::Samples;
use crate::{fill, machine};

const CLIENTS_COUNT: usize = 64;

pub(crate) async fn run(docs: usize) -> Result<Value, Failed> {
    println!("puts: {docs} documents, {CLIENTS_COUNT} clients over HTTP, each answered when it is on disk\n");
    let formation = Formation::new()?;
    let node = formation.start("first", None).await?;
    let fsync_ms = machine::fsync(&formation.folder("first"))?.median_ms();
    let mut clients = JoinSet::new();
    let begun = Instant::now();
    for number in 0..CLIENTS_COUNT {
        let address = node.address();
        clients.spawn(async move {
            let mut client = Client::connect(address).await?;
            let mut times = Vec::new();
            for number in (number..docs).step_by(CLIENTS_COUNT) {
                let body = Value::Object(fill::document(number, 0)).to_string();
                let start = Instant::now();
                client.put(&format!("/api/v1/documents/airports/x{number}"), &body).await?;
                times.push(start.elapsed());
            }
            Ok::<Vec<Duration>, Failed>(times)
        });
    }
    let mut samples = Samples::default();
    while let Some(done) = clients.join_next().await {
        done??.into_iter().for_each(|time| samples.push(time));
    }
    let rate = docs as f64 / begun.elapsed().as_secs_f64();
    node.shutdown().await;
    let figures = [
        Figure::new("the machine: one fdatasync of 4 KiB", fsync_ms, "ms"),
        Figure::new("durable PUTs", rate, "per second").budget_least(5_000.0),
    ];
    let mut results: Vec<Value> = figures.iter().map(Figure::report).collect();
    results.push(samples.report("a PUT until it is acknowledged"));
    Ok(json!({"scenario": "puts", "docs": docs, "results": results}))
}
