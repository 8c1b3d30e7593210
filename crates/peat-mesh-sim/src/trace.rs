//! The record of a run: lines in, one number out that is equal for equal runs.

/// Prime and offset of FNV-1a with 64 bits.
const PRIME: u64 = 0x0100_0000_01b3;
const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

/// A running hash, and the lines themselves on demand.
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    hash: u64,
    prints: bool,
}

pub(crate) fn fnv(start: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(start, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME))
}

/// A number for a name.
pub(crate) fn number_of(name: &str) -> u64 {
    fnv(OFFSET, name.as_bytes())
}

impl Trace {
    pub(crate) fn new() -> Self {
        Self { hash: OFFSET, prints: false }
    }

    pub(crate) fn print(&mut self) {
        self.prints = true;
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn note(&mut self, now_ms: u64, line: &str) {
        self.hash = fnv(fnv(self.hash, &now_ms.to_be_bytes()), line.as_bytes());
        if self.prints {
            eprintln!("{now_ms:>8} {line}");
        }
    }

    pub(crate) fn note_bytes(&mut self, bytes: &[u8]) {
        self.hash = fnv(self.hash, bytes);
    }
}
