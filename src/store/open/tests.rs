use peat_mesh_core::store::Store;

use super::super::RedbStore;
use super::super::redb::tests::{killed, many};
use super::*;

/// A folder with a store of 1,000 documents that was closed.
fn closed_store() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let store = RedbStore::open(folder.path()).unwrap();
    store.commit(&many(1..501)).unwrap();
    store.commit(&many(501..1_001)).unwrap();
    folder
}

/// The same, but as a killed process leaves it.
fn crashed_store() -> tempfile::TempDir {
    let folder = closed_store();
    let store = RedbStore::open(folder.path()).unwrap();
    store.commit(&many(1_001..1_101)).unwrap();
    killed(&store)
}

fn file(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join(FILE)
}

/// Opens a folder and expects damage that leaves the file alone.
fn refused(folder: &tempfile::TempDir) -> String {
    let before = fs::read(file(folder)).unwrap();
    let error = RedbStore::open(folder.path()).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
    assert!(fs::read(file(folder)).unwrap() == before, "the file was changed");
    let words = error.to_string();
    assert!(words.contains("documents.redb is damaged"), "{words}");
    assert!(words.contains("left as it was; move it away"), "{words}");
    words
}

#[test]
fn an_empty_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    File::create(file(&folder)).unwrap();
    assert!(refused(&folder).contains("0 bytes"));
}

#[test]
fn a_file_of_garbage_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for len in [1, 8, 9, 320, 4096, 100_000] {
        fs::write(file(&folder), vec![0x5a; len]).unwrap();
        refused(&folder);
        fs::write(file(&folder), vec![0; len]).unwrap();
        refused(&folder);
    }
}

#[test]
fn a_file_that_starts_well_and_goes_on_as_garbage_is_refused() {
    let folder = closed_store();
    let mut bytes = fs::read(file(&folder)).unwrap();
    bytes[4096..].fill(0x5a);
    fs::write(file(&folder), &bytes).unwrap();
    refused(&folder);
    bytes[9..].fill(0xff);
    fs::write(file(&folder), &bytes).unwrap();
    refused(&folder);
}

#[test]
fn a_truncated_file_is_refused() {
    for folder in [closed_store(), crashed_store()] {
        let whole = fs::read(file(&folder)).unwrap();
        for len in [1, 9, 64, 320, 4096, whole.len() / 4, whole.len() / 2, whole.len() - 1] {
            fs::write(file(&folder), &whole[..len]).unwrap();
            refused(&folder);
        }
        fs::write(file(&folder), &whole).unwrap();
        RedbStore::open(folder.path()).unwrap();
    }
}

#[test]
fn a_flipped_byte_of_the_header_is_refused_or_does_no_harm() {
    for (folder, last_seqs) in [(closed_store(), 1_000..=1_000), (crashed_store(), 1_000..=1_100)] {
        let whole = fs::read(file(&folder)).unwrap();
        let mut refusals = 0;
        for (index, flip) in (0..320).flat_map(|index| [(index, 0xff), (index, 1)]) {
            let mut bytes = whole.clone();
            bytes[index] ^= flip;
            fs::write(file(&folder), &bytes).unwrap();
            match RedbStore::open(folder.path()) {
                Ok(store) => {
                    let last_seq = store.last_seq().unwrap();
                    assert!(last_seqs.contains(&last_seq), "byte {index}: {last_seq}");
                    assert_eq!(store.list("things", None, 0).unwrap().count, last_seq);
                    let page = store.list("things", None, 10_000).unwrap();
                    assert_eq!(page.documents.len() as u64, last_seq, "byte {index}");
                }
                Err(OpenError::Damaged { .. }) => {
                    refusals += 1;
                    assert!(fs::read(file(&folder)).unwrap() == bytes, "byte {index}: changed");
                }
                Err(other) => panic!("byte {index}: {other}"),
            }
        }
        assert!(refusals > 20, "{refusals}");
    }
}

#[test]
fn a_second_open_is_refused_while_the_first_lives() {
    let folder = tempfile::tempdir().unwrap();
    let store = RedbStore::open(folder.path()).unwrap();
    store.commit(&many(1..10)).unwrap();
    let error = RedbStore::open(folder.path()).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
    assert!(error.to_string().contains("documents.redb is in use"), "{error}");
    store.commit(&many(10..20)).unwrap();
    drop(store);
    assert_eq!(RedbStore::open(folder.path()).unwrap().last_seq().unwrap(), 19);
}

#[test]
fn a_lock_of_another_program_is_respected() {
    let folder = closed_store();
    let lock = File::open(file(&folder)).unwrap();
    lock.lock().unwrap();
    let error = RedbStore::open(folder.path()).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
    drop(lock);
    RedbStore::open(folder.path()).unwrap();
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let folder = closed_store();
    let database = Database::open(file(&folder)).unwrap();
    let transaction = database.begin_write().unwrap();
    migrations::set_format(&transaction, FORMAT + 1).unwrap();
    transaction.commit().unwrap();
    drop(database);

    let before = fs::read(file(&folder)).unwrap();
    let error = RedbStore::open(folder.path()).unwrap_err();
    assert!(matches!(error, OpenError::NewerFormat { found: 3, known: 2, .. }), "{error:?}");
    assert!(error.to_string().contains("run the newer version"), "{error}");
    assert!(fs::read(file(&folder)).unwrap() == before);
}

#[test]
fn a_redb_file_of_another_program_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(Database::create(file(&folder)).unwrap());
    assert!(refused(&folder).contains("another program"));
}

#[test]
fn a_half_made_new_file_does_not_stand_in_the_way() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(NEW_FILE), vec![1; 1_000_000]).unwrap();
    let store = RedbStore::open(folder.path()).unwrap();
    assert_eq!(store.last_seq().unwrap(), 0);
    assert!(!folder.path().join(NEW_FILE).exists());
}

#[test]
fn nodes_that_start_at_once_in_one_folder_leave_one_winner() {
    for _ in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        let opened: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| RedbStore::open(folder.path()))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let winners = opened.iter().filter(|result| result.is_ok()).count();
        assert_eq!(winners, 1);
        for error in opened.iter().filter_map(|result| result.as_ref().err()) {
            assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
        }
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("taken"), "a file").unwrap();
    let error = RedbStore::open(&folder.path().join("taken/data")).unwrap_err();
    assert!(matches!(error, OpenError::Folder { .. }), "{error:?}");
    assert!(error.to_string().contains("taken/data"), "{error}");
}

#[test]
fn errors_of_the_disk_say_what_to_do() {
    let path = Path::new("/data/documents.redb");
    let of = |kind: ErrorKind| OpenError::io(path, kind.into()).to_string();
    assert!(of(ErrorKind::StorageFull).contains("no space for /data/documents.redb"));
    assert!(of(ErrorKind::PermissionDenied).contains("make it writable"));
    assert!(of(ErrorKind::ReadOnlyFilesystem).contains("make it writable"));
    assert!(of(ErrorKind::Other).contains("/data/documents.redb could not be opened"));
}

#[test]
fn migrations_that_were_done_are_skipped() {
    let folder = closed_store();
    let database = Database::open(file(&folder)).unwrap();
    migrations::run(&database).unwrap();
    assert_eq!(migrations::format(&database).unwrap(), Some(FORMAT));
    migrations::check_tables(&database).unwrap();
}
