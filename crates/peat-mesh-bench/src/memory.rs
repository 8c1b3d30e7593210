//! What a node at rest with many documents holds in memory, and how long it takes to serve them.

use crate::figure::Figure;
use crate::machine::Machine;
use crate::nodes::{Failed, Formation};
use crate::report::Report;
use crate::{fill, usage};

/// Sizes of the set, as parts of the greatest.
const PARTS: [usize; 3] = [100, 10, 1];

pub(crate) async fn run(docs: usize) -> Result<Report, Failed> {
    let sizes = PARTS.map(|part| (docs / part).max(1));
    let [least, _, most] = sizes;
    let mut report =
        Report::new("memory", format!("a node is started again with {least} to {most} documents"));
    let formation = Formation::new()?;
    let machine = Machine::measure(formation.path(), &mut report).await?;
    let mut found = Vec::new();
    for size in sizes {
        let name = format!("node-{size}");
        let node = formation.start(&name, &[]).await?;
        node.fill(size, 1, 0, fill::AT_ONCE_COUNT).await?;
        let filled = node.usage()?.rss_bytes as f64 / 1e6;
        node.stop().await?;
        let store = usage::folder_bytes(&formation.folder(&name))? as f64;
        let node = formation.start(&name, &[]).await?;
        let used = node.usage()?;
        let (rss, start_ms) = (used.rss_bytes as f64, node.started.as_secs_f64() * 1e3);
        let mut memory = Figure::new(format!("{size} documents: RSS after a restart"), rss / 1e6, "MB");
        let mut start = Figure::new(format!("{size} documents: from exec to serving"), start_ms, "ms")
            .limit(store / machine.copy_bytes_per_s * 1e3, "memcpy of the store");
        if size == most {
            memory = memory.budget_most(150.0);
            start = start.budget_most(1_000.0);
        }
        report.add(memory);
        let anonymous = used.anonymous_bytes as f64;
        report.add(Figure::new(format!("{size} documents: of it not of files"), anonymous / 1e6, "MB"));
        report.add(Figure::new(
            format!("{size} documents: RSS before it, after they were written"),
            filled,
            "MB",
        ));
        report.add(start);
        report.add(Figure::new(format!("{size} documents: store"), store / 1e6, "MB"));
        found.push((size as f64, rss));
        node.stop().await?;
    }
    if let (Some((few, small)), Some((many, large))) = (found.first(), found.last()) {
        let slope = (large - small) / (many - few);
        report.add(Figure::new("memory per document", slope, "B"));
    }
    Ok(report)
}
