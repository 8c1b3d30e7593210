//! One measured number, its budget, and what the machine allows.

use serde_json::{Value, json};

/// A number with its unit.
#[derive(Debug)]
pub(crate) struct Figure {
    what: String,
    pub(crate) value: f64,
    unit: &'static str,
    budget: Option<Budget>,
    limit: Option<(f64, &'static str)>,
    is_rate: bool,
}

#[derive(Debug, Clone, Copy)]
enum Budget {
    Most(f64),
    Least(f64),
}

impl Budget {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::Most(budget) => value <= budget,
            Self::Least(budget) => value >= budget,
        }
    }

    fn words(self) -> String {
        match self {
            Self::Most(budget) => format!("≤ {}", short(budget)),
            Self::Least(budget) => format!("≥ {}", short(budget)),
        }
    }
}

impl Figure {
    pub(crate) fn new(what: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { what: what.into(), value, unit, budget: None, limit: None, is_rate: false }
    }

    /// It should be no more than this.
    pub(crate) fn budget_most(mut self, budget: f64) -> Self {
        self.budget = Some(Budget::Most(budget));
        self
    }

    /// It should be no less than this.
    pub(crate) fn budget_least(mut self, budget: f64) -> Self {
        self.budget = Some(Budget::Least(budget));
        self.is_rate = true;
        self
    }

    /// More of it is better.
    pub(crate) fn rate(mut self) -> Self {
        self.is_rate = true;
        self
    }

    /// What the machine itself can do, in the same unit and the same run, and what it is made of.
    pub(crate) fn limit(mut self, limit: f64, of: &'static str) -> Self {
        self.limit = Some((limit, of));
        self
    }

    /// Whether it is within its budget; `None` without one.
    pub(crate) fn is_met(&self) -> Option<bool> {
        self.budget.map(|budget| budget.is_met(self.value))
    }

    /// How many times worse than the limit it is.
    fn ratio(&self) -> Option<f64> {
        let (limit, _) = self.limit?;
        let ratio = if self.is_rate { limit / self.value } else { self.value / limit };
        ratio.is_finite().then_some(ratio)
    }

    fn verdict(&self) -> &'static str {
        match self.is_met() {
            Some(true) => " met",
            Some(false) => " MISSED",
            None => "",
        }
    }

    /// One line for a terminal.
    pub(crate) fn line(&self) -> String {
        let mut line = format!("{:<66} {:>10} {:<12}", self.what, short(self.value), self.unit);
        if let Some(budget) = self.budget {
            line += &format!(" budget {}{}", budget.words(), self.verdict());
        }
        if let (Some((limit, of)), Some(ratio)) = (self.limit, self.ratio()) {
            line += &format!("   limit {} ({of}), ratio {}", short(limit), short(ratio));
        }
        line.trim_end().to_owned()
    }

    /// One row of the table in `docs/performance.md`.
    pub(crate) fn row(&self) -> String {
        let budget = self.budget.map(|budget| format!("{}{}", budget.words(), self.verdict()));
        let limit = self.limit.map(|(limit, of)| format!("{}: {of}", short(limit)));
        let ratio = self.ratio().map(short);
        format!(
            "| {} | {} {} | {} | {} | {} |",
            self.what,
            short(self.value),
            self.unit,
            budget.unwrap_or_default(),
            limit.unwrap_or_default(),
            ratio.unwrap_or_default()
        )
    }

    pub(crate) fn json(&self) -> Value {
        let (budget, is_least) = match self.budget {
            Some(Budget::Most(budget)) => (Some(budget), false),
            Some(Budget::Least(budget)) => (Some(budget), true),
            None => (None, false),
        };
        json!({
            "what": self.what, "value": self.value, "unit": self.unit,
            "budget": budget, "budget_is_least": is_least, "met": self.is_met(),
            "limit": self.limit.map(|(limit, _)| limit), "limit_of": self.limit.map(|(_, of)| of),
            "ratio": self.ratio(),
        })
    }
}

/// Three or four digits that say something.
fn short(value: f64) -> String {
    match value.abs() {
        size if size == 0.0 || size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_above_one_is_worse_than_the_machine_for_times_and_for_rates() {
        assert_eq!(Figure::new("time", 3.0, "ms").budget_most(2.0).limit(1.5, "x").ratio(), Some(2.0));
        assert_eq!(Figure::new("rate", 50.0, "/s").budget_least(20.0).limit(100.0, "x").ratio(), Some(2.0));
    }

    #[test]
    fn a_budget_is_met_on_its_own_side() {
        assert_eq!(Figure::new("time", 3.0, "ms").budget_most(2.0).is_met(), Some(false));
        assert_eq!(Figure::new("rate", 3.0, "/s").budget_least(2.0).is_met(), Some(true));
        assert_eq!(Figure::new("bytes", 3.0, "B").is_met(), None);
    }
}
