//! What blobs may take, from the environment.

use super::Reader;
use crate::config::BlobLimits;

/// Less than one small blob in a second is a mistake in the unit.
const BYTES_PER_SECOND_MIN: u64 = 16 * 1024;

impl Reader<'_> {
    pub(super) fn blob_limits(&mut self) -> BlobLimits {
        BlobLimits {
            bytes_max: self.bytes("PEAT_BLOB_MAX_BYTES", 0, "PEAT_BLOB_MAX_BYTES=20GB"),
            bytes_per_second_max: self.bytes(
                "PEAT_BLOB_BANDWIDTH",
                BYTES_PER_SECOND_MIN,
                "PEAT_BLOB_BANDWIDTH=5MB, in bytes a second",
            ),
        }
    }

    fn bytes(&mut self, variable: &'static str, min: u64, example: &'static str) -> Option<u64> {
        let text = self.text(variable)?;
        match bytes(&text) {
            Some(bytes) if bytes >= min => return Some(bytes),
            Some(bytes) => self.wrong(variable, format!("{bytes} bytes are less than {min}"), example),
            None => {
                let problem =
                    format!("{text:?} is not a number of bytes, with KB, MB, GB, TB, KiB, MiB, GiB or TiB");
                self.wrong(variable, problem, example);
            }
        }
        None
    }
}

/// `20GB`, `512MiB`, `1000000`.
fn bytes(text: &str) -> Option<u64> {
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1_000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "t" | "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_units_or_none() {
        for (text, expected) in [
            ("0", Some(0)),
            ("1000", Some(1_000)),
            ("5MB", Some(5_000_000)),
            ("5 mib", Some(5 << 20)),
            ("20GB", Some(20_000_000_000)),
            ("16000000TiB", Some(16_000_000 << 40)),
            ("99999999TiB", None),
            ("", None),
            ("MB", None),
            ("-5", None),
            ("1.5GB", None),
            ("5 parsecs", None),
        ] {
            assert_eq!(bytes(text), expected, "{text:?}");
        }
    }
}
