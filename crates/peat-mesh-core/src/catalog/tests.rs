use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::heads::ChangeHash;

fn doc(number: u32) -> DocId {
    DocId::new("c", &format!("d{number}")).unwrap()
}

fn heads(number: u8) -> Heads {
    Heads::new(vec![ChangeHash([number; 32])])
}

#[test]
fn equal_sets_have_equal_fingerprints_whatever_the_order() {
    let mut forward = Catalog::default();
    let mut backward = Catalog::default();
    for number in 0..1000 {
        forward.set(doc(number), heads(number as u8));
        backward.set(doc(999 - number), heads(1));
    }
    assert_ne!(forward.summary(Prefix::ALL), backward.summary(Prefix::ALL));
    for number in 0..1000 {
        backward.set(doc(number), heads(number as u8));
    }
    assert_eq!(forward.summary(Prefix::ALL), backward.summary(Prefix::ALL));
    assert_eq!(forward.len(), 1000);
}

#[test]
fn setting_the_same_heads_changes_nothing() {
    let mut catalog = Catalog::default();
    assert!(catalog.set(doc(1), heads(1)));
    assert!(!catalog.set(doc(1), heads(1)));
    assert!(catalog.set(doc(1), heads(2)));
}

#[test]
fn a_prefix_has_sixteen_parts_that_cover_it() {
    let range = Prefix::of(Position(0xabcd << 112), 3);
    assert_eq!(format!("{range:?}"), "abc*");
    assert_eq!(format!("{:?}", range.part(0xd)), "abcd*");
    assert!(range.part(0xd).contains(Position(0xabcd << 112)));
    assert!(!range.part(0xe).contains(Position(0xabcd << 112)));
    let whole = Prefix::of(Position(7), 32);
    assert_eq!(whole.part(3), whole);
}

proptest! {
    #[test]
    fn the_tree_agrees_with_a_plain_map(steps in prop::collection::vec((0u32..300, 0u8..4), 1..600)) {
        let mut catalog = Catalog::default();
        let mut model = BTreeMap::new();
        for (number, state) in steps {
            let doc = doc(number);
            if state == 0 {
                prop_assert_eq!(catalog.remove(&doc), model.remove(&Position::of(&doc)).is_some());
            } else {
                catalog.set(doc.clone(), heads(state));
                model.insert(Position::of(&doc), Entry { doc, heads: heads(state) });
            }
        }
        prop_assert_eq!(catalog.len(), model.len() as u64);
        let mut rebuilt = Catalog::default();
        for entry in model.values() {
            rebuilt.set(entry.doc.clone(), entry.heads.clone());
        }
        for range in [Prefix::ALL, Prefix::ALL.part(3), Prefix::ALL.part(3).part(9), Prefix::of(Position(u128::MAX / 3), 5)] {
            prop_assert_eq!(catalog.summary(range), rebuilt.summary(range));
            let mut seen = Vec::new();
            catalog.for_each(range, &mut |position, entry| seen.push((position, entry.clone())));
            let expected: Vec<_> = model.iter().filter(|(at, _)| range.contains(**at)).map(|(at, entry)| (*at, entry.clone())).collect();
            prop_assert_eq!(seen, expected);
        }
        for (position, entry) in &model {
            prop_assert_eq!(catalog.at(*position), Some(entry));
        }
    }
}
