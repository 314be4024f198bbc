//! Changes of `nodes.tab`, line by line: a text, and the text that it becomes.
//!
//! Comments, order and all other lines stay. Knows what a line is called, and refuses to
//! know whether the table is right then (`nodes`), and the file.

use super::row::{Change, IMAGE, KEY, LAYERS, NAME, Row, WORDS};
use crate::failure::{Failure, Outcome};
use nodes::{Kind, expand};

/// A line before, and after.
struct Line {
    before: Option<String>,
    after: Option<String>,
}

/// A text that is changed.
pub struct Edit {
    lines: Vec<Line>,
    /// Whether its last line has an end.
    is_ended: bool,
}

/// Names of a range that are looked at.
const NAMES_MAX: usize = nodes::NODES_MAX;

impl Edit {
    pub fn of(text: &str) -> Edit {
        let lines = text
            .split_terminator('\n')
            .map(|line| Line { before: Some(line.into()), after: Some(line.into()) });
        Edit { lines: lines.collect(), is_ended: text.is_empty() || text.ends_with('\n') }
    }

    /// A line at the end, set as the last one.
    pub fn add(&mut self, columns: [&str; 5]) -> Outcome {
        for (column, text) in columns.iter().enumerate() {
            check(column, text)?;
        }
        let [key, name, image, layers, words] = columns.map(|c| if c.is_empty() { "-" } else { c });
        // Of a group all is meant that is not said.
        let is_short = image.starts_with('@') && [layers, words] != ["-", "-"];
        let of_group = |text| if is_short && text == "-" { image } else { text };
        let columns = [key, name, image, of_group(layers), of_group(words)];
        let count = columns.iter().rposition(|text| *text != "-").map_or(1, |last| last + 1);
        let rows = self.lines.iter().rev().filter_map(|line| line.after.as_deref());
        let model = rows.filter_map(Row::parse).next();
        let line = Row::like(model.as_ref(), &columns[..count]);
        self.lines.push(Line { before: None, after: Some(line) });
        self.is_ended = true;
        Ok(())
    }

    pub fn set(&mut self, node: &str, changes: &[Change]) -> Outcome {
        for (column, text) in changes {
            check(*column, text)?;
        }
        let (at, mut row) = self.find(node)?;
        row.change(changes);
        self.lines[at].after = Some(row.to_string());
        Ok(())
    }

    pub fn remove(&mut self, node: &str) -> Outcome {
        let (at, _) = self.find(node)?;
        self.lines[at].after = None;
        Ok(())
    }

    /// The line of a node: by its name, else by its key, or either column as it is written.
    fn find(&self, node: &str) -> Outcome<(usize, Row)> {
        let rows = || {
            self.lines.iter().enumerate().filter_map(|(at, line)| {
                let row = Row::parse(line.after.as_deref()?)?;
                Some((at, row))
            })
        };
        for column in [NAME, KEY] {
            let mut found = rows().filter_map(|(at, row)| {
                let fit = fit(&row, column, node)?;
                Some((at, row, fit))
            });
            let Some((at, row, fit)) = found.next() else { continue };
            if let Some((other, ..)) = found.next() {
                let (at, other) = (at + 1, other + 1);
                return Err(Failure::usage(format!(
                    "lines {at} and {other} of nodes.tab are both of {node}: change one of them \
                     with an editor"
                )));
            }
            return match fit {
                Fit::Whole => Ok((at, row)),
                Fit::OneOfMany(column) => Err(Failure::usage(format!(
                    "{node} is one of {column} of line {} of nodes.tab: name all of them, as they \
                     are written there, or part the line with an editor",
                    at + 1
                ))),
            };
        }
        Err(Failure::source(format!("no line of nodes.tab has the name or key {node}")))
    }

    /// Names that lines have that became other: those of nodes, and host names, which are names
    /// where there is no other.
    pub fn names(&self) -> impl Iterator<Item = String> {
        let changed = self.lines.iter().filter(|line| line.before != line.after);
        let rows = changed.filter_map(|line| Row::parse(line.after.as_deref()?));
        rows.flat_map(|row| named(row.column(KEY), row.column(NAME)))
    }

    /// What it is now.
    pub fn text(&self) -> String {
        let lines: Vec<&str> = self.lines.iter().filter_map(|line| line.after.as_deref()).collect();
        let end = if self.is_ended && !lines.is_empty() { "\n" } else { "" };
        lines.join("\n") + end
    }

    /// What became other, as diff(1) shows it.
    pub fn diff(&self) -> String {
        let (mut text, mut number) = (String::new(), 0);
        for Line { before, after } in &self.lines {
            number += usize::from(before.is_some());
            if before == after {
                continue;
            }
            let at = if before.is_some() { number.to_string() } else { "end".into() };
            text += &format!("@@ line {at} @@\n");
            for (sign, line) in [('-', before), ('+', after)] {
                if let Some(line) = line {
                    text += &format!("{sign}{}\n", line.trim_end_matches('\r'));
                }
            }
        }
        text
    }
}

/// How much of a line is meant.
enum Fit {
    Whole,
    /// With the column that has others beside it.
    OneOfMany(String),
}

/// Whether this is the name of a line, or its key. Where a line has no name, a host name that
/// is its key is one.
fn fit(row: &Row, column: usize, node: &str) -> Option<Fit> {
    let has_name = row.column(NAME) != "-";
    let of_names = column == NAME && has_name;
    let column = row.column(if has_name { column } else { KEY });
    if node == "-" || node.is_empty() {
        return None;
    }
    let is_same = |one: &str| one == node || !of_names && form(one) == form(node);
    if is_same(column) {
        return Some(Fit::Whole);
    }
    // Addresses are no names, and one is none of many.
    let is_one_of = expand(column, NAMES_MAX).is_ok_and(|all| all.iter().any(|one| is_same(one)));
    is_one_of.then(|| Fit::OneOfMany(column.into()))
}

/// The names that a line gives: its own, else the host names that are its key, as the table has
/// them.
pub fn named(key: &str, name: &str) -> Vec<String> {
    let names = match name {
        "-" => expand(&key.to_ascii_lowercase(), NAMES_MAX),
        _ => expand(name, NAMES_MAX),
    };
    names.unwrap_or_default()
}

/// A key as the table compares it: `mac=` and the like may be left out, MAC addresses are
/// written in two ways, and host names in capitals, too.
fn form(key: &str) -> String {
    let known = |kind, text| nodes::Key::new(kind, text).map(|key| key.text);
    match key.split_once('=') {
        None => {
            let kinds = [Kind::Mac, Kind::Uuid, Kind::Host];
            kinds.into_iter().find_map(|kind| known(kind, key))
        }
        Some((word, text)) => nodes::Key::kind_of(word).and_then(|kind| match kind {
            Kind::Serial | Kind::Asset => known(kind, text).map(|text| format!("{word}={text}")),
            _ => known(kind, text),
        }),
    }
    .unwrap_or_else(|| key.into())
}

/// Whether a text can stand in a column at all.
fn check(column: usize, text: &str) -> Outcome {
    let what = match column {
        KEY => "a key",
        NAME => "a name",
        IMAGE => "an image",
        LAYERS => "a comma list of layers",
        _ => "words for the kernel",
    };
    let words: Vec<&str> = text.split(|c: char| c.is_ascii_whitespace()).collect();
    let is_sound = !text.contains(char::is_control)
        && !words.iter().any(|word| word.starts_with('#'))
        && (column == WORDS || words.len() == 1)
        && text.trim() == text;
    if is_sound && (column != KEY || !text.is_empty()) {
        return Ok(());
    }
    Err(Failure::usage(format!("{text:?} is not {what}: see docs/provisioning.md, nodes.tab")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodes::{Key, Table};
    use proptest::prelude::*;

    const TAB: &str = "# the cluster\n\n@gpu  -  debian  all  quiet\n\
        52:54:00:00:00:01  n001  @gpu   # the first\nn[2-3] - tiny";

    #[test]
    fn a_line_is_added_changed_and_removed_and_all_else_stays() {
        let mut edit = Edit::of(TAB);
        edit.add(["52:54:00:00:00:09", "n9", "debian", "", ""]).unwrap();
        edit.set("n001", &[(LAYERS, "x")]).unwrap();
        edit.remove("n[2-3]").unwrap();
        assert_eq!(
            edit.text(),
            "# the cluster\n\n@gpu  -  debian  all  quiet\n\
             52:54:00:00:00:01  n001  @gpu  x  @gpu   # the first\n52:54:00:00:00:09  n9  debian\n"
        );
        assert_eq!(
            edit.diff(),
            "@@ line 4 @@\n-52:54:00:00:00:01  n001  @gpu   # the first\n\
             +52:54:00:00:00:01  n001  @gpu  x  @gpu   # the first\n@@ line 5 @@\n-n[2-3] - tiny\n\
             @@ line end @@\n+52:54:00:00:00:09  n9  debian\n"
        );
        assert_eq!(edit.names().collect::<Vec<_>>(), ["n001", "n9"]);
        assert_eq!(Edit::of(TAB).text(), TAB);
        assert_eq!(Edit::of(TAB).diff(), "");
    }

    #[test]
    fn a_line_is_found_by_name_and_key_and_one_of_many_is_refused() {
        for node in ["n001", "52-54-00-00-00-01", "mac=52:54:00:00:00:01", "@gpu", "n[2-3]"] {
            Edit::of(TAB).remove(node).unwrap();
        }
        let refused = Edit::of(TAB).remove("n2").unwrap_err().text;
        assert!(refused.starts_with("n2 is one of n[2-3] of line 5"), "{refused}");
        for node in ["n9", "-", ""] {
            assert!(Edit::of(TAB).remove(node).is_err(), "{node:?}");
        }
    }

    #[test]
    fn a_name_goes_before_a_key_wherever_its_line_stands_and_two_lines_are_refused() {
        let removed = |text: &str, node: &str| {
            let mut edit = Edit::of(text);
            edit.remove(node).map(|()| edit.text()).map_err(|failure| failure.text)
        };
        let (one, two) = ("n1 n2\n", "n2 n3\n");
        for text in [[one, two].concat(), [two, one].concat()] {
            assert_eq!(removed(&text, "n2"), Ok(two.into()), "{text}");
            assert_eq!(removed(&text, "n1"), Ok(two.into()), "{text}");
        }
        let twice = removed("a n1\nn1 b\nc n1\n", "n1").unwrap_err();
        assert!(twice.starts_with("lines 1 and 3 of nodes.tab are both of n1"), "{twice}");
        let uuid = "4c4c4544-0050-3610-8058-b4c04f4e4b31";
        let text = format!("{uuid} a\nIO1 - x\nserial=Ab b\nhost=c\n");
        for (node, at) in
            [(&*uuid.to_uppercase(), 0), ("io1", 1), ("IO1", 1), ("serial=Ab", 2), ("c", 3)]
        {
            let left: Vec<&str> =
                text.lines().enumerate().filter(|l| l.0 != at).map(|l| l.1).collect();
            assert_eq!(removed(&text, node), Ok(left.join("\n") + "\n"), "{node}");
        }
        assert!(removed(&text, "serial=AB").is_err() && removed(&text, "A").is_err());
        let many = removed("n[1-3] m[1-3]\nm2 k\n", "m2").unwrap_err();
        assert!(many.starts_with("m2 is one of m[1-3] of line 1"), "{many}");
    }

    #[test]
    fn what_would_be_another_column_or_a_comment_is_refused() {
        let mut edit = Edit::of("");
        for key in ["", "a b", "#a", "a\nb", " a"] {
            assert!(edit.add([key, "", "", "", ""]).is_err(), "{key:?}");
        }
        for words in ["a #b", "a\nb", "\u{1b}[2J", "a "] {
            assert!(edit.add(["n1", "", "", "", words]).is_err(), "{words:?}");
        }
        assert_eq!(edit.text(), "");
    }

    #[test]
    fn who_has_a_group_and_words_of_its_own_has_the_layers_of_the_group() {
        let mut edit = Edit::of(TAB);
        edit.add(["a", "", "@gpu", "", "@gpu loud"]).unwrap();
        edit.add(["b", "", "@gpu", "", ""]).unwrap();
        let end: Vec<_> = edit.text().lines().rev().take(2).map(String::from).collect();
        let cells = |line: &str| line.split_whitespace().map(String::from).collect::<Vec<_>>();
        assert_eq!(cells(&end[1]), ["a", "-", "@gpu", "@gpu", "@gpu", "loud"]);
        assert_eq!(cells(&end[0]), ["b", "-", "@gpu"]);
    }

    proptest! {
        #[test]
        fn any_line_becomes_what_is_wanted_and_the_others_stay(
            rows in prop::collection::vec(
                ("[a-z]{0,3}", "[ \t]{1,4}", "( [a-z=]{1,5}){0,3}", "( +# ?[ -~]{0,9})?\r?"), 1..8),
            at in any::<prop::sample::Index>(),
            image in "[a-z]{1,12}",
            layers in "[a-z]{1,4}(,[a-z]{1,4}){0,2}",
            words in "[a-z=]{1,6}( [a-z=]{1,6}){0,2}",
        ) {
            let lines: Vec<String> = rows.iter().enumerate().map(|(n, (image, gap, words, end))| {
                let image = if image.is_empty() { "-" } else { image };
                format!("node{n}{gap}-{gap}{image}{gap}-{words}{end}")
            }).collect();
            let at = at.index(lines.len());
            let mut edit = Edit::of(&lines.join("\n"));
            let node = format!("node{at}");
            edit.set(&node, &[(IMAGE, &image), (LAYERS, &layers), (WORDS, &words)]).unwrap();
            let text = edit.text();
            let table = Table::parse(text.as_bytes()).unwrap();
            let key = Key::new(Kind::Name, &node).unwrap();
            let found = table.named(&key).unwrap();
            prop_assert_eq!(found.image, Some(&*image));
            prop_assert_eq!(found.layers.join(","), layers);
            prop_assert_eq!(found.words.join(" "), words);
            for (nth, (before, after)) in lines.iter().zip(text.split('\n')).enumerate() {
                let comment = |line: &str| line.find('#').map(|at| line[at..].to_string());
                prop_assert!(nth == at || before == after);
                prop_assert_eq!(comment(before), comment(after));
            }
        }
    }
}
