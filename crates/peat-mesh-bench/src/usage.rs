//! What a process uses, read from `/proc`.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::nodes::Failed;

/// Clock ticks of `/proc/<pid>/stat` per second; 100 on every Linux that this runs on.
const TICKS_PER_S: f64 = 100.0;
const KIB: u64 = 1024;

/// A process at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    at: Instant,
    cpu: Duration,
    /// Resident memory, shared pages of files included.
    pub(crate) rss_bytes: u64,
    /// Resident memory that is backed by no file.
    pub(crate) anonymous_bytes: u64,
    /// The most that was resident, since the start or [`forget_peak`].
    pub(crate) peak_bytes: u64,
    /// Bytes that went to the disk.
    pub(crate) written_bytes: u64,
}

impl Usage {
    pub(crate) fn of(pid: u32) -> Result<Self, Failed> {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}"));
        let (status, stat) = (read("status")?, read("stat")?);
        // Another user's process, or a kernel without it: no figure then.
        let io = read("io").unwrap_or_default();
        // The name is in brackets and may hold anything.
        let fields: Vec<&str> =
            stat.rsplit(')').next().ok_or("/proc/<pid>/stat has no name")?.split_whitespace().collect();
        let ticks = |index: usize| -> Result<f64, Failed> {
            Ok(fields.get(index).ok_or("/proc/<pid>/stat is short")?.parse()?)
        };
        Ok(Self {
            at: Instant::now(),
            cpu: Duration::from_secs_f64((ticks(11)? + ticks(12)?) / TICKS_PER_S),
            rss_bytes: number(&status, "VmRSS:") * KIB,
            anonymous_bytes: number(&status, "RssAnon:") * KIB,
            peak_bytes: number(&status, "VmHWM:") * KIB,
            written_bytes: number(&io, "write_bytes:"),
        })
    }

    pub(crate) fn own() -> Result<Self, Failed> {
        Self::of(std::process::id())
    }

    /// Seconds of one core since then.
    pub(crate) fn cpu_s_since(&self, then: &Self) -> f64 {
        (self.cpu.saturating_sub(then.cpu)).as_secs_f64()
    }

    /// Percent of one core since then.
    pub(crate) fn cpu_percent_since(&self, then: &Self) -> f64 {
        self.cpu_s_since(then) / (self.at - then.at).as_secs_f64() * 100.0
    }
}

/// Has the kernel begin anew with the peak of a process.
pub(crate) fn forget_peak(pid: u32) -> Result<(), Failed> {
    Ok(std::fs::write(format!("/proc/{pid}/clear_refs"), "5")?)
}

fn number(text: &str, key: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|line| line.split_whitespace().next()).and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// Bytes of all files below a folder.
pub(crate) fn folder_bytes(folder: &Path) -> Result<u64, Failed> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let about = entry.metadata()?;
        bytes += if about.is_dir() { folder_bytes(&entry.path())? } else { about.len() };
    }
    Ok(bytes)
}
