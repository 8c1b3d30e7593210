//! One blob from one, two and four nodes at once.

use super::disk::{MB, pieces, settle};
use super::http::{delete, fetch, received_bytes, send};
use crate::figure::Figure;
use crate::nodes::{Failed, Formation, Node};
use crate::report::Report;

/// Nodes that have it.
const COUNTS: [usize; 3] = [1, 2, 4];
/// What each may send when they are limited, in bytes per second.
const LIMIT_BYTES_PER_S: u64 = 40_000_000;
/// So much faster than its limit is a node that does not keep to it.
const IGNORED: f64 = 1.5;

pub(super) async fn run(bytes: u64, report: &mut Report) -> Result<(), Failed> {
    from_each(bytes, None, report).await?;
    from_each(bytes, Some(LIMIT_BYTES_PER_S), report).await
}

async fn from_each(bytes: u64, limit: Option<u64>, report: &mut Report) -> Result<(), Failed> {
    let formation = Formation::new()?;
    let mut providers: Vec<Node> = Vec::new();
    for number in 0..COUNTS.into_iter().max().unwrap_or(1) {
        let node = formation.start_limited(&format!("provider-{number}"), &[], limit).await?;
        providers.push(node);
    }
    let mut hash = String::new();
    for node in &providers {
        hash = send(node, bytes, pieces(bytes, 2).map(Ok)).await?;
    }
    let how = limit.map_or("as fast as can be".to_owned(), |limit| {
        format!("at most {:.0} MB/s each", limit as f64 / MB)
    });
    let mut alone = None;
    for count in COUNTS {
        let name = format!("fetcher-{count}");
        let some: Vec<&Node> = providers.iter().take(count).collect();
        let fetcher = formation.start(&name, &some).await?;
        fetcher.order(format!("connected {count}")).await?;
        settle(formation.path())?;
        let rate = bytes as f64 / fetch(&fetcher, &hash).await? / MB;
        let received = received_bytes(&fetcher).await? / bytes as f64;
        delete(&fetcher, &hash).await?;
        fetcher.stop().await?;
        std::fs::remove_dir_all(formation.folder(&name))?;
        let figure = Figure::new(format!("from {count}, {how}"), rate, "MB/s").rate();
        match (alone, limit) {
            (None, Some(limit)) if rate > limit as f64 / MB * IGNORED => {
                report.add(figure);
                report.note("limited providers are left out: one sends more than its limit");
                return Ok(());
            }
            (None, Some(limit)) => report.add(figure.limit(limit as f64 / MB, "the provider's limit")),
            (None, None) => report.add(figure),
            (Some(one), Some(limit)) => {
                report.add(figure.limit(limit as f64 / MB * count as f64, "the providers' limits"));
                report.add(Figure::new(
                    format!("from {count}, {how}: its rate, times that from one"),
                    rate / one,
                    "x",
                ));
            }
            (Some(one), None) => report.add(figure.limit(one, "one provider")),
        }
        alone = alone.or(Some(rate));
        report.add(Figure::new(
            format!("from {count}, {how}: bytes that came, times the blob"),
            received,
            "x",
        ));
    }
    for node in providers {
        node.stop().await?;
    }
    Ok(())
}
