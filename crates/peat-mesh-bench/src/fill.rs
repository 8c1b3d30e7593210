//! Documents to measure with: the fields of an airport, about 200 bytes of JSON each; the bundled ones; a large one.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use peat_mesh::handle::Handle;
use peat_mesh_core::DocId;
use serde_json::{Map, Value, json};

use crate::nodes::Failed;

/// Writes that are under way at the same time when nothing else is asked for.
pub(crate) const AT_ONCE_COUNT: usize = 512;
/// The 400 airports of `peat-mesh-node demo`.
const AIRPORTS: &str = include_str!("../../../src/demo/airports.ndjson");
/// Bytes of one value in a large document.
const VALUE_BYTES: usize = 224;

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

/// The bundled airports, one after the other and round again; `round` makes another content.
pub(crate) fn airport(number: usize, round: usize) -> Result<Value, Failed> {
    let lines: Vec<&str> = AIRPORTS.lines().collect();
    let line = lines.get(number % lines.len()).ok_or("no airports are bundled")?;
    let mut airport: Value = serde_json::from_str(line)?;
    airport["revision"] = round.into();
    Ok(airport)
}

/// An object of about so many bytes of JSON that compresses to about three quarters.
pub(crate) fn large(bytes: usize, seed: u64) -> Value {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut value = || -> String {
        let letter = |_| {
            // xorshift64: letters that do not repeat
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            char::from(b'0' + (state >> 32) as u8 % 64)
        };
        (0..VALUE_BYTES).map(letter).map(|c| if c == '\\' { '-' } else { c }).collect()
    };
    let fields = (0..bytes / (VALUE_BYTES + 15)).map(|n| (format!("field{n:05}"), Value::String(value())));
    Value::Object(fields.collect())
}

/// Writes documents with these numbers, and returns the bytes of their changes.
pub(crate) async fn write(
    handle: &Handle,
    numbers: impl Iterator<Item = usize>,
    round: usize,
    at_once: usize,
) -> Result<u64, Failed> {
    stream::iter(numbers)
        .map(|number| async move {
            let doc = format!("airports/x{number}").parse()?;
            let written = handle.put(doc, document(number, round)).await?;
            Ok::<u64, Failed>(written.new.len() as u64)
        })
        .buffer_unordered(at_once.max(1))
        .try_fold(0, |sum, bytes| async move { Ok(sum + bytes) })
        .await
}

/// Changes one document so many times.
pub(crate) async fn grow(handle: &Handle, count: usize) -> Result<u64, Failed> {
    let doc = DocId::new("big", "grown")?;
    stream::iter(0..count)
        .map(|round| {
            let doc = doc.clone();
            async move { Ok::<u64, Failed>(handle.put(doc, document(0, round)).await?.new.len() as u64) }
        })
        .buffered(AT_ONCE_COUNT)
        .try_fold(0, |sum, bytes| async move { Ok(sum + bytes) })
        .await
}
