use data_encoding::HEXLOWER;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::id::DocId;
use crate::replica::{Job, Replica, Source, Work};
use crate::store::{MemoryStore, Store};

fn hex(byte: u8) -> String {
    HEXLOWER.encode(&[byte; 32])
}

fn found(value: &Value) -> Vec<u8> {
    let found = find(&value.to_string());
    assert!(!found.is_cut);
    found.hashes.iter().map(|hash| hash[0]).collect()
}

#[test]
fn attachments_are_found_in_objects_and_lists_at_any_depth() {
    let attachment = |byte| json!({"$blob": hex(byte), "size": 3, "name": "a.bin", "type": "image/png"});
    assert_eq!(found(&attachment(1)), [1]);
    assert_eq!(
        found(&json!({"a": {"b": [0, [attachment(2)], {"c": attachment(3)}]}, "d": attachment(1)})),
        [1, 2, 3]
    );
    let inside = json!({"$blob": hex(1), "preview": {"$blob": hex(2)}});
    assert_eq!(found(&inside), [1, 2]);
    assert_eq!(found(&json!([attachment(7), attachment(7)])), [7], "each once");
    assert_eq!(found(&json!({"$blob": hex(0xab).to_uppercase()})), [0xab]);
}

#[test]
fn a_blob_member_that_is_no_hash_is_no_attachment() {
    let text = hex(1);
    for wrong in
        [json!(1), json!(null), json!(""), json!(text[1..]), json!(format!("{text}00")), json!([text])]
    {
        assert_eq!(found(&json!({"$blob": wrong})), [0; 0], "{wrong}");
    }
    assert_eq!(found(&json!({"$blob": {"$blob": hex(5)}})), [5], "what is within is looked at all the same");
    assert_eq!(found(&json!({"text": format!("\"$blob\":\"{text}\"")})), [0; 0], "text about an attachment");
    assert_eq!(found(&json!({"blob": text, "$blobs": text, "x": "$blob"})), [0; 0]);
    for text in ["", "{", "\"$blob\"", "{\"$blob\":"] {
        assert_eq!(find(text), Attachments::default());
    }
}

#[test]
fn more_attachments_than_a_document_may_have_are_left_out_and_that_is_told() {
    let named = |number: usize| {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&number.to_be_bytes());
        json!({"$blob": HEXLOWER.encode(&hash)})
    };
    let mut all: Vec<Value> = (0..ATTACHMENTS_PER_DOCUMENT_MAX).map(named).collect();
    all.push(named(0));
    let fits = find(&json!({"all": all}).to_string());
    assert_eq!((fits.hashes.len(), fits.is_cut), (ATTACHMENTS_PER_DOCUMENT_MAX, false));
    all.push(named(ATTACHMENTS_PER_DOCUMENT_MAX));
    let cut = find(&json!({"all": all}).to_string());
    assert_eq!((cut.hashes, cut.is_cut), (fits.hashes, true));
}

#[test]
fn what_a_store_keeps_of_a_document_names_the_same_blobs() {
    let store = MemoryStore::default();
    let mut replica = Replica::new(&store, [1; 16]).unwrap();
    let object = json!({"é\"": [{"$blob": hex(1), "name": "\u{1}/ü"}], "k": {"$blob": hex(2)}});
    let doc = DocId::new("c", "x").unwrap();
    let work = Work::Put(object.as_object().unwrap().clone());
    replica.run(&store, vec![Job { doc: doc.clone(), work, source: Source::Client }], 0);
    let json = store.document(&doc).unwrap().unwrap().json;
    assert_eq!(find(&json), find(&object.to_string()));
    assert_eq!(find(&json).hashes.len(), 2);
}

/// JSON with attachments in it, and the hashes of these.
fn documents() -> impl Strategy<Value = (Value, BTreeSet<[u8; 32]>)> {
    let nothing = |value| (value, BTreeSet::new());
    let leaf = prop_oneof![
        any::<i32>().prop_map(move |number| nothing(json!(number))),
        any::<String>().prop_map(move |text| nothing(json!(text))),
        any::<[u8; 32]>()
            .prop_map(|hash| (json!({"$blob": HEXLOWER.encode(&hash), "size": 1}), BTreeSet::from([hash]))),
        "[0-9a-f]{0,63}".prop_map(move |text| nothing(json!({"$blob": text}))),
    ];
    leaf.prop_recursive(5, 48, 6, |inner| {
        let list = vec(inner.clone(), 0..6).prop_map(|items| {
            let (values, hashes): (Vec<_>, Vec<_>) = items.into_iter().unzip();
            (Value::Array(values), hashes.into_iter().flatten().collect())
        });
        let object = btree_map("[a-z$]{0,4}", inner, 0..6).prop_map(|members| {
            let hashes = members.values().flat_map(|(_, hashes)| hashes.clone()).collect();
            (Value::Object(members.into_iter().map(|(key, (value, _))| (key, value)).collect()), hashes)
        });
        prop_oneof![list, object]
    })
}

proptest! {
    #[test]
    fn every_attachment_is_found_and_nothing_else((value, hashes) in documents()) {
        prop_assert_eq!(find(&value.to_string()).hashes, hashes);
    }

    #[test]
    fn no_text_makes_it_fail(text in ".*") {
        let _ = find(&format!("{{\"$blob\":{text}}}"));
    }
}
