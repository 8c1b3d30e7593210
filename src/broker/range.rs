//! `Range`: which bytes of a blob are wanted.

use std::ops::Range;

use axum::http::{HeaderMap, header};

use super::error::ApiError;

/// The bytes that are asked for; `None` for all of them. Several ranges at once, and what is no range of
/// bytes, count as not asked for, as HTTP allows.
pub(super) fn wanted(headers: &HeaderMap, etag: &str, size: u64) -> Result<Option<Range<u64>>, ApiError> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    // The content of a hash never changes, so another tag is of something else.
    if text(header::IF_RANGE).is_some_and(|known| known != etag) {
        return Ok(None);
    }
    let Some(range) = text(header::RANGE).and_then(parse) else {
        return Ok(None);
    };
    let range = match range {
        (Some(first), Some(last)) => first..size.min(last.saturating_add(1)),
        (Some(first), None) => first..size,
        (None, Some(count)) => size.saturating_sub(count)..size,
        (None, None) => return Ok(None),
    };
    if range.is_empty() {
        return Err(ApiError::NoSuchRange { size });
    }
    Ok(Some(range))
}

/// `bytes=first-last`, each of which may be missing.
fn parse(text: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (unit, range) = text.split_once('=')?;
    let (first, last) = range.trim().split_once('-')?;
    let number = |text: &str| {
        let text = text.trim();
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        if text.is_empty() { Some(None) } else { is_number.then(|| Some(text.parse().unwrap_or(u64::MAX))) }
    };
    let (first, last) = (number(first)?, number(last)?);
    let is_right = unit.trim().eq_ignore_ascii_case("bytes")
        && first.is_none_or(|first| last.is_none_or(|last| first <= last));
    is_right.then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(range: &str, size: u64) -> Result<Option<Range<u64>>, ()> {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, range.parse().unwrap());
        wanted(&headers, "\"x\"", size).map_err(|_| ())
    }

    #[test]
    fn ranges_are_cut_to_the_blob() {
        for (range, size, bytes) in [
            ("bytes=0-0", 10, 0..1),
            ("bytes=2-5", 10, 2..6),
            ("Bytes = 2-5 ", 10, 2..6),
            ("bytes=2-", 10, 2..10),
            ("bytes=-3", 10, 7..10),
            ("bytes=-300", 10, 0..10),
            ("bytes=9-99999999999999999999999", 10, 9..10),
        ] {
            assert_eq!(asked(range, size), Ok(Some(bytes)), "{range}");
        }
    }

    #[test]
    fn a_range_outside_the_blob_cannot_be_had() {
        for (range, size) in [("bytes=10-", 10), ("bytes=10-12", 10), ("bytes=-0", 10), ("bytes=0-", 0)] {
            assert_eq!(asked(range, size), Err(()), "{range} of {size}");
        }
    }

    #[test]
    fn what_is_no_single_range_of_bytes_is_passed_over() {
        for range in
            ["bytes=0-1,3-4", "lines=1-2", "bytes=5-2", "bytes=-", "bytes=a-b", "bytes", "bytes=+1-2"]
        {
            assert_eq!(asked(range, 10), Ok(None), "{range}");
        }
    }

    #[test]
    fn a_range_of_another_version_is_passed_over() {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, "bytes=1-2".parse().unwrap());
        headers.insert(header::IF_RANGE, "\"y\"".parse().unwrap());
        assert!(matches!(wanted(&headers, "\"x\"", 10), Ok(None)));
        assert!(matches!(wanted(&headers, "\"y\"", 10), Ok(Some(range)) if range == (1..3)));
    }
}
