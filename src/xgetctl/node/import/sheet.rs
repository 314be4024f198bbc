//! A CSV file as rows: a header that names the columns, and a node a line.
//!
//! Knows the columns and how a cell becomes a key. Refuses to know nodes.tab.

use super::super::row::{IMAGE, KEY, LAYERS, NAME, WORDS};
use super::{Rows, Wanted, Wrong};
use crate::heard::key_of;
use csv::{ErrorKind, Position, ReaderBuilder, StringRecord, Trim};

/// Columns of keys: the first of a row that says something is its key.
const KEYS: [&str; 7] = ["key", "mac", "uuid", "serial", "asset", "host", "address"];
const OTHERS: [(&str, usize); 4] =
    [("name", NAME), ("image", IMAGE), ("layers", LAYERS), ("words", WORDS)];

/// What a column is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Key(usize),
    Other(usize),
}

pub(super) fn parse(text: &str) -> Result<Rows, Wrong> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut place = Place { text, at: 0, line: 1 };
    let mut builder = ReaderBuilder::new();
    builder.comment(Some(b'#')).trim(Trim::All).delimiter(delimiter(text));
    let mut reader = builder.from_reader(text.as_bytes());
    let header = reader.headers().map_err(|error| wrong(&error, &mut place))?;
    let header = columns(header, place.line_of(header.position()))?;
    let mut rows = Rows::default();
    let mut unused = 0;
    for record in reader.into_records() {
        let record = record.map_err(|error| wrong(&error, &mut place))?;
        let line = place.line_of(record.position());
        if !record.iter().all(str::is_empty) {
            rows.nodes.push(row(&header, &record, line, &mut unused)?);
        }
    }
    if unused > 0 {
        rows.remarks.push(format!(
            "{unused} rows have more than one key: of {} the first counts",
            KEYS.join(", ")
        ));
    }
    Ok(rows)
}

/// Spreadsheets write the one of these that their country does.
fn delimiter(text: &str) -> u8 {
    let header = text.lines().find(|line| !line.starts_with('#')).unwrap_or_default();
    *[b',', b';', b'\t'].iter().find(|byte| header.as_bytes().contains(byte)).unwrap_or(&b',')
}

/// Where in the text it is read.
struct Place<'a> {
    text: &'a str,
    at: usize,
    line: u64,
}

impl Place<'_> {
    /// The line of a record. Its position is where the one before ended: at an end of a line,
    /// empty lines and comments.
    fn line_of(&mut self, position: Option<&Position>) -> u64 {
        let bytes = self.text.as_bytes();
        let mut start = position.map_or(self.at, |position| position.byte() as usize);
        while let Some(b'\r' | b'\n' | b'#') = bytes.get(start) {
            let rest = &bytes[start..];
            let is_comment = rest.starts_with(b"#");
            let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
            start += if is_comment { end } else { 1 };
        }
        let passed = bytes.get(self.at..start).unwrap_or_default();
        self.line += passed.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.at = self.at.max(start);
        self.line
    }
}

fn wrong(error: &csv::Error, place: &mut Place) -> Wrong {
    let line = place.line_of(error.position());
    match error.kind() {
        ErrorKind::UnequalLengths { expected_len, len, .. } => {
            Wrong::at(line, format!("{len} cells, and the header has {expected_len}"))
        }
        _ => Wrong::at(line, error.to_string()),
    }
}

fn columns(header: &StringRecord, line: u64) -> Result<Vec<Column>, Wrong> {
    let mut found = Vec::new();
    for name in header {
        let lower = name.to_ascii_lowercase();
        let key = KEYS.iter().position(|key| *key == lower).map(Column::Key);
        let other =
            OTHERS.iter().find(|(other, _)| *other == lower).map(|(_, at)| Column::Other(*at));
        let column = key.or(other).ok_or_else(|| {
            let known: Vec<&str> = KEYS.into_iter().chain(OTHERS.map(|(name, _)| name)).collect();
            Wrong::at(line, format!("no column is called {name:?}, but {}", known.join(", ")))
        })?;
        if found.contains(&column) {
            return Err(Wrong::at(line, format!("two columns are called {name:?}")));
        }
        found.push(column);
    }
    if !found.iter().any(|column| matches!(column, Column::Key(_))) {
        let text = format!("a column for the key is expected: one of {}", KEYS.join(", "));
        return Err(Wrong::at(line, text));
    }
    Ok(found)
}

fn row(
    header: &[Column],
    record: &StringRecord,
    line: u64,
    unused: &mut usize,
) -> Result<Wanted, Wrong> {
    let mut columns = ["-"; 5].map(String::from);
    let mut keys = Vec::new();
    for (column, cell) in header.iter().zip(record).filter(|(_, cell)| !cell.is_empty()) {
        match column {
            Column::Key(at) => keys.push((*at, cell)),
            // Layers are parted by commas there, which a cell may not like.
            Column::Other(LAYERS) => {
                let words = cell.split(|c: char| c == ',' || c.is_ascii_whitespace());
                let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
                columns[LAYERS] = words.join(",");
            }
            Column::Other(at) => columns[*at] = cell.into(),
        }
    }
    keys.sort_unstable();
    *unused += usize::from(keys.len() > 1);
    let Some((at, cell)) = keys.first() else {
        return Err(Wrong::at(line, "it has no key"));
    };
    columns[KEY] = key(KEYS[*at], cell)
        .ok_or_else(|| Wrong::at(line, format!("{cell:?} is no {}", KEYS[*at])))?;
    Ok(Wanted { line, columns })
}

/// A key as it is written in nodes.tab.
pub(super) fn key(kind: &str, value: &str) -> Option<String> {
    match kind {
        "key" | "address" => Some(value.into()),
        // A host name is the name, too, where it stands alone.
        "host" => key_of(kind, value).map(|_| value.into()),
        _ => key_of(kind, value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        let rows = parse(text).unwrap();
        rows.nodes.iter().map(|row| format!("{}: {}", row.line, row.columns.join(" "))).collect()
    }

    #[test]
    fn a_sheet_is_read_as_spreadsheets_write_it() {
        let text = "\u{feff}Name,MAC,Layers,words,serial\r\n\
                    n1,52-54-00-AA-00-01,\"all,gpu\",\"a=1 b\",\r\n\r\n# old\r\n\
                    n2,,all gpu,,Rack 7\r\n,,,,\r\n";
        assert_eq!(
            texts(text),
            ["2: 52:54:00:aa:00:01 n1 - all,gpu a=1 b", "5: serial=Rack_7 n2 - all,gpu -"]
        );
        let semicolons = "key;image;name\n10.0.0.1-10.0.0.2;@gpu;n[1-2]\n";
        assert_eq!(texts(semicolons), ["2: 10.0.0.1-10.0.0.2 n[1-2] @gpu - -"]);
        assert_eq!(texts("host\tuuid\nio1\t\n"), ["2: io1 - - - -"]);
        assert_eq!(texts("mac\n"), [""; 0]);
    }

    #[test]
    fn of_several_keys_the_first_counts_and_that_is_said() {
        let rows = parse("serial,mac\nX,52:54:00:00:00:01\n").unwrap();
        assert_eq!(rows.nodes[0].columns[KEY], "52:54:00:00:00:01");
        assert!(rows.remarks[0].starts_with("1 rows have more than one key"), "{rows:?}");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, line, what) in [
            ("mac,rack\n", 1, "no column is called \"rack\", but key, mac"),
            ("mac,MAC\n", 1, "two columns are called \"MAC\""),
            ("name,image\n", 1, "a column for the key is expected"),
            ("", 1, "a column for the key is expected"),
            ("mac,name\n52:54:00:00:00:01\n", 2, "1 cells, and the header has 2"),
            ("mac,name\r\n# old\r\n\r\n,n1\r\n", 4, "it has no key"),
            ("mac,name\n52:54:00:00:00:01,\"a\nb\"\nx,y\n", 4, "\"x\" is no mac"),
            ("mac\n52:54\n", 2, "\"52:54\" is no mac"),
            ("serial\n\"a,b\"\n", 2, "\"a,b\" is no serial"),
            ("host\n..\n", 2, "\"..\" is no host"),
        ] {
            let wrong = parse(text).unwrap_err();
            assert_eq!(wrong.line, line, "{text:?}: {wrong:?}");
            assert!(wrong.what.starts_with(what), "{text:?}: {wrong:?}");
        }
    }
}
