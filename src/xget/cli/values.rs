//! What stands after an option: numbers within their bounds, texts, files, digests; and which
//! options were typed.

use lexopt::{Parser, ValueExt};
use peer::request::Pin;
use std::path::PathBuf;

pub fn number<T: TryFrom<u64>>(
    parser: &mut Parser,
    what: &str,
    range: std::ops::RangeInclusive<u64>,
) -> Result<T, String> {
    let number = number_within(parser, what, *range.start(), *range.end())?;
    T::try_from(number).map_err(|_| what.into())
}

/// Apart from it, so that it is in the program once.
fn number_within(parser: &mut Parser, what: &str, least: u64, most: u64) -> Result<u64, String> {
    let value = parser.value().map_err(|error| error.to_string())?;
    let text = value.to_string_lossy();
    let in_range = text.parse().ok().filter(|number| (least..=most).contains(number));
    in_range.ok_or_else(|| format!("{what} wants a number from {least} to {most}, not {text:?}"))
}

pub fn text(parser: &mut Parser) -> Result<String, String> {
    let value = parser.value().map_err(|error| error.to_string())?;
    value.string().map_err(|error| error.to_string())
}

pub fn file(parser: &mut Parser) -> Result<PathBuf, String> {
    parser.value().map(PathBuf::from).map_err(|error| error.to_string())
}

/// The same for `--key`, where no name has a meaning of its own.
pub fn key_file(parser: &mut Parser) -> Result<PathBuf, String> {
    let path = file(parser)?;
    if path.as_os_str().is_empty() { Err("--key names no file".into()) } else { Ok(path) }
}

/// `blake3:HEX` or `sha256:HEX`.
pub fn parse_pin(text: &str) -> Result<Pin, String> {
    Pin::parse(text).ok_or_else(|| {
        format!("a digest is blake3: or sha256: and 64 hexadecimal digits, not {text:?}")
    })
}

/// The name of an option that takes a text or a path, if it was typed.
///
/// Not in a table for [`first_typed`], though it could be: whether there is one would be the
/// processor's overflow flag, stored in memory (`setno`), and QEMU's emulation of x86 (7.2) gets
/// that wrong where the stack grows by it. One fetch of seventy in such a machine was refused for
/// an option that nobody typed.
pub fn text_typed<T>(text: &Option<T>, name: &'static str) -> Option<&'static str> {
    text.as_ref().map(|_| name)
}

/// Fewer seconds since 1970 are no date (2001): somebody left out hyphens, or the rest of it.
const SECONDS_LEAST: u64 = 1_000_000_000;

/// `YYYY-MM-DD`, at which time of day UTC it begins, or seconds since 1970.
pub fn parse_date(text: &str) -> Result<u64, String> {
    let mut parts = text.splitn(3, '-').map(|part| part.parse::<u64>().ok());
    let seconds = match [(); 3].map(|()| parts.next()) {
        [seconds, None, None] => seconds.flatten().filter(|&seconds| seconds >= SECONDS_LEAST),
        [year, month, day] => date_s([year, month, day].map(Option::flatten)),
    };
    seconds.ok_or_else(|| {
        format!("a date is YYYY-MM-DD, or seconds since 1970 of ten digits, not {text:?}")
    })
}

fn date_s(date: [Option<u64>; 3]) -> Option<u64> {
    let [Some(year), Some(month), Some(day)] = date else { return None };
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) {
        return None;
    }
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let of_month = match month {
        2 => 28 + u64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if day == 0 || day > of_month {
        return None;
    }
    // Days since March 1 of year 0: the leap day is the last of a year that begins in March.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    // Of 1970-01-01.
    Some((days - 719_468) * 86_400)
}

/// The name of the first option that was typed.
pub fn first_typed(options: &[(bool, &'static str)]) -> Option<&'static str> {
    options.iter().find(|(typed, _)| *typed).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_days_or_seconds() {
        for (text, seconds) in [
            ("1970-01-01", 0),
            ("1970-03-01", 59 * 86_400),
            ("2000-02-29", 951_782_400),
            ("2000-03-01", 951_868_800),
            ("2026-11-22", 1_795_305_600),
            ("2096-02-29", 3_981_312_000),
            ("1795305600", 1_795_305_600),
            ("1000000000", 1_000_000_000),
        ] {
            assert_eq!(parse_date(text), Ok(seconds), "{text}");
        }
        for text in
            ["", "1969-12-31", "2026-13-01", "2026-00-01", "2026-01-32", "2026-1", "x", "-5"]
        {
            assert!(parse_date(text).is_err(), "{text}");
        }
        // Each would be a date long ago, or another day, and let through what is to be refused.
        for text in ["20261122", "2026", "0", "999999999", "2026-02-29", "2100-02-29"] {
            assert!(parse_date(text).is_err(), "{text}");
        }
        for month in [2, 4, 6, 9, 11] {
            assert!(parse_date(&format!("2026-{month:02}-31")).is_err(), "{month}");
            assert!(parse_date(&format!("2028-{month:02}-29")).is_ok(), "{month}");
        }
    }
}
