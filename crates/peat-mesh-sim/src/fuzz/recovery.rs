//! Recovery of a store from damaged files: everything that was acknowledged, or a refusal; never anything else.

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use peat_mesh_core::DocId;
use peat_mesh_core::replica::{Job, Replica, Source, Work};
use peat_mesh_core::store::{Change, Page, Record, Store, StoreError, StoredDocument};
use serde_json::json;

use super::input::Input;

/// The files of a store in its folder: the database, and the log of what it has not taken over yet.
const FILES: [&str; 2] = ["documents.redb", "documents.wal"];
const LOG: usize = 1;
const PAGE_BYTES: usize = 4096;
/// Most places at which a file is damaged.
const WOUNDS_MAX: usize = 8;

/// Opens the store in a folder, or says why it is refused.
pub type Open<'a> = dyn Fn(&Path) -> Result<Box<dyn Store>, String> + 'a;

/// The files of a store, and what each commit made of it.
struct Image {
    files: [Vec<u8>; 2],
    commits: Vec<Commit>,
    closes: bool,
}

/// What there was after a commit.
struct Commit {
    shown: Shown,
    /// Where it lies in the log; nowhere when it went to the database at once.
    in_log: Range<usize>,
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
        let all = [
            (1, 1, true),
            (40, 40, true),
            (400, 400, true),
            (40, 40, false),
            (12, 1, false),
            (400, 400, false),
        ];
        *images = all.map(|(count, at_once, closes)| image(folder, open, count, at_once, closes)).into();
    }
    let mut input = Input::new(data);
    let image = &images[input.below(images.len())];
    let which = input.below(3);
    let mut damaged = image.files.clone();
    for (file, bytes) in damaged.iter_mut().enumerate() {
        // One of them, or both.
        if which == file || which == 2 {
            damage(bytes, &mut input);
        }
    }
    for (name, bytes) in FILES.iter().zip(&damaged) {
        fs::write(folder.join(name), bytes).expect("a folder for tests can be written");
    }
    match open(folder).and_then(|store| read(&*store).map_err(|problem| problem.to_string())) {
        Ok(shown) => {
            if !image.may_show(&shown, &damaged) {
                let wanted = &image.commits.last().expect("an image shows something").shown;
                panic!("the store shows what was never there: {}", difference(wanted, &shown));
            }
        }
        Err(problem) => {
            assert!(damaged != image.files, "whole files are refused: {problem}");
            assert!(!problem.trim().is_empty(), "a refusal says why");
        }
    }
}

impl Image {
    /// Everything that was committed, but for what a crash may have met: the last commit, when the files that it was
    /// written to are damaged. Damage of the log that leaves no whole record is like several of those.
    fn may_show(&self, shown: &Shown, damaged: &[Vec<u8>; 2]) -> bool {
        let [database, log] = [0, 1].map(|file| damaged[file] != self.files[file]);
        let mut commits = self.commits.iter().rev().peekable();
        while let Some(commit) = commits.next() {
            if commit.shown == *shown {
                return true;
            }
            let is_lost = if commit.in_log.is_empty() {
                database && commits.peek().is_some_and(|before| before.shown == *shown)
            } else {
                let part = damaged[LOG].get(commit.in_log.clone());
                log && part.is_some_and(|part| part != &self.files[LOG][commit.in_log.clone()])
            };
            if self.closes || !is_lost {
                return false;
            }
        }
        false
    }
}

fn damage(bytes: &mut Vec<u8>, input: &mut Input<'_>) {
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
}

/// A store with some documents, some of them changed often and some deleted, by commits of so many of them; closed in
/// order, or as after a crash.
fn image(folder: &Path, open: &Open<'_>, count: usize, at_once: usize, closes: bool) -> Image {
    for name in FILES {
        let _ = fs::remove_file(folder.join(name));
    }
    let files = || FILES.map(|name| fs::read(folder.join(name)).expect("the files are there"));
    let store = open(folder).expect("an empty store can be made");
    let mut replica = Replica::new(&*store, [1; 16]).expect("a new store can be read");
    let empty = read(&*store).expect("an empty store can be read");
    let mut commits = vec![Commit { shown: empty, in_log: 0..0 }];
    let mut end = 0;
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
        for jobs in jobs.collect::<Vec<_>>().chunks(at_once) {
            let outcomes = replica.run(&*store, jobs.to_vec(), 1_000 + round as u64);
            assert!(outcomes.iter().all(|outcome| outcome.result.is_ok()), "a whole store can be written");
            let shown = read(&*store).expect("a whole store can be read");
            // The log is new, so it is zero behind the last record.
            let used = files()[LOG].iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            let in_log = end..used.next_multiple_of(PAGE_BYTES);
            end = in_log.end;
            commits.push(Commit { shown, in_log });
        }
    }
    let crashed = files();
    drop(store);
    Image { files: if closes { files() } else { crashed }, commits, closes }
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
