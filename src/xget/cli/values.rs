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

/// `blake3:HEX` or `sha256:HEX`.
pub fn parse_pin(text: &str) -> Result<Pin, String> {
    Pin::parse(text).ok_or_else(|| {
        format!("a digest is blake3: or sha256: and 64 hexadecimal digits, not {text:?}")
    })
}

/// The name of an option that takes a path, if it was typed.
///
/// Not in a table for [`first_typed`], though it could be: whether there is a path would be the
/// processor's overflow flag, stored in memory, and QEMU's emulation of x86 (7.2) gets that wrong
/// where the stack grows by it. One fetch of seventy in such a machine was refused for an option
/// that nobody typed.
pub fn path_typed(path: &Option<PathBuf>, name: &'static str) -> Option<&'static str> {
    path.as_ref().map(|_| name)
}

/// The name of the first option that was typed.
pub fn first_typed(options: &[(bool, &'static str)]) -> Option<&'static str> {
    options.iter().find(|(typed, _)| *typed).map(|(_, name)| *name)
}
