//! Recovery of a store from a damaged file: everything that was acknowledged, or a refusal; never anything else.

use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use peat_mesh_core::DocId;
use peat_mesh_core::replica::{Job, Replica, Source, Work};
use peat_mesh_core::store::{Change, Page, Record, Store, StoreError, StoredDocument};
use serde_json::json;

use super::input::Input;

/// The file of a store in its folder.
const FILE: &str = "documents.redb";
const PAGE_BYTES: usize = 4096;
/// Most places at which a file is damaged.
const WOUNDS_MAX: usize = 8;

/// Opens the store in a folder, or says why it is refused.
pub type Open<'a> = dyn Fn(&Path) -> Result<Box<dyn Store>, String> + 'a;

/// A file, and what it may show: the last commit; and the one before it, where a crash may have met the last one.
struct Image {
    bytes: Vec<u8>,
    shows: Vec<Shown>,
}

/// All that can be read of one document.
type Held = (DocId, Option<Record>, Option<StoredDocument>, Vec<bytes::Bytes>);

/// All that can be read of a store.
#[derive(Debug, Clone, PartialEq)]
struct Shown {
    documents: Vec<Held>,
    page: Page,
    collections: Vec<(String, u64)>,
    changes: Vec<Change>,
    last_seq: u64,
}

static IMAGES: Mutex<Vec<Image>> = Mutex::new(Vec::new());

/// Damages the file of a store as the input says, in `folder`, opens it, and reads everything.
///
/// # Panics
/// When the store opens and shows anything but what was committed. An error of a read is a refusal, too.
pub fn recovery(data: &[u8], folder: &Path, open: &Open<'_>) {
    let mut images = IMAGES.lock().unwrap_or_else(PoisonError::into_inner);
    if images.is_empty() {
        *images = [(1, true), (40, true), (400, true), (40, false)]
            .map(|(count, closes)| image(folder, open, count, closes))
            .into();
    }
    let mut input = Input::new(data);
    let image = &images[input.below(images.len())];
    let damaged = damage(&image.bytes, &mut input);
    let is_whole = damaged == image.bytes;
    fs::write(folder.join(FILE), &damaged).expect("a folder for tests can be written");
    match open(folder).and_then(|store| read(&*store).map_err(|problem| problem.to_string())) {
        Ok(shown) => {
            if !image.shows.contains(&shown) {
                let wanted = image.shows.last().expect("an image shows something");
                panic!("the store shows what was never there: {}", difference(wanted, &shown));
            }
        }
        Err(problem) => {
            assert!(!is_whole, "a whole file is refused: {problem}");
            assert!(!problem.trim().is_empty(), "a refusal says why");
        }
    }
}

fn damage(bytes: &[u8], input: &mut Input<'_>) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..WOUNDS_MAX {
        if input.is_empty() || bytes.is_empty() {
            break;
        }
        let kind = input.byte();
        // Half of them lie in the first pages, where the header is.
        let end = if kind & 8 == 0 { bytes.len() } else { bytes.len().min(4 * PAGE_BYTES) };
        let at = input.below(end);
        match kind % 8 {
            0 => bytes.truncate(at),
            1 => bytes.truncate(at / PAGE_BYTES * PAGE_BYTES),
            // A page that was never written, or written elsewhere.
            2 => {
                let page = at / PAGE_BYTES * PAGE_BYTES;
                let end = bytes.len().min(page + PAGE_BYTES);
                bytes[page..end].fill(input.byte());
            }
            3 => {
                let from = input.below(bytes.len()) / PAGE_BYTES * PAGE_BYTES;
                let page: Vec<u8> = bytes[from..].iter().take(PAGE_BYTES).copied().collect();
                let to = (at / PAGE_BYTES * PAGE_BYTES).min(bytes.len() - page.len());
                bytes[to..to + page.len()].copy_from_slice(&page);
            }
            4 => bytes[at] = input.byte(),
            _ => bytes[at] ^= 1 << (input.byte() % 8),
        }
    }
    bytes
}

/// A store with some documents, some of them changed often and some deleted; closed in order, or as after a crash.
fn image(folder: &Path, open: &Open<'_>, count: usize, closes: bool) -> Image {
    let _ = fs::remove_file(folder.join(FILE));
    let store = open(folder).expect("an empty store can be made");
    let mut replica = Replica::new(&*store, [1; 16]).expect("a new store can be read");
    let mut shows = Vec::new();
    for round in 0..4usize {
        let jobs = (0..count).filter(|number| round == 0 || number % (round + 1) == 0).map(|number| {
            let text = format!("text {number} of round {round}, which is not short").repeat(1 + number % 5);
            let object = json!({ "n": number, "round": round, "text": text });
            let work = match object {
                _ if round == 3 && number % 8 == 0 => Work::Delete,
                serde_json::Value::Object(object) => Work::Put(object),
                _ => unreachable!("it is an object"),
            };
            Job { doc: doc(number), work, source: Source::Client }
        });
        let outcomes = replica.run(&*store, jobs.collect(), 1_000 + round as u64);
        assert!(outcomes.iter().all(|outcome| outcome.result.is_ok()), "a whole store can be written");
        shows.push(read(&*store).expect("a whole store can be read"));
    }
    let crashed = fs::read(folder.join(FILE));
    drop(store);
    let bytes = if closes { fs::read(folder.join(FILE)) } else { crashed }.expect("the file is there");
    let first = if closes { shows.len() - 1 } else { shows.len() - 2 };
    Image { bytes, shows: shows.split_off(first) }
}

fn doc(number: usize) -> DocId {
    let collection = if number.is_multiple_of(3) { "a" } else { "b" };
    DocId::new(collection, &format!("document-{number}")).expect("a valid address")
}

fn read(store: &dyn Store) -> Result<Shown, StoreError> {
    let mut documents = Vec::new();
    let mut heads = Vec::new();
    store.for_each_heads(&mut |doc, found| heads.push((doc, found)))?;
    for (doc, heads) in heads {
        let record = store.record(&doc)?;
        assert_eq!(
            record.as_ref().map(|record| &record.heads),
            Some(&heads),
            "one scan shows what a read shows"
        );
        documents.push((doc.clone(), record, store.document(&doc)?, store.chunks(&doc)?));
    }
    let mut page = store.list("a", None, usize::MAX)?;
    page.documents.extend(store.list("b", None, usize::MAX)?.documents);
    let (collections, changes) = (store.collections()?, store.changes_since(0, usize::MAX)?);
    Ok(Shown { documents, page, collections, changes, last_seq: store.last_seq()? })
}

fn difference(wanted: &Shown, found: &Shown) -> String {
    let first = wanted.documents.iter().zip(&found.documents).find(|(wanted, found)| wanted != found);
    match first {
        Some((wanted, found)) => format!("{found:?} instead of {wanted:?}"),
        None => format!(
            "{} documents, {} changes up to {} instead of {}, {} up to {}",
            found.documents.len(),
            found.changes.len(),
            found.last_seq,
            wanted.documents.len(),
            wanted.changes.len(),
            wanted.last_seq
        ),
    }
}
