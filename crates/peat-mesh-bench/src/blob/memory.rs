//! What a node holds in memory while a large blob goes through it.

use std::time::Duration;

use tokio::task::JoinHandle;

use super::disk::{MB, free_bytes, pieces};
use super::http::{fetch, read, send};
use crate::figure::Figure;
use crate::nodes::{Failed, Formation, Node, pair};
use crate::report::Report;
use crate::usage::{Usage, forget_peak};

/// How often memory that is not of files is looked at: the kernel keeps no peak of that.
const PAUSE: Duration = Duration::from_millis(20);
/// Copies for which there should be room: two, and one to spare for everybody else.
const COPIES: u64 = 3;
const BUDGET_MB: f64 = 100.0;

pub(super) async fn run(wanted_bytes: u64, report: &mut Report) -> Result<(), Failed> {
    let formation = Formation::new()?;
    let room = free_bytes(formation.path())? / COPIES;
    let bytes = wanted_bytes.min(room);
    if bytes < wanted_bytes {
        report.note(format!(
            "memory is measured with {:.1} GB instead of {:.1}: there is no more room on the disk",
            bytes as f64 / 1e9,
            wanted_bytes as f64 / 1e9
        ));
    }
    let what = format!("{:.1} GB", bytes as f64 / 1e9);
    let (first, second) = pair(&formation).await?;
    let watch = Peaks::watch(&[&first])?;
    let hash = send(&first, bytes, pieces(bytes, 3).map(Ok)).await?;
    watch.tell(&[(format!("{what} are sent by a client: the node"), &first)], report)?;

    let watch = Peaks::watch(&[&first, &second])?;
    fetch(&second, &hash).await?;
    let nodes = [
        (format!("{what} are fetched: the sender"), &first),
        (format!("{what} are fetched: the receiver"), &second),
    ];
    watch.tell(&nodes, report)?;

    let watch = Peaks::watch(&[&second])?;
    read(&second, &hash).await?;
    watch.tell(&[(format!("{what} that are there are read by a client: the node"), &second)], report)?;
    second.stop().await?;
    first.stop().await
}

/// Looks at nodes until it is dropped.
struct Peaks {
    looking: Vec<Looking>,
}

/// Ends its task when it is dropped.
struct Looking {
    task: JoinHandle<()>,
    most: tokio::sync::watch::Receiver<u64>,
}

impl Drop for Looking {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Peaks {
    fn watch(nodes: &[&Node]) -> Result<Self, Failed> {
        let mut looking = Vec::new();
        for node in nodes {
            let process = node.process_id();
            forget_peak(process)?;
            let (found, most) = tokio::sync::watch::channel(0);
            let task = tokio::spawn(async move {
                while let Ok(now) = Usage::of(process) {
                    found.send_if_modified(|most| {
                        let is_more = now.anonymous_bytes > *most;
                        *most = now.anonymous_bytes.max(*most);
                        is_more
                    });
                    tokio::time::sleep(PAUSE).await;
                }
            });
            looking.push(Looking { task, most });
        }
        Ok(Self { looking })
    }

    fn tell(self, nodes: &[(String, &Node)], report: &mut Report) -> Result<(), Failed> {
        for ((what, node), looking) in nodes.iter().zip(&self.looking) {
            let peak = node.usage()?.peak_bytes as f64 / MB;
            report.add(Figure::new(format!("{what}, peak of RSS"), peak, "MB").budget_most(BUDGET_MB));
            let anonymous = *looking.most.borrow() as f64 / MB;
            report.add(Figure::new(format!("{what}, of it not of files"), anonymous, "MB"));
        }
        Ok(())
    }
}
