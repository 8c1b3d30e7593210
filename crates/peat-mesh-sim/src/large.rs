//! Documents of any size for tests.

use serde_json::{Value, json};

/// A document with a text of so many bytes that does not compress to much less than half, another one for each number.
#[must_use]
pub fn large_document(number: usize, bytes: usize) -> Value {
    let mut state = number as u64;
    let mut word = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        format!("{:08x}", state >> 32)
    };
    let text: String = (0..bytes / 8).map(|_| word()).collect();
    json!({ "n": number, "text": text })
}
