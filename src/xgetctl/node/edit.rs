//! Changes of `nodes.tab`, line by line: a text, and the text that it becomes.
//!
//! Comments, order and all other lines stay. Knows what a line is called, and refuses to
//! know whether the table is right then (`nodes`), and the file.

use super::row::{Change, IMAGE, KEY, LAYERS, NAME, Row, WORDS};
use crate::failure::{Failure, Outcome};
use nodes::expand;

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

    /// The line of a node: by its name, its key, or either column as it is written.
    fn find(&self, node: &str) -> Outcome<(usize, Row)> {
        let rows = self.lines.iter().enumerate().filter_map(|(at, line)| {
            let row = Row::parse(line.after.as_deref()?)?;
            Some((at, row))
        });
        let mut shared = None;
        for (at, row) in rows {
            let columns = [row.column(KEY), row.column(NAME)];
            if node != "-" && columns.iter().any(|column| is_same(column, node)) {
                return Ok((at, row));
            }
            // Addresses are no names, and one is none of many.
            let is_one_of = |column: &&str| {
                expand(column, NAMES_MAX).is_ok_and(|all| all.iter().any(|one| is_same(one, node)))
            };
            if let Some(column) = columns.iter().find(|column| is_one_of(column)) {
                shared = Some((at + 1, column.to_string()));
            }
        }
        Err(match shared {
            Some((line, column)) => Failure::usage(format!(
                "{node} is one of {column} of line {line} of nodes.tab: name all of them, as they \
                 are written there, or part the line with an editor"
            )),
            None => Failure::source(format!("no line of nodes.tab has the name or key {node}")),
        })
    }

    /// Names that lines have that became other: those of nodes, and host names, which are names
    /// where there is no other.
    pub fn names(&self) -> impl Iterator<Item = String> {
        let changed = self.lines.iter().filter(|line| line.before != line.after);
        let rows = changed.filter_map(|line| Row::parse(line.after.as_deref()?));
        rows.flat_map(|row| {
            let column = Some(row.column(NAME)).filter(|name| *name != "-");
            expand(column.unwrap_or(row.column(KEY)), NAMES_MAX).unwrap_or_default()
        })
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

/// As the table compares: `mac=` and the like may be left out, MAC addresses are written in
/// two ways.
fn is_same(one: &str, other: &str) -> bool {
    let form = |text: &str| {
        let text = text.strip_prefix("mac=").or(text.strip_prefix("uuid=")).unwrap_or(text);
        match nodes::Key::new(nodes::Kind::Mac, text) {
            Some(mac) => mac.text,
            None => text.to_string(),
        }
    };
    form(one) == form(other)
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
    use nodes::{Key, Kind, Table};
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
