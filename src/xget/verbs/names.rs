//! Names of files on a terminal, as ls(1) shows them there: as one would type them to a shell.
//!
//! Knows how wide they are. No name acts on a terminal, whatever bytes it has.

use std::fmt::Write;

/// What a shell takes for itself somewhere in a word.
const SPECIAL: &str = " \"$&'()*;<>?[\\]`{|}!^=";
/// And at its begin.
const SPECIAL_FIRST: &str = "#~-";

/// As it is typed: in quotes where a shell wants them, and in `$'...'` what a terminal might
/// act upon, or what is not UTF-8.
pub fn quoted(name: &[u8]) -> String {
    let text = match str::from_utf8(name) {
        Ok(text) if !text.chars().any(is_unsafe) => text,
        _ => return escaped(name),
    };
    let first = |c: char| SPECIAL_FIRST.contains(c);
    if !text.is_empty() && !text.starts_with(first) && !text.contains(|c| SPECIAL.contains(c)) {
        return text.into();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Controls; and what turns the direction of a line or is not seen: a name would not be what
/// it looks like (Unicode Technical Report 36).
pub fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(u32::from(c), 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xfeff)
}

fn escaped(name: &[u8]) -> String {
    let mut out = String::from("$'");
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' => out.push_str("\\n"),
                '\t' => out.push_str("\\t"),
                '\'' | '\\' => out.extend(['\\', c]),
                c if is_unsafe(c) => put_octal(&mut out, c.encode_utf8(&mut [0; 4]).as_bytes()),
                c => out.push(c),
            }
        }
        put_octal(&mut out, chunk.invalid());
    }
    out.push('\'');
    out
}

fn put_octal(out: &mut String, bytes: &[u8]) {
    bytes.iter().for_each(|byte| {
        let _ = write!(out, "\\{byte:03o}");
    });
}

/// Columns of a terminal that a text takes: two of a wide character (East Asian Width), none
/// of a mark that goes over the one before.
pub fn width(text: &str) -> usize {
    text.chars().map(|c| char_width(u32::from(c))).sum()
}

fn char_width(c: u32) -> usize {
    match c {
        0x300..=0x36f | 0x1ab0..=0x1aff | 0x20d0..=0x20ff | 0xfe00..=0xfe0f | 0xfe20..=0xfe2f => 0,
        0x1100..=0x115f
        | 0x2e80..=0x303e
        | 0x3041..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1f64f
        | 0x1f680..=0x1f6ff
        | 0x1f900..=0x1f9ff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

/// Names in as many columns as fit, downwards as ls(1) has them.
pub fn columns(names: &[String], room: usize) -> String {
    let widths: Vec<usize> = names.iter().map(|name| width(name)).collect();
    // A name and what parts it from the next take three columns at least.
    let most = (room / 3).clamp(1, names.len().max(1));
    let fits = |count: &usize| {
        let rows = names.len().div_ceil(*count);
        let total: usize = widths.chunks(rows.max(1)).map(|c| widest(c) + 2).sum();
        total <= room + 2
    };
    let count = (1..=most).rev().find(fits).unwrap_or(1);
    let rows = names.len().div_ceil(count).max(1);
    let wide: Vec<usize> = widths.chunks(rows).map(widest).collect();
    let mut out = String::new();
    for row in 0..rows.min(names.len()) {
        for (column, at) in (row..names.len()).step_by(rows).enumerate() {
            out.push_str(&names[at]);
            if at + rows < names.len() {
                let pad = wide[column] + 2 - widths[at];
                out.extend(std::iter::repeat_n(' ', pad));
            }
        }
        out.push('\n');
    }
    out
}

/// As much of a text as so many columns show.
pub fn cut(text: &str, room: usize) -> &str {
    let mut used = 0;
    let is_beyond = |(_, c): &(usize, char)| {
        used += char_width(u32::from(*c));
        used > room
    };
    let end = text.char_indices().find(is_beyond).map_or(text.len(), |(at, _)| at);
    &text[..end]
}

/// Rows with columns of equal width, two spaces between them. `right` says which are figures,
/// which stand at the right.
pub fn table(rows: &[Vec<String>], right: &[bool]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let wide =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|c| width(c)).max();
    let widths: Vec<usize> = (0..columns).map(|column| wide(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let pad = std::iter::repeat_n(' ', widths[column] - width(cell));
            if right.get(column) == Some(&true) {
                line.extend(pad);
                line.push_str(cell);
            } else {
                line.push_str(cell);
                line.extend(pad);
            }
            line.push_str("  ");
        }
        line.truncate(line.trim_end().len());
        line
    };
    rows.iter().map(line).collect()
}

fn widest(widths: &[usize]) -> usize {
    widths.iter().copied().max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[test]
    fn names_are_quoted_as_one_types_them() {
        for (name, shown) in [
            (&b"a.b-c_d"[..], "a.b-c_d"),
            (b"a b", "'a b'"),
            (b"", "''"),
            (b"-rf", "'-rf'"),
            (b"it's", r"'it'\''s'"),
            (b"a*b", "'a*b'"),
            (b"a\nb", r"$'a\nb'"),
            (b"\x1b[2J'", r"$'\033[2J\''"),
            (b"\xff\xfe", r"$'\377\376'"),
            ("\u{9b}1m".as_bytes(), r"$'\302\2331m'"),
            ("a\u{202e}gpj".as_bytes(), r"$'a\342\200\256gpj'"),
            ("h\u{e9}".as_bytes(), "h\u{e9}"),
        ] {
            assert_eq!(quoted(name), shown);
        }
    }

    proptest! {
        #[test]
        fn nothing_that_is_shown_acts_on_a_terminal(name: Vec<u8>) {
            prop_assert!(!quoted(&name).chars().any(is_unsafe));
        }

        #[test]
        fn no_row_is_wider_than_there_is_room(names in vec("[a-z]{1,12}", 0..60), room in 12..90usize) {
            let text = columns(&names, room);
            prop_assert!(text.lines().all(|line| width(line) <= room), "{text}");
            let sorted = |mut names: Vec<&str>| {
                names.sort_unstable();
                names.join(" ")
            };
            let all = sorted(names.iter().map(String::as_str).collect());
            prop_assert_eq!(sorted(text.split_whitespace().collect()), all);
        }
    }

    #[test]
    fn a_table_has_columns_and_a_line_is_cut_where_there_is_no_room() {
        let row = |cells: [&str; 3]| cells.map(String::from).to_vec();
        let rows = [row(["A", "SIZE", "Z"]), row(["\u{65e5}x", "5", ""]), row(["b", "12345", "y"])];
        let lines = table(&rows, &[false, true]);
        assert_eq!(lines, ["A     SIZE  Z", "\u{65e5}x      5", "b    12345  y"]);
        assert_eq!(cut("a\u{65e5}b", 2), "a");
        assert_eq!(cut("a\u{65e5}b", 3), "a\u{65e5}");
        assert_eq!((cut("ab", 9), cut("ab", 0)), ("ab", ""));
    }

    #[test]
    fn columns_go_downwards() {
        let names: Vec<String> = ["a", "bbb", "c", "d", "e"].map(String::from).into();
        assert_eq!(columns(&names, 8), "a    d\nbbb  e\nc\n");
        assert_eq!(columns(&names, 80), "a  bbb  c  d  e\n");
        assert_eq!(columns(&names, 1), "a\nbbb\nc\nd\ne\n");
        assert_eq!(columns(&[], 80), "");
        assert_eq!(width("\u{65e5}e\u{301}"), 3);
    }
}
