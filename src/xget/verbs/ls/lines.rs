//! How entries look: names in columns or lines, `-l`, and JSON.
//!
//! Knows no master and no pattern. Gathers bytes, which somebody takes.

use super::super::json::Object;
use super::super::names::{columns, quoted};
use crate::console::bytes;
use crate::os::clock;
use peer::content::manifest::{Entry, EntryKind, Manifest};
use std::borrow::Cow;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// On a terminal of so many columns.
    Columns(usize),
    /// One a line.
    Names {
        is_quoted: bool,
    },
    Long {
        is_quoted: bool,
        /// Bytes in units that people read.
        is_human: bool,
    },
    Json,
}

pub struct Lines<'a> {
    manifest: &'a Manifest,
    format: Format,
    out: Vec<u8>,
    /// Something was said already.
    has_begun: bool,
}

impl<'a> Lines<'a> {
    pub fn new(manifest: &'a Manifest, format: Format) -> Lines<'a> {
        let out = if format == Format::Json { b"[".to_vec() } else { Vec::new() };
        Lines { manifest, format, out, has_begun: false }
    }

    /// What is to be printed now.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// The rest.
    pub fn end(mut self) -> Vec<u8> {
        if self.format == Format::Json {
            self.out.extend_from_slice(b"\n]\n");
        }
        self.out
    }

    /// What stands above the entries of a directory.
    pub fn head(&mut self, path: &[u8]) {
        if self.format == Format::Json {
            return;
        }
        if self.has_begun {
            self.out.push(b'\n');
        }
        let is_quoted = !matches!(
            self.format,
            Format::Names { is_quoted: false } | Format::Long { is_quoted: false, .. }
        );
        self.out.extend_from_slice(&shown(path, is_quoted));
        self.out.extend_from_slice(b":\n");
        self.has_begun = true;
    }

    /// The entries of the directory at this path.
    pub fn directory(&mut self, children: &[(u32, Vec<u8>)], path: &[u8]) {
        if self.format != Format::Json {
            return self.group(children);
        }
        for (entry, name) in children {
            self.object(*entry, &joined(path, name));
        }
    }

    /// Entries beside each other.
    pub fn group(&mut self, entries: &[(u32, Vec<u8>)]) {
        match self.format {
            Format::Columns(room) => {
                let names: Vec<String> = entries.iter().map(|(_, name)| quoted(name)).collect();
                self.out.extend_from_slice(columns(&names, room).as_bytes());
            }
            Format::Names { is_quoted } => {
                for (_, name) in entries {
                    self.out.extend_from_slice(&shown(name, is_quoted));
                    self.out.push(b'\n');
                }
            }
            Format::Long { is_quoted, is_human } => self.long(entries, is_quoted, is_human),
            Format::Json => entries.iter().for_each(|(entry, path)| self.object(*entry, path)),
        }
        self.has_begun |= !entries.is_empty();
    }

    fn long(&mut self, entries: &[(u32, Vec<u8>)], is_quoted: bool, is_human: bool) {
        let rows: Vec<[String; 3]> =
            entries.iter().map(|(entry, _)| self.figures(*entry, is_human)).collect();
        let wide = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
        let (uids, gids, sizes) = (wide(0), wide(1), wide(2));
        for ((number, name), [uid, gid, size]) in entries.iter().zip(&rows) {
            let entry = &self.manifest.entries[*number as usize];
            let (mode, date) = (mode_text(entry), clock::date(entry.mtime_s));
            let line = format!("{mode} {uid:>uids$} {gid:>gids$} {size:>sizes$} {date} ");
            self.out.extend_from_slice(line.as_bytes());
            self.out.extend_from_slice(&shown(name, is_quoted));
            if entry.kind == EntryKind::Symlink {
                self.out.extend_from_slice(b" -> ");
                self.out.extend_from_slice(&shown(&entry.link, is_quoted));
            }
            self.out.push(b'\n');
        }
    }

    /// Owner, group and size.
    fn figures(&self, number: u32, is_human: bool) -> [String; 3] {
        let entry = &self.manifest.entries[number as usize];
        let size = match entry.kind {
            EntryKind::Device(device) => format!("{}, {}", device >> 20, device & 0xf_ffff),
            _ if is_human => bytes(file_of(self.manifest, number).size),
            _ => file_of(self.manifest, number).size.to_string(),
        };
        [entry.uid.to_string(), entry.gid.to_string(), size]
    }

    fn object(&mut self, number: u32, path: &[u8]) {
        let entry = &self.manifest.entries[number as usize];
        let file = file_of(self.manifest, number);
        let mut object = Object::new()
            .name("path", path)
            .text("type", type_word(entry))
            .text("mode", &format!("{:04o}", entry.mode & 0o7777))
            .number("uid", entry.uid)
            .number("gid", entry.gid)
            .number("bytes", file.size)
            .number("mtime", entry.mtime_s);
        if file.kind == EntryKind::File {
            object = object.text("digest", &format!("blake3:{}", file.digest));
        }
        if entry.kind == EntryKind::Symlink {
            object = object.name("target", &entry.link);
        }
        let text = object.end();
        self.out.extend_from_slice(if self.has_begun { b",\n" } else { b"\n" });
        self.out.extend_from_slice(text.as_bytes());
        self.has_begun = true;
    }
}

/// The file that a name stands for.
pub fn file_of(manifest: &Manifest, number: u32) -> &Entry {
    let entry = &manifest.entries[number as usize];
    match entry.kind {
        EntryKind::Hardlink(first) => &manifest.entries[first as usize],
        _ => entry,
    }
}

/// A path below a directory as it is called.
pub fn joined(dir: &[u8], name: &[u8]) -> Vec<u8> {
    match dir {
        b"." => name.to_vec(),
        _ if dir.ends_with(b"/") => [dir, name].concat(),
        _ => [dir, b"/", name].concat(),
    }
}

fn shown(name: &[u8], is_quoted: bool) -> Cow<'_, [u8]> {
    if is_quoted { quoted(name).into_bytes().into() } else { name.into() }
}

/// The letter of ls(1), and the word for programs.
fn type_of(entry: &Entry) -> (char, &'static str) {
    match (entry.kind, entry.mode & 0o170_000) {
        (EntryKind::Dir, _) => ('d', "directory"),
        (EntryKind::File | EntryKind::Hardlink(_), _) => ('-', "file"),
        (EntryKind::Symlink, _) => ('l', "symlink"),
        // The master could not read it: neither it nor what is below can be fetched.
        (EntryKind::Unreadable, _) => ('?', "unreadable"),
        (_, 0o010_000) => ('p', "fifo"),
        (_, 0o140_000) => ('s', "socket"),
        (_, 0o060_000) => ('b', "block device"),
        (_, 0o020_000) => ('c', "character device"),
        _ => ('?', "special"),
    }
}

fn type_word(entry: &Entry) -> &'static str {
    type_of(entry).1
}

/// `-rwsr-xr-x`
fn mode_text(entry: &Entry) -> String {
    let mut text = String::from(type_of(entry).0);
    for (shift, special, letters) in [(6, 0o4000, "sS"), (3, 0o2000, "sS"), (0, 0o1000, "tT")] {
        let bits = entry.mode >> shift;
        text.push(if bits & 4 > 0 { 'r' } else { '-' });
        text.push(if bits & 2 > 0 { 'w' } else { '-' });
        let runs = bits & 1 > 0;
        text.push(match (entry.mode & special > 0, runs) {
            (false, true) => 'x',
            (false, false) => '-',
            (true, true) => letters.as_bytes()[0].into(),
            (true, false) => letters.as_bytes()[1].into(),
        });
    }
    text
}
