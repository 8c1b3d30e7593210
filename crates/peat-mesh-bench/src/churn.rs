//! One document that is updated all the time.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::figure::Figure;
use crate::fill;
use crate::http::Client;
use crate::machine::Machine;
use crate::nodes::{Failed, Formation, pair};
use crate::report::Report;
use crate::samples::Samples;
use crate::usage::folder_bytes;

const UPDATES_PER_S: u32 = 100;

pub(crate) async fn run(secs: u64) -> Result<Report, Failed> {
    let mut report = Report::new(
        "churn",
        format!("one airport, updated {UPDATES_PER_S} times a second for {secs} s; two nodes"),
    );
    let formation = Formation::new()?;
    let machine = Machine::measure(formation.path(), &mut report).await?;
    let (first, second) = pair(&formation).await?;
    let mut client = Client::connect(first.http).await?;
    client.put("/api/v1/documents/airports/busy", &fill::airport(0, 0)?.to_string()).await?;
    second.holds(1).await?;

    let nodes = [("writer", "first", &first), ("other node", "second", &second)];
    let mut before = Vec::new();
    for (_, name, node) in nodes {
        before.push((node.usage()?, folder_bytes(&formation.folder(name))?, node.traffic().await?));
    }
    let updates = u64::from(UPDATES_PER_S) * secs;
    let mut acknowledged = Samples::default();
    let mut pace = interval(Duration::from_secs(1) / UPDATES_PER_S);
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let begun = Instant::now();
    for round in 1..=updates {
        pace.tick().await;
        let body = fill::airport(0, usize::try_from(round)?)?.to_string();
        let start = Instant::now();
        client.put("/api/v1/documents/airports/busy", &body).await?;
        acknowledged.push(start.elapsed());
    }
    let rate = updates as f64 / begun.elapsed().as_secs_f64();
    // Several may share a commit on the other node, but the numbers of changes do not stand still for that.
    second.compared(1).await?;

    let count = updates as f64;
    report.add(Figure::new("churn: updates that were made", rate, "/s"));
    report.times(
        "churn: an update until it is acknowledged",
        &acknowledged,
        None,
        (machine.fsync_ms, "one fsync"),
    );
    for ((what, name, node), (used, stored, traffic)) in nodes.into_iter().zip(before) {
        let now = node.usage()?;
        let (cpu, written) = (now.cpu_percent_since(&used), now.written_bytes - used.written_bytes);
        report.add(Figure::new(format!("churn: CPU of the {what}"), cpu, "% of a core"));
        report.add(
            Figure::new(format!("churn: bytes to the disk per update, {what}"), written as f64 / count, "B")
                .limit(4096.0, "one page"),
        );
        let grown = folder_bytes(&formation.folder(name))? as f64 - stored as f64;
        report.add(Figure::new(format!("churn: growth of the store, {what}"), grown / 1e6, "MB"));
        report.add(Figure::new(
            format!("churn: RSS of the {what} at the end"),
            now.rss_bytes as f64 / 1e6,
            "MB",
        ));
        let sent = node.traffic().await?;
        let frames = (sent.frame_bytes - traffic.frame_bytes) / count;
        let udp = (sent.udp_sent_bytes - traffic.udp_sent_bytes) / count;
        report.add(Figure::new(format!("churn: bytes of frames per update, from the {what}"), frames, "B"));
        report.add(Figure::new(format!("churn: bytes of UDP per update, from the {what}"), udp, "B"));
    }
    second.stop().await?;
    first.stop().await?;
    Ok(report)
}
