//! What a process prints, line by line, as events.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::PATIENCE;

/// Lines of one output, as they come.
#[derive(Clone, Default)]
pub struct Lines(Arc<(Mutex<Output>, Condvar)>);

#[derive(Default)]
struct Output {
    lines: Vec<String>,
    ended: bool,
}

impl Lines {
    pub fn follow(output: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let writer = lines.clone();
        thread::spawn(move || {
            let mut output = BufReader::new(output);
            let mut line = Vec::new();
            while output.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
                let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
                writer.change(|read| read.lines.push(text));
                line.clear();
            }
            writer.change(|read| read.ended = true);
        });
        lines
    }

    fn change(&self, change: impl FnOnce(&mut Output)) {
        let (read, changed) = &*self.0;
        change(&mut read.lock().unwrap());
        changed.notify_all();
    }

    pub fn all(&self) -> Vec<String> {
        self.0.0.lock().unwrap().lines.clone()
    }

    pub fn text(&self) -> String {
        self.all().join("\n")
    }

    /// Waits for a line after the first `skip` ones; `None` when the output ends or the time is over.
    pub fn find(&self, skip: usize, wanted: impl Fn(&str) -> bool) -> Option<String> {
        let deadline = Instant::now() + PATIENCE;
        let (read, changed) = &*self.0;
        let mut read = read.lock().unwrap();
        loop {
            if let Some(line) = read.lines.iter().skip(skip).find(|line| wanted(line)) {
                return Some(line.clone());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if read.ended || left.is_zero() {
                return None;
            }
            read = changed.wait_timeout(read, left).unwrap().0;
        }
    }

    /// Waits until the output ends, which it does when the process does.
    pub fn until_end(&self, patience: Duration) -> bool {
        let (read, changed) = &*self.0;
        let waited = changed.wait_timeout_while(read.lock().unwrap(), patience, |read| !read.ended);
        waited.unwrap().0.ended
    }
}
