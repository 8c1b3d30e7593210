//! What the clients of a recorded history do: values that nobody else writes, into documents that all of them share and into some of
//! their own.

#![allow(unreachable_pub, missing_docs)]

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value, json};

use crate::recording::Client;

const COLLECTION: &str = "h";
/// Documents that all clients read, change and write back.
const SHARED: usize = 8;
/// Documents of which all clients write all fields, without a look at what is there.
const BLIND: usize = 4;
/// Keys of a shared document; one that has more gets cleared of some.
const KEYS_MAX: usize = 24;

/// All documents that so many clients may write.
pub fn documents(clients: usize) -> Vec<String> {
    let shared = (0..SHARED).map(|number| format!("{COLLECTION}/shared-{number}"));
    let blind = (0..BLIND).map(|number| format!("{COLLECTION}/blind-{number}"));
    let own = (0..clients).map(|client| format!("{COLLECTION}/own-{client}"));
    shared.chain(blind).chain(own).collect()
}

/// The versions of all documents of a node.
pub fn versions(get: impl Fn(&str) -> Value) -> BTreeMap<String, String> {
    let page = get(&format!("/api/v1/documents/{COLLECTION}?limit=1000"));
    assert_eq!(page["next"], Value::Null);
    let text = |document: &Value, key: &str| document[key].as_str().unwrap().to_owned();
    let documents = page["documents"].as_array().unwrap().iter();
    documents.map(|document| (text(document, "id"), text(document, "version"))).collect()
}

/// A client's life at these nodes.
pub fn write_and_read(
    mut client: Client,
    names: &[&'static str],
    number: usize,
    seed: u64,
    count: usize,
) -> Client {
    let mut rng = StdRng::seed_from_u64(seed);
    for step in 0..count {
        let first = rng.random_range(0..names.len());
        let mut nodes = (0..names.len()).map(|next| names[(first + next) % names.len()]);
        let node = nodes.find(|node| client.reaches(node)).unwrap_or(names[first]);
        let value = json!(format!("{number}-{step}"));
        let shared = format!("{COLLECTION}/shared-{}", rng.random_range(0..SHARED));
        let blind = format!("{COLLECTION}/blind-{}", rng.random_range(0..BLIND));
        let own = format!("{COLLECTION}/own-{number}");
        match rng.random_range(0..100) {
            0..45 => {
                let Some(document) = client.get(node, &shared) else { continue };
                client.put(node, &shared, changed(document.unwrap_or_default(), value, step, &mut rng));
            }
            45..60 => {
                let fields = ["a", "b"].map(|key| (key.to_owned(), value.clone()));
                client.put(node, &blind, fields.into_iter().collect());
            }
            60..70 => {
                client.put(node, &own, Map::from_iter([("newest".to_owned(), value)]));
            }
            70..73 => _ = client.delete(node, &shared),
            73..75 => _ = client.delete(node, &own),
            75..90 => _ = client.get(node, &shared),
            90..95 => _ = client.get(node, &blind),
            _ => _ = client.get(node, &own),
        }
    }
    client
}

/// The document with one more thing in it, and with a few less when it has grown large.
fn changed(
    mut document: Map<String, Value>,
    value: Value,
    step: usize,
    rng: &mut StdRng,
) -> Map<String, Value> {
    if document.len() > KEYS_MAX {
        let keys: Vec<String> = document.keys().take(KEYS_MAX / 2).cloned().collect();
        keys.iter().for_each(|key| _ = document.remove(key));
    }
    let key = format!("k{}", value.as_str().unwrap_or_default());
    match rng.random_range(0..4) {
        0 => _ = document.insert("status".to_owned(), value),
        1 => {
            let nested = document.entry("nested").or_insert_with(|| json!({}));
            nested[key] = value;
        }
        2 => {
            let list = document.entry("list").or_insert_with(|| json!([]));
            let list = list.as_array_mut().unwrap();
            list.insert(list.len().min(step % 2), value);
        }
        _ => _ = document.insert(key, value),
    }
    document
}
