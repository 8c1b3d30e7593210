//! Several replicas that write while apart.

use super::*;

#[test]
fn objects_that_were_created_apart_keep_all_fields() {
    let mut a = with(1, r#"{"name":"a","pos":{"lat":1,"deep":{"x":1}},"only_a":true}"#);
    let mut b = with(2, r#"{"name":"b","pos":{"lon":2,"deep":{"y":2}},"only_b":true}"#);
    meet(&mut a, &mut b);
    check_reads(
        &a,
        r#"{"name":"b","only_a":true,"only_b":true,"pos":{"deep":{"x":1,"y":2},"lat":1,"lon":2}}"#,
    );
}

#[test]
fn three_replicas_that_created_the_same_objects_keep_all_fields() {
    let mut docs = [
        with(1, r#"{"o":{"p":{"a":1,"all":1}}}"#),
        with(2, r#"{"o":{"p":{"b":2,"all":2}}}"#),
        with(3, r#"{"o":{"p":{"c":3,"all":3},"q":3}}"#),
    ];
    let changes: Vec<u8> = docs.iter().flat_map(all).collect();
    for doc in &mut docs {
        doc.merge(&changes).unwrap();
        check_reads(doc, r#"{"o":{"p":{"a":1,"b":2,"c":3,"all":3},"q":3}}"#);
    }
    check_same(&docs[0], &docs[1]);
    check_same(&docs[1], &docs[2]);
}

#[test]
fn different_fields_of_a_merged_object_can_be_changed_at_the_same_time() {
    let mut a = with(1, r#"{"o":{"a":1,"x":0}}"#);
    let mut b = with(2, r#"{"o":{"b":1,"x":1}}"#);
    meet(&mut a, &mut b);
    put(&mut a, r#"{"o":{"a":10,"b":1,"x":1,"new_a":1}}"#);
    put(&mut b, r#"{"o":{"a":1,"b":20,"x":1,"new_b":1}}"#);
    meet(&mut a, &mut b);
    check_reads(&a, r#"{"o":{"a":10,"b":20,"x":1,"new_a":1,"new_b":1}}"#);
}

#[test]
fn a_replica_that_has_not_heard_of_the_merge_keeps_its_edits() {
    let mut a = with(1, r#"{"o":{"a":1}}"#);
    let b = with(2, r#"{"o":{"b":1}}"#);
    let mut late = copy(&a, 3);
    a.merge(&all(&b)).unwrap();
    put(&mut a, r#"{"o":{"a":2,"b":2}}"#);
    put(&mut late, r#"{"o":{"a":1,"late":1}}"#);
    meet(&mut a, &mut late);
    check_reads(&a, r#"{"o":{"a":2,"b":2,"late":1}}"#);
}

#[test]
fn a_field_that_was_removed_from_a_merged_object_stays_removed() {
    let mut a = with(1, r#"{"o":{"x":1,"p":{"q":1},"keep":1}}"#);
    let mut b = with(2, r#"{"o":{"x":2,"p":{"r":2},"keep":2}}"#);
    meet(&mut a, &mut b);
    put(&mut a, r#"{"o":{"keep":2}}"#);
    check_reads(&a, r#"{"o":{"keep":2}}"#);
    meet(&mut a, &mut b);
    check_reads(&b, r#"{"o":{"keep":2}}"#);
    put(&mut b, r#"{"o":{"keep":2,"p":{"s":3}}}"#);
    meet(&mut a, &mut b);
    check_reads(&a, r#"{"o":{"keep":2,"p":{"s":3}}}"#);
}

#[test]
fn an_object_that_replaces_a_scalar_does_not_bring_hidden_fields_back() {
    let mut a = with(1, r#"{"o":{"k":{"old":1}}}"#);
    let mut b = with(2, r#"{"o":{"k":{"older":1}}}"#);
    meet(&mut a, &mut b);
    put(&mut a, r#"{"o":{"k":5}}"#);
    check_reads(&a, r#"{"o":{"k":5}}"#);
    put(&mut a, r#"{"o":{"k":{"new":1}}}"#);
    meet(&mut a, &mut b);
    check_reads(&b, r#"{"o":{"k":{"new":1}}}"#);
}

#[test]
fn an_object_that_was_written_over_a_scalar_apart_wins_or_loses_as_a_whole() {
    let mut a = with(1, r#"{"k":1}"#);
    let mut b = copy(&a, 2);
    let mut c = copy(&a, 3);
    put(&mut a, r#"{"k":{"a":1}}"#);
    put(&mut b, r#"{"k":"b"}"#);
    put(&mut c, r#"{"k":{"c":1}}"#);
    a.merge(&all(&b)).unwrap();
    a.merge(&all(&c)).unwrap();
    check_reads(&a, r#"{"k":{"a":1,"c":1}}"#);
}

#[test]
fn objects_in_lists_that_replaced_the_same_element_keep_all_fields() {
    let mut a = with(1, r#"{"l":[1,"x",3]}"#);
    let mut b = copy(&a, 2);
    // A scalar element of the same place becomes an object on both sides.
    put(&mut a, r#"{"l":[1,{"a":1},3]}"#);
    put(&mut b, r#"{"l":[1,{"b":1},3]}"#);
    meet(&mut a, &mut b);
    let read = a.to_json().unwrap();
    assert!(read.contains("\"a\":1") && read.contains("\"b\":1"), "{read}");
}

#[test]
fn an_edit_that_the_deletion_did_not_see_brings_the_whole_document_back() {
    let mut a = with(1, r#"{"x":1,"y":{"z":2}}"#);
    let mut b = copy(&a, 2);
    a.delete(3_000);
    put(&mut b, r#"{"x":5,"y":{"z":2}}"#);
    meet(&mut a, &mut b);
    assert!(!a.is_deleted());
    check_reads(&a, r#"{"x":5,"y":{"z":2}}"#);
    a.delete(4_000);
    meet(&mut a, &mut b);
    assert!(b.is_deleted());
}

#[test]
fn a_stale_copy_does_not_bring_a_deleted_document_back() {
    let mut a = with(1, r#"{"x":1}"#);
    let stale = copy(&a, 2);
    a.delete(3_000);
    let merged = a.merge(&stale.save()).unwrap();
    assert_eq!(merged, Merged::default());
    assert!(a.is_deleted());
    let mut stale = stale;
    meet(&mut a, &mut stale);
    assert!(stale.is_deleted());
}

#[test]
fn two_deletions_at_the_same_time_leave_it_deleted() {
    let mut a = with(1, r#"{"x":1}"#);
    let mut b = copy(&a, 2);
    a.delete(3_000);
    b.delete(3_000);
    meet(&mut a, &mut b);
    assert_eq!(a.heads().as_slice().len(), 2);
    assert!(a.is_deleted());
    assert_eq!(a.delete(4_000), None);
}

#[test]
fn a_put_of_the_same_content_revives_against_a_deletion_at_the_same_time() {
    let mut a = with(1, r#"{"x":1}"#);
    let mut b = copy(&a, 2);
    a.delete(3_000);
    b.delete(3_000);
    put(&mut b, r#"{"x":1}"#);
    meet(&mut a, &mut b);
    assert!(!a.is_deleted());
    check_reads(&a, r#"{"x":1}"#);
}

#[test]
fn counters_add_up() {
    let mut a = with(1, r#"{"n":{"$counter":10},"l":[{"$counter":0}]}"#);
    let mut b = copy(&a, 2);
    put(&mut a, r#"{"n":{"$counter":13},"l":[{"$counter":1}]}"#);
    put(&mut b, r#"{"n":{"$counter":8},"l":[{"$counter":1}]}"#);
    meet(&mut a, &mut b);
    check_reads(&a, r#"{"n":{"$counter":11},"l":[{"$counter":2}]}"#);
}

#[test]
fn texts_merge_character_by_character() {
    let mut a = with(1, r#"{"t":{"$text":"the quick fox"}}"#);
    let mut b = copy(&a, 2);
    put(&mut a, r#"{"t":{"$text":"the very quick fox"}}"#);
    put(&mut b, r#"{"t":{"$text":"the quick 🦊!"}}"#);
    meet(&mut a, &mut b);
    check_reads(&a, r#"{"t":{"$text":"the very quick 🦊!"}}"#);
}

#[test]
fn list_elements_are_inserted_deleted_and_changed_at_the_same_time() {
    let mut a = with(1, r#"{"l":["a","b","c","d"]}"#);
    let mut b = copy(&a, 2);
    put(&mut a, r#"{"l":["0","a","c","d"]}"#);
    put(&mut b, r#"{"l":["a","b","c","D","e"]}"#);
    meet(&mut a, &mut b);
    check_reads(&a, r#"{"l":["0","a","c","D","e"]}"#);
}

#[test]
fn different_fields_of_one_list_element_can_be_changed_at_the_same_time() {
    let mut a = with(1, r#"{"l":[{"id":1,"n":"x","v":1},{"id":2,"n":"y","v":2}]}"#);
    let mut b = copy(&a, 2);
    put(&mut a, r#"{"l":[{"id":1,"n":"x","v":1},{"id":2,"n":"Y","v":2}]}"#);
    put(&mut b, r#"{"l":[{"id":2,"n":"y","v":20}]}"#);
    meet(&mut a, &mut b);
    check_reads(&a, r#"{"l":[{"id":2,"n":"Y","v":20}]}"#);
}

#[test]
fn lists_texts_and_counters_that_were_created_apart_are_not_mixed() {
    let mut a = with(1, r#"{"l":[1],"t":{"$text":"a"},"n":{"$counter":1},"o":{"n":{"$counter":1}}}"#);
    let mut b = with(2, r#"{"l":[2],"t":{"$text":"b"},"n":{"$counter":2},"o":{"n":{"$counter":2}}}"#);
    meet(&mut a, &mut b);
    check_reads(&a, r#"{"l":[2],"t":{"$text":"b"},"n":{"$counter":2},"o":{"n":{"$counter":2}}}"#);
    put(&mut a, r#"{"l":[2,3],"t":{"$text":"bc"},"n":{"$counter":5},"o":{"n":{"$counter":5}}}"#);
    put(&mut b, r#"{"l":[1,2],"t":{"$text":"ab"},"n":{"$counter":3},"o":{"n":{"$counter":3}}}"#);
    meet(&mut a, &mut b);
    check_reads(&a, r#"{"l":[1,2,3],"t":{"$text":"abc"},"n":{"$counter":6},"o":{"n":{"$counter":6}}}"#);
}
