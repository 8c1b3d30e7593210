//! What happened when, in milliseconds since the start of the scenario; printed as it happens, and the times that
//! matter once more in a table at the end.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// One line of the table at the end.
struct Measured {
    scenario: &'static str,
    what: String,
    took: Duration,
}

static TABLE: Mutex<Vec<Measured>> = Mutex::new(Vec::new());

/// The clock of one scenario.
pub struct Timeline {
    scenario: &'static str,
    start: Instant,
}

impl Timeline {
    pub fn new(scenario: &'static str) -> Self {
        let timeline = Self { scenario, start: Instant::now() };
        timeline.mark("start");
        timeline
    }

    /// Says that something happened now, and returns the moment.
    pub fn mark(&self, what: &str) -> Instant {
        let now = Instant::now();
        println!("{:>20} {:>7} ms  {what}", self.scenario, now.duration_since(self.start).as_millis());
        now
    }

    /// Says that something happened now which took its time since an earlier moment.
    pub fn measured(&self, what: &str, since: Instant) -> Duration {
        let took = since.elapsed();
        self.mark(&format!("{what}: {} ms", took.as_millis()));
        TABLE.lock().unwrap().push(Measured { scenario: self.scenario, what: what.to_owned(), took });
        took
    }

    /// Lets this much time go by, as the story of the scenario asks for.
    pub fn pass(&self, time: Duration) {
        std::thread::sleep(time);
    }

    /// The end of the story.
    pub fn done(&self) {
        self.measured("whole scenario", self.start);
    }
}

/// Prints every measured time.
pub fn print_table() {
    let mut table = TABLE.lock().unwrap();
    table.sort_by_key(|line| line.scenario);
    println!("\n| scenario | what | ms |\n|---|---|---|");
    for Measured { scenario, what, took } in table.iter() {
        println!("| {scenario} | {what} | {} |", took.as_millis());
    }
}
