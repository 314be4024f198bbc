//! `nodes.tab`: a text as a table, and the line of a node in it.
//!
//! Knows columns, groups, precedence and limits (docs/provisioning.md, "nodes.tab").
//! Refuses to know whether images and layers are there. It is in every node's initramfs:
//! places in the text go round, and not parts of it, which makes it a third smaller.

use crate::addresses::Addresses;
use crate::key::{Key, Kind};
use crate::ranges::{expand, term_end};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr};
use sorted::SortedMap;

/// In the root of what is served.
pub const TAB_NAME: &str = "nodes.tab";
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
/// Bytes of a word that are shown with what is wrong about it.
const SHOWN_LEN_MAX: usize = 40;

const MISSING: &str = "-";
const ANY: &str = "*";
const KEY: usize = 0;
const NAME: usize = 1;
const IMAGE: usize = 2;
const LAYERS: usize = 3;
const WORDS: usize = 4;
const COLUMNS: usize = 5;

/// Where something is in the text.
type Span = (u32, u32);

/// A line as it stands in the text.
#[derive(Debug)]
struct Line {
    columns: [Span; COLUMNS],
    /// Where its names begin in the table's, if it has any.
    names: Option<u32>,
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

/// What is wrong with the place that is looked at.
type Wrong = &'static str;

const NO_KEY: &str =
    "MAC, UUID, serial=, asset=, IP addresses, host names, @GROUP or * is expected";
const NO_NAME: &str = "a host name is expected";
const NO_GROUP: &str = "no line above has this group";
const TWICE: &str = "has a line already";

/// What the table says of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found<'a> {
    /// Its name: that of its line, or the host name that is its key.
    pub name: Option<&'a str>,
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
    /// Where it is looked, while the text is read.
    at: usize,
    /// A place that what is there is at odds with.
    other_at: Option<u32>,
}

impl Table {
    /// Reads a text.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Table, Fault> {
        let mut table = Table::default();
        let wrong = match core::str::from_utf8(bytes) {
            _ if bytes.len() > TAB_BYTES_MAX => Err("the file is larger than 1 MiB"),
            Err(error) => {
                table.at = error.valid_up_to();
                Err("this is not UTF-8")
            }
            Ok(text) => {
                table.text = text.into();
                table.read()
            }
        };
        match wrong {
            Ok(()) => Ok(table),
            Err(what) => Err(table.fault(bytes, what)),
        }
    }

    fn fault(&self, bytes: &[u8], what: Wrong) -> Fault {
        let line = |at: usize| bytes[..at].iter().filter(|byte| **byte == b'\n').count() as u32 + 1;
        let before = bytes[..self.at].iter().rev().take_while(|byte| **byte != b'\n');
        let column = before.filter(|byte| **byte & 0xc0 != 0x80).count() as u32 + 1;
        let word = bytes[self.at..].split(u8::is_ascii_whitespace).next().unwrap_or_default();
        Fault {
            line: line(self.at),
            column,
            what,
            word: String::from_utf8_lossy(&word[..word.len().min(SHOWN_LEN_MAX)]).into(),
            other_line: self.other_at.map_or(0, |at| line(at as usize)),
        }
    }

    /// Nodes that have a line of their own; a range of addresses counts for one.
    pub fn nodes_count(&self) -> usize {
        self.nodes_count
    }

    fn read(&mut self) -> Result<(), Wrong> {
        let mut from = 0;
        while from < self.text.len() {
            let rest = &self.text.as_bytes()[from..];
            let len = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
            let wrong = |byte: &u8| byte.is_ascii_control() && !byte.is_ascii_whitespace();
            let odd = rest[..len].iter().position(wrong);
            self.at = from + odd.unwrap_or(0);
            if len > LINE_LEN_MAX || odd.is_some() {
                return Err(
                    "a line of 8192 bytes at most, without control characters, is expected",
                );
            }
            self.add(from as u32, (from + len) as u32)?;
            from += len + 1;
        }
        Ok(())
    }

    fn part(&self, (from, to): Span) -> &str {
        &self.text[from as usize..to as usize]
    }

    /// The first word of a stretch, by white space, and by commas `or_comma`; what is
    /// behind it.
    fn word(&self, (from, to): Span, or_comma: bool) -> Option<(Span, Span)> {
        let parts = |byte: &u8| byte.is_ascii_whitespace() || or_comma && *byte == b',';
        let text = self.part((from, to)).as_bytes();
        let skipped = text.iter().position(|byte| !parts(byte))?;
        let len = text[skipped..].iter().position(parts).unwrap_or(text.len() - skipped);
        let (from, end) = (from + skipped as u32, from + (skipped + len) as u32);
        Some(((from, end), (end, to)))
    }

    fn add(&mut self, from: u32, to: u32) -> Result<(), Wrong> {
        let mut columns = [(from, from); COLUMNS];
        let (mut count, mut rest) = (0, (from, to));
        while let Some((word, behind)) = self.word(rest, false) {
            if self.part(word).starts_with('#') {
                break;
            }
            // The last column is all that is left.
            let start = if count > WORDS { columns[WORDS].0 } else { word.0 };
            columns[count.min(WORDS)] = (start, word.1);
            (count, rest) = (count + 1, behind);
        }
        if count == 0 {
            return Ok(());
        }
        if count == LAYERS && self.part(columns[IMAGE]).starts_with('@') {
            (columns[LAYERS], columns[WORDS]) = (columns[IMAGE], columns[IMAGE]);
        }
        for (column, span) in columns.into_iter().enumerate().skip(IMAGE) {
            self.check(span, column)?;
        }
        let has_names = !matches!(self.part(columns[NAME]), "" | MISSING);
        let names = has_names.then_some(self.names.len() as u32);
        self.lines.push(Line { columns, names });
        self.add_keys(columns[KEY], columns[NAME], has_names)
    }

    /// Whether a column says what can be said in it.
    fn check(&mut self, mut rest: Span, column: usize) -> Result<(), Wrong> {
        let (mut found, mut budget) = (Vec::new(), WORDS_MAX);
        while let Some((word, behind)) = self.word(rest, column == LAYERS) {
            (self.at, rest) = (word.0 as usize, behind);
            self.spread(word, column, &mut found, &mut budget)?;
            if found.iter().map(|(from, to)| to + 1 - from).sum::<u32>() > COLUMN_LEN_MAX as u32 {
                return Err("longer than 2048 bytes, groups put in");
            }
            if column == IMAGE && found.len() > 1 {
                return Err("one image is expected");
            }
        }
        Ok(())
    }

    fn add_keys(&mut self, keys: Span, names: Span, has_names: bool) -> Result<(), Wrong> {
        self.at = keys.0 as usize;
        if let Some(group) = self.part(keys).strip_prefix('@') {
            let key = Key::new(Kind::Group, group).ok_or(NO_KEY)?;
            self.insert(key, 0)?;
            self.at = names.0 as usize;
            return if has_names { Err("a group has no name: - is expected") } else { Ok(()) };
        }
        let (mut count, mut at) = (0_u32, keys.0);
        while at <= keys.1 {
            let end = at + term_end(self.part((at, keys.1)).as_bytes(), 0) as u32;
            self.at = at as usize;
            count = count.saturating_add(self.add_term((at, end), count)?);
            at = end + 1;
        }
        self.at = names.0 as usize;
        if has_names {
            let expanded = expand(self.part(names), NODES_MAX)?;
            if expanded.len() as u32 != count || self.part(keys) == ANY {
                return Err("as many names as keys are expected, or -");
            }
            for (nth, name) in expanded.into_iter().enumerate() {
                self.insert(Key::new(Kind::Name, &name).ok_or(NO_NAME)?, nth as u32)?;
                self.names.push(name);
            }
        }
        Ok(())
    }

    /// Adds what one term of the keys stands for, `nth` of the line's stand before it; how
    /// many they are.
    fn add_term(&mut self, term: Span, nth: u32) -> Result<u32, Wrong> {
        let text = self.part(term);
        if let Some(addresses) = Addresses::parse(text) {
            let addresses = addresses?;
            // Of ranges that overlap the first line goes first; one stands once.
            let key = Key { kind: Kind::Address, text: text.into() };
            self.addresses.push((addresses, self.lines.len() as u32 - 1, nth));
            return self.insert(key, nth).map(|()| addresses.count());
        }
        let key = match text.split_once('=') {
            _ if text == ANY => Some(Key::any()),
            Some((word, value)) => {
                let kind = Key::kind_of(word).ok_or(NO_KEY)?;
                Some(Key::new(kind, value).ok_or(NO_KEY)?)
            }
            None => Key::new(Kind::Mac, text).or_else(|| Key::new(Kind::Uuid, text)),
        };
        if let Some(key) = key {
            return self.insert(key, nth).map(|()| 1);
        }
        let has_names = self.lines.last().is_some_and(|line| line.names.is_some());
        let names = expand(text, NODES_MAX - self.nodes_count)?;
        let count = names.len() as u32;
        // What stands before them has to be counted: by its place a name has its address.
        let end = nth.checked_add(count).ok_or("names are expected before ranges this large")?;
        for (name, nth) in names.into_iter().zip(nth..end) {
            // What has no letter is an address that is none.
            let is_name = name.bytes().any(|byte| byte.is_ascii_alphabetic());
            let key = Key::new(Kind::Host, &name).filter(|_| is_name).ok_or(NO_KEY)?;
            // In the form in which it is found again.
            let name = (!has_names).then(|| Key { kind: Kind::Name, ..key.clone() });
            self.insert(key, nth)?;
            if let Some(name) = name {
                self.insert(name, nth)?;
            }
        }
        Ok(count)
    }

    fn insert(&mut self, key: Key, nth: u32) -> Result<(), Wrong> {
        let is_node = !matches!(key.kind, Kind::Name | Kind::Group | Kind::Any);
        if is_node && self.nodes_count == NODES_MAX {
            return Err("more keys than there may be nodes (65536)");
        }
        self.nodes_count += usize::from(is_node);
        let line = self.lines.len() as u32 - 1;
        let before = self.keys.insert(key, (line, nth));
        self.other_at = before.map(|(line, _)| self.lines[line as usize].columns[KEY].0);
        if before.is_some() { Err(TWICE) } else { Ok(()) }
    }

    /// Appends the words of a column, with those of groups in their place. A group stands
    /// above the lines that name it, so that none leads to itself.
    fn spread(
        &self,
        mut rest: Span,
        column: usize,
        found: &mut Vec<Span>,
        budget: &mut u32,
    ) -> Result<(), Wrong> {
        while let Some((span, behind)) = self.word(rest, column == LAYERS) {
            rest = behind;
            *budget = budget.checked_sub(1).ok_or("more than 256 words, groups put in")?;
            let word = self.part(span);
            if let Some(group) = word.strip_prefix('@') {
                let key = Key::new(Kind::Group, group).ok_or(NO_GROUP)?;
                let (line, _) = self.keys.get(&key).ok_or(NO_GROUP)?;
                self.spread(self.lines[*line as usize].columns[column], column, found, budget)?;
            } else if column != WORDS && word.split('/').any(|name| matches!(name, "" | "." | ".."))
            {
                return Err("a path below the served root is expected");
            } else if word != MISSING {
                found.push(span);
            }
        }
        Ok(())
    }

    /// What it says of the node that is known by these keys and asks from this address.
    /// Of several lines that fit, those with firmware's keys go before host names, these
    /// before addresses, these before `*`; then the first.
    pub fn find<'a>(&'a self, keys: &'a [Key], address: IpAddr) -> Option<Found<'a>> {
        let of_firmware = keys.iter().filter(|key| key.kind != Kind::Host);
        let found = of_firmware.filter_map(|key| self.keys.get(key).copied()).min();
        let host = if found.is_none() { self.find_host(keys) } else { None };
        let found = found.or(host.map(|(found, _)| found)).or_else(|| {
            self.addresses.iter().find_map(|(addresses, line, before)| {
                Some((*line, before.saturating_add(addresses.place(address)?)))
            })
        });
        let (at, nth) = found.or_else(|| self.keys.get(&Key::any()).copied())?;
        let line = &self.lines[at as usize];
        let words = |column: usize| {
            let (mut found, mut budget) = (Vec::new(), u32::MAX);
            // What a line may hold was seen when it was read.
            let _ = self.spread(line.columns[column], column, &mut found, &mut budget);
            found.into_iter().map(|word| self.part(word)).collect::<Vec<&str>>()
        };
        let name = line.names.and_then(|names| self.names.get((names + nth) as usize));
        Some(Found {
            name: name.map(String::as_str).or(host.map(|(_, name)| name)),
            image: words(IMAGE).pop(),
            layers: words(LAYERS),
            words: words(WORDS),
        })
    }

    /// The names of all nodes that have one, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().filter(|key| key.kind == Kind::Name).map(|key| &*key.text)
    }

    /// What it says of the node with this name.
    pub fn named<'a>(&'a self, name: &'a Key) -> Option<Found<'a>> {
        self.keys.get(name).filter(|_| name.kind == Kind::Name)?;
        let found = self.find(core::slice::from_ref(name), IpAddr::V4(Ipv4Addr::UNSPECIFIED))?;
        Some(Found { name: Some(&name.text), ..found })
    }

    /// What the node with this name is known by, but for ranges of addresses: see
    /// [`Table::address`].
    pub fn keys<'a>(&'a self, name: &Key) -> impl Iterator<Item = &'a Key> {
        let place = self.keys.get(name);
        let of_node = move |(_, at): &(&Key, &(u32, u32))| place == Some(*at);
        self.keys.iter().filter(of_node).map(|(key, _)| key).filter(|key| key.word().is_some())
    }

    /// The address that is the key of the node with this name.
    pub fn address(&self, name: &Key) -> Option<IpAddr> {
        let (line, nth) = self.keys.get(name)?;
        let of_line = self.addresses.iter().filter(|(_, at, _)| at == line);
        of_line
            .into_iter()
            .find_map(|(addresses, _, before)| addresses.at(nth.checked_sub(*before)?))
    }

    /// The addresses that are keys: of each range the first and the last.
    pub fn ranges(&self) -> impl Iterator<Item = (IpAddr, IpAddr)> {
        self.addresses.iter().map(|(addresses, ..)| addresses.ends())
    }

    /// The line of a host name, or of what of it is before the first dot, and which it was.
    fn find_host<'a>(&self, keys: &'a [Key]) -> Option<((u32, u32), &'a str)> {
        let host = &*keys.iter().find(|key| key.kind == Kind::Host)?.text;
        let names = [host, host.split('.').next().unwrap_or_default()];
        names.into_iter().find_map(|name| {
            let key = Key { kind: Kind::Host, text: name.into() };
            Some((*self.keys.get(&key)?, name))
        })
    }
}
