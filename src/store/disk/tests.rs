//! Histories at random: commits, failures of either file, kills and lost power, held against a model.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use peat_mesh_core::store::{ChunkWrite, DocWrite, Store};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;

use super::super::redb::tests::{drop_database, killed, put};
use super::super::{RedbStore, log, open};
use super::*;

const SEEDS_COUNT: u64 = 120;

/// Which write took which sequence number: its `changed_ms`, which no two writes share.
type Writes = BTreeMap<u64, u64>;

struct Story {
    folder: TempDir,
    store: Option<RedbStore>,
    /// Processes that are gone; they must not close their files in order.
    gone: Vec<(RedbStore, TempDir)>,
    acknowledged: Writes,
    /// Of commits that failed, those that a reader saw all the same.
    shown: Writes,
    failed: Vec<(u64, u64)>,
    writes_count: u64,
    last_seq: u64,
    told: Vec<String>,
}

impl Story {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        drop(RedbStore::open(folder.path()).unwrap());
        let disk = |name: &str| Disk::new(fs::read(folder.path().join(name)).unwrap());
        let disks = Disks { database: disk(open::FILE), log: disk(log::FILE), dies_at_sync: false };
        DISKS.set(Some(disks));
        let store = Some(RedbStore::open(folder.path()).unwrap());
        Self {
            folder,
            store,
            gone: Vec::new(),
            acknowledged: Writes::new(),
            shown: Writes::new(),
            failed: Vec::new(),
            writes_count: 0,
            last_seq: 0,
            told: Vec::new(),
        }
    }

    fn store(&self) -> &RedbStore {
        self.store.as_ref().unwrap()
    }

    fn step(&mut self, chance: Chance<'_>) {
        match chance() % 100 {
            0..55 => self.commit([1, 1, 1, 1, 5, 60, 300][(chance() % 7) as usize]),
            55..63 => {
                self.told.push("settle".to_owned());
                if self.store().settle().is_err() {
                    drop_database(self.store());
                }
            }
            63..78 => self.fault(chance() % 5),
            78..84 => {
                self.told.push("heal".to_owned());
                heal();
            }
            84..88 => {
                self.told.push("let go".to_owned());
                drop_database(self.store());
            }
            88..91 => self.kill(),
            91..94 => {
                self.told.push("killed in the middle of:".to_owned());
                with(|disks| disks.dies_at_sync = true);
                self.commit(1);
                self.kill();
            }
            _ => {
                self.told.push("lose power".to_owned());
                let copy = lose_power(chance);
                self.start_again(copy);
            }
        }
    }

    fn commit(&mut self, count: u64) {
        let writes: Vec<DocWrite> = (self.last_seq + 1..=self.last_seq + count)
            .map(|seq| {
                self.writes_count += 1;
                let number = self.writes_count;
                let mut write = put(&format!("things/{:04}", number % 37), seq);
                write.changed_ms = number;
                if number.is_multiple_of(3) {
                    write.chunk = ChunkWrite::Append(vec![3; 100].into());
                }
                if number.is_multiple_of(7) {
                    write.json = None;
                }
                write
            })
            .collect();
        let numbers = writes.iter().map(|write| (write.seq, write.changed_ms));
        match self.store().commit(&writes) {
            Ok(()) => {
                self.told.push(format!("commit {count}"));
                self.acknowledged.extend(numbers);
                self.last_seq += count;
            }
            Err(problem) => {
                self.told.push(format!("commit {count} failed ({problem})"));
                self.failed.extend(numbers);
                drop_database(self.store());
            }
        }
    }

    fn kill(&mut self) {
        self.told.push("kill".to_owned());
        heal();
        let copy = killed(self.store());
        self.start_again(copy);
    }

    fn fault(&mut self, kind: u64) {
        self.told.push(format!("fault {kind}"));
        with(|disks| match kind {
            0 => disks.database.is_full = true,
            1 => disks.database.fails_sync = true,
            2 => disks.log.is_full = true,
            3 => disks.log.fails_sync = true,
            _ => (disks.database.fails_sync, disks.log.fails_sync) = (true, true),
        });
    }

    fn start_again(&mut self, folder: TempDir) {
        let store = RedbStore::open(folder.path());
        let store = store.unwrap_or_else(|problem| panic!("{problem}: {:?}", self.told));
        let gone = self.store.replace(store).unwrap();
        self.gone.push((gone, std::mem::replace(&mut self.folder, folder)));
    }

    /// All that was acknowledged is there; of the rest only what was written, and what was seen stays.
    fn check(&mut self) {
        let Ok(last_seq) = self.store().last_seq() else {
            drop_database(self.store());
            return;
        };
        let acknowledged = self.acknowledged.keys().last().copied().unwrap_or(0);
        assert!(
            last_seq >= acknowledged,
            "{acknowledged} was acknowledged, {last_seq} is there: {:?}",
            self.told
        );
        let shown = self.shown.keys().last().copied().unwrap_or(0);
        assert!(last_seq >= shown, "{shown} was seen, {last_seq} is there: {:?}", self.told);
        let Ok(changes) = self.store().changes_since(0, usize::MAX) else { return };
        for change in changes {
            let Ok(record) = self.store().record(&change.doc) else { return };
            let (seq, number) = (change.seq, record.unwrap().changed_ms);
            let known = self.acknowledged.get(&seq).or_else(|| self.shown.get(&seq)).copied();
            assert!(
                known.unwrap_or(number) == number,
                "{seq} was {known:?} and is {number}: {:?}",
                self.told
            );
            if known.is_none() {
                assert!(self.failed.contains(&(seq, number)), "{seq} was never {number}: {:?}", self.told);
                self.shown.insert(seq, number);
            }
        }
        self.last_seq = last_seq;
    }
}

fn heal() {
    with(|disks| {
        disks.dies_at_sync = false;
        for disk in [&mut disks.database, &mut disks.log] {
            (disk.is_full, disk.fails_sync) = (false, false);
        }
    });
}

fn lose_power(chance: Chance<'_>) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let block = if chance().is_multiple_of(2) { 512 } else { 4096 };
    let write = |name: &str, bytes: &[u8]| fs::write(Path::join(folder.path(), name), bytes).unwrap();
    with(|disks| {
        write(open::FILE, disks.database.lose_power(chance, 4096));
        write(log::FILE, disks.log.lose_power(chance, block));
    });
    folder
}

#[test]
fn nothing_acknowledged_is_lost_whatever_fails_and_whenever_the_power_goes() {
    let first = std::env::var("SEED").ok().map(|seed| seed.parse().unwrap());
    let seeds = first.map_or(1..=SEEDS_COUNT, |seed| seed..=seed);
    for seed in seeds {
        println!("SEED={seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let mut chance = move || random.next_u64();
        let mut story = Story::new();
        for _ in 0..10 + chance() % 60 {
            story.step(&mut chance);
            story.check();
        }
        // Without a disk under them, those that are gone may close.
        DISKS.set(None);
    }
}
