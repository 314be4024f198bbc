//! `xget ls --complete`: names that begin with what was typed, for a shell that waits.
//!
//! Answers in time or says nothing. Names come from one directory, by 9P, and are shown to be
//! typed: what they are is verified when they are fetched.

use super::super::master::Named;
use super::super::names::is_unsafe;
use crate::console::print_bytes;
use crate::os::signal;
use ninep::client::listed;
use peer::content::patterns::{has_wildcard, quote, typed, unquote};
use std::time::{Duration, Instant};

/// All of it; what a person takes for at once is 0.3 s.
const WITHIN: Duration = Duration::from_millis(270);

/// Whatever is wrong, nobody has asked for words about it.
pub fn complete(named: &Named, text: &[u8]) {
    // A look-up of a name does not end at our deadline, but the process does.
    signal::end_within(WITHIN);
    let end = Instant::now() + WITHIN;
    let (dir, begin) = split(&typed(text));
    let path = unquote(&dir);
    let names: Vec<&[u8]> =
        path.split(|&byte| byte == b'/').filter(|name| !matches!(*name, b"" | b".")).collect();
    if let Ok((bytes, _)) = named.ask_in(b"files", WITHIN, |at| at.directory(&names, end)) {
        let _ = print_bytes(&fitting(&dir, &unquote(&begin), &bytes));
    }
}

/// The directory, with its slash, and how the name begins.
fn split(typed: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let at = typed.iter().rposition(|&byte| byte == b'/').map_or(0, |at| at + 1);
    // What has wildcards names no directory.
    let dir = if has_wildcard(&typed[..at]) { b"\0".to_vec() } else { typed[..at].to_vec() };
    (dir, typed[at..].to_vec())
}

/// A line for each, as it is typed for a SRC: directories with a slash. Those that a terminal
/// might act upon are left out, and those that a shell shows to nobody before they are asked for.
fn fitting(dir: &[u8], begin: &[u8], records: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut all = listed(records).unwrap_or_default();
    all.sort_unstable_by(|a, b| a.name.cmp(b.name));
    for entry in all {
        let is_shown = str::from_utf8(entry.name).is_ok_and(|name| !name.chars().any(is_unsafe));
        let is_hidden = entry.name.starts_with(b".") && begin.is_empty();
        if !is_shown || is_hidden || !entry.name.starts_with(begin) {
            continue;
        }
        out.extend_from_slice(dir);
        if dir.is_empty() && begin.is_empty() && entry.name.starts_with(b"-") {
            // It would be an option.
            out.extend_from_slice(b"./");
        }
        out.extend(quote(entry.name));
        out.extend_from_slice(if entry.is_dir { b"/\n" } else { b"\n" });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stat record of 9P2000.u.
    fn record(name: &[u8], is_dir: bool) -> Vec<u8> {
        let mut stat = vec![0; 6];
        stat.push(if is_dir { 0x80 } else { 0 });
        stat.extend([0; 12 + 4 + 4 + 4 + 8]);
        for text in [name, b"0", b"0", b"0", b""] {
            stat.extend((text.len() as u16).to_le_bytes());
            stat.extend(text);
        }
        stat.extend([0; 12]);
        [&(stat.len() as u16).to_le_bytes()[..], &stat].concat()
    }

    #[test]
    fn names_are_shown_as_they_are_typed_for_a_source() {
        let records = [
            record(b"with space", false),
            record(b"images", true),
            record(b"a*b", false),
            record(b".hidden", false),
            record(b"-x", false),
            record(b"bad\x1b[2J", false),
            record(b"line\nfeed", false),
            record(b"\xff", false),
        ]
        .concat();
        let shown =
            |dir: &[u8], begin: &[u8]| String::from_utf8(fitting(dir, begin, &records)).unwrap();
        assert_eq!(shown(b"", b""), "./-x\na\\*b\nimages/\nwith space\n");
        assert_eq!(shown(b"x/", b"im"), "x/images/\n");
        assert_eq!(shown(b"", b".h"), ".hidden\n");
        assert_eq!(shown(b"", b"-"), "-x\n");
        assert_eq!(shown(b"./", b""), "./-x\n./a\\*b\n./images/\n./with space\n");
        assert_eq!(shown(b"", b"zz"), "");
        assert_eq!(fitting(b"", b"", &records[1..]), b"");
    }

    #[test]
    fn what_is_typed_is_a_directory_and_a_beginning() {
        for (typed, dir, begin) in [
            ("", "", ""),
            ("im", "", "im"),
            ("a/b/c", "a/b/", "c"),
            ("a/", "a/", ""),
            ("/a/b", "/a/", "b"),
        ] {
            let wanted = (dir.as_bytes().to_vec(), begin.as_bytes().to_vec());
            assert_eq!(split(typed.as_bytes()), wanted);
        }
        assert_eq!(split(b"a*/b").0, b"\0", "that is nothing to be asked for");
    }
}
