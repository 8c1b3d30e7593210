//! A first change that is made and read without Automerge's indexes is the one that Automerge makes and reads.

use automerge::legacy::{ElementId, Key, ObjectId, Op, OpId, OpType};
use automerge::{Change, ExpandedChange, ObjType, ScalarValue};
use proptest::prelude::*;

use super::laws::any_object;
use super::*;
use crate::limits;

fn fresh(json: &str) -> Fresh {
    Fresh::make(&object(json), &actor(1), 1_000).unwrap().unwrap()
}

/// What Automerge makes of the same.
fn by_automerge(object: &Map<String, Value>) -> Fresh {
    let mut doc = new(1);
    let chunk = doc.put(object, 1_000).unwrap().unwrap();
    Fresh { chunk, heads: doc.heads(), json: doc.to_json().unwrap() }
}

#[test]
fn every_type_is_made_as_automerge_makes_it() {
    let json = r#"{"b":{"y":1,"x":{"q":true}},"a":[1,{"k":{"z":null},"c":"s"},[2,3],{"$text":"hé"},[],{}],
        "c":{"$counter":-5},"d":{},"e":{"$text":""},"f":1.5,"g":{"$bytes":"AAEC"},"h":18446744073709551615,
        "i":{"$timestamp":"2026-05-06T07:08:09.123Z"},"j":"","k":-1}"#;
    let made = fresh(json);
    assert_eq!(made, by_automerge(&object(json)));
    assert_eq!(Fresh::read(&made.chunk), Some(made.clone()));
    let loaded = Document::load([&*made.chunk], &actor(2)).unwrap();
    assert_eq!((loaded.heads(), loaded.to_json().unwrap()), (made.heads, made.json));
}

#[test]
fn what_is_empty_or_large_is_left_to_automerge() {
    let large = format!(r#"{{"a":"{}"}}"#, "x".repeat(limits::FRESH_DOCUMENT_BYTES_MAX));
    for json in ["{}", r#"{"":1}"#, r#"{"a":{"":1}}"#, &large] {
        assert_eq!(Fresh::make(&object(json), &actor(1), 0).unwrap(), None, "{json:.20}");
    }
    let wrong = Fresh::make(&object(r#"{"a":{"$counter":"x"}}"#), &actor(1), 0);
    assert!(wrong.unwrap_err().to_string().contains("at /a: $counter must be"));
}

#[test]
fn what_a_reader_would_need_automerge_for_is_not_read() {
    type Edit = fn(&mut ExpandedChange);
    fn id(number: u64, by: u8) -> OpId {
        OpId::new(number, &actor(by))
    }
    fn again(change: &mut ExpandedChange, of: usize, edit: impl FnOnce(&mut Op)) {
        let mut op = change.operations[of].clone();
        edit(&mut op);
        change.operations.push(op);
    }
    // Operations: 1 the list, 2 the map, 3 the text, 4 and 5 the elements, 6 the field, 7 the character.
    let edits: [(&str, Edit); 16] = [
        ("it builds on something", |change| change.deps.push(ChangeHash([1; 32]))),
        ("it is not the first of its actor", |change| change.seq = 2),
        ("its operations begin later", |change| change.start_op = 2.try_into().unwrap()),
        ("it is a tombstone", |change| change.message = Some(TOMBSTONE.to_owned())),
        ("it has more bytes", |change| change.extra_bytes = vec![1]),
        ("it is empty", |change| change.operations.clear()),
        ("a key twice", |change| again(change, 1, |_| {})),
        ("a deletion", |change| again(change, 5, |op| op.action = OpType::Delete)),
        ("an increment", |change| again(change, 5, |op| op.action = OpType::Increment(1))),
        ("a table", |change| change.operations[1].action = OpType::Make(ObjType::Table)),
        ("an object that is not there", |change| change.operations[5].obj = ObjectId::Id(id(9, 1))),
        ("an object of another actor", |change| change.operations[5].obj = ObjectId::Id(id(2, 7))),
        ("a field of a scalar", |change| change.operations[5].obj = ObjectId::Id(id(4, 1))),
        ("an element after one that is not the last", |change| {
            again(change, 4, |op| op.key = Key::Seq(ElementId::Id(id(4, 1))));
        }),
        ("a key in a list", |change| {
            change.operations[4].key = Key::Map("x".into());
            change.operations[4].insert = false;
        }),
        ("two characters in one", |change| {
            change.operations[6].action = OpType::Put(ScalarValue::Str("xy".into()));
        }),
    ];
    let made = fresh(r#"{"a":[1,2],"b":{"c":3},"d":{"$text":"x"}}"#);
    for (what, edit) in edits {
        let mut change = Change::try_from(&made.chunk[..]).unwrap().decode();
        edit(&mut change);
        let forged = Bytes::copy_from_slice(Change::from(change).raw_bytes());
        assert_ne!(forged, made.chunk, "{what}");
        assert_eq!(Fresh::read(&forged), None, "{what}");
    }
}

#[test]
fn a_document_that_is_nested_too_deep_is_not_read() {
    let nested = |levels: usize| {
        let mut content = Value::from(1);
        for _ in 1..levels {
            content = serde_json::json!({ "a": content });
        }
        content
    };
    let deepest = limits::DOCUMENT_DEPTH_LEVELS_MAX + 1;
    let made = Fresh::make(nested(deepest).as_object().unwrap(), &actor(1), 0).unwrap().unwrap();
    assert!(Fresh::read(&made.chunk).is_some());
    // One more level, as a peer could make it.
    let mut change = Change::try_from(&made.chunk[..]).unwrap().decode();
    let last = change.operations.len();
    change.operations[last - 1].action = OpType::Make(ObjType::Map);
    let mut op = change.operations[last - 1].clone();
    op.obj = ObjectId::Id(OpId::new(last as u64, &actor(1)));
    op.action = OpType::Put(ScalarValue::Int(1));
    change.operations.push(op);
    let deeper = Bytes::copy_from_slice(Change::from(change).raw_bytes());
    assert!(Fresh::read(&deeper).is_none());
    let mut doc = new(2);
    doc.merge(&deeper).unwrap();
    assert!(matches!(doc.to_json(), Err(DocumentError::TooDeep { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_json_becomes_the_same_change(object in any_object()) {
        if let Some(made) = Fresh::make(&object, &actor(1), 1_000).unwrap() {
            prop_assert_eq!(&made, &by_automerge(&object));
            prop_assert_eq!(Fresh::read(&made.chunk), Some(made));
        }
    }

    #[test]
    fn what_is_read_from_mangled_bytes_is_what_automerge_reads(
        object in any_object(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let Some(made) = Fresh::make(&object, &actor(1), 1_000).unwrap() else { return Ok(()) };
        let mut bytes = made.chunk.to_vec();
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        // With the checksum that fits, so that more than it is looked at.
        let hash = <sha2::Sha256 as sha2::Digest>::digest(&bytes[8..]);
        bytes[4..8].copy_from_slice(&hash[..4]);
        let bytes = Bytes::from(bytes);
        if let Ok(Some(read)) = crate::guard::caught(|| Fresh::read(&bytes)) {
            let mut doc = new(2);
            let merged = doc.merge(&bytes).unwrap();
            prop_assert!(!merged.missing);
            prop_assert_eq!(merged.new, bytes);
            prop_assert_eq!((doc.heads(), doc.to_json().unwrap()), (read.heads, read.json));
        }
    }
}
