//! An empty node joins one that is full.

use crate::figure::Figure;
use crate::machine::{self, Machine};
use crate::nodes::{Failed, Formation, Node};
use crate::report::Report;
use crate::{fill, usage};

/// Loads of one document that are timed.
const LOADS_COUNT: u32 = 2_000;

pub(crate) async fn run(docs: usize) -> Result<Report, Failed> {
    let mut report =
        Report::new("join", format!("{docs} documents of about 200 bytes on one node, an empty one joins"));
    let formation = Formation::new()?;
    let machine = Machine::measure(formation.path(), &mut report).await?;
    let crdt = machine::crdt(std::iter::once(fill::document(1, 0)), LOADS_COUNT)?;
    report.add(Figure::new(
        "the machine: Automerge loads such a document, one core",
        crdt.load_s * 1e6,
        "µs",
    ));
    let (first, _) = full(&formation, docs, &mut report).await?;
    let count = docs as f64;

    let before = first.usage()?;
    let second = formation.start("second", &[&first]).await?;
    let begun = second.usage()?;
    let seconds = second.holds(docs as u64).await? / 1_000.0;
    let (sender, receiver) = (first.usage()?, second.usage()?);
    let frame_bytes = first.traffic().await?.frame_bytes;
    let stream = machine.stream_bytes_per_s / (frame_bytes / count);
    let loads = machine.cores / crdt.load_s;
    report.add(
        Figure::new("cold join", count / seconds, "documents/s").budget_least(20_000.0).limit(
            stream.min(loads),
            if stream < loads { "the stream" } else { "Automerge loads, all cores" },
        ),
    );
    report.add(
        Figure::new("cold join: bytes of frames per document", frame_bytes / count, "B")
            .limit(crdt.bytes, "the document as Automerge saves it"),
    );
    let sender_us = sender.cpu_s_since(&before) * 1e6 / count;
    report.add(Figure::new("cold join: CPU of the sender per document", sender_us, "µs"));
    let receiver_us = receiver.cpu_s_since(&begun) * 1e6 / count;
    report.add(
        Figure::new("cold join: CPU of the receiver per document", receiver_us, "µs")
            .limit(crdt.load_s * 1e6, "one Automerge load"),
    );
    report.add(Figure::new(
        "cold join: RSS of the receiver at its end",
        receiver.rss_bytes as f64 / 1e6,
        "MB",
    ));
    let equal = second.in_step(1).await? / 1_000.0;
    report.add(Figure::new("cold join: until both know that they are equal", equal, "s"));
    let stored = usage::folder_bytes(&formation.folder("second"))? as f64;
    report.add(Figure::new("cold join: store of the receiver per document", stored / count, "B"));
    second.stop().await?;
    first.stop().await?;
    Ok(report)
}

/// A node with so many documents, and the bytes of all their changes.
pub(crate) async fn full(
    formation: &Formation,
    docs: usize,
    report: &mut Report,
) -> Result<(Node, f64), Failed> {
    let first = formation.start("first", &[]).await?;
    let (bytes, seconds) = first.fill(docs, 1, 0, fill::AT_ONCE_COUNT).await?;
    report.add(Figure::new("filling the first node, without HTTP", docs as f64 / seconds, "documents/s"));
    Ok((first, bytes))
}
