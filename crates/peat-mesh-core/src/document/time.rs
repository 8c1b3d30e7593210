//! Moments: RFC 3339 text in, milliseconds since 1970 (UTC) out, and back.

const MS_PER_DAY: i64 = 86_400_000;
/// 0000-01-01T00:00:00.000Z.
const FIRST_MS: i64 = -62_167_219_200_000;
/// 9999-12-31T23:59:59.999Z.
const LAST_MS: i64 = 253_402_300_799_999;

/// Reads RFC 3339 with any offset; what is finer than a millisecond is cut off. `None` when the text
/// has another form, names a day or hour that does not exist, or lies outside the years 0000 to 9999
/// once it is turned to UTC. A leap second counts as the first second of the next minute.
pub(super) fn parse(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let fixed = bytes.get(..19)?;
    for (index, separator) in [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')] {
        if fixed[index] != separator {
            return None;
        }
    }
    if !matches!(fixed[10], b'T' | b't') {
        return None;
    }
    let year = digits(&fixed[0..4])?;
    let month = digits(&fixed[5..7])?;
    let day = digits(&fixed[8..10])?;
    let hour = digits(&fixed[11..13])?;
    let minute = digits(&fixed[14..16])?;
    let second = digits(&fixed[17..19])?;
    if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }

    let mut rest = &bytes[19..];
    let mut ms = 0;
    if let [b'.', fraction @ ..] = rest {
        let count = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 {
            return None;
        }
        for place in 0..3 {
            let digit = fraction[..count].get(place).map_or(0, |byte| byte - b'0');
            ms = ms * 10 + i64::from(digit);
        }
        rest = &fraction[count..];
    }
    let offset_minutes = match rest {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let hours = digits(&[*h1, *h2])?;
            let minutes = digits(&[*m1, *m2])?;
            if hours > 23 || minutes > 59 {
                return None;
            }
            let offset = hours * 60 + minutes;
            if *sign == b'+' { offset } else { -offset }
        }
        _ => return None,
    };

    let minutes = hour * 60 + minute - offset_minutes;
    let total = days_before(year, month, day) * MS_PER_DAY + minutes * 60_000 + second * 1000 + ms;
    (FIRST_MS..=LAST_MS).contains(&total).then_some(total)
}

/// Prints with millisecond precision and `Z`. A moment outside the years that RFC 3339 can write (only
/// another program can have stored it) prints as the nearest that it can.
pub fn print(ms: i64) -> String {
    let ms = ms.clamp(FIRST_MS, LAST_MS);
    let (year, month, day) = date_of(ms.div_euclid(MS_PER_DAY));
    let in_day = ms.rem_euclid(MS_PER_DAY);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        in_day / 3_600_000,
        in_day / 60_000 % 60,
        in_day / 1000 % 60,
        in_day % 1000
    )
}

fn digits(bytes: &[u8]) -> Option<i64> {
    bytes
        .iter()
        .try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0')))
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to the first of January of a year from 0 on.
fn days_before_year(year: i64) -> i64 {
    let past = year - 1;
    let leap_days = past.div_euclid(4) - past.div_euclid(100) + past.div_euclid(400);
    // 719_162 days lie between 0001-01-01 and 1970-01-01.
    past * 365 + leap_days - 719_162
}

fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let months: i64 = (1..month).map(|month| days_in_month(year, month)).sum();
    days_before_year(year) + months + day - 1
}

fn date_of(days: i64) -> (i64, i64, i64) {
    // A first guess by the mean length of a year is off by one at most.
    let mut year = 1970 + (days * 400).div_euclid(146_097);
    while days < days_before_year(year) {
        year -= 1;
    }
    while days >= days_before_year(year + 1) {
        year += 1;
    }
    let mut left = days - days_before_year(year);
    let mut month = 1;
    while left >= days_in_month(year, month) {
        left -= days_in_month(year, month);
        month += 1;
    }
    (year, month, left + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_moments_read_and_print() {
        for (text, ms, printed) in [
            ("1970-01-01T00:00:00Z", 0, "1970-01-01T00:00:00.000Z"),
            ("2000-02-29T12:34:56.7Z", 951_827_696_700, "2000-02-29T12:34:56.700Z"),
            ("2026-01-01t01:30:00.123999+01:30", 1_767_225_600_123, "2026-01-01T00:00:00.123Z"),
            ("1969-12-31T23:59:59.999z", -1, "1969-12-31T23:59:59.999Z"),
            ("2016-12-31T23:59:60Z", 1_483_228_800_000, "2017-01-01T00:00:00.000Z"),
            ("0000-01-01T00:00:00Z", FIRST_MS, "0000-01-01T00:00:00.000Z"),
            ("9999-12-31T23:59:59.999Z", LAST_MS, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(parse(text), Some(ms), "{text}");
            assert_eq!(print(ms), printed);
        }
    }

    #[test]
    fn what_is_not_a_moment_is_refused() {
        for text in [
            "",
            "2026",
            "2026-01-01",
            "2026-01-01 00:00:00Z",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00+1:00",
            "2026-01-01T00:00:00+24:00",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2026-01-01T00:00:61Z",
            "2026-01-01T00:00:00Zx",
            "+026-01-01T00:00:00Z",
            "0000-01-01T00:00:00+00:01",
            "9999-12-31T23:59:00-00:01",
            "２０２６-01-01T00:00:00Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_moment_outside_the_writable_years_prints_as_the_nearest() {
        assert_eq!(print(i64::MAX), "9999-12-31T23:59:59.999Z");
        assert_eq!(print(i64::MIN), "0000-01-01T00:00:00.000Z");
    }

    proptest! {
        #[test]
        fn every_writable_moment_reads_as_it_prints(ms in FIRST_MS..=LAST_MS) {
            prop_assert_eq!(parse(&print(ms)), Some(ms));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}") {
            let _ = parse(&text);
        }
    }
}
