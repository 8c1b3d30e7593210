//! Reading collections page by page.

use super::super::{DocWrite, Page, Store};
use super::Check;
use super::writes::{Reading, delete, put};
use crate::limits;

pub(super) const CHECKS: &[Check] = &[
    pages_follow_each_other,
    a_full_last_page_has_no_next,
    a_page_starts_after_an_id_that_is_gone,
    collections_with_one_prefix_stay_apart,
    ids_are_ordered_by_their_bytes,
    a_limit_of_nothing_gives_the_count,
    an_unknown_collection_is_an_empty_page,
    a_page_of_large_documents_ends_early,
];

fn keys(page: &Page) -> Vec<&str> {
    page.documents.iter().map(|stored| stored.doc.key()).collect()
}

fn pages_follow_each_other(store: &dyn Store) {
    let writes: Vec<DocWrite> = (1..=25).map(|seq| put(&format!("a/{seq:02}"), seq)).collect();
    store.write(&writes);
    store.write(&[delete("a/10", 26), delete("a/25", 27)]);
    let mut seen = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = store.page("a", after.as_deref(), 10);
        assert_eq!(page.count, 23, "the count is that of the collection on every page");
        seen.extend(keys(&page).into_iter().map(str::to_owned));
        match page.next {
            Some(next) => {
                assert_eq!(page.documents.len(), 10);
                assert_eq!(Some(&next), seen.last());
                after = Some(next);
            }
            None => break,
        }
    }
    let expected: Vec<String> =
        (1..=24).filter(|number| *number != 10).map(|number| format!("{number:02}")).collect();
    assert_eq!(seen, expected);
}

fn a_full_last_page_has_no_next(store: &dyn Store) {
    store.write(&[put("a/1", 1), put("a/2", 2), put("a/3", 3), delete("a/3", 4), put("b/1", 5)]);
    let page = store.page("a", None, 2);
    assert_eq!(keys(&page), ["1", "2"]);
    assert_eq!(page.next, None, "what follows is deleted or of another collection");
    assert_eq!(keys(&store.page("a", None, 1)), ["1"]);
    assert_eq!(store.page("a", None, 1).next.as_deref(), Some("1"));
}

fn a_page_starts_after_an_id_that_is_gone(store: &dyn Store) {
    store.write(&[put("a/1", 1), put("a/2", 2), put("a/3", 3)]);
    store.write(&[delete("a/2", 4)]);
    assert_eq!(keys(&store.page("a", Some("2"), 10)), ["3"]);
    assert_eq!(keys(&store.page("a", Some("1x"), 10)), ["3"]);
    assert!(keys(&store.page("a", Some("3"), 10)).is_empty());
    assert!(keys(&store.page("a", Some("~~~"), 10)).is_empty());
    assert_eq!(keys(&store.page("a", Some(""), 10)), ["1", "3"]);
}

fn collections_with_one_prefix_stay_apart(store: &dyn Store) {
    store.write(&[
        put("a/1", 1),
        put("a-b/2", 2),
        put("a.b/3", 3),
        put("a0/4", 4),
        put("aa/5", 5),
        put("A/6", 6),
    ]);
    for (collection, key) in [("a", "1"), ("a-b", "2"), ("a.b", "3"), ("a0", "4"), ("aa", "5"), ("A", "6")] {
        let page = store.page(collection, None, 10);
        assert_eq!(keys(&page), [key], "collection {collection}");
        assert_eq!((page.count, page.next), (1, None));
    }
    let names: Vec<String> = store.counts().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["A", "a", "a-b", "a.b", "a0", "aa"]);
}

fn ids_are_ordered_by_their_bytes(store: &dyn Store) {
    let ids = ["~", "z", "Z", "_", ".x", "-", "+", ",", ":", "@", "=", "0", "00"];
    let writes: Vec<DocWrite> = (1..).zip(ids).map(|(seq, id)| put(&format!("a/{id}"), seq)).collect();
    store.write(&writes);
    let mut sorted = ids;
    sorted.sort_unstable();
    assert_eq!(keys(&store.page("a", None, 100)), sorted);
    for (index, id) in sorted.iter().enumerate() {
        assert_eq!(keys(&store.page("a", Some(id), 100)), sorted[index + 1..]);
    }
}

fn a_limit_of_nothing_gives_the_count(store: &dyn Store) {
    store.write(&[put("a/1", 1), put("a/2", 2)]);
    let page = store.page("a", None, 0);
    assert_eq!((page.count, page.documents.len(), page.next), (2, 0, None));
    assert_eq!(store.page("a", None, usize::MAX).documents.len(), 2);
}

fn an_unknown_collection_is_an_empty_page(store: &dyn Store) {
    store.write(&[put("a/1", 1)]);
    for collection in ["b", "", "a/", "a/1", "/"] {
        assert_eq!(store.page(collection, None, 10), Page::default(), "{collection:?}");
        assert_eq!(store.page(collection, Some("0"), 10), Page::default(), "{collection:?}");
    }
}

fn a_page_of_large_documents_ends_early(store: &dyn Store) {
    let large = "x".repeat(limits::PAGE_JSON_BYTES_TARGET / 2);
    let huge = "x".repeat(limits::PAGE_JSON_BYTES_TARGET + 1);
    let of = |text, seq, json: &String| DocWrite { json: Some(json.clone()), ..put(text, seq) };
    store.write(&[of("a/1", 1, &large), of("a/2", 2, &large), of("a/3", 3, &huge), put("a/4", 4)]);
    let page = store.page("a", None, 10);
    assert_eq!(keys(&page), ["1", "2"]);
    assert_eq!((page.count, page.next.as_deref()), (4, Some("2")));
    let page = store.page("a", Some("2"), 10);
    assert_eq!(keys(&page), ["3"], "a page always makes progress");
    assert_eq!(keys(&store.page("a", page.next.as_deref(), 10)), ["4"]);
}
