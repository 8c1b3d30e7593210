//! The line on a terminal that shows how a transfer goes. Elsewhere there is none, so that logs stay short.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{DecimalBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Most times in a second that the line is drawn.
const DRAWS_PER_SEC_MAX: u8 = 5;

#[derive(Debug, Clone)]
pub(super) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Of `total` bytes, when that is known.
    pub(super) fn new(name: &str, total: Option<u64>) -> Self {
        let bar = ProgressBar::no_length().with_message(name.to_owned());
        bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SEC_MAX));
        let progress = Self { bar };
        progress.total(total);
        if !progress.bar.is_hidden() {
            // The rate falls while nothing comes.
            progress.bar.enable_steady_tick(Duration::from_secs(1) / u32::from(DRAWS_PER_SEC_MAX));
        }
        progress
    }

    /// For content that goes to standard output: nothing is drawn into it.
    pub(super) fn beside_output(name: &str) -> Self {
        let progress = Self::new(name, None);
        if io::stdout().is_terminal() {
            progress.bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        progress
    }

    pub(super) fn total(&self, total: Option<u64>) {
        let line = match total {
            Some(total) => {
                self.bar.set_length(total);
                "{wide_msg} {decimal_bytes}/{decimal_total_bytes} {percent}% {decimal_bytes_per_sec} {eta} left"
            }
            None => "{wide_msg} {decimal_bytes} {decimal_bytes_per_sec}",
        };
        let style = ProgressStyle::with_template(line);
        self.bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    }

    pub(super) fn add(&self, bytes: usize) {
        self.bar.inc(bytes as u64);
    }

    /// Where it begins, or begins again; the rate counts from here.
    pub(super) fn start_at(&self, bytes: u64) {
        self.bar.set_position(bytes);
        self.bar.reset_eta();
    }

    /// A line of its own on standard error.
    pub(super) fn tell(&self, line: &str) {
        self.bar.suspend(|| eprintln!("peat-mesh-node: {line}"));
    }

    /// One line stays: what it was and how long it took.
    pub(super) fn done(&self) {
        let (name, bytes) = (self.bar.message(), DecimalBytes(self.bar.position()));
        let seconds = self.bar.elapsed().as_secs_f64();
        self.clear();
        if !self.bar.is_hidden() {
            eprintln!("{name}: {bytes} in {seconds:.1} s");
        }
    }

    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
