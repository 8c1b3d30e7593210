//! From a PUT on one node to a watcher of the other.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use crate::fill;
use crate::http::Client;
use crate::machine::Machine;
use crate::nodes::{Failed, Formation, Node, pair};
use crate::report::Report;
use crate::samples::Samples;

/// Pause between two writes at the slow rate.
pub(crate) const PAUSE: Duration = Duration::from_millis(20);
/// Writes per second under load.
const LOAD_PER_S: u32 = 1_000;
/// Clients that share the load.
const CLIENTS_COUNT: usize = 16;
/// How long the last change may take.
const PATIENCE: Duration = Duration::from_secs(60);

type Times = HashMap<String, Instant>;

/// A document, when its PUT was due, and how long that took.
type Sent = (String, Instant, Duration);

pub(crate) async fn run(docs: usize) -> Result<Report, Failed> {
    let loaded = docs * 10;
    let setup = format!(
        "{docs} airports, one every {} ms, then {loaded} at {LOAD_PER_S} a second, are put on one node; \
         a watcher over SSE on the other",
        PAUSE.as_millis()
    );
    let mut report = Report::new("propagate", setup);
    let formation = Formation::new()?;
    let machine = Machine::measure(formation.path(), &mut report).await?;
    let (first, second) = pair(&formation).await?;
    let rested = Machine::measure_rested(formation.path(), PAUSE, &mut report).await?;

    let (acknowledged, arrived) = measure(&first, &second, "slow", docs, PAUSE, 1).await?;
    let disk = (rested.fsync_ms, "one fsync at that pace");
    let both = (2.0 * rested.fsync_ms + rested.round_trip_ms, "two fsyncs and one round trip at that pace");
    report.times("slow: PUT until it is acknowledged", &acknowledged, None, disk);
    report.times("slow: PUT until the other node's watcher has it", &arrived, Some((2.0, 10.0)), both);
    let disk = (machine.fsync_ms, "one fsync");
    let both = (2.0 * machine.fsync_ms + machine.round_trip_ms, "two fsyncs and one round trip");

    let pace = Duration::from_secs(1) / LOAD_PER_S;
    let (acknowledged, arrived) = measure(&first, &second, "load", loaded, pace, CLIENTS_COUNT).await?;
    report.times("1,000/s: PUT until it is acknowledged", &acknowledged, None, disk);
    report.times("1,000/s: PUT until the other node's watcher has it", &arrived, Some((2.0, 10.0)), both);
    second.stop().await?;
    first.stop().await?;
    Ok(report)
}

/// Times count from when a write was due, so one that waits for a slow one before it is not forgiven.
pub(crate) async fn measure(
    first: &Node,
    second: &Node,
    collection: &'static str,
    docs: usize,
    pace: Duration,
    clients: usize,
) -> Result<(Samples, Samples), Failed> {
    let mut watcher = Client::connect(second.http).await?;
    watcher.events(&format!("/api/v1/events?collection={collection}")).await?;
    let watching: JoinHandle<Result<Times, Failed>> = tokio::spawn(async move {
        let mut seen = Times::new();
        while seen.len() < docs {
            let data: Value = serde_json::from_str(&watcher.event().await?)?;
            let at = Instant::now();
            if let Some(id) = data["id"].as_str() {
                seen.entry(id.to_owned()).or_insert(at);
            }
        }
        Ok(seen)
    });
    let begin = Instant::now() + Duration::from_millis(100);
    let mut writers: JoinSet<Result<Vec<Sent>, Failed>> = JoinSet::new();
    for client in 0..clients {
        let mut connection = Client::connect(first.http).await?;
        writers.spawn(async move {
            let mut done = Vec::new();
            for number in (client..docs).step_by(clients) {
                let (id, body) = (format!("d{number}"), fill::airport(number, 0)?.to_string());
                let due = begin + pace * u32::try_from(number)?;
                tokio::time::sleep_until(due).await;
                // Being woken late is the bench's fault, being busy with the write before is not.
                let start = if done.last().is_some_and(|(_, _, end)| begin + *end > due) {
                    due
                } else {
                    Instant::now()
                };
                connection.put(&format!("/api/v1/documents/{collection}/{id}"), &body).await?;
                done.push((id, start, begin.elapsed()));
            }
            Ok(done)
        });
    }
    let mut written = Vec::with_capacity(docs);
    while let Some(done) = writers.join_next().await {
        written.extend(done??);
    }
    let seen = tokio::time::timeout(PATIENCE, watching)
        .await
        .map_err(|_| "the watcher was not told of all")???;
    let acknowledged = written.iter().map(|(_, start, end)| (begin + *end) - *start).collect();
    let arrived: Result<Samples, Failed> = written
        .iter()
        .map(|(id, start, _)| {
            let at = seen.get(id).ok_or("a write was not seen")?;
            Ok(at.saturating_duration_since(*start))
        })
        .collect();
    Ok((acknowledged, arrived?))
}
