//! A store whose file was damaged shows everything that was committed, or is refused.

#![cfg(feature = "store")]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use peat_mesh::store::RedbStore;
use peat_mesh_core::store::Store;
use peat_mesh_sim::fuzz;

fn open(folder: &Path) -> Result<Box<dyn Store>, String> {
    match RedbStore::open(folder) {
        Ok(store) => Ok(Box::new(store)),
        Err(problem) => Err(problem.to_string()),
    }
}

#[test]
fn a_file_with_one_turned_bit_shows_all_that_was_committed_or_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for image in 0..6u8 {
        for file in 0..2u8 {
            // Places all over the file, by steps that share no factor with the size of a page.
            for number in 0..40u32 {
                let at = (number * 20_011 + 7).to_le_bytes();
                fuzz::recovery(&[&[image, file, 5], &at[..], &[number as u8]].concat(), folder.path(), &open);
            }
        }
    }
}

#[test]
fn the_kept_inputs_of_the_fuzzer_hold() {
    let folder = tempfile::tempdir().unwrap();
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/recovery");
    let mut count = 0;
    for entry in fs::read_dir(corpus).unwrap() {
        fuzz::recovery(&fs::read(entry.unwrap().path()).unwrap(), folder.path(), &open);
        count += 1;
    }
    assert!(count > 0);
}
