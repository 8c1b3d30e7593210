//! The bundled airports; `README.md` beside the file says where they come from.

use peat_mesh_core::DocId;
use serde_json::{Map, Value};

const LINES: &str = include_str!("airports.ndjson");

/// An airport and where it is stored.
pub(super) type Airport = (DocId, Map<String, Value>);

/// Every airport.
///
/// # Errors
/// When a line is not an airport, in words.
pub(super) fn all() -> Result<Vec<Airport>, String> {
    LINES.lines().map(airport).collect()
}

fn airport(line: &str) -> Result<Airport, String> {
    let object: Map<String, Value> = serde_json::from_str(line).map_err(|problem| problem.to_string())?;
    let ident = object.get("ident").and_then(Value::as_str).ok_or("an airport without an ident")?;
    let doc = DocId::new(super::COLLECTION, ident).map_err(|problem| problem.to_string())?;
    Ok((doc, object))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_hundred_airports_come_with_the_program() {
        let airports = all().unwrap();
        let mut ids: Vec<_> = airports.iter().map(|(doc, _)| doc.clone()).collect();
        ids.sort();
        ids.dedup();
        assert!(ids.len() == airports.len() && ids.len() >= 300, "{}", ids.len());
        assert!(ids.contains(&DocId::new(super::super::COLLECTION, super::super::EDITED).unwrap()));
    }
}
