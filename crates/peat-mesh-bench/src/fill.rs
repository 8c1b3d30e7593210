//! Documents to measure with: the fields of an airport, about 200 bytes of JSON each.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use peat_mesh::handle::Handle;
use serde_json::{Map, Value, json};

use crate::nodes::Failed;

/// Writes that are under way at the same time.
const AT_ONCE_COUNT: usize = 512;

/// The document with this number; `round` makes another content of the same size.
pub(crate) fn document(number: usize, round: usize) -> Map<String, Value> {
    let value = json!({
        "ident": format!("X{number:07}"),
        "type": "small_airport",
        "name": format!("Airfield number {number:07}"),
        "position": {"lat": (number % 180) as f64 - 89.5, "lon": (number % 360) as f64 - 179.5},
        "elevation_ft": number % 9_000,
        "country": "DE",
        "revision": 100 + round,
    });
    value.as_object().cloned().unwrap_or_default()
}

/// Writes documents with the numbers of `numbers`, and returns the bytes of their changes.
pub(crate) async fn write(
    handle: &Handle,
    numbers: impl Iterator<Item = usize>,
    round: usize,
) -> Result<u64, Failed> {
    stream::iter(numbers)
        .map(|number| async move {
            let doc = format!("airports/x{number}").parse()?;
            let written = handle.put(doc, document(number, round)).await?;
            Ok::<u64, Failed>(written.new.len() as u64)
        })
        .buffer_unordered(AT_ONCE_COUNT)
        .try_fold(0, |sum, bytes| async move { Ok(sum + bytes) })
        .await
}
