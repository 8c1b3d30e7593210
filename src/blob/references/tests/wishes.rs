//! Marks and pins when a fetch ends early, and the last look before blobs go.

use std::sync::Mutex;

use bytes::Bytes;
use peat_mesh_core::Heads;
use peat_mesh_core::store::{DocWrite, Page, Record};

use super::*;

#[test]
fn a_pin_stays_when_the_policy_is_another_one_until_no_document_names_the_blob() {
    let mut rig = Rig::with("p=pinned");
    rig.put("p/1", &[1]);
    rig.open().follow_all();
    rig.policies = "";
    let index = rig.open();
    let is_pinned = || index.kept(hash(1), true).unwrap().pinned;
    assert_eq!(index.is_wanted(hash(1)).unwrap(), Some(false));
    index.settle(&[], &[hash(1)]).unwrap();
    assert_eq!(index.is_wanted(hash(1)).unwrap(), None);
    assert!(is_pinned() && !index.is_only_pinned(hash(1)).unwrap());
    rig.delete("p/1");
    index.follow_all();
    assert!(is_pinned() && index.is_only_pinned(hash(1)).unwrap());
    index.settle(&[], &[hash(1)]).unwrap();
    assert!(!is_pinned());
}

#[test]
fn a_fetch_that_is_ended_by_hand_leaves_the_pin() {
    let mut rig = Rig::with("p=pinned");
    let index = rig.open();
    rig.put("p/1", &[1]);
    index.follow_all();
    assert!(index.unwant(hash(1)).unwrap());
    assert!(!index.unwant(hash(1)).unwrap());
    assert_eq!(index.is_wanted(hash(1)).unwrap(), None);
    assert!(index.kept(hash(1), true).unwrap().pinned);
}

#[test]
fn what_is_wanted_is_read_in_pages() {
    let mut rig = Rig::with("*=eager");
    let index = rig.open();
    rig.put("e/1", &[3, 1, 2, 255]);
    index.follow_all();
    let page = |after: Option<u8>, count| index.wanted_after(after.map(hash), count).unwrap();
    assert_eq!(page(None, 3), [1, 2, 3].map(hash));
    assert_eq!(page(Some(1), 1), [hash(2)]);
    assert_eq!(page(Some(3), 3), [hash(255)]);
    assert_eq!(page(Some(255), 3), []);
}

#[test]
fn a_time_that_cannot_be_read_begins_anew() {
    let rig = Rig::new();
    let index = rig.open();
    let break_row = |transaction: &WriteTransaction| {
        let mut idle = transaction.open_table(tables::IDLE)?;
        idle.insert(&hash(1).0, [1, 2, 3].as_slice())?;
        Ok(())
    };
    index.write(break_row).unwrap();
    let row = || {
        let read = |transaction: &ReadTransaction| {
            let row = transaction.open_table(tables::IDLE)?.get(&hash(1).0)?;
            Ok(row.and_then(|row| Worn::unpack(row.value())))
        };
        index.read(read).unwrap()
    };
    assert_eq!(row(), None);
    assert_eq!(index.look(&all(&[1])).unwrap(), []);
    assert!(row().is_some());
}

/// A store in which there is one more document whenever somebody asks where its changes end.
#[derive(Debug)]
struct Busy {
    store: MemoryStore,
    replica: Mutex<(Replica, u64)>,
}

impl Store for Busy {
    fn last_seq(&self) -> Result<u64, StoreError> {
        let mut replica = self.replica.lock().unwrap();
        replica.1 += 1;
        let work = Work::Put(naming(&[]).as_object().unwrap().clone());
        let doc = format!("busy/{}", replica.1).parse::<DocId>().unwrap();
        let job = Job { doc, work, source: Source::Client };
        assert!(replica.0.run(&self.store, vec![job], 0)[0].result.is_ok());
        self.store.last_seq()
    }

    fn record(&self, doc: &DocId) -> Result<Option<Record>, StoreError> {
        self.store.record(doc)
    }

    fn document(&self, doc: &DocId) -> Result<Option<StoredDocument>, StoreError> {
        self.store.document(doc)
    }

    fn visit_documents(
        &self,
        docs: &[&DocId],
        visit: &mut dyn FnMut(usize, Option<StoredDocument>),
    ) -> Result<(), StoreError> {
        self.store.visit_documents(docs, visit)
    }

    fn chunks(&self, doc: &DocId) -> Result<Vec<Bytes>, StoreError> {
        self.store.chunks(doc)
    }

    fn list(&self, collection: &str, after: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        self.store.list(collection, after, limit)
    }

    fn collections(&self) -> Result<Vec<(String, u64)>, StoreError> {
        self.store.collections()
    }

    fn changes_since(&self, seq: u64, limit: usize) -> Result<Vec<Change>, StoreError> {
        self.store.changes_since(seq, limit)
    }

    fn for_each_heads(&self, visit: &mut dyn FnMut(DocId, Heads)) -> Result<(), StoreError> {
        self.store.for_each_heads(visit)
    }

    fn commit(&self, writes: &[DocWrite]) -> Result<(), StoreError> {
        self.store.commit(writes)
    }

    fn mark(&self) -> Result<u64, StoreError> {
        self.store.mark()
    }

    fn set_mark(&self, mark: u64) -> Result<(), StoreError> {
        self.store.set_mark(mark)
    }
}

#[test]
fn blobs_go_although_documents_are_written_without_a_pause() {
    let rig = Rig::new();
    let replica = Replica::new(&rig.store, [2; 16]).unwrap();
    let store = Busy { store: rig.store.clone(), replica: Mutex::new((replica, 0)) };
    let settings = Attachments { policies: Policies::parse("").unwrap(), grace_secs: 1_000_000 };
    let index = References::open(rig.folder.path(), Arc::new(store), settings).unwrap();
    index.look(&all(&[1])).unwrap();
    assert_eq!(index.still_due(&[hash(1)]).unwrap().0, [hash(1)]);
}
