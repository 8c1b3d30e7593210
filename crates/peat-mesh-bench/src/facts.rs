//! What the figures were measured on.

use std::process::Command;
use std::time::SystemTime;

use peat_mesh_core::document::print_moment;
use serde_json::{Value, json};

/// The machine and the moment.
#[derive(Debug)]
pub(crate) struct Facts {
    cpu: String,
    cores: usize,
    memory_gb: f64,
    kernel: String,
    load: String,
    date: String,
    commit: String,
}

impl Facts {
    pub(crate) fn gather() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let (cpus, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
        let value = |text: &str, key: &str| {
            let line = text.lines().find(|line| line.starts_with(key));
            line.and_then(|line| line.split(':').nth(1)).unwrap_or("unknown").trim().to_owned()
        };
        let kib = value(&memory, "MemTotal");
        let kib = kib.split_whitespace().next().and_then(|word| word.parse::<f64>().ok());
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let date = print_moment(i64::try_from(since_1970.as_millis()).unwrap_or(0));
        let commit = Command::new("git").args(["describe", "--always", "--dirty"]).output();
        let commit = commit.ok().filter(|done| done.status.success()).map(|done| done.stdout);
        Self {
            cpu: value(&cpus, "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gb: kib.unwrap_or(f64::NAN) * 1024.0 / 1e9,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load: read("/proc/loadavg").split(' ').next().unwrap_or("unknown").to_owned(),
            date: date.split('T').next().unwrap_or_default().to_owned(),
            commit: commit
                .map_or("unknown".to_owned(), |name| String::from_utf8_lossy(&name).trim().to_owned()),
        }
    }

    /// One line; the load says how quiet the machine was.
    pub(crate) fn line(&self) -> String {
        let Self { cpu, cores, memory_gb, kernel, load, date, commit } = self;
        format!(
            "{date}, commit {commit}: {cpu}, {cores} cores, {memory_gb:.0} GB, Linux {kernel}, load at the start {load}"
        )
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "cpu": self.cpu, "cores": self.cores, "memory_gb": self.memory_gb, "kernel": self.kernel,
            "load": self.load, "date": self.date, "commit": self.commit,
        })
    }
}
