//! Two nodes that were equal meet again: still equal, or with 1 % of the documents changed on one side.

use crate::figure::Figure;
use crate::join;
use crate::machine::Machine;
use crate::nodes::{Failed, Formation, Node};
use crate::report::Report;

/// Documents that differ, of a hundred.
const DIFFERENT_PERCENT: usize = 1;
/// Times that equal sets meet; the best counts least and the middle is told.
const MEETINGS_COUNT: usize = 5;

pub(crate) async fn equal(docs: usize) -> Result<Report, Failed> {
    let mut report = Report::new("reconnect", format!("{docs} equal documents on two nodes that meet again"));
    let formation = Formation::new()?;
    let machine = Machine::measure(formation.path(), &mut report).await?;
    let first = both_full(&formation, docs, &mut report).await?;
    let mut meetings = Vec::new();
    for _ in 0..MEETINGS_COUNT {
        let second = formation.start("second", &[&first]).await?;
        meetings.push(meet(&first, &second).await?);
        second.stop().await?;
    }
    meetings.sort_by(|one, other| one.ms.total_cmp(&other.ms));
    let middle = meetings.get(MEETINGS_COUNT / 2).ok_or("they never met")?;
    report.add(
        Figure::new("reconnect of equal sets: from the handshake until both know", middle.ms, "ms")
            .budget_most(100.0)
            .limit(machine.round_trip_ms, "one round trip"),
    );
    report.add(
        Figure::new("reconnect of equal sets: bytes of frames, both ways", middle.frame_bytes, "B")
            .budget_most(10_000.0),
    );
    report.add(
        Figure::new(
            "reconnect of equal sets: bytes in UDP, both ways, with QUIC's handshake",
            middle.udp_bytes,
            "B",
        )
        .budget_most(10_000.0),
    );
    first.stop().await?;
    Ok(report)
}

pub(crate) async fn differ(docs: usize) -> Result<Report, Failed> {
    let different = (docs * DIFFERENT_PERCENT / 100).max(1);
    let mut report =
        Report::new("differ", format!("{different} of {docs} documents differ when two nodes meet"));
    let formation = Formation::new()?;
    let machine = Machine::measure(formation.path(), &mut report).await?;
    let first = both_full(&formation, docs, &mut report).await?;
    let (changes, _) = first.fill(different, docs / different, 1, crate::fill::AT_ONCE_COUNT).await?;
    let second = formation.start("second", &[&first]).await?;
    let meeting = meet(&first, &second).await?;
    report.add(
        Figure::new(
            "1 % differ: from the handshake until both know that they are equal",
            meeting.ms / 1e3,
            "s",
        )
        .budget_most(0.5)
        .limit(machine.ship_ms(changes) / 1e3, "round trip, stream, fsync"),
    );
    report.add(
        Figure::new("1 % differ: bytes of frames, both ways", meeting.frame_bytes / changes, "x changes")
            .budget_most(3.0)
            .limit(1.0, "the changes"),
    );
    report.add(
        Figure::new("1 % differ: bytes in UDP, both ways", meeting.udp_bytes / changes, "x changes")
            .limit(1.0, "the changes"),
    );
    report.add(Figure::new("1 % differ: one change", changes / different as f64, "B"));
    second.stop().await?;
    first.stop().await?;
    Ok(report)
}

/// The first node, after the second got everything and went.
async fn both_full(formation: &Formation, docs: usize, report: &mut Report) -> Result<Node, Failed> {
    let (first, _) = join::full(formation, docs, report).await?;
    let second = formation.start("second", &[&first]).await?;
    second.holds(docs as u64).await?;
    second.in_step(1).await?;
    first.in_step(1).await?;
    second.stop().await?;
    Ok(first)
}

struct Meeting {
    ms: f64,
    frame_bytes: f64,
    udp_bytes: f64,
}

/// From the connection until both are known to be equal, by the clock of the slower of the two nodes.
async fn meet(first: &Node, second: &Node) -> Result<Meeting, Failed> {
    let ms = second.in_step(1).await?;
    let ms = first.in_step(1).await?.max(ms);
    let (one, other) = (first.traffic().await?, second.traffic().await?);
    Ok(Meeting {
        ms,
        frame_bytes: one.frame_bytes + other.frame_bytes,
        udp_bytes: other.udp_sent_bytes + other.udp_received_bytes,
    })
}
