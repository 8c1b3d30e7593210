//! One replica: what a put writes, reads and refuses.

use super::*;

#[test]
fn a_document_reads_as_it_was_put() {
    let json =
        r#"{"":0,"a":{"b":[1,-2,[],{}],"c":"x\n\"y\""},"f":1.0,"n":null,"t":true,"u":18446744073709551615}"#;
    let doc = with(1, json);
    assert_eq!(doc.to_json().unwrap(), json);
    check_reads(&doc, json);
}

#[test]
fn tagged_values_come_out_as_they_went_in() {
    let json =
        r#"{"b":{"$bytes":"AP8="},"c":{"$counter":-5},"l":[{"$counter":1},{"$text":""}],"t":{"$text":"hé"}}"#;
    assert_eq!(with(1, json).to_json().unwrap(), json);
    let doc = with(1, r#"{"at":{"$timestamp":"2026-01-01T02:00:00.5+02:00"}}"#);
    assert_eq!(doc.to_json().unwrap(), r#"{"at":{"$timestamp":"2026-01-01T00:00:00.500Z"}}"#);
}

#[test]
fn an_object_with_other_keys_beside_a_tag_is_an_ordinary_object() {
    let json = r#"{"$counter":7,"a":{"$counter":"x","y":1},"b":{"$other":1}}"#;
    assert_eq!(with(1, json).to_json().unwrap(), json);
}

#[test]
fn a_tagged_value_of_the_wrong_type_is_refused_with_its_place() {
    for (json, path) in [
        (r#"{"a":[{"$counter":1.5}]}"#, "/a/0"),
        (r#"{"a/b":{"$text":1}}"#, "/a~1b"),
        (r#"{"a":{"$bytes":"AP8"}}"#, "/a"),
        (r#"{"a":{"$timestamp":"yesterday"}}"#, "/a"),
        (r#"{"a":{"$counter":9223372036854775808}}"#, "/a"),
    ] {
        let error = new(1).put(&object(json), 0).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, DocumentError::Value(ValueError::Tagged { .. })), "{text}");
        assert!(text.contains(&format!("at {path}: $")), "{text}");
    }
}

#[test]
fn a_value_that_is_nested_too_deep_is_refused() {
    let mut value = Value::from(1);
    for _ in 0..crate::limits::DOCUMENT_DEPTH_LEVELS_MAX {
        value = Value::Array(vec![value]);
    }
    let mut object = Map::new();
    object.insert("a".into(), value);
    let mut doc = new(1);
    let error = doc.put(&object, 0).unwrap_err();
    assert!(matches!(error, DocumentError::Value(ValueError::TooDeep { .. })), "{error}");
    assert!(doc.heads().is_empty());
    let Value::Array(mut list) = object.remove("a").unwrap() else { unreachable!() };
    object.insert("a".into(), list.remove(0));
    doc.put(&object, 0).unwrap();
    assert_eq!(doc.to_json().unwrap(), Value::Object(object).to_string());
}

#[test]
fn an_equal_put_changes_nothing() {
    let json = r#"{"a":{"b":[1,{"$text":"x"}]},"c":{"$counter":3},"d":1.5}"#;
    let mut doc = with(1, json);
    let heads = doc.heads();
    assert_eq!(put(&mut doc, json), None);
    assert_eq!(doc.heads(), heads);
}

#[test]
fn an_empty_object_can_be_put() {
    let mut doc = new(1);
    assert!(doc.is_deleted());
    assert!(put(&mut doc, "{}").is_some());
    assert!(!doc.is_deleted());
    assert_eq!(put(&mut doc, "{}"), None);
    check_reads(&doc, "{}");
}

#[test]
fn a_put_makes_the_fewest_operations() {
    let mut doc =
        with(1, r#"{"a":{"x":1,"y":2},"l":[1,2,3,4],"c":{"$counter":1},"s":"s","t":{"$text":"hello"}}"#);
    let mut change = |json: &str| operations(&put(&mut doc, json).unwrap());
    assert_eq!(
        change(r#"{"a":{"x":1,"y":3},"l":[1,2,3,4],"c":{"$counter":1},"s":"s","t":{"$text":"hello"}}"#),
        1
    );
    assert_eq!(
        change(r#"{"a":{"x":1,"y":3},"l":[1,3,4],"c":{"$counter":1},"s":"s","t":{"$text":"hello"}}"#),
        1
    );
    assert_eq!(
        change(r#"{"a":{"x":1,"y":3},"l":[0,1,3,4],"c":{"$counter":1},"s":"s","t":{"$text":"hello"}}"#),
        1
    );
    assert_eq!(
        change(r#"{"a":{"x":1,"y":3},"l":[0,1,9,4],"c":{"$counter":1},"s":"s","t":{"$text":"hello"}}"#),
        1
    );
    assert_eq!(
        change(r#"{"a":{"x":1,"y":3},"l":[0,1,9,4],"c":{"$counter":9},"s":"s","t":{"$text":"hello"}}"#),
        1
    );
    assert_eq!(
        change(r#"{"a":{"x":1,"y":3},"l":[0,1,9,4],"c":{"$counter":9},"s":"s","t":{"$text":"hello!"}}"#),
        1
    );
    assert_eq!(change(r#"{"l":[0,1,9,4],"c":{"$counter":9},"s":"s","t":{"$text":"hello!"}}"#), 1);
}

#[test]
fn a_changed_type_replaces_the_value() {
    let values = [
        "1",
        "1.0",
        "\"1\"",
        "true",
        "null",
        "[1]",
        "{\"a\":1}",
        r#"{"$counter":1}"#,
        r#"{"$text":"1"}"#,
        r#"{"$bytes":"MQ=="}"#,
        r#"{"$timestamp":"1970-01-01T00:00:00.001Z"}"#,
    ];
    for old in values {
        for new in values {
            let mut doc = with(1, &format!("{{\"v\":{old}}}"));
            let wanted = format!("{{\"v\":{new}}}");
            assert_eq!(put(&mut doc, &wanted).is_some(), old != new, "{old} to {new}");
            assert_eq!(doc.to_json().unwrap(), wanted);
            let mut doc = with(1, &format!("{{\"v\":[0,{old}]}}"));
            let wanted = format!("{{\"v\":[0,{new}]}}");
            put(&mut doc, &wanted);
            assert_eq!(doc.to_json().unwrap(), wanted);
        }
    }
}

#[test]
fn a_long_text_and_a_long_list_change_in_reasonable_time() {
    let text: String = ('a'..='z').cycle().take(20_000).collect();
    let list: Vec<usize> = (0..6_000).collect();
    let json = |text: &str, list: &[usize]| serde_json::json!({"t": {"$text": text}, "l": list}).to_string();
    let mut doc = with(1, &json(&text, &list));
    let small: String = format!("x{}y{}z", &text[..9_000], &text[9_100..]);
    let mut shorter = list.clone();
    shorter.remove(3);
    shorter.insert(5_000, 7);
    let change = put(&mut doc, &json(&small, &shorter)).unwrap();
    assert!(operations(&change) < 110, "{}", operations(&change));
    assert_eq!(doc.to_json().unwrap(), json(&small, &shorter).replace(' ', ""));
    let other: String = text.chars().rev().collect();
    let reversed: Vec<usize> = list.iter().rev().copied().collect();
    put(&mut doc, &json(&other, &reversed));
    let want: Value = serde_json::from_str(&json(&other, &reversed)).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&doc.to_json().unwrap()).unwrap(), want);
}

#[test]
fn a_deleted_document_lives_again_by_a_put() {
    let mut doc = with(1, r#"{"a":1}"#);
    assert!(doc.delete(3_000).is_some());
    assert!(doc.is_deleted());
    assert_eq!(doc.delete(3_000), None);
    let change = put(&mut doc, r#"{"a":1}"#).unwrap();
    assert_eq!(operations(&change), 0);
    assert!(!doc.is_deleted());
    doc.delete(3_000);
    put(&mut doc, r#"{"b":2}"#);
    assert!(!doc.is_deleted());
    check_reads(&doc, r#"{"b":2}"#);
}

#[test]
fn what_never_was_cannot_be_deleted() {
    assert_eq!(new(1).delete(0), None);
}

#[test]
fn the_same_puts_make_the_same_changes() {
    let make = || {
        let mut doc = with(1, r#"{"a":{"x":1,"y":{"z":[{"p":1,"q":2,"r":3}]},"w":2},"b":{"i":1,"j":2}}"#);
        put(&mut doc, r#"{"a":{"x":1,"y":{"z":[{"p":1,"q":3}]},"n":{"k":1,"l":2,"m":3}},"c":{"i":1,"j":2}}"#);
        doc.save()
    };
    assert_eq!(make(), make());
}

#[test]
fn a_document_of_another_program_with_unknown_values_can_be_read() {
    use automerge::transaction::Transactable;
    let mut other = Automerge::new_with_encoding(value::TEXT_ENCODING).with_actor(actor(9));
    let mut tx = other.transaction();
    tx.put(automerge::ROOT, "nan", f64::NAN).unwrap();
    tx.put(automerge::ROOT, "small", automerge::ScalarValue::Uint(5)).unwrap();
    tx.put(automerge::ROOT, "late", automerge::ScalarValue::Timestamp(i64::MAX)).unwrap();
    tx.put_object(automerge::ROOT, "table", automerge::ObjType::Table).unwrap();
    tx.commit();
    let mut doc = new(1);
    doc.merge(&other.save()).unwrap();
    let json = r#"{"late":{"$timestamp":"9999-12-31T23:59:59.999Z"},"nan":null,"small":5,"table":{}}"#;
    assert_eq!(doc.to_json().unwrap(), json);
}

#[test]
fn a_document_of_another_program_that_is_nested_too_deep_is_an_error_to_read() {
    use automerge::transaction::Transactable;
    let mut other = Automerge::new_with_encoding(value::TEXT_ENCODING).with_actor(actor(9));
    let mut tx = other.transaction();
    let mut id = automerge::ROOT;
    for _ in 0..5_000 {
        id = tx.put_object(&id, "a", automerge::ObjType::Map).unwrap();
    }
    tx.commit();
    let mut doc = new(1);
    doc.merge(&other.save()).unwrap();
    assert!(matches!(doc.to_json(), Err(DocumentError::TooDeep { .. })));
    assert!(doc.put(&object("{}"), 0).is_err());
    assert!(doc.delete(0).is_some());
}
