//! Measures peat-mesh against what the machine can do, with real nodes on loopback.
//!
//! `cargo run --release -p peat-mesh-bench -- SCENARIO [--docs N] [--secs N] [--json FILE]`

mod figure;
mod fill;
mod http;
mod join;
mod machine;
mod nodes;
mod propagate;
mod puts;
mod rest;
mod samples;

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::Value;

const USAGE: &str = "usage: peat-mesh-bench SCENARIO [--docs N] [--secs N] [--json FILE]

  propagate   write on one node, until a watcher on the other has it
  join        an empty node joins; equal sets meet again; 1 % differ
  puts        durable PUTs through HTTP from 64 clients
  rest        what two nodes send each other when nothing happens";

#[derive(Clone, Copy)]
enum Scenario {
    Propagate,
    Join,
    Puts,
    Rest,
}

struct Arguments {
    scenario: Scenario,
    secs: u64,
    docs: usize,
    json: Option<PathBuf>,
}

fn arguments() -> Result<Arguments, String> {
    let mut words = std::env::args().skip(1);
    let (scenario, docs) = match words.next().as_deref() {
        Some("propagate") => (Scenario::Propagate, 1_000),
        Some("join") => (Scenario::Join, 100_000),
        Some("puts") => (Scenario::Puts, 50_000),
        Some("rest") => (Scenario::Rest, 0),
        Some(other) => return Err(format!("there is no scenario {other:?}")),
        None => return Err("no scenario is named".to_owned()),
    };
    let mut arguments = Arguments { scenario, secs: 60, docs, json: None };
    while let Some(option) = words.next() {
        let value = words.next().ok_or(format!("{option} needs a value"))?;
        match option.as_str() {
            "--docs" => {
                arguments.docs = value.parse().map_err(|_| format!("--docs {value:?} is not a number"))?;
            }
            "--secs" => {
                arguments.secs = value.parse().map_err(|_| format!("--secs {value:?} is not a number"))?;
            }
            "--json" => arguments.json = Some(value.into()),
            _ => return Err(format!("there is no option {option:?}")),
        }
    }
    Ok(arguments)
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(problem) => {
            eprintln!("{problem}\n{USAGE}");
            return ExitCode::from(64);
        }
    };
    let docs = arguments.docs.max(1);
    let report = match arguments.scenario {
        Scenario::Propagate => propagate::run(docs).await,
        Scenario::Join => join::run(docs).await,
        Scenario::Puts => puts::run(docs).await,
        Scenario::Rest => rest::run(arguments.secs.max(1)).await,
    };
    match report.and_then(|report| write(&report, arguments.json)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("the bench failed: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn write(report: &Value, file: Option<PathBuf>) -> Result<(), nodes::Failed> {
    if let Some(file) = file {
        std::fs::write(file, format!("{report:#}\n"))?;
    }
    Ok(())
}
