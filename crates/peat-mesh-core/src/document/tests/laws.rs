//! What holds for any JSON and any order of meetings.

use proptest::prelude::*;

use super::*;

/// Any JSON value, with few keys so that documents collide, and tagged values among them.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3..3_i64).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        prop::num::f64::NORMAL.prop_map(Value::from),
        "[a-c]{0,3}".prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        (-9..9_i64).prop_map(|number| serde_json::json!({ "$counter": number })),
        "[a-cé🦊]{0,6}".prop_map(|text| serde_json::json!({ "$text": text })),
        Just(serde_json::json!({ "$bytes": "AAEC" })),
        Just(serde_json::json!({ "$timestamp": "2026-05-06T07:08:09.123Z" })),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            fields(inner).prop_map(Value::from),
        ]
    })
}

fn fields(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::vec(("[abc]", value), 0..4).prop_map(|fields| fields.into_iter().collect())
}

pub(super) fn any_object() -> impl Strategy<Value = Map<String, Value>> {
    fields(value())
}

fn read(doc: &Document) -> Map<String, Value> {
    object(&doc.to_json().unwrap())
}

/// What replicas do.
#[derive(Debug, Clone)]
enum Act {
    Put(usize, Map<String, Value>),
    /// Change one field of what is there, as a patch does.
    Set(usize, String, Value),
    Remove(usize, prop::sample::Index),
    Delete(usize),
    Meet(usize, usize),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        2 => (0..3_usize, any_object()).prop_map(|(who, object)| Act::Put(who, object)),
        4 => (0..3_usize, "[abc]", value()).prop_map(|(who, key, value)| Act::Set(who, key, value)),
        1 => (0..3_usize, any::<prop::sample::Index>()).prop_map(|(who, which)| Act::Remove(who, which)),
        1 => (0..3_usize).prop_map(Act::Delete),
        3 => (0..3_usize, 0..3_usize).prop_map(|(one, other)| Act::Meet(one, other)),
    ]
}

proptest! {
    #[test]
    fn any_object_reads_as_it_was_put(object in any_object()) {
        let mut doc = new(1);
        doc.put(&object, 1).unwrap();
        prop_assert_eq!(read(&doc), object.clone());
        prop_assert_eq!(read(&copy(&doc, 2)), object.clone());
        prop_assert_eq!(doc.put(&object, 2).unwrap(), None);
        prop_assert_eq!(doc.to_json().unwrap(), Value::Object(object).to_string());
    }

    #[test]
    fn a_second_put_reads_as_it_was_put(first in any_object(), second in any_object()) {
        let mut doc = new(1);
        doc.put(&first, 1).unwrap();
        let change = doc.put(&second, 2).unwrap();
        prop_assert_eq!(change.is_some(), first != second);
        prop_assert_eq!(read(&doc), second);
        check_same(&doc, &copy(&doc, 2));
    }

    #[test]
    fn replicas_converge_whatever_they_do(acts in prop::collection::vec(act(), 1..14), order: [prop::sample::Index; 3]) {
        let mut docs = vec![new(1), new(2), new(3)];
        for act in acts {
            match act {
                Act::Put(who, object) => {
                    docs[who].put(&object, 1).unwrap();
                    prop_assert_eq!(read(&docs[who]), object);
                }
                Act::Set(who, key, value) => {
                    let mut object = read(&docs[who]);
                    object.insert(key, value);
                    docs[who].put(&object, 1).unwrap();
                    prop_assert_eq!(read(&docs[who]), object);
                    prop_assert!(!docs[who].is_deleted());
                }
                Act::Remove(who, which) => {
                    let mut object = read(&docs[who]);
                    let keys: Vec<String> = object.keys().cloned().collect();
                    if !keys.is_empty() {
                        object.remove(&keys[which.index(keys.len())]);
                        docs[who].put(&object, 1).unwrap();
                        prop_assert_eq!(read(&docs[who]), object);
                    }
                }
                Act::Delete(who) => {
                    docs[who].delete(1);
                    prop_assert!(docs[who].is_deleted());
                }
                Act::Meet(one, other) => {
                    if one != other {
                        let (from_one, from_other) = (all(&docs[one]), docs[other].save());
                        docs[other].merge(&from_one).unwrap();
                        docs[one].merge(&from_other).unwrap();
                        check_same(&docs[one], &docs[other]);
                    }
                }
            }
        }
        // Two more replicas hear of everything, each in its own order and form.
        let mut whole = new(8);
        let mut parts = new(9);
        for index in order {
            parts.merge(&all(&docs[index.index(3)])).unwrap();
        }
        for doc in &docs {
            whole.merge(&doc.save()).unwrap();
        }
        for doc in docs.iter().rev() {
            let lacks = doc.changes_since(&parts.have(), 100).concat();
            parts.merge(&lacks).unwrap();
        }
        check_same(&whole, &parts);
        check_same(&whole, &copy(&parts, 10));
        // And what any of them writes is what the other reads.
        let object = object(r#"{"a":{"b":{"c":1}},"b":[{"a":1}]}"#);
        whole.put(&object, 1).unwrap();
        prop_assert_eq!(read(&whole), object.clone());
        parts.merge(&all(&whole)).unwrap();
        prop_assert_eq!(read(&parts), object);
    }
}
