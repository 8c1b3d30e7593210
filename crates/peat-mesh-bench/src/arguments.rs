//! The command line.

use std::path::PathBuf;

pub(crate) const USAGE: &str = "usage: peat-mesh-bench SCENARIO [--docs N] [--secs N] [--bytes N] [--json FILE] [--table] [--check]

  propagate   write on one node, until a watcher on the other has it [1000 documents slowly, ten times that fast]
  reconnect   two nodes with equal sets meet again [100000 documents]
  join        an empty node joins [100000]
  differ      1 % of the documents differ when two nodes meet [100000]
  puts        durable PUTs through HTTP from 64 clients [50000]
  memory      memory and start with a hundredth, a tenth and all of the documents [100000]
  idle        CPU with documents and 3 peers [100000; 20 s]
  fanout      bytes per update with 2, 4 and 8 nodes [200 updates]
  bigdoc      documents of 1 MiB, and one with a long history [20000 changes]
  churn       one document updated 100 times a second [60 s]
  soak        mixed load with restarts [600 s]
  rest        what two nodes send each other when nothing happens [60 s]
  blob        a blob between nodes, against bare iroh-blobs and nginx; many small ones; memory [1 GiB, 10000 small ones]
  all         every one, with modest sizes, and a table at the end; --docs is for the sets, --secs for the times

--json writes the figures to a file, --table prints them once more as a table. --check ends with 1 when a budget is missed.";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    Propagate,
    Reconnect,
    Join,
    Differ,
    Puts,
    Memory,
    Idle,
    Fanout,
    Bigdoc,
    Churn,
    Soak,
    Rest,
    Blob,
}

/// A scenario's name, documents or changes and seconds when it runs alone, and within `all`.
struct Sizes {
    scenario: Scenario,
    name: &'static str,
    alone: (usize, u64),
    modest: (usize, u64),
    /// Whether `--docs` of `all` is for it: the size of a set.
    is_set: bool,
}

const fn sizes(
    scenario: Scenario,
    name: &'static str,
    alone: (usize, u64),
    modest: (usize, u64),
    is_set: bool,
) -> Sizes {
    Sizes { scenario, name, alone, modest, is_set }
}

/// Bytes of the large blob, when `blob` runs alone and within `all`.
const BLOB_BYTES: (u64, u64) = (1 << 30, 1 << 26);

const SCENARIOS: [Sizes; 13] = [
    sizes(Scenario::Propagate, "propagate", (1_000, 0), (300, 0), false),
    sizes(Scenario::Reconnect, "reconnect", (100_000, 0), (10_000, 0), true),
    sizes(Scenario::Join, "join", (100_000, 0), (10_000, 0), true),
    sizes(Scenario::Differ, "differ", (100_000, 0), (10_000, 0), true),
    sizes(Scenario::Puts, "puts", (50_000, 0), (20_000, 0), false),
    sizes(Scenario::Memory, "memory", (100_000, 0), (10_000, 0), true),
    sizes(Scenario::Idle, "idle", (100_000, 20), (10_000, 10), true),
    sizes(Scenario::Fanout, "fanout", (200, 0), (100, 0), false),
    sizes(Scenario::Bigdoc, "bigdoc", (20_000, 0), (2_000, 0), false),
    sizes(Scenario::Churn, "churn", (0, 60), (0, 10), false),
    sizes(Scenario::Soak, "soak", (0, 600), (0, 30), false),
    sizes(Scenario::Rest, "rest", (0, 60), (0, 20), false),
    sizes(Scenario::Blob, "blob", (10_000, 0), (1_000, 0), false),
];

/// One scenario with its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Task {
    pub(crate) scenario: Scenario,
    pub(crate) docs: usize,
    pub(crate) secs: u64,
    /// For `blob` only.
    pub(crate) bytes: u64,
}

#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) tasks: Vec<Task>,
    pub(crate) json: Option<PathBuf>,
    pub(crate) is_checked: bool,
    /// Whether a table is wanted at the end; several scenarios always have one.
    pub(crate) is_table: bool,
}

impl Arguments {
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let name = words.next().ok_or("no scenario is named")?;
        let (mut docs, mut secs, mut bytes, mut json) = (None, None, None, None);
        let (mut is_checked, mut is_table) = (false, false);
        while let Some(option) = words.next() {
            let flag = match option.as_str() {
                "--check" => Some(&mut is_checked),
                "--table" => Some(&mut is_table),
                _ => None,
            };
            if let Some(flag) = flag {
                *flag = true;
                continue;
            }
            let value = words.next().ok_or(format!("{option} needs a value"))?;
            let count = || match value.parse::<u64>() {
                Ok(count) if count > 0 && count <= u64::from(u32::MAX) << 10 => Ok(count),
                _ => Err(format!("{option} {value:?} is not a number above 0")),
            };
            match option.as_str() {
                "--docs" => docs = Some(count()? as usize),
                "--secs" => secs = Some(count()?),
                "--bytes" => bytes = Some(count()?),
                "--json" => json = Some(value.into()),
                _ => return Err(format!("there is no option {option:?}")),
            }
        }
        let is_all = name == "all";
        let task = |of: &Sizes| {
            let (own_docs, own_secs) = if is_all { of.modest } else { of.alone };
            let docs = docs.filter(|_| !is_all || of.is_set).unwrap_or(own_docs);
            let own_bytes = if is_all { BLOB_BYTES.1 } else { BLOB_BYTES.0 };
            let bytes = bytes.filter(|_| !is_all).unwrap_or(own_bytes);
            Task { scenario: of.scenario, docs, secs: secs.unwrap_or(own_secs), bytes }
        };
        let tasks: Vec<Task> = SCENARIOS.iter().filter(|of| is_all || of.name == name).map(task).collect();
        if tasks.is_empty() {
            return Err(format!("there is no scenario {name:?}"));
        }
        Ok(Self { is_table: is_table || tasks.len() > 1, tasks, json, is_checked })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, String> {
        Arguments::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn a_scenario_has_its_size_unless_another_is_given() {
        let size = |line| parse(line).map(|arguments| (arguments.tasks[0].docs, arguments.tasks[0].secs));
        assert_eq!(size("join"), Ok((100_000, 0)));
        assert_eq!(size("idle --docs 7 --secs 3 --check"), Ok((7, 3)));
        assert!(size("join --docs 0").is_err() && size("jion").is_err() && size("").is_err());
        assert_eq!(parse("blob --bytes 5 --table").map(|arguments| arguments.tasks[0].bytes), Ok(5));
        assert!(size("join --docs").is_err() && size("join --dogs 3").is_err());
    }

    #[test]
    fn the_size_given_to_all_is_for_the_sets_only() {
        let tasks = parse("all --docs 500").map(|arguments| arguments.tasks).unwrap_or_default();
        assert_eq!(tasks.len(), SCENARIOS.len());
        let docs = |scenario| tasks.iter().find(|task| task.scenario == scenario).map(|task| task.docs);
        assert_eq!((docs(Scenario::Join), docs(Scenario::Puts)), (Some(500), Some(20_000)));
    }
}
