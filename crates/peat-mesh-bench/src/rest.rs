//! What two connected nodes send each other when nothing happens: bytes in UDP datagrams per minute.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::figure::Figure;
use crate::nodes::{Failed, Formation, pair};
use crate::report::Report;

/// After this long a new connection has found its path and the size of its packets.
const SETTLED: Duration = Duration::from_secs(20);

pub(crate) async fn run(secs: u64) -> Result<Report, Failed> {
    let mut report = Report::new("rest", format!("two connected nodes without documents, over {secs} s"));
    let formation = Formation::new()?;
    let (first, second) = pair(&formation).await?;
    sleep(SETTLED).await;
    let began = Instant::now();
    let before = first.traffic().await?;
    sleep(Duration::from_secs(secs)).await;
    let after = first.traffic().await?;
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    let sent = (after.udp_sent_bytes - before.udp_sent_bytes) / minutes;
    let received = (after.udp_received_bytes - before.udp_received_bytes) / minutes;
    report.add(Figure::new("rest: bytes of UDP sent per minute", sent, "B"));
    report.add(Figure::new("rest: bytes of UDP received per minute", received, "B"));
    second.stop().await?;
    first.stop().await?;
    Ok(report)
}
