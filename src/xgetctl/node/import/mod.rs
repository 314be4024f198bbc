//! `nodes import`: lines of other programs' tables of nodes.
//!
//! What is there already stays and is said, what is at odds with it is an error, and then
//! nothing is written. Knows how rows become lines; what a row says is `sheet` (CSV) and
//! `genders`.

mod genders;
mod sheet;

use super::edit::{Edit, named};
use super::row::{IMAGE, KEY, LAYERS, NAME, Row, WORDS};
use super::{Columns, edit};
use crate::failure::{Doing, Failure, Outcome};
use crate::head::Head;
use crate::listing::Change;
use crate::out;
use nodes::{Fault, Key, Kind, Table};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, stdin};
use std::path::{Path, PathBuf};

/// Longest file.
const LEN_MAX: u64 = 16 << 20;
/// Rows that are there already, of which each is said.
const SAID_MAX: usize = 10;

#[derive(clap::Args, Clone, Debug)]
pub struct Import {
    /// A CSV file with a header: key (or mac, uuid, serial, asset, host, address), name, image,
    /// layers, words; - is standard input
    #[arg(required_unless_present = "genders", conflicts_with = "genders")]
    file: Option<PathBuf>,
    /// A genders(5) file: nodes by host name, attributes as groups
    #[arg(long, value_name = "FILE")]
    genders: Option<PathBuf>,
    /// What rows have that do not say it themselves
    #[command(flatten)]
    columns: Columns,
    #[command(flatten)]
    change: Change,
}

/// A line that is to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    /// Where it is said, from 1 on.
    line: u64,
    /// As in nodes.tab; `-` for nothing.
    columns: [String; 5],
}

/// What the rows of a file come to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Rows {
    /// Of groups those that have no line yet are made.
    groups: Vec<Wanted>,
    nodes: Vec<Wanted>,
    /// For people: what was passed over.
    remarks: Vec<String>,
}

impl Import {
    pub fn run(&self, head: &Head) -> Outcome {
        let (file, parse) = match (&self.file, &self.genders) {
            (_, Some(file)) => (file, genders::parse as fn(&str) -> Result<Rows, Wrong>),
            (Some(file), _) => (file, sheet::parse as _),
            // clap has one of the two.
            _ => return Err(Failure::usage("which file?")),
        };
        let name =
            if is_stdin(file) { "standard input".into() } else { file.display().to_string() };
        let mut rows = parse(&read(file)?).map_err(|wrong| wrong.failure(&name))?;
        rows.nodes.iter_mut().for_each(|wanted| self.fill(&mut wanted.columns));
        let mut merged = Merged::default();
        edit(head, &self.change, |edit| {
            merged = merge(edit, &rows).map_err(|wrong| wrong.failure(&name))?;
            Ok(())
        })?;
        rows.remarks.iter().for_each(|remark| out::note(remark));
        for (line, node) in merged.there.iter().take(SAID_MAX) {
            out::note(&format!("{name}, line {line}: {node} is there already"));
        }
        self.columns.warn(head);
        let done = if self.change.dry_run { "would be " } else { "" };
        let (added, there) = (merged.added, merged.there.len());
        out::note(&format!("{} {done}added; {there} there already", out::count(added, "line")));
        Ok(())
    }

    /// What a row does not say.
    fn fill(&self, columns: &mut [String; 5]) {
        let Columns { image, layers, words } = &self.columns;
        for (at, text) in [(IMAGE, image), (LAYERS, layers), (WORDS, words)] {
            if let Some(text) = text.as_ref().filter(|_| columns[at] == "-") {
                columns[at] = text.clone();
            }
        }
    }
}

fn is_stdin(file: &Path) -> bool {
    file == Path::new("-")
}

fn read(file: &Path) -> Outcome<String> {
    let mut bytes = Vec::new();
    let most = LEN_MAX + 1;
    match is_stdin(file) {
        true => stdin().take(most).read_to_end(&mut bytes),
        false => File::open(file).and_then(|file| file.take(most).read_to_end(&mut bytes)),
    }
    .doing("read", file)?;
    if bytes.len() as u64 > LEN_MAX {
        let text = format!("{} is longer than {} MiB", file.display(), LEN_MAX >> 20);
        return Err(Failure::wrong(text));
    }
    String::from_utf8(bytes)
        .map_err(|_| Failure::wrong(format!("{} is not in UTF-8", file.display())))
}

/// What is wrong with a row.
#[derive(Debug, PartialEq, Eq)]
struct Wrong {
    line: u64,
    what: String,
}

impl Wrong {
    fn at(line: u64, what: impl Into<String>) -> Wrong {
        Wrong { line, what: what.into() }
    }

    fn failure(self, file: &str) -> Failure {
        let Wrong { line, what } = self;
        Failure::wrong(format!("nothing is changed; {file}, line {line}: {what}"))
    }
}

#[derive(Debug, Default)]
struct Merged {
    added: usize,
    /// Lines of the file, and whose they are.
    there: Vec<(u64, String)>,
}

/// Adds what is not there yet.
fn merge(edit: &mut Edit, rows: &Rows) -> Result<Merged, Wrong> {
    let text = edit.text();
    // It was sound.
    let table = Table::parse(text.as_bytes()).unwrap_or_default();
    let lines: Vec<Row> = text.lines().filter_map(Row::parse).collect();
    let known: BTreeSet<&str> = lines.iter().map(|row| row.column(KEY)).collect();
    let is_new = |group: &&Wanted| !known.contains(&*group.columns[KEY]);
    let groups: Vec<&Wanted> = rows.groups.iter().filter(is_new).collect();
    let nodes: Vec<&Wanted> = rows.nodes.iter().collect();
    // As if there were nothing else: what is wrong is the rows' own.
    let is_group = |line: &&str| line.trim_start().starts_with('@');
    let of_groups: Vec<&str> = text.lines().filter(is_group).collect();
    let mut alone = Edit::of(&of_groups.join("\n"));
    let wanted = add(&mut alone, of_groups.len(), &[&groups[..], &nodes].concat())?;

    let written: BTreeSet<[&str; 5]> = lines.iter().map(columns).collect();
    let of_alone = alone.text();
    let is_written =
        |line: &str| Row::parse(line).is_some_and(|row| written.contains(&columns(&row)));
    let lines_of_nodes = of_alone.lines().skip(of_groups.len() + groups.len());
    let (mut merged, mut new) = (Merged::default(), groups);
    for (node, line) in nodes.into_iter().zip(lines_of_nodes) {
        if is_written(line) || is_there(&table, &wanted, node) {
            merged.there.push((node.line, node.label().into()));
        } else {
            new.push(node);
        }
    }
    merged.added = new.len();
    add(edit, text.lines().count(), &new)?;
    Ok(merged)
}

fn columns(row: &Row) -> [&str; 5] {
    [KEY, NAME, IMAGE, LAYERS, WORDS].map(|column| row.column(column))
}

/// Adds lines behind so many, and gives the table that comes of it.
fn add(edit: &mut Edit, before: usize, new: &[&Wanted]) -> Result<Table, Wrong> {
    for wanted in new {
        let columns = wanted.columns.each_ref().map(String::as_str);
        edit.add(columns).map_err(|failure| Wrong::at(wanted.line, failure.text))?;
    }
    let place = |line: u32| new.get((line as usize).checked_sub(before + 1)?).map(|w| w.line);
    Table::parse(edit.text().as_bytes()).map_err(|fault| {
        let Fault { line, what, word, other_line, .. } = &fault;
        let other = match (*other_line, place(*other_line)) {
            (0, _) => String::new(),
            (_, Some(line)) => format!(" (line {line})"),
            (line, None) => format!(" that says otherwise (line {line} of nodes.tab)"),
        };
        match place(*line) {
            Some(line) => Wrong::at(line, format!("{word:?}: {what}{other}")),
            // Too long, all of them together.
            None => Wrong::at(new.first().map_or(1, |first| first.line), fault.to_string()),
        }
    })
}

/// Whether the table has all that a row says of nodes with names: their keys, too.
fn is_there(table: &Table, wanted: &Table, node: &Wanted) -> bool {
    let [key, name, ..] = &node.columns;
    let names = named(key, name);
    let is_same = |name: &String| {
        let Some(name) = Key::new(Kind::Name, name) else { return false };
        let said = table.named(&name);
        let keys = |table: &Table| table.keys(&name).cloned().collect::<Vec<_>>();
        said.is_some()
            && said == wanted.named(&name)
            && table.address(&name) == wanted.address(&name)
            && keys(table) == keys(wanted)
    };
    !names.is_empty() && names.iter().all(is_same)
}

impl Wanted {
    fn label(&self) -> &str {
        let [key, name, ..] = &self.columns;
        if name == "-" { key } else { name }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wanted(line: u64, columns: [&str; 5]) -> Wanted {
        Wanted { line, columns: columns.map(String::from) }
    }

    fn rows(nodes: &[[&str; 5]]) -> Rows {
        let nodes = nodes.iter().zip(2..).map(|(columns, line)| wanted(line, *columns));
        Rows { nodes: nodes.collect(), ..Rows::default() }
    }

    const TAB: &str = "@gpu - debian all,gpu quiet # ours\n52:54:00:00:00:01 n1 @gpu\n\
                       io[1-2]  -   tiny\n10.0.0.1-10.0.0.9 -   tiny\n";

    #[test]
    fn what_is_there_in_other_words_is_not_doubled() {
        let mut edit = Edit::of(TAB);
        let merged = merge(
            &mut edit,
            &rows(&[
                ["52-54-00-00-00-01", "n1", "debian", "all,gpu", "quiet"],
                ["10.0.0.1-10.0.0.9", "-", "tiny", "-", "-"],
                ["IO[1-2]", "-", "tiny", "-", "-"],
                ["serial=X", "n2", "@gpu", "-", "-"],
            ]),
        );
        let merged = merged.unwrap();
        let there = merged.there.iter().map(|(_, node)| &**node).collect::<Vec<_>>();
        assert_eq!(there, ["n1", "10.0.0.1-10.0.0.9", "IO[1-2]"]);
        assert_eq!((merged.added, edit.text()), (1, format!("{TAB}serial=X          n2  @gpu\n")));
    }

    #[test]
    fn what_is_at_odds_is_named_with_both_lines() {
        let refused = |node: [&str; 5]| {
            let mut edit = Edit::of(TAB);
            let good = ["serial=A", "a", "-", "-", "-"];
            let wrong = merge(&mut edit, &rows(&[good, node])).unwrap_err();
            assert_eq!(wrong.line, 3);
            wrong.what
        };
        assert_eq!(
            refused(["52:54:00:00:00:01", "n9", "@gpu", "-", "-"]),
            "\"52:54:00:00:00:01\": has a line already that says otherwise (line 2 of nodes.tab)"
        );
        assert!(refused(["serial=B", "n1", "-", "-", "-"]).contains("(line 2 of nodes.tab)"));
        assert!(refused(["serial=A", "b", "-", "-", "-"]).ends_with("has a line already (line 2)"));
        assert!(refused(["serial=B", "b", "@none", "-", "-"]).contains("no line above"));
        assert!(refused(["a b", "b", "-", "-", "-"]).contains("is not a key"));
    }

    proptest! {
        #[test]
        fn all_rows_are_lines_then_and_a_second_time_none_is_added(
            rows in prop::collection::btree_map("[a-z]{1,6}", (any::<bool>(), 0..3_usize, "[a-z]{0,3}"), 1..9),
            at in any::<prop::sample::Index>(),
        ) {
            let image = |nth: usize| ["-", "@gpu", "tiny"][nth].to_string();
            let node = |(line, (name, (has_key, nth, words))): (u64, (&String, &(bool, usize, String)))| {
                let key = if *has_key { format!("serial={name}") } else { name.clone() };
                let name = if *has_key { name.clone() } else { "-".into() };
                let words = if words.is_empty() { "-" } else { words };
                Wanted { line, columns: [key, name, image(*nth), "-".into(), words.into()] }
            };
            let nodes: Vec<Wanted> = (2..).zip(&rows).map(node).collect();
            let first = at.index(nodes.len());
            let of = |nodes: &[Wanted]| Rows { nodes: nodes.to_vec(), ..Rows::default() };
            let mut edit = Edit::of(TAB);
            merge(&mut edit, &of(&nodes[..first])).unwrap();
            let merged = merge(&mut edit, &of(&nodes)).unwrap();
            prop_assert_eq!((merged.there.len(), merged.added), (first, nodes.len() - first));
            let again = merge(&mut Edit::of(&edit.text()), &of(&nodes)).unwrap();
            prop_assert_eq!((again.there.len(), again.added), (nodes.len(), 0));
            let text = edit.text();
            prop_assert!(text.starts_with(TAB));
            let table = Table::parse(text.as_bytes()).unwrap();
            for name in rows.keys() {
                prop_assert!(table.named(&Key::new(Kind::Name, name).unwrap()).is_some());
            }
        }
    }
}
