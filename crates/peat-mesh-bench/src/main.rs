//! Measures peat-mesh against what the machine can do, with real nodes on loopback.
//!
//! `cargo run --release -p peat-mesh-bench -- propagate [--docs N] [--json FILE]`, or `-- rest [--secs N]`

mod http;
mod machine;
mod nodes;
mod propagate;
mod rest;
mod samples;

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::Value;

const USAGE: &str =
    "usage: peat-mesh-bench propagate [--docs N] [--json FILE] | rest [--secs N] [--json FILE]

  propagate   write on one node, until a watcher on the other has it
  rest        what two nodes send each other when nothing happens";

enum Scenario {
    Propagate,
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
    let scenario = match words.next().as_deref() {
        Some("propagate") => Scenario::Propagate,
        Some("rest") => Scenario::Rest,
        Some(other) => return Err(format!("there is no scenario {other:?}")),
        None => return Err("no scenario is named".to_owned()),
    };
    let mut arguments = Arguments { scenario, secs: 60, docs: 1_000, json: None };
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
    let report = match arguments.scenario {
        Scenario::Propagate => propagate::run(arguments.docs.max(1)).await,
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
