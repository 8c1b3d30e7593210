//! How long a document takes from one node to the other while a blob goes the same way.

use std::time::Instant;

use serde_json::Value;

use super::disk::{MB, pieces};
use super::http::{delete, fetch, send};
use crate::figure::Figure;
use crate::http::Client;
use crate::nodes::{Failed, Formation, Node};
use crate::propagate::{PAUSE, measure};
use crate::report::Report;
use crate::samples::Samples;

/// Documents of each measurement.
const DOCS_COUNT: usize = 500;
/// What blobs may take when they are limited, in bytes per second.
const LIMIT_BYTES_PER_S: u64 = 50_000_000;

pub(super) async fn run(bytes: u64, report: &mut Report) -> Result<(), Failed> {
    let formation = Formation::new()?;
    let (first, second) = pair(&formation, None).await?;
    let hash = send(&first, bytes, pieces(bytes, 4).map(Ok)).await?;
    let (_, idle) = measure(&first, &second, "idle", DOCS_COUNT, PAUSE, 1).await?;
    tell("no transfer", &idle, None, report);
    let (arrived, rate) = during(&first, &second, &hash, bytes).await?;
    tell("during a transfer", &arrived, Some(&idle), report);
    report.add(Figure::new("that transfer", rate / MB, "MB/s").rate());
    second.stop().await?;
    first.stop().await?;

    let formation = Formation::new()?;
    let (first, second) = pair(&formation, Some(LIMIT_BYTES_PER_S)).await?;
    let hash = send(&first, bytes, pieces(bytes, 4).map(Ok)).await?;
    let (arrived, rate) = during(&first, &second, &hash, bytes).await?;
    tell("during a transfer with a limit", &arrived, Some(&idle), report);
    let limit = LIMIT_BYTES_PER_S as f64 / MB;
    report.add(Figure::new("that transfer", rate / MB, "MB/s").rate().limit(limit, "the limit"));
    second.stop().await?;
    first.stop().await
}

async fn pair(formation: &Formation, limit: Option<u64>) -> Result<(Node, Node), Failed> {
    let first = formation.start_limited("first", &[], limit).await?;
    let second = formation.start_limited("second", &[&first], limit).await?;
    second.order("connected 1").await?;
    first.order("connected 1").await?;
    Ok((first, second))
}

/// Measures while the second node fetches a blob from the first, drops it, and fetches it again; returns the rate of
/// that as well, in bytes per second.
async fn during(first: &Node, second: &Node, hash: &str, bytes: u64) -> Result<(Samples, f64), Failed> {
    let mut whole = 0;
    let begun = Instant::now();
    let again = async {
        loop {
            fetch(second, hash).await?;
            whole += bytes;
            delete(second, hash).await?;
        }
    };
    let (_, arrived) = tokio::select! {
        measured = measure(first, second, "busy", DOCS_COUNT, PAUSE, 1) => measured?,
        broken = again => return broken,
    };
    let seconds = begun.elapsed().as_secs_f64();
    let status = Client::connect(second.http).await?.get(&format!("/api/v1/blobs/{hash}/status")).await?;
    let status: Value = serde_json::from_slice(&status)?;
    let fetched = whole as f64 + status["have_bytes"].as_f64().unwrap_or(0.0);
    Ok((arrived, fetched / seconds))
}

fn tell(when: &str, arrived: &Samples, idle: Option<&Samples>, report: &mut Report) {
    for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
        let what = format!("PUT until the other node's watcher has it, {when}, {name}");
        let mut figure = Figure::new(what, arrived.quantile_ms(share), "ms");
        if let Some(idle) = idle {
            figure = figure.limit(idle.quantile_ms(share), "no transfer");
        }
        report.add(figure);
    }
}
