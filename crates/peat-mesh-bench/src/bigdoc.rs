//! Large documents, and one with a long history.

use std::time::Instant;

use crate::figure::Figure;
use crate::fill;
use crate::http::Client;
use crate::machine::{self, Machine};
use crate::nodes::{Failed, Formation, number, pair};
use crate::report::Report;
use crate::samples::Samples;
use crate::usage;

const LARGE_BYTES: usize = 1024 * 1024;
/// Documents of that size, one after the other.
const LARGE_COUNT: u64 = 8;
const LOADS_COUNT: u32 = 3;

pub(crate) async fn run(changes: usize) -> Result<Report, Failed> {
    let mut report = Report::new(
        "bigdoc",
        format!("{LARGE_COUNT} documents of 1 MiB, one after the other; one with {changes} changes"),
    );
    let formation = Formation::new()?;
    let machine = Machine::measure(formation.path(), &mut report).await?;
    large(&machine, &mut report).await?;

    let history = (0..changes).map(|round| fill::document(0, round));
    let crdt = machine::crdt(history, LOADS_COUNT)?;
    let first = formation.start("first", &[]).await?;
    let grown = first.order(format!("grow {changes}")).await?;
    let (bytes, seconds) = (number(&grown["bytes"])?, number(&grown["s"])?);
    report.add(Figure::new(
        "history: changes written per second, without HTTP",
        changes as f64 / seconds,
        "/s",
    ));
    let store = usage::folder_bytes(&formation.folder("first"))? as f64;
    report
        .add(Figure::new("history: store", store / 1e3, "kB").limit(crdt.bytes / 1e3, "saved by Automerge"));

    let second = formation.start("second", &[&first]).await?;
    let ms = second.holds(1).await?;
    let frames = first.traffic().await?.frame_bytes;
    report.add(
        Figure::new("history: from the handshake until the other node has it", ms, "ms")
            .limit(machine.ship_ms(crdt.bytes) + crdt.load_s * 1e3, "stream, one load, fsync"),
    );
    report.add(
        Figure::new("history: bytes of frames", frames / 1e3, "kB")
            .limit(crdt.bytes / 1e3, "saved by Automerge"),
    );
    report.add(Figure::new("history: the changes, each alone", bytes / 1e3, "kB"));
    second.in_step(1).await?;
    second.stop().await?;
    let second = formation.start("second", &[&first]).await?;
    second.in_step(1).await?;
    for (what, round) in [("the first write, which loads it", 1), ("the next write", 2)] {
        let mut client = Client::connect(second.http).await?;
        let body = serde_json::Value::Object(fill::document(0, changes + round)).to_string();
        let begun = Instant::now();
        client.put("/api/v1/documents/big/grown", &body).await?;
        let ms = begun.elapsed().as_secs_f64() * 1e3;
        let (limit, of) = if round == 1 {
            (crdt.load_s * 1e3 + machine.fsync_ms, "one load, fsync")
        } else {
            (machine.fsync_ms, "fsync")
        };
        report.add(Figure::new(format!("history: {what}"), ms, "ms").limit(limit, of));
    }
    let rss = second.usage()?.rss_bytes as f64 / 1e6;
    report.add(Figure::new("history: RSS of the other node with it loaded", rss, "MB"));
    second.stop().await?;
    first.stop().await?;
    Ok(report)
}

async fn large(machine: &Machine, report: &mut Report) -> Result<(), Failed> {
    let formation = Formation::new()?;
    let (first, second) = pair(&formation).await?;
    let mut watcher = Client::connect(second.http).await?;
    watcher.events("/api/v1/events?collection=big").await?;
    let mut writer = Client::connect(first.http).await?;
    let before = first.traffic().await?.frame_bytes;
    let (mut acknowledged, mut arrived) = (Samples::default(), Samples::default());
    for number in 0..LARGE_COUNT {
        let body = fill::large(LARGE_BYTES, number + 1).to_string();
        let begun = Instant::now();
        writer.put(&format!("/api/v1/documents/big/d{number}"), &body).await?;
        acknowledged.push(begun.elapsed());
        watcher.event().await?;
        arrived.push(begun.elapsed());
    }
    let bytes = (first.traffic().await?.frame_bytes - before) / LARGE_COUNT as f64;
    let copy_ms = LARGE_BYTES as f64 / machine.copy_bytes_per_s * 1e3;
    let disk_ms = machine.fsync_ms + copy_ms;
    report.times("1 MiB: PUT until it is acknowledged", &acknowledged, None, (disk_ms, "memcpy, fsync"));
    let ship = (disk_ms + machine.ship_ms(bytes), "two fsyncs, the stream");
    report.times("1 MiB: PUT until the other node's watcher has it", &arrived, None, ship);
    report.add(
        Figure::new("1 MiB: bytes of frames per document", bytes / 1e6, "MB")
            .limit(LARGE_BYTES as f64 / 1e6, "its JSON"),
    );
    for (what, node) in [("writer", &first), ("receiver", &second)] {
        let rss = node.usage()?.rss_bytes as f64 / 1e6;
        report.add(Figure::new(format!("1 MiB: RSS of the {what} afterwards"), rss, "MB"));
    }
    second.stop().await?;
    first.stop().await
}
