//! Measures peat-mesh against what the machine can do: real nodes, each a process, on loopback.
//!
//! `cargo run --release -p peat-mesh-bench -- SCENARIO [--docs N] [--secs N] [--bytes N] [--json FILE] [--table] [--check]`

mod arguments;
mod bigdoc;
mod blob;
mod child;
mod churn;
mod facts;
mod fanout;
mod figure;
mod fill;
mod http;
mod idle;
mod join;
mod machine;
mod memory;
mod nodes;
mod process;
mod propagate;
mod puts;
mod reconnect;
mod report;
mod rest;
mod samples;
mod soak;
mod usage;

use std::process::ExitCode;

use serde_json::{Value, json};

use arguments::{Arguments, Scenario, Task, USAGE};
use facts::Facts;
use nodes::Failed;
use report::{Report, TABLE_HEAD};

#[tokio::main]
async fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some(child::ARGUMENT) => return status(child::run().await.map(|()| true)),
        Some(blob::BARE) => return status(blob::bare().await.map(|()| true)),
        Some(blob::NGINX) => return status(blob::nginx().await.map(|()| true)),
        _ => {}
    }
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(problem) => {
            eprintln!("{problem}\n{USAGE}");
            return ExitCode::from(64);
        }
    };
    // Whichever way this ends, the nodes end and their folders go, as all are dropped.
    tokio::select! {
        done = bench(&arguments) => status(done),
        _ = tokio::signal::ctrl_c() => {
            eprintln!("the bench was interrupted");
            ExitCode::from(130)
        }
    }
}

fn status(done: Result<bool, Failed>) -> ExitCode {
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("the bench failed: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the scenarios; false when a budget is missed and that matters.
async fn bench(arguments: &Arguments) -> Result<bool, Failed> {
    let facts = Facts::gather();
    println!("{}", facts.line());
    let mut reports = Vec::new();
    for task in &arguments.tasks {
        reports.push(run(*task).await?);
    }
    if arguments.is_table {
        println!("\n{}\n\n{TABLE_HEAD}", facts.line());
        reports.iter().for_each(|report| println!("{}", report.rows()));
    }
    if let Some(file) = &arguments.json {
        let reports: Vec<Value> = reports.iter().map(Report::json).collect();
        let all = json!({"machine": facts.json(), "reports": reports});
        std::fs::write(file, format!("{all:#}\n"))?;
    }
    let missed: usize = reports.iter().map(Report::missed).sum();
    if missed > 0 {
        println!("\n{missed} budgets were missed");
    }
    Ok(missed == 0 || !arguments.is_checked)
}

async fn run(task: Task) -> Result<Report, Failed> {
    let Task { scenario, docs, secs, bytes } = task;
    match scenario {
        Scenario::Propagate => propagate::run(docs).await,
        Scenario::Reconnect => reconnect::equal(docs).await,
        Scenario::Join => join::run(docs).await,
        Scenario::Differ => reconnect::differ(docs).await,
        Scenario::Puts => puts::run(docs).await,
        Scenario::Memory => memory::run(docs).await,
        Scenario::Idle => idle::run(docs, secs).await,
        Scenario::Fanout => fanout::run(docs).await,
        Scenario::Bigdoc => bigdoc::run(docs).await,
        Scenario::Churn => churn::run(secs).await,
        Scenario::Soak => soak::run(secs).await,
        Scenario::Rest => rest::run(secs).await,
        Scenario::Blob => blob::run(docs, bytes).await,
    }
}
