//! Durable PUTs through HTTP, from many clients at once.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::task::JoinSet;

use crate::figure::Figure;
use crate::fill;
use crate::http::Client;
use crate::machine::Machine;
use crate::nodes::{Failed, Formation};
use crate::report::Report;
use crate::samples::Samples;
use crate::usage::Usage;

const CLIENTS_COUNT: usize = 64;

pub(crate) async fn run(docs: usize) -> Result<Report, Failed> {
    let mut report = Report::new(
        "puts",
        format!("{docs} new documents from {CLIENTS_COUNT} HTTP clients, each answered when it is on disk"),
    );
    let formation = Formation::new()?;
    let machine = Machine::measure(formation.path(), &mut report).await?;
    let node = formation.start("first", &[]).await?;
    let (own, before) = (Usage::own()?, node.usage()?);
    let mut clients = JoinSet::new();
    let begun = Instant::now();
    for number in 0..CLIENTS_COUNT {
        let address = node.http;
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
    let count = docs as f64;
    let rate = count / begun.elapsed().as_secs_f64();
    let (own, after) = (Usage::own()?.cpu_s_since(&own), node.usage()?);
    let clients_us = own * 1e6 / count;
    let node_us = after.cpu_s_since(&before) * 1e6 / count;
    // With less work on the node the clients and the disk would still be there.
    let of_disk = CLIENTS_COUNT as f64 / machine.fsync_ms * 1e3;
    let of_clients = machine.cores * 1e6 / clients_us;
    report.add(Figure::new("durable PUTs", rate, "/s").budget_least(5_000.0).limit(
        of_disk.min(of_clients),
        if of_disk < of_clients { "all clients in each fsync" } else { "these clients alone, all cores" },
    ));
    report.times("a PUT until it is acknowledged", &samples, None, (machine.fsync_ms, "one fsync"));
    report.add(Figure::new("CPU of the node per PUT", node_us, "µs"));
    report.add(Figure::new("CPU of the clients per PUT", clients_us, "µs"));
    let written = (after.written_bytes - before.written_bytes) as f64 / count;
    report.add(Figure::new("bytes to the disk per PUT", written, "B"));
    node.stop().await?;
    Ok(report)
}
