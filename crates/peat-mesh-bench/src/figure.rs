//! One measured number, its budget, and what the machine allows.

use serde_json::{Value, json};

/// A number with its unit.
#[derive(Debug)]
pub(crate) struct Figure {
    what: &'static str,
    pub(crate) value: f64,
    unit: &'static str,
    budget: Option<(f64, bool)>,
    limit: Option<f64>,
}

impl Figure {
    pub(crate) fn new(what: &'static str, value: f64, unit: &'static str) -> Self {
        Self { what, value, unit, budget: None, limit: None }
    }

    /// It should be no more than this.
    pub(crate) fn budget_most(mut self, budget: f64) -> Self {
        self.budget = Some((budget, false));
        self
    }

    /// It should be no less than this.
    pub(crate) fn budget_least(mut self, budget: f64) -> Self {
        self.budget = Some((budget, true));
        self
    }

    /// What the machine itself can do, in the same unit and the same run.
    pub(crate) fn limit(mut self, limit: f64) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Prints a line of a table and returns the same as JSON.
    pub(crate) fn report(&self) -> Value {
        let Self { what, value, unit, budget, limit } = self;
        let met = budget.map(|(budget, least)| if least { *value >= budget } else { *value <= budget });
        let mut line = format!("{what:<60} {value:>12.2} {unit:<12}");
        if let (Some((budget, least)), Some(met)) = (budget, met) {
            let sign = if *least { ">=" } else { "<=" };
            line += &format!(" budget {sign} {budget} {}", if met { "met" } else { "MISSED" });
        }
        if let Some(limit) = limit {
            line += &format!("   machine {limit:.3}, ratio {:.2}", value / limit);
        }
        println!("{line}");
        let budget = budget.map(|(budget, _)| budget);
        json!({"what": what, "value": value, "unit": unit, "budget": budget, "met": met, "machine": limit})
    }
}
