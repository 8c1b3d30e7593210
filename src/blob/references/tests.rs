use std::collections::BTreeSet;

use ::redb::ReadableTable;
use peat_mesh_core::DocId;
use peat_mesh_core::attachment::Policies;
use peat_mesh_core::replica::{Job, Replica, Source, Work};
use peat_mesh_core::store::MemoryStore;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

mod wishes;

/// Documents, and an index that is opened again and again.
struct Rig {
    folder: TempDir,
    store: MemoryStore,
    replica: Replica,
    policies: &'static str,
    grace_secs: u64,
}

fn hash(byte: u8) -> BlobHash {
    BlobHash([byte; 32])
}

fn all(bytes: &[u8]) -> BTreeSet<BlobHash> {
    bytes.iter().map(|byte| hash(*byte)).collect()
}

fn naming(bytes: &[u8]) -> Value {
    let attachment = |byte: &u8| json!({"$blob": hash(*byte).to_string()});
    json!({"n": bytes.len(), "all": bytes.iter().map(attachment).collect::<Vec<_>>()})
}

impl Rig {
    fn new() -> Self {
        let store = MemoryStore::default();
        let replica = Replica::new(&store, [1; 16]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        Self { folder, store, replica, policies: "", grace_secs: 1_000_000 }
    }

    fn with(policies: &'static str) -> Self {
        Self { policies, ..Self::new() }
    }

    fn open(&self) -> References {
        self.try_open().unwrap()
    }

    fn try_open(&self) -> Result<References, OpenError> {
        let policies = Policies::parse(self.policies).unwrap();
        let settings = Attachments { policies, grace_secs: self.grace_secs };
        References::open(self.folder.path(), Arc::new(self.store.clone()), settings)
    }

    fn work(&mut self, doc: &str, work: Work) {
        let job = Job { doc: doc.parse::<DocId>().unwrap(), work, source: Source::Client };
        assert!(self.replica.run(&self.store, vec![job], 0)[0].result.is_ok());
    }

    fn put(&mut self, doc: &str, bytes: &[u8]) {
        self.work(doc, Work::Put(naming(bytes).as_object().unwrap().clone()));
    }

    fn delete(&mut self, doc: &str) {
        self.work(doc, Work::Delete);
    }
}

impl References {
    fn follow_all(&self) -> BTreeSet<BlobHash> {
        let mut touched = BTreeSet::new();
        loop {
            let followed = self.follow().unwrap();
            touched.extend(followed.touched);
            if !followed.more {
                return touched;
            }
        }
    }

    fn count(&self, byte: u8) -> u64 {
        self.kept(hash(byte), true).unwrap().references
    }

    fn idle(&self) -> usize {
        self.read(|transaction| Ok(transaction.open_table(tables::IDLE)?.iter()?.count())).unwrap()
    }
}

#[test]
fn it_counts_the_documents_that_name_a_blob() {
    let mut rig = Rig::new();
    let index = rig.open();
    rig.put("a/1", &[1, 2]);
    rig.put("a/2", &[1, 1]);
    rig.put("b/1", &[1]);
    index.follow_all();
    assert_eq!([1, 2, 3].map(|byte| index.count(byte)), [3, 1, 0]);
    rig.put("a/1", &[3]);
    rig.delete("b/1");
    index.follow_all();
    assert_eq!([1, 2, 3].map(|byte| index.count(byte)), [1, 0, 1]);
    rig.put("b/1", &[]);
    rig.delete("a/1");
    rig.delete("a/2");
    index.follow_all();
    assert_eq!([1, 2, 3].map(|byte| index.count(byte)), [0, 0, 0]);
}

#[test]
fn it_goes_on_where_it_was_whenever_it_ends() {
    let mut rig = Rig::new();
    for number in 0..600_usize {
        rig.put(&format!("a/{number}"), if number % 7 == 0 { &[1] } else { &[] });
    }
    // Each run reads a page, and is gone without a word.
    for _ in 0..3 {
        rig.open().follow().unwrap();
    }
    rig.delete("a/0");
    rig.delete("a/1");
    let index = rig.open();
    index.follow_all();
    assert_eq!(index.count(1), 600_u64.div_ceil(7) - 1);
    assert!(index.is_level().unwrap());
}

#[test]
fn documents_that_name_nothing_are_not_written_of() {
    let mut rig = Rig::new();
    let index = rig.open();
    rig.put("a/1", &[1]);
    index.follow_all();
    let written = || index.current().written_seq;
    assert_eq!(written(), 1);
    rig.put("a/2", &[]);
    rig.put("a/3", &[]);
    index.follow_all();
    assert_eq!((written(), index.current().seq), (1, 3));
    rig.put("a/1", &[1]);
    index.follow_all();
    assert_eq!(written(), 1, "it names the same");
}

#[test]
fn the_index_of_another_store_is_made_anew_and_keeps_what_is_pinned() {
    let mut rig = Rig::with("p=pinned");
    rig.put("a/1", &[1]);
    rig.put("p/1", &[2]);
    rig.open().follow_all();
    // Another one, with as many changes.
    let other = Rig::with("p=pinned");
    (rig.store, rig.replica) = (other.store, other.replica);
    rig.put("a/1", &[3]);
    rig.put("a/9", &[4]);
    let index = rig.open();
    index.follow_all();
    assert_eq!([1, 2, 3, 4].map(|byte| index.count(byte)), [0, 0, 1, 1]);
    assert!(index.kept(hash(2), true).unwrap().pinned);
}

#[test]
fn a_store_that_comes_back_after_another_one_makes_the_index_anew_though_it_has_all_that_the_other_had() {
    let mut rig = Rig::new();
    rig.put("a/1", &[1]);
    rig.put("a/2", &[2]);
    rig.open().follow_all();
    let (first, replica) = (rig.store.snapshot(), rig.replica);
    // An empty one in its place, which peers fill up to some document.
    let other = Rig::new();
    (rig.store, rig.replica) = (other.store, other.replica);
    rig.put("a/2", &[2]);
    rig.open().follow_all();
    (rig.store, rig.replica) = (first, replica);
    rig.put("a/2", &[2, 3]);
    let index = rig.open();
    index.follow_all();
    assert_eq!([1, 2, 3].map(|byte| index.count(byte)), [1, 1, 1]);
}

#[test]
fn an_older_copy_of_the_store_makes_the_index_anew() {
    let mut rig = Rig::new();
    rig.put("a/1", &[1]);
    let copy = rig.store.snapshot();
    rig.put("a/2", &[2]);
    rig.open().follow_all();
    rig.store = copy;
    let index = rig.open();
    index.follow_all();
    assert_eq!([1, 2].map(|byte| index.count(byte)), [1, 0]);
}

#[test]
fn what_is_named_by_collections_with_a_policy_is_wanted_until_no_document_of_them_names_it() {
    let mut rig = Rig::with("e=eager,p=pinned");
    let index = rig.open();
    rig.put("e/1", &[1]);
    rig.put("p/1", &[2]);
    rig.put("l/1", &[1, 2, 3]);
    assert_eq!(index.follow_all(), all(&[1, 2]));
    let wanted = |byte| index.is_wanted(hash(byte)).unwrap();
    assert_eq!([1, 2, 3].map(wanted), [Some(true), Some(true), None]);
    rig.delete("e/1");
    rig.delete("p/1");
    assert_eq!(index.follow_all(), all(&[1, 2]));
    assert_eq!([1, 2].map(wanted), [Some(false), Some(false)]);
    // One has come in time, the other has not.
    index.settle(&[hash(2)], &[hash(1)]).unwrap();
    rig.delete("l/1");
    index.follow_all();
    assert_eq!([1, 2].map(wanted), [None, None]);
    assert!(index.kept(hash(2), true).unwrap().pinned, "what has come stays");
    index.forget(hash(2)).unwrap();
    assert!(!index.kept(hash(2), true).unwrap().pinned, "until it is deleted");
}

#[test]
fn a_pin_goes_with_a_fetch_that_is_given_up() {
    let mut rig = Rig::with("p=pinned");
    let index = rig.open();
    rig.put("p/1", &[1]);
    index.follow_all();
    rig.delete("p/1");
    index.follow_all();
    index.settle(&[], &[hash(1)]).unwrap();
    assert!(!index.kept(hash(1), true).unwrap().pinned);
}

#[test]
fn at_a_start_what_is_missing_is_wanted_by_the_policies_of_that_start() {
    let mut rig = Rig::new();
    rig.put("e/1", &[1, 2]);
    rig.put("p/1", &[3, 4]);
    rig.put("l/1", &[5]);
    rig.open().follow_all();
    rig.policies = "e=eager,p=pinned";
    let index = rig.open();
    let wanted = index.review(&all(&[2, 4])).unwrap();
    assert_eq!(wanted, all(&[1, 3, 4]), "the pin of 4 is new");
    assert!(index.kept(hash(4), true).unwrap().pinned && !index.kept(hash(2), true).unwrap().pinned);
    // What a policy of before wanted is told of too, so that it ends.
    drop(index);
    rig.policies = "";
    let index = rig.open();
    assert_eq!(index.review(&BTreeSet::new()).unwrap(), wanted);
    assert_eq!(index.is_wanted(hash(1)).unwrap(), Some(false));
}

#[test]
fn only_what_nothing_refers_to_is_due_after_its_time() {
    let mut rig = Rig::with("p=pinned");
    rig.grace_secs = 1;
    let index = rig.open();
    rig.put("a/1", &[1]);
    rig.put("p/1", &[2]);
    index.follow_all();
    rig.delete("p/1");
    index.follow_all();
    let here = all(&[1, 2, 3]);
    let due = || {
        let start = std::time::Instant::now();
        loop {
            let due = index.look(&here).unwrap();
            if !due.is_empty() || start.elapsed().as_secs() >= 30 {
                return due;
            }
        }
    };
    assert_eq!(index.look(&here).unwrap(), [], "the time has begun");
    assert_eq!(due(), [hash(3)]);
    assert_eq!(index.still_due(&[hash(1), hash(2), hash(3)]).unwrap().0, [hash(3)]);
    // Stored once more: from the beginning.
    index.renew(hash(3)).unwrap();
    assert_eq!(index.still_due(&[hash(3)]).unwrap().0, []);
    assert_eq!(index.look(&here).unwrap(), []);
    // Named at the last moment, by a document that was not read yet.
    assert_eq!(due(), [hash(3)]);
    rig.put("a/3", &[3]);
    assert_eq!(index.still_due(&[hash(3)]).unwrap().0, []);
    assert_eq!(index.look(&here).unwrap(), []);
    assert_eq!(index.idle(), 0);
}

#[test]
fn the_time_goes_on_after_a_restart_and_what_is_gone_is_forgotten() {
    let rig = Rig::new();
    let index = rig.open();
    let left = |index: &References| index.kept(hash(1), true).unwrap().collected_in_ms.unwrap();
    assert_eq!(left(&index), 1_000_000_000);
    assert_eq!(index.kept(hash(1), false).unwrap().collected_in_ms, None);
    index.look(&all(&[1])).unwrap();
    assert_eq!(index.idle(), 1);
    let start = std::time::Instant::now();
    while start.elapsed().as_millis() < 20 {
        std::thread::yield_now();
    }
    let before = left(&index);
    assert!(before <= 999_999_980, "{before}");
    drop(index);
    let index = rig.open();
    assert!(left(&index) <= before, "{} and {before}", left(&index));
    index.look(&all(&[])).unwrap();
    assert_eq!(index.idle(), 0);
}

#[test]
fn without_a_grace_time_nothing_is_ever_due() {
    let mut rig = Rig::new();
    rig.grace_secs = 0;
    let index = rig.open();
    assert_eq!(index.look(&all(&[1])).unwrap(), []);
    assert_eq!((index.idle(), index.kept(hash(1), true).unwrap().collected_in_ms), (0, None));
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_what_to_do_and_left_as_it_was() {
    let rig = Rig::new();
    drop(rig.open());
    let path = rig.folder.path().join(FILE);
    for content in [&b"something else"[..], &[], &[0xff; 5_000]] {
        fs::write(&path, content).unwrap();
        let problem = rig.try_open().unwrap_err().to_string();
        assert!(problem.contains(path.to_str().unwrap()) && problem.contains("Move it away"), "{problem}");
        assert_eq!(fs::read(&path).unwrap(), content);
    }
    fs::remove_file(&path).unwrap();
    // What a crash leaves while it is made is made anew.
    fs::write(rig.folder.path().join(NEW_FILE), b"half").unwrap();
    drop(rig.open());
    assert!(!rig.folder.path().join(NEW_FILE).exists());
}

#[test]
fn a_bit_that_turned_on_disk_is_noticed_or_changes_nothing() {
    let mut rig = Rig::new();
    for number in 0..200 {
        rig.put(&format!("a/{number}"), &[number, 250]);
    }
    rig.open().follow_all();
    let path = rig.folder.path().join(FILE);
    let good = fs::read(&path).unwrap();
    let mut refused = 0;
    for at in (0..good.len()).step_by(good.len() / 40) {
        let mut bad = good.clone();
        bad[at] ^= 4;
        fs::write(&path, &bad).unwrap();
        match rig.try_open() {
            Ok(index) => {
                index.follow_all();
                assert_eq!((index.count(250), index.count(7)), (200, 1), "at {at}");
            }
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 0);
}

#[test]
fn after_it_was_closed_another_one_can_be_opened() {
    let rig = Rig::new();
    let first = rig.open();
    assert!(rig.try_open().is_err());
    first.close();
    assert!(first.kept(hash(1), true).is_err());
    rig.open();
}
