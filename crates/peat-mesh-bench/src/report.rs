//! The figures of one scenario, printed as they come.

use serde_json::{Value, json};

use crate::figure::Figure;
use crate::samples::Samples;

/// What one scenario found.
#[derive(Debug)]
pub(crate) struct Report {
    scenario: &'static str,
    setup: String,
    figures: Vec<Figure>,
    notes: Vec<String>,
}

impl Report {
    /// Begins a report; `setup` says with what it is measured.
    pub(crate) fn new(scenario: &'static str, setup: String) -> Self {
        println!("\n{scenario}: {setup}");
        Self { scenario, setup, figures: Vec::new(), notes: Vec::new() }
    }

    pub(crate) fn add(&mut self, figure: Figure) {
        println!("  {}", figure.line());
        self.figures.push(figure);
    }

    /// Says something that is no figure: what was left out and why, or how far rounds were apart.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        println!("  ({note})");
        self.notes.push(note);
    }

    /// Adds the median, the 99th percentile and the maximum; the budgets are for the first two.
    pub(crate) fn times(
        &mut self,
        what: &str,
        samples: &Samples,
        budgets: Option<(f64, f64)>,
        limit: (f64, &'static str),
    ) {
        for (name, share) in [("p50", 0.5), ("p99", 0.99), ("max", 1.0)] {
            let mut figure = Figure::new(format!("{what}, {name}"), samples.quantile_ms(share), "ms");
            match (name, budgets) {
                ("p50", Some((budget, _))) | ("p99", Some((_, budget))) => {
                    figure = figure.budget_most(budget)
                }
                _ => {}
            }
            self.add(figure.limit(limit.0, limit.1));
        }
    }

    pub(crate) fn missed(&self) -> usize {
        self.figures.iter().filter(|figure| figure.is_met() == Some(false)).count()
    }

    pub(crate) fn json(&self) -> Value {
        let figures: Vec<Value> = self.figures.iter().map(Figure::json).collect();
        json!({"scenario": self.scenario, "setup": self.setup, "figures": figures, "notes": self.notes})
    }

    /// Its rows of the table in `docs/performance.md`.
    pub(crate) fn rows(&self) -> String {
        let title = format!("| **{}**: {} | | | | |", self.scenario, self.setup);
        let rows = self.figures.iter().map(Figure::row);
        let notes = self.notes.iter().map(|note| format!("| ({note}) | | | | |"));
        std::iter::once(title).chain(rows).chain(notes).collect::<Vec<_>>().join("\n")
    }
}

/// The head of that table.
pub(crate) const TABLE_HEAD: &str =
    "| what | figure | budget | machine's limit | ratio |\n|---|---|---|---|---|";
