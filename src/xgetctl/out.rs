//! All that is said: results on standard output, remarks on standard error.
//!
//! Output that nobody reads any more (`xgetctl image list | head -1`) is no error
//! and no panic. Control characters in names do not reach the terminal: names come
//! from archives of strangers. Knows nothing of what it says.

use crate::failure::{Failure, Outcome, reason};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::io::{self, Write};
use std::time::Duration;

/// Text on standard output.
pub fn print(text: &str) -> Outcome {
    print_to_reader(text).map(drop)
}

/// And whether anybody still reads it: of use to who would print for ever.
pub fn print_to_reader(text: &str) -> Outcome<bool> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => {
            Err(Failure::machine(format!("cannot write to standard output: {}", reason(&error))))
        }
        Ok(()) => Ok(true),
    }
}

/// A line on standard output.
pub fn line(text: &str) -> Outcome {
    print(&format!("{}\n", printable(text)))
}

/// One JSON document on standard output.
pub fn json(value: &impl Serialize) -> Outcome {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::machine(format!("cannot write as JSON: {error}")))?;
    print(&(text + "\n"))
}

/// A remark on standard error; nobody may be there to read it.
pub fn note(text: &str) {
    let _ = io::stderr().write_all(format!("xgetctl: {}\n", printable(text)).as_bytes());
}

/// Without what would move a terminal's cursor or change its colours.
pub fn printable(text: &str) -> String {
    let shown = |c: char| if c.is_control() && c != '\n' { '?' } else { c };
    text.chars().map(shown).collect()
}

/// As digests are written.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `1 image`, `2 images`
pub fn count(count: usize, what: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {what}{ending}")
}

/// Rows with columns of equal width: names to the left, figures to the right.
pub struct Table {
    rows: Vec<Vec<String>>,
    right: &'static [bool],
}

impl Table {
    /// The heads of the columns; one that begins with `>` is set to the right.
    pub fn new(right: &'static [bool], heads: &[&str]) -> Table {
        let mut table = Table { rows: Vec::new(), right };
        table.row(heads.iter().map(|head| head.to_string()).collect());
        table
    }

    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells.iter().map(|cell| printable(cell)).collect());
    }

    pub fn print(&self) -> Outcome {
        print(&self.text())
    }

    pub fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let wide = |cell: &String| cell.chars().count();
        let widths: Vec<usize> = (0..columns)
            .map(|column| self.rows.iter().filter_map(|r| r.get(column)).map(wide).max())
            .map(Option::unwrap_or_default)
            .collect();
        let mut text = String::new();
        for row in &self.rows {
            let cells = row.iter().enumerate().map(|(column, cell)| {
                let width = widths[column];
                match self.right.get(column) {
                    Some(true) => format!("{cell:>width$}"),
                    _ => format!("{cell:<width$}"),
                }
            });
            let line = cells.collect::<Vec<_>>().join("  ");
            text += line.trim_end();
            text.push('\n');
        }
        text
    }
}

/// How often a terminal's line is drawn anew.
const REDRAW: Duration = Duration::from_millis(200);

/// A line on a terminal that says what is being done; nothing where there is none.
pub struct Spinner(ProgressBar);

impl Spinner {
    pub fn new(doing: &str) -> Spinner {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} {elapsed} {wide_msg}") {
            bar.set_style(style);
        }
        bar.set_prefix(printable(doing));
        bar.enable_steady_tick(REDRAW);
        Spinner(bar)
    }

    /// How far it is.
    pub fn say(&self, text: &str) {
        self.0.set_message(printable(text).replace('\n', " "));
    }

    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}

/// Bytes for people, in the unit that memory is counted in.
pub fn mib(bytes: u64) -> String {
    let tenths = bytes.saturating_mul(10).div_ceil(1 << 20);
    match tenths {
        0..1000 => format!("{}.{} MiB", tenths / 10, tenths % 10),
        _ => format!("{} MiB", tenths / 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_columns() {
        let mut table = Table::new(&[false, true], &["NAME", "SIZE", "WHY"]);
        table.row(vec!["debian".into(), "5".into(), "x".into()]);
        table.row(vec!["a\x1b[2J".into(), "12345".into(), String::new()]);
        assert_eq!(table.text(), "NAME     SIZE  WHY\ndebian      5  x\na?[2J   12345\n");
    }

    #[test]
    fn one_is_one() {
        let counts = [0, 1, 2].map(|of| count(of, "image"));
        assert_eq!(counts, ["0 images", "1 image", "2 images"]);
    }

    #[test]
    fn sizes_are_rounded_up() {
        assert_eq!(mib(0), "0.0 MiB");
        assert_eq!(mib(1), "0.1 MiB");
        assert_eq!(mib(1 << 20), "1.0 MiB");
        assert_eq!(mib(414 << 20), "414 MiB");
    }
}
