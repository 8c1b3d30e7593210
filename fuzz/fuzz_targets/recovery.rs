#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use peat_mesh::store::RedbStore;
use peat_mesh_core::store::Store;
use tempfile::TempDir;

mod quiet;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a temporary folder can be made"));

fn open(folder: &Path) -> Result<Box<dyn Store>, String> {
    match RedbStore::open(folder) {
        Ok(store) => Ok(Box::new(store)),
        Err(problem) => Err(problem.to_string()),
    }
}

fuzz_target!(init: quiet::expected_panics(), |data: &[u8]| {
    peat_mesh_sim::fuzz::recovery(data, FOLDER.path(), &open);
});
