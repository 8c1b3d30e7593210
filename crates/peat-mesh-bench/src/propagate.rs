//! From a PUT on one node to a watcher of the other.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use peat_mesh::service::Service;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::http::Client;
use crate::machine;
use crate::nodes::{Failed, pair};
use crate::samples::Samples;

/// Pause between two writes at the slow rate.
const PAUSE: Duration = Duration::from_millis(5);

type Seen = HashMap<String, Instant>;

pub(crate) async fn run(docs: usize) -> Result<Value, Failed> {
    let (formation, first, second) = pair().await?;
    println!("propagate: {docs} writes, one after the other, on one node; a watcher over SSE on the other\n");
    let mut report = vec![
        machine::fsync(&formation.folder("first"))?.report("the machine: one fdatasync of 4 KiB"),
        machine::tcp_round_trip().await?.report("the machine: one round trip over TCP"),
    ];
    for (what, pause) in [("slowly", PAUSE), ("without a pause", Duration::ZERO)] {
        report.extend(measure(&first, &second, docs, what, pause).await?);
    }
    first.shutdown().await;
    second.shutdown().await;
    Ok(json!({"scenario": "propagate", "docs": docs, "results": report}))
}

async fn measure(
    first: &Service,
    second: &Service,
    docs: usize,
    what: &str,
    pause: Duration,
) -> Result<Vec<Value>, Failed> {
    let collection = what.replace(' ', "-");
    let mut watcher = Client::connect(second.address()).await?;
    watcher.events(&format!("/api/v1/events?collection={collection}")).await?;
    let watching: JoinHandle<Result<Seen, Failed>> = tokio::spawn(async move {
        let mut seen = Seen::new();
        while seen.len() < docs {
            let data: Value = serde_json::from_str(&watcher.event().await?)?;
            let at = Instant::now();
            if let Some(id) = data["id"].as_str() {
                seen.insert(id.to_owned(), at);
            }
        }
        Ok(seen)
    });
    let mut client = Client::connect(first.address()).await?;
    let mut begun = Vec::with_capacity(docs);
    let mut acknowledged = Samples::default();
    for number in 0..docs {
        let id = format!("d{number}");
        let body =
            json!({"number": number, "name": "Frankfurt Airport", "position": {"lat": 50.03, "lon": 8.56}});
        let start = Instant::now();
        client.put(&format!("/api/v1/documents/{collection}/{id}"), &body.to_string()).await?;
        acknowledged.push(start.elapsed());
        begun.push((id, start));
        tokio::time::sleep(pause).await;
    }
    let seen = tokio::time::timeout(Duration::from_secs(60), watching).await???;
    let mut arrived = Samples::default();
    for (id, start) in begun {
        let at = seen.get(&id).ok_or("a write was not seen")?;
        arrived.push(at.saturating_duration_since(start));
    }
    Ok(vec![
        acknowledged.report(&format!("{what}: PUT until it is acknowledged")),
        arrived.report(&format!("{what}: PUT until the watcher has it")),
    ])
}
