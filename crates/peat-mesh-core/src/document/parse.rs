//! Request bodies: JSON text in, an object out, or an error that names line and column.
//!
//! Of two equal keys in one object the last one counts.

use serde_json::{Map, Value};

use crate::limits;

/// Why a request body was refused. Lines and columns start at 1; columns count bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// The text is not JSON.
    #[error("not valid JSON: {reason} (line {line}, column {column})")]
    NotJson {
        /// What is wrong.
        reason: String,
        /// Where.
        line: usize,
        /// Where.
        column: usize,
    },
    /// Valid JSON, but no object.
    #[error("a document must be a JSON object, not {found}")]
    NotAnObject {
        /// What it is: "a list", "a string" …
        found: &'static str,
    },
    /// An integer that a 64-bit integer cannot hold; it would have to be rounded.
    #[error(
        "the integer {number} (line {line}, column {column}) does not fit 64 bits; \
         write it as a string, or with a fraction if it may be rounded"
    )]
    Integer {
        /// The number as written, cut when it is long.
        number: String,
        /// Where.
        line: usize,
        /// Where.
        column: usize,
    },
    /// Objects and lists lie too deep in each other.
    #[error("nested deeper than {levels_max} levels (line {line}, column {column})")]
    TooDeep {
        /// The limit.
        levels_max: usize,
        /// Where.
        line: usize,
        /// Where.
        column: usize,
    },
}

/// Most characters of a refused number that its error repeats.
const NUMBER_SHOWN_CHARS_MAX: usize = 40;

/// Reads a request body: a JSON object.
///
/// # Errors
/// When it is not JSON, not an object, nested too deep, or has an integer that does not fit 64 bits.
/// Errors name line and column.
pub fn parse_object(text: &[u8]) -> Result<Map<String, Value>, ParseError> {
    let scan = scan(text);
    if let Some(error @ ParseError::TooDeep { .. }) = scan {
        // Checked before anything recurses.
        return Err(error);
    }
    let value = serde_json::from_slice(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let reason = error.to_string();
        let place = format!(" at line {line} column {column}");
        ParseError::NotJson {
            reason: reason.strip_suffix(&place).unwrap_or(&reason).to_owned(),
            line,
            column,
        }
    })?;
    let found = match value {
        Value::Object(object) => return scan.map_or(Ok(object), Err),
        Value::Array(_) => "a list",
        Value::String(_) => "a string",
        Value::Number(_) => "a number",
        Value::Bool(_) => "true or false",
        Value::Null => "null",
    };
    Err(ParseError::NotAnObject { found })
}

/// Finds what the JSON reader would let pass or could not stand: integers beyond 64 bits (it makes them
/// floats) and deep nesting. Depth goes first. Says nothing useful about text that is not JSON.
fn scan(text: &[u8]) -> Option<ParseError> {
    let mut levels = 0_usize;
    let mut integer = None;
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => at = string_end(text, at),
            b'{' | b'[' => {
                levels += 1;
                if levels > limits::DOCUMENT_DEPTH_LEVELS_MAX {
                    let (line, column) = place(text, at);
                    return Some(ParseError::TooDeep {
                        levels_max: limits::DOCUMENT_DEPTH_LEVELS_MAX,
                        line,
                        column,
                    });
                }
                at += 1;
            }
            b'}' | b']' => {
                levels = levels.saturating_sub(1);
                at += 1;
            }
            b'-' | b'0'..=b'9' => {
                let length = text[at..]
                    .iter()
                    .take_while(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'))
                    .count();
                if integer.is_none() && is_unfit(&text[at..at + length]) {
                    integer = Some((at, length));
                }
                at += length;
            }
            _ => at += 1,
        }
    }
    integer.map(|(at, length)| {
        let (line, column) = place(text, at);
        let digits = String::from_utf8_lossy(&text[at..at + length]);
        let number = if digits.len() > NUMBER_SHOWN_CHARS_MAX {
            format!("{}…", &digits[..NUMBER_SHOWN_CHARS_MAX])
        } else {
            digits.into_owned()
        };
        ParseError::Integer { number, line, column }
    })
}

/// Whether a number token is an integer that fits neither `i64` nor `u64`.
fn is_unfit(token: &[u8]) -> bool {
    let digits = token.strip_prefix(b"-").unwrap_or(token);
    // 18 digits always fit; most numbers are done here.
    if digits.len() <= 18 || !digits.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let Ok(text) = std::str::from_utf8(token) else {
        return false;
    };
    text.parse::<i64>().is_err() && text.parse::<u64>().is_err()
}

/// The offset after the string that starts at `start`, or the end of the text.
fn string_end(text: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

fn place(text: &[u8], at: usize) -> (usize, usize) {
    let before = &text[..at];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn error(text: &str) -> ParseError {
        parse_object(text.as_bytes()).unwrap_err()
    }

    #[test]
    fn integers_up_to_64_bits_are_taken_as_they_are() {
        let text = br#"{"a":9223372036854775807,"b":-9223372036854775808,"c":18446744073709551615}"#;
        let object = parse_object(text).unwrap();
        assert_eq!(object["a"].as_i64(), Some(i64::MAX));
        assert_eq!(object["b"].as_i64(), Some(i64::MIN));
        assert_eq!(object["c"].as_u64(), Some(u64::MAX));
    }

    #[test]
    fn an_integer_beyond_64_bits_is_refused_with_its_place() {
        let text = "{\n  \"a\": \"99999999999999999999\",\n  \"b\": [1, 18446744073709551616]\n}";
        assert_eq!(
            error(text),
            ParseError::Integer { number: "18446744073709551616".into(), line: 3, column: 12 }
        );
        assert!(matches!(error(r#"{"a":-9223372036854775809}"#), ParseError::Integer { .. }));
        let long = format!(r#"{{"a":{}}}"#, "9".repeat(5000));
        assert!(error(&long).to_string().len() < 250);
    }

    #[test]
    fn a_number_with_a_fraction_is_a_float_and_must_be_finite() {
        let object = parse_object(br#"{"a":1.0,"b":1e300,"c":18446744073709551616.0}"#).unwrap();
        assert!(object["a"].is_f64() && object["b"].is_f64() && object["c"].is_f64());
        let error = error("{\"a\":\n 1e400}");
        assert!(matches!(error, ParseError::NotJson { line: 2, .. }), "{error}");
    }

    #[test]
    fn what_is_not_an_object_is_told_apart_from_what_is_not_json() {
        assert_eq!(error("[1]"), ParseError::NotAnObject { found: "a list" });
        assert_eq!(error("null"), ParseError::NotAnObject { found: "null" });
        for text in ["", "{", "{\"a\":}", "{} x", "{\"a\":01}", "{'a':1}", "{\"\\", "{\"a\":\"\\ud800\"}"] {
            assert!(matches!(error(text), ParseError::NotJson { .. }), "{text}");
        }
        let error = error("{\n \"a\": nope}").to_string();
        assert_eq!(error, "not valid JSON: expected ident (line 2, column 8)");
    }

    #[test]
    fn nesting_ends_at_the_limit() {
        let nested = |levels: usize| {
            let lists = levels - 1;
            format!("{{\"a\":{}{}}}", "[".repeat(lists), "]".repeat(lists))
        };
        assert!(parse_object(nested(limits::DOCUMENT_DEPTH_LEVELS_MAX).as_bytes()).is_ok());
        let deep = error(&nested(limits::DOCUMENT_DEPTH_LEVELS_MAX + 1));
        assert!(matches!(deep, ParseError::TooDeep { line: 1, .. }), "{deep}");
        assert!(matches!(error(&nested(1_000_000)), ParseError::TooDeep { .. }));
    }

    #[test]
    fn of_two_equal_keys_the_last_one_counts() {
        assert_eq!(parse_object(br#"{"a":1,"a":2}"#).unwrap()["a"], 2);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_object(&text);
        }

        #[test]
        fn any_json_like_text_is_read_or_refused(text in r#"[\[\]{}",:0-9eE.+\- \n\\a]{0,60}"#) {
            let _ = parse_object(text.as_bytes());
        }
    }
}
