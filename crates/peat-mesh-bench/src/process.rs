//! Processes that the bench starts, and orders to them: a line to the input, a line of JSON from the output.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::nodes::Failed;

/// Longest wait for a process that stops.
const STOP_MAX: Duration = Duration::from_secs(60);

/// Ends a process on every way out.
#[derive(Debug)]
pub(crate) struct Guard(pub(crate) Child);

impl Drop for Guard {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[derive(Debug)]
struct Pipes {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// A process that takes orders until it is stopped or dropped.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    guard: Guard,
    pipes: Arc<Mutex<Pipes>>,
}

impl Process {
    /// Starts it and returns what it says first. `name` is for messages.
    pub(crate) async fn start(name: String, command: &mut Command) -> Result<(Self, Value), Failed> {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = process.stdin.take().ok_or("a process has no input")?;
        let output = BufReader::new(process.stdout.take().ok_or("a process has no output")?);
        // From here on the process ends with its `Guard`.
        let guard = Guard(process);
        let pipes = Arc::new(Mutex::new(Pipes { input, output }));
        let said =
            on_thread(Arc::clone(&pipes), None).await.map_err(|problem| format!("{name}: {problem}"))?;
        Ok((Self { name, guard, pipes }, said))
    }

    /// Has it do something, and returns what it says about that.
    pub(crate) async fn order(&self, order: impl Into<String>) -> Result<Value, Failed> {
        let order = order.into();
        on_thread(Arc::clone(&self.pipes), Some(order.clone()))
            .await
            .map_err(|problem| format!("{}, order {order:?}: {problem}", self.name).into())
    }

    pub(crate) fn id(&self) -> u32 {
        self.guard.0.id()
    }

    /// Ends its input, and waits until it has ended.
    pub(crate) async fn stop(self) -> Result<(), Failed> {
        let Self { name, mut guard, pipes } = self;
        // Its input ends with the pipes.
        drop(pipes);
        let deadline = Instant::now() + STOP_MAX;
        while Instant::now() < deadline {
            if let Some(status) = guard.0.try_wait()? {
                return if status.success() {
                    Ok(())
                } else {
                    Err(format!("{name} ended with {status}").into())
                };
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Err(format!("{name} did not stop within {} s", STOP_MAX.as_secs()).into())
    }
}

/// Sends an order, if there is one, and reads the answer.
async fn on_thread(pipes: Arc<Mutex<Pipes>>, order: Option<String>) -> Result<Value, Failed> {
    let asked = tokio::task::spawn_blocking(move || {
        let mut pipes = pipes.lock().map_err(|_| "an earlier order has panicked")?;
        if let Some(order) = order {
            writeln!(pipes.input, "{order}")?;
        }
        let mut line = String::new();
        if pipes.output.read_line(&mut line)? == 0 {
            return Err("the process has ended; what it said is above".into());
        }
        let answer: Value = serde_json::from_str(&line)?;
        match answer["error"].as_str() {
            Some(problem) => Err(Failed::from(problem)),
            None => Ok(answer),
        }
    });
    asked.await?
}

/// The other side: orders that come, until the input ends.
pub(crate) fn orders() -> tokio::sync::mpsc::Receiver<String> {
    let (orders, coming) = tokio::sync::mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if orders.blocking_send(line).is_err() {
                break;
            }
        }
    });
    coming
}

/// The other side: says something.
pub(crate) fn answer(value: &Value) -> Result<(), Failed> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{value}")?;
    Ok(out.flush()?)
}
