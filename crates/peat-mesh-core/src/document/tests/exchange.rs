//! What goes over the wire: chunks that are complete, partial, known, repeated or broken.

use automerge::Change;
use automerge::ExpandedChange;
use proptest::prelude::*;

use super::*;
use crate::limits;

/// A replica with `count` changes to one field.
fn long(number: u8, count: usize) -> Document {
    let mut doc = new(number);
    for value in 0..count {
        put(&mut doc, &format!("{{\"v\":{value}}}"));
    }
    doc
}

#[test]
fn a_whole_document_can_be_sent_to_one_that_has_nothing() {
    let source = long(1, 10);
    let mut doc = new(2);
    let merged = doc.merge(&source.save()).unwrap();
    check_same(&doc, &source);
    assert_eq!(merged.new, all(&source));
    assert!(!merged.missing);
    let change = put(&mut doc, "{}").unwrap();
    assert_eq!(Change::try_from(&*change).unwrap().actor_id(), &actor(2));
}

#[test]
fn what_is_known_already_is_not_new() {
    let mut a = long(1, 3);
    let mut b = copy(&a, 2);
    let change = put(&mut b, "{}").unwrap();
    assert_eq!(a.merge(&[all(&b), b.save().to_vec()].concat()).unwrap().new, change);
    assert_eq!(a.merge(&all(&b)).unwrap(), Merged::default());
    assert_eq!(a.merge(&b.save()).unwrap(), Merged::default());
    assert_eq!(a.merge(&[]).unwrap(), Merged::default());
}

#[test]
fn changes_in_any_order_come_out_in_causal_order() {
    let source = long(1, 5);
    let mut changes = source.changes_since(&[], 1);
    assert_eq!(changes.len(), 5);
    changes.reverse();
    let mut doc = new(2);
    let merged = doc.merge(&changes.concat()).unwrap();
    assert_eq!(merged.new, all(&source));
    check_same(&doc, &source);
}

#[test]
fn changes_without_what_they_build_on_are_reported_and_not_kept() {
    let source = long(1, 5);
    let changes = source.changes_since(&[], 1);
    let mut doc = new(2);
    let merged = doc.merge(&[&*changes[0], &*changes[2], &*changes[3]].concat()).unwrap();
    assert!(merged.missing);
    assert_eq!(merged.new, changes[0]);
    check_reads(&doc, r#"{"v":0}"#);
    let merged = doc.merge(&changes[1]).unwrap();
    assert_eq!((merged.new, merged.missing), (changes[1].clone(), false));
    check_reads(&doc, r#"{"v":1}"#);
    assert!(!doc.merge(&changes.concat()).unwrap().missing);
    check_same(&doc, &source);
}

#[test]
fn snapshot_and_increments_load() {
    let mut doc = long(1, 3);
    let snapshot = doc.save();
    let one = put(&mut doc, r#"{"a":1}"#).unwrap();
    let two = put(&mut doc, r#"{"a":2}"#).unwrap();
    let tombstone = doc.delete(5_000).unwrap();
    let loaded = Document::load([&*snapshot, &*one, &*two, &*tombstone], &actor(1)).unwrap();
    check_same(&loaded, &doc);
    assert!(Document::load([&*snapshot, &*two], &actor(1)).is_err());
    assert!(Document::load([&*two], &actor(1)).is_err());
    assert!(Document::load([&snapshot[..20]], &actor(1)).is_err());
    assert!(Document::load([], &actor(1)).unwrap().heads().is_empty());
}

#[test]
fn pieces_hold_about_so_many_bytes() {
    let doc = long(1, 50);
    let one = doc.changes_since(&[], 0);
    assert_eq!(one.len(), 50);
    let pieces = doc.changes_since(&[], 500);
    assert!(pieces.len() > 5 && pieces.iter().all(|piece| piece.len() <= 500));
    assert_eq!(pieces.concat(), one.concat());
    let unknown = ChangeHash([7; 32]);
    assert_eq!(doc.changes_since(&[unknown], 500), pieces);
    assert!(doc.changes_since(doc.heads().as_slice(), 500).is_empty());
    assert!(doc.knows(&doc.heads().as_slice()[0]) && !doc.knows(&unknown));
}

/// One exchange each way by what each says it has.
fn negotiate(a: &mut Document, b: &mut Document) -> usize {
    let (have_a, have_b) = (a.have(), b.have());
    assert!(have_a.len() <= limits::HAVE_COUNT_MAX && have_b.len() <= limits::HAVE_COUNT_MAX);
    let (to_b, to_a) = (a.changes_since(&have_b, 1000), b.changes_since(&have_a, 1000));
    let sent = to_a.iter().chain(&to_b).map(Bytes::len).sum();
    assert!(!a.merge(&to_a.concat()).unwrap().missing);
    assert!(!b.merge(&to_b.concat()).unwrap().missing);
    check_same(a, b);
    sent
}

#[test]
fn what_two_replicas_say_they_have_brings_them_together_in_one_step() {
    for (common, apart) in [(0, 5), (5, 0), (5, 300), (1_000, 1), (1_000, 200)] {
        let mut a = long(1, common);
        let mut b = Document::new(&actor(2));
        b.merge(&all(&a)).unwrap();
        for value in 0..apart {
            put(&mut a, &format!("{{\"a\":{value}}}"));
            put(&mut b, &format!("{{\"b\":{value}}}"));
        }
        let sent = negotiate(&mut a, &mut b);
        // Little that was known already is sent again.
        let bytes = all(&a).len();
        assert!(
            sent <= bytes * (2 * apart + apart / 4 + 2) / (common + 2 * apart).max(1) * 2,
            "{sent} of {bytes}"
        );
    }
}

#[test]
fn a_list_of_few_changes_names_them_all() {
    assert_eq!(long(1, 200).have().len(), 200);
    let have = long(1, 3_000).have();
    assert!(have.len() > 130 && have.len() < limits::HAVE_COUNT_MAX, "{}", have.len());
}

/// A change as another program could have made it: signed by actor 9, on top of what `doc` has.
fn forge(doc: &Document, edit: impl FnOnce(&mut ExpandedChange)) -> Vec<u8> {
    let mut other = copy(doc, 9);
    let change = put(&mut other, r#"{"v":"forged","l":[1]}"#).unwrap();
    let mut expanded = Change::try_from(&*change).unwrap().decode();
    edit(&mut expanded);
    expanded.hash = None;
    Change::from(expanded).raw_bytes().to_vec()
}

/// Merging this is an error and leaves the document as it was.
#[track_caller]
fn check_refused(doc: &mut Document, chunks: &[u8]) {
    let before = (doc.heads(), doc.to_json().unwrap(), doc.save());
    assert!(doc.merge(chunks).is_err());
    assert_eq!((doc.heads(), doc.to_json().unwrap(), doc.save()), before);
    put(doc, r#"{"still":"works"}"#);
    check_reads(doc, r#"{"still":"works"}"#);
}

#[test]
fn one_actor_and_number_for_two_changes_is_an_error() {
    let base = long(1, 2);
    let (mut a, mut b) = (copy(&base, 7), copy(&base, 7));
    put(&mut a, r#"{"a":1}"#);
    let change = put(&mut b, r#"{"b":1}"#).unwrap();
    check_refused(&mut a, &change);
    // Also when a new change comes before it: nothing is applied in part.
    let mut c = copy(&base, 8);
    let good = put(&mut c, r#"{"c":1}"#).unwrap();
    check_refused(&mut a, &[&*good, &*change].concat());
    check_refused(&mut a, &b.save());
}

type Edit = Box<dyn Fn(&mut ExpandedChange)>;

#[test]
fn a_change_that_contradicts_itself_is_an_error() {
    use automerge::legacy::{ElementId, Key, ObjectId, OpId};
    let mut doc = long(1, 2);
    let ghost = OpId::new(77, &actor(1));
    for (what, edit) in [
        ("a number that skips", Box::new(|change: &mut ExpandedChange| change.seq = 5) as Edit),
        (
            "operations that overlap others",
            Box::new(|change: &mut ExpandedChange| change.start_op = 2.try_into().unwrap()),
        ),
        (
            "operations that skip numbers",
            Box::new(|change: &mut ExpandedChange| change.start_op = 4_000_000_000.try_into().unwrap()),
        ),
        (
            "a mark",
            Box::new(|change: &mut ExpandedChange| {
                change.operations[0].action = automerge::legacy::OpType::MarkEnd(true);
            }),
        ),
        ("the number 0", Box::new(|change: &mut ExpandedChange| change.seq = 0)),
        (
            "operation numbers above 32 bits",
            Box::new(|change: &mut ExpandedChange| change.start_op = u64::MAX.try_into().unwrap()),
        ),
        ("an object that is not there", {
            let ghost = ghost.clone();
            Box::new(move |change: &mut ExpandedChange| {
                change.operations[0].obj = ObjectId::Id(ghost.clone())
            })
        }),
        ("an element that is not there", {
            let ghost = ghost.clone();
            Box::new(move |change: &mut ExpandedChange| {
                let insert = change.operations.iter_mut().find(|op| op.insert).unwrap();
                insert.key = Key::Seq(ElementId::Id(ghost.clone()));
            })
        }),
    ] {
        println!("{what}");
        let forged = forge(&doc, edit);
        check_refused(&mut doc, &forged);
        doc = long(1, 2);
    }
    let fine = forge(&doc, |_| {});
    assert!(doc.merge(&fine).is_ok());
}

#[test]
fn a_saved_document_with_operations_that_skip_numbers_is_refused_too() {
    for start_op in [4_000_000_000_u64, u64::from(u32::MAX) - 4] {
        let mut first = new(1);
        let change = automerge::Change::try_from(&*put(&mut first, "{\"a\": 1}").unwrap()).unwrap();
        let mut edited = change.decode();
        edited.start_op = start_op.try_into().unwrap();
        let mut forged = automerge::Automerge::new();
        forged.apply_changes([automerge::Change::from(edited)]).unwrap();
        check_refused(&mut new(2), &forged.save());
    }
}

#[test]
fn leftover_bytes_are_an_error_and_nothing_is_applied() {
    let mut doc = long(1, 2);
    let mut other = copy(&doc, 2);
    let change = put(&mut other, "{}").unwrap();
    check_refused(&mut doc, &[&*change, b"x"].concat());
    let mut doc = long(1, 2);
    check_refused(&mut doc, &[&*change, &change[..change.len() - 1]].concat());
    assert!(new(3).merge(&[&*other.save(), &[0x85]].concat()).is_err());
}

/// Documents with all types, conflicts and a deletion, as pieces to break.
fn samples() -> Vec<Vec<u8>> {
    let mut a = with(1, r#"{"o":{"a":1},"l":[1,{"x":1}],"t":{"$text":"hello"},"c":{"$counter":1}}"#);
    let mut b = with(2, r#"{"o":{"b":1},"l":[2],"t":{"$text":"hi"},"c":{"$counter":2}}"#);
    meet(&mut a, &mut b);
    put(&mut a, r#"{"o":{"a":2},"l":[2,3],"t":{"$text":"him"},"c":{"$counter":5}}"#);
    b.delete(5);
    meet(&mut a, &mut b);
    put(
        &mut a,
        r#"{"s":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}"#,
    );
    vec![a.save().to_vec(), all(&a), a.automerge.save_nocompress()]
}

/// Gives a chunk the checksum that its bytes have, so that what is in it is looked at.
fn sign(chunk: &mut [u8]) {
    use sha2::{Digest, Sha256};
    if chunk.len() > 9 {
        let sum = Sha256::digest(&chunk[8..]);
        chunk[4..8].copy_from_slice(&sum[..4]);
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 0..4_u8) {
        let mut doc = with(1, r#"{"a":1}"#);
        prop_assert!(bytes.is_empty() || doc.merge(&bytes).is_err());
        let mut chunk = vec![0x85, 0x6f, 0x4a, 0x83, 0, 0, 0, 0, kind, (bytes.len() as u8 & 0x7f) | 0x80, (bytes.len() >> 7) as u8];
        chunk.extend(&bytes);
        prop_assert!(doc.merge(&chunk).is_err());
        sign(&mut chunk);
        let _ = doc.merge(&chunk);
        let _ = new(2).merge(&chunk);
        let _ = doc.to_json();
    }

    #[test]
    fn truncated_chunks_are_errors(sample in 0..3_usize, at in any::<prop::sample::Index>()) {
        let bytes = &samples()[sample];
        let cut = &bytes[..at.index(bytes.len())];
        let mut doc = new(3);
        if let Ok(merged) = doc.merge(cut) {
            // Cut between two chunks.
            prop_assert_eq!(&merged.new[..], if merged.missing { &merged.new[..] } else { cut });
        } else {
            prop_assert!(doc.heads().is_empty());
        }
    }

    #[test]
    fn flipped_bits_never_panic(
        sample in 0..3_usize,
        flips in proptest::collection::vec((any::<prop::sample::Index>(), 0..8_u8), 1..4),
        signed: bool,
    ) {
        let mut bytes = samples()[sample].clone();
        for (at, bit) in &flips {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        if signed {
            sign(&mut bytes);
        }
        for mut doc in [new(3), with(4, r#"{"o":{"z":1}}"#)] {
            let before = doc.save();
            match doc.merge(&bytes) {
                Ok(_) => {
                    // What was taken can be read, changed, saved and loaded.
                    doc.put(&object(r#"{"o":{"y":1}}"#), 1).unwrap();
                    check_same(&copy(&doc, 5), &doc);
                }
                Err(_) => prop_assert_eq!(doc.save(), before),
            }
        }
    }

    #[test]
    fn flipped_bits_in_signed_changes_never_panic(
        which in any::<prop::sample::Index>(),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), 0..8_u8), 1..4),
    ) {
        let sample = &samples()[1];
        let mut doc = new(3);
        doc.merge(sample).unwrap();
        let mut pieces: Vec<Vec<u8>> = doc.changes_since(&[], 1).iter().map(|piece| piece.to_vec()).collect();
        let count = pieces.len();
        let piece = &mut pieces[which.index(count)];
        for (at, bit) in &flips {
            let at = at.index(piece.len());
            piece[at] ^= 1 << bit;
        }
        sign(piece);
        for mut doc in [new(3), with(4, r#"{"o":{"z":1}}"#)] {
            let before = doc.save();
            match doc.merge(&pieces.concat()) {
                Ok(_) => {
                    // What was taken can be read, changed, saved and loaded.
                    doc.put(&object(r#"{"o":{"y":1}}"#), 1).unwrap();
                    check_same(&copy(&doc, 5), &doc);
                }
                Err(_) => prop_assert_eq!(doc.save(), before),
            }
        }
    }
}
