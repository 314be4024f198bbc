//! `nodes.tab`: a text as a table, and the line of a node in it.
//!
//! Knows columns, groups, precedence and limits (docs/provisioning.md, "nodes.tab").
//! Refuses to know whether images and layers are there.

use crate::addresses::Addresses;
use crate::key::{Key, Kind};
use crate::ranges::{expand, terms};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;
use core::ops::Range;
use sorted::SortedMap;

/// Bytes of the longest text.
pub const TAB_BYTES_MAX: usize = 1 << 20;
/// Bytes of the longest line.
pub const LINE_LEN_MAX: usize = 8_192;
/// Keys of all lines, ranges expanded: nodes that can be told apart.
pub const NODES_MAX: usize = 65_536;
/// Bytes of a column once its groups are put in: what x86 takes as a command line.
pub const COLUMN_LEN_MAX: usize = 2_048;
/// Words and groups of a column, those within groups counted: how deep groups lead to
/// groups, too.
const WORDS_MAX: u32 = 256;

const MISSING: &str = "-";
const IMAGE: usize = 2;
const LAYERS: usize = 3;
const WORDS: usize = 4;
const COLUMNS: usize = 5;

/// A line as it stands in the text.
#[derive(Debug)]
struct Line {
    /// In the text, from 1 on.
    number: u32,
    columns: [Range<u32>; COLUMNS],
    /// Where its names begin in the table's.
    names: u32,
    has_names: bool,
}

/// What is wrong with a text, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// From 1 on.
    pub line: u32,
    /// Characters before it in the line, and 1.
    pub column: u32,
    /// What was expected, or is too much.
    pub what: &'static str,
    /// The word at that place, cut to what can be shown.
    pub word: String,
    /// The line that it is at odds with; 0 if there is none.
    pub other_line: u32,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { line, column, what, word, other_line } = self;
        write!(f, "line {line}, column {column}: {word:?}: {what}")?;
        if *other_line > 0 {
            write!(f, " (line {other_line})")?;
        }
        Ok(())
    }
}

const NO_KEY: &str =
    "MAC, UUID, serial=, asset=, IP addresses, host names, @GROUP or * is expected";
const NO_NAME: &str = "a host name is expected";
const NO_GROUP_NAME: &str = "letters, digits, - _ and . are expected behind the @";
const TWICE: &str = "has a line already";

/// A fault before its place is counted: a part of the line, what, the other line.
type Wrong<'a> = (&'a str, &'static str, u32);

/// What the table says of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// Its line in the text, from 1 on.
    pub line: u32,
    /// Its name: that of its line, or the host name that is its key.
    pub name: Option<String>,
    /// Its image.
    pub image: Option<&'a str>,
    /// Its layers, in the order of application.
    pub layers: Vec<&'a str>,
    /// Its words for the kernel.
    pub words: Vec<&'a str>,
}

/// A text that was read, and found right.
#[derive(Debug, Default)]
pub struct Table {
    text: String,
    lines: Vec<Line>,
    /// Keys, names and groups: the line, and which of the line's they are.
    keys: SortedMap<Key, (u32, u32)>,
    names: Vec<String>,
    /// With the line, and how many of the line's keys stand before them.
    addresses: Vec<(Addresses, u32, u32)>,
    nodes_count: usize,
}

impl Table {
    /// Reads a text.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Table, Fault> {
        let fault = |line, what| Fault { line, column: 1, what, word: "".into(), other_line: 0 };
        if bytes.len() > TAB_BYTES_MAX {
            return Err(fault(1, "the file is larger than 1 MiB"));
        }
        let text = core::str::from_utf8(bytes).map_err(|error| {
            let before = &bytes[..error.valid_up_to()];
            let line = before.iter().filter(|byte| **byte == b'\n').count();
            fault(line as u32 + 1, "this line is not UTF-8")
        })?;
        let mut table = Table { text: text.into(), ..Table::default() };
        for (nth, line) in text.split('\n').enumerate() {
            table.add(nth as u32 + 1, line, text).map_err(|(at, what, other_line)| {
                let before = &line[..at.as_ptr() as usize - line.as_ptr() as usize];
                let column = before.chars().count() as u32 + 1;
                let word = at.split_ascii_whitespace().next().unwrap_or(at).chars().take(40);
                Fault { line: nth as u32 + 1, column, what, word: word.collect(), other_line }
            })?;
        }
        Ok(table)
    }

    /// Nodes that have a line of their own; a range of addresses counts for one.
    pub fn nodes_count(&self) -> usize {
        self.nodes_count
    }

    fn add<'a>(&mut self, number: u32, line: &'a str, text: &'a str) -> Result<(), Wrong<'a>> {
        if line.len() > LINE_LEN_MAX {
            return Err((&line[..0], "this line is longer than 8192 bytes", 0));
        }
        let Some(columns) = columns(line) else { return Ok(()) };
        let place = |part: &str| {
            let from = (part.as_ptr() as usize - text.as_ptr() as usize) as u32;
            from..from + part.len() as u32
        };
        if let Some(at) = line.find(|c: char| c.is_control() && !c.is_ascii_whitespace()) {
            return Err((&line[at..], "a control character", 0));
        }
        for column in [IMAGE, LAYERS, WORDS] {
            self.check(columns[column], column)?;
        }
        self.lines.push(Line {
            number,
            columns: columns.map(place),
            names: self.names.len() as u32,
            has_names: !matches!(columns[1], "" | MISSING),
        });
        self.add_keys(columns[0], columns[1])
    }

    /// Whether a column says what can be said in it.
    fn check<'a>(&self, text: &'a str, column: usize) -> Result<(), Wrong<'a>> {
        let (mut found, mut budget, mut len) = (Vec::new(), WORDS_MAX, 0);
        for word in words(text, column) {
            let is_path = word.split('/').all(|name| !matches!(name, "" | "." | ".."));
            if column != WORDS && !is_path {
                return Err((word, "a path below the served root is expected", 0));
            }
            let added = self.spread(word, column, &mut found, &mut budget);
            len += added.map_err(|what| (word, what, 0))?;
            if len > COLUMN_LEN_MAX {
                return Err((word, "longer than 2048 bytes, groups put in", 0));
            }
            if column == IMAGE && found.len() > 1 {
                return Err((word, "one image is expected", 0));
            }
        }
        Ok(())
    }

    fn add_keys<'a>(&mut self, keys: &'a str, names: &'a str) -> Result<(), Wrong<'a>> {
        let at = self.lines.len() as u32 - 1;
        if let Some(group) = keys.strip_prefix('@') {
            if !matches!(names, "" | MISSING) {
                return Err((names, "a group has no name: - is expected", 0));
            }
            let key = Key::new(Kind::Group, group).ok_or((keys, NO_GROUP_NAME, 0))?;
            return self.insert(keys, key, at, 0);
        }
        let mut count = 0_u128;
        for term in terms(keys) {
            count += self.add_term(term, at, count)?;
        }
        if matches!(names, "" | MISSING) {
            return Ok(());
        }
        let expanded = expand(names, NODES_MAX).map_err(|what| (names, what, 0))?;
        if expanded.len() as u128 != count || keys == "*" {
            return Err((names, "as many names as keys are expected, or -", 0));
        }
        for (nth, name) in expanded.into_iter().enumerate() {
            let key = Key::new(Kind::Name, &name).ok_or((names, NO_NAME, 0))?;
            self.insert(names, key, at, nth as u32)?;
            self.names.push(name);
        }
        Ok(())
    }

    /// Adds what one term of the keys stands for, `before` of the line's are before it; how
    /// many they are.
    fn add_term<'a>(&mut self, term: &'a str, at: u32, before: u128) -> Result<u128, Wrong<'a>> {
        let wrong = |what| (term, what, 0);
        let nth = u32::try_from(before).map_err(|_| wrong("too many addresses before this"))?;
        if let Some(addresses) = Addresses::parse(term) {
            let addresses = addresses.map_err(wrong)?;
            // Of ranges that overlap the first line goes first; one stands once.
            self.insert(term, Key { kind: Kind::Address, text: term.into() }, at, nth)?;
            self.addresses.push((addresses, at, nth));
            return Ok(addresses.last().saturating_add(1));
        }
        let key = match term.split_once('=') {
            _ if term == "*" => Some(Key { kind: Kind::Any, text: String::new() }),
            Some((word, value)) => {
                let kind = Key::kind_of(word).ok_or(wrong(NO_KEY))?;
                Some(Key::new(kind, value).ok_or(wrong(NO_KEY))?)
            }
            None => Key::new(Kind::Mac, term).or_else(|| Key::new(Kind::Uuid, term)),
        };
        if let Some(key) = key {
            return self.insert(term, key, at, nth).map(|()| 1);
        }
        let names = expand(term, NODES_MAX - self.nodes_count.min(NODES_MAX)).map_err(wrong)?;
        let count = names.len();
        for (one, name) in names.into_iter().enumerate() {
            let is_name = name.bytes().any(|byte| byte.is_ascii_alphabetic());
            let key = Key::new(Kind::Host, &name).filter(|_| is_name).ok_or(wrong(NO_KEY))?;
            self.insert(term, key, at, nth + one as u32)?;
        }
        Ok(count as u128)
    }

    fn insert<'a>(&mut self, part: &'a str, key: Key, at: u32, nth: u32) -> Result<(), Wrong<'a>> {
        let is_name = key.kind == Kind::Name;
        self.nodes_count += usize::from(!is_name && !matches!(key.kind, Kind::Group | Kind::Any));
        if self.nodes_count > NODES_MAX {
            return Err((part, "more keys than there may be nodes (65536)", 0));
        }
        match self.keys.insert(key, (at, nth)) {
            Some((line, _)) => Err((part, TWICE, self.lines[line as usize].number)),
            None => Ok(()),
        }
    }

    /// Appends the words of a column, with those of groups in their place; the bytes of
    /// all of them. A group stands above the lines that name it, so that none leads to
    /// itself.
    fn spread<'a>(
        &'a self,
        text: &'a str,
        column: usize,
        found: &mut Vec<&'a str>,
        budget: &mut u32,
    ) -> Result<usize, &'static str> {
        let mut len = 0;
        for word in words(text, column) {
            *budget = budget.checked_sub(1).ok_or("more than 256 words, groups put in")?;
            if let Some(group) = word.strip_prefix('@') {
                let group = Key::new(Kind::Group, group).ok_or(NO_GROUP_NAME)?;
                let (line, _) = self.keys.get(&group).ok_or("no line above has this group")?;
                len += self.spread(self.column(*line, column), column, found, budget)?;
            } else {
                len += word.len() + 1;
                found.push(word);
            }
        }
        Ok(len)
    }

    fn column(&self, line: u32, column: usize) -> &str {
        let Range { start, end } = self.lines[line as usize].columns[column];
        &self.text[start as usize..end as usize]
    }

    /// What it says of the node that is known by these keys and asks from this address.
    /// Of several lines that fit, those with firmware's keys go before host names, these
    /// before addresses, these before `*`; then the first.
    pub fn find(&self, keys: &[Key], address: IpAddr) -> Option<Found<'_>> {
        let of_table = |key: &Key| self.keys.get(key).copied();
        let exact = keys.iter().filter(|key| key.kind != Kind::Host).filter_map(of_table).min();
        let (line, nth, own_name) = match exact {
            Some((line, nth)) => (line, nth, None),
            None => self.find_host(keys).or_else(|| self.find_address(address)).or_else(|| {
                let any = Key { kind: Kind::Any, text: String::new() };
                of_table(&any).map(|(line, nth)| (line, nth, None))
            })?,
        };
        let known = &self.lines[line as usize];
        let given = known.has_names.then(|| self.names.get((known.names + nth) as usize).cloned());
        let words = |column| {
            let mut found = Vec::new();
            // What a line may hold was seen when it was read.
            let _ =
                self.spread(self.column(line, column), column, &mut found, &mut u32::MAX.clone());
            found
        };
        Some(Found {
            line: known.number,
            name: given.unwrap_or(own_name),
            image: words(IMAGE).pop(),
            layers: words(LAYERS),
            words: words(WORDS),
        })
    }

    /// The line of a host name, or of what of it is before the first dot: its name, too.
    fn find_host(&self, keys: &[Key]) -> Option<(u32, u32, Option<String>)> {
        let hosts = keys.iter().filter(|key| key.kind == Kind::Host);
        let names = hosts.flat_map(|key| [Some(&*key.text), key.text.split('.').next()]);
        names.flatten().find_map(|name| {
            let key = Key { kind: Kind::Host, text: name.into() };
            self.keys.get(&key).map(|(line, nth)| (*line, *nth, Some(key.text)))
        })
    }

    fn find_address(&self, address: IpAddr) -> Option<(u32, u32, Option<String>)> {
        self.addresses.iter().find_map(|(addresses, line, before)| {
            let place = addresses.place(address)?;
            // Where there are names there are no more than fit.
            Some((*line, before.saturating_add(place as u32), None))
        })
    }
}

/// The columns of a line, each empty where it is missing; `None` where all are. Of a line
/// that ends with an image of a group, layers and words are the group's, too.
fn columns(line: &str) -> Option<[&str; COLUMNS]> {
    let is_comment = |(at, _): &(usize, &str)| {
        line[..*at].chars().next_back().is_none_or(|before| before.is_ascii_whitespace())
    };
    let end = line.match_indices('#').find(is_comment).map_or(line.len(), |(at, _)| at);
    let mut rest = line[..end].trim_ascii();
    let mut columns = [&line[..0]; COLUMNS];
    for column in &mut columns[..WORDS] {
        let len = rest.find(|c: char| c.is_ascii_whitespace()).unwrap_or(rest.len());
        (*column, rest) = rest.split_at(len);
        rest = rest.trim_ascii_start();
    }
    columns[WORDS] = rest;
    if columns[LAYERS].is_empty() && columns[IMAGE].starts_with('@') {
        (columns[LAYERS], columns[WORDS]) = (columns[IMAGE], columns[IMAGE]);
    }
    (!columns[0].is_empty()).then_some(columns)
}

/// The words of a column.
fn words(text: &str, column: usize) -> impl Iterator<Item = &str> {
    let parts = move |c: char| c.is_ascii_whitespace() || c == ',' && column == LAYERS;
    text.split(parts).filter(|word| !word.is_empty() && *word != MISSING)
}
