//! `xget ls`: what a master serves, as ls(1) shows what is in a directory.
//!
//! Knows what was asked for and in which order it is shown; `ls::lines` knows how an entry
//! looks. All is read from the manifest, which is verified.

mod complete;
mod lines;

use super::master::{Master, Named};
use crate::console::print_bytes;
use crate::failed::{Failed, USAGE, exit_code};
use crate::os::terminal;
use lexopt::{Arg, Parser};
use lines::{Format, Lines, file_of, joined};
use peer::content::manifest::{Entry, EntryKind, Manifest};
use peer::content::patterns::{has_wildcard, is_sound, typed, unquote};
use peer::control::printable;
use peer::failure::Status;
use peer::request::source_is_below;
use std::cmp::Reverse;
use std::ffi::OsString;
use std::io::{IsTerminal, stdout};
use std::os::unix::ffi::OsStringExt;

pub const HELP: &str = "\
xget ls: what a master serves

usage: xget ls [-l] [-h] [-R] [-d] [-1] [-t] [-S] [-r] [-n MASTER[:PORT]] [-p PORT] [--json] [PATTERN...]

Lists the directory that a PATTERN names, or the file; without one, the top of what
is served. In a PATTERN `*` and `?` stand for what is in a name, `[...]` for one
character of it, and `**` for any number of directories; `\\` quotes them. Names
with a dot in front are listed as all others.

  -l                 mode, owner, group, bytes, time and name, and where a link leads
  -h                 bytes in kB, MB, GB; alone it is this help
  -t, -S, -r         newest first, largest first, the other way round
  -R                 and all that is below
  -d                 directories themselves, not what is in them
  -1                 one name a line, as where standard output is no terminal
  -n MASTER[:PORT]   the master, or several, parted by commas: the first that answers.
                     Without it XGET_MASTER, that which this system was booted from,
                     this machine, or whoever answers on the network
  -p PORT            its port (20004)
  --json             one list of objects: path, type, mode, uid, gid, bytes, mtime,
                     digest, target. A name that is not UTF-8 has U+FFFD in it, and
                     path_encoded beside it, with % and two digits for each odd byte
  --complete TEXT    for shells: names that begin with TEXT, within 0.3 s or none

On a terminal names are quoted as one would type them to a shell, and no name acts
on it; else they are printed as they are.

exit status: 0 all of it; 2 usage; 3 no master answers; 4 a PATTERN fits nothing (the
others are listed); 5 what the master sent is not what it says; 6 not enough memory
";

/// In which order names are listed: as they stand in the manifest, by one of these, or turned.
#[derive(Clone, Copy, Default)]
struct Order {
    by: Option<fn(&Entry) -> i128>,
    is_turned: bool,
}

impl Order {
    fn sort(self, manifest: &Manifest, places: &mut [Place]) {
        if let Some(key) = self.by {
            places.sort_by_key(|(entry, _)| Reverse(key(file_of(manifest, *entry))));
        }
        if self.is_turned {
            places.reverse();
        }
    }
}

/// What was asked for.
#[derive(Default)]
struct Asked {
    named: Named,
    is_long: bool,
    is_human: bool,
    order: Order,
    is_recursive: bool,
    lists_dirs: bool,
    is_single: bool,
    is_json: bool,
    /// What a shell has of a name.
    typed: Option<Vec<u8>>,
    patterns: Vec<Vec<u8>>,
}

impl Asked {
    fn parse(args: Vec<OsString>) -> Result<Asked, String> {
        let mut asked = Asked::default();
        let mut parser = Parser::from_args(args);
        while let Some(arg) = parser.next().map_err(|error| error.to_string())? {
            match arg {
                Arg::Short('l') => asked.is_long = true,
                Arg::Short('h') => asked.is_human = true,
                Arg::Short('t') => asked.order.by = Some(|entry| entry.mtime_s.into()),
                Arg::Short('S') => asked.order.by = Some(|entry| entry.size.into()),
                Arg::Short('r') => asked.order.is_turned = true,
                Arg::Short('R') => asked.is_recursive = true,
                Arg::Short('d') => asked.lists_dirs = true,
                Arg::Short('1') => asked.is_single = true,
                // They are listed anyway; who is used to it types it.
                Arg::Short('a' | 'A') => {}
                Arg::Long("json") => asked.is_json = true,
                Arg::Long("complete") => {
                    let typed = parser.value().map_err(|error| error.to_string())?;
                    asked.typed = Some(typed.into_vec());
                }
                Arg::Value(pattern) => asked.patterns.push(typed(&pattern.into_vec())),
                Arg::Short(letter) => {
                    if !asked.named.take(letter, &mut parser)? {
                        return Err(format!("unknown option -{letter}; see xget ls --help"));
                    }
                }
                Arg::Long(name) => {
                    return Err(format!("unknown option --{name}; see xget ls --help"));
                }
            }
        }
        match asked.patterns.iter().find(|pattern| !source_is_below(pattern)) {
            Some(pattern) if pattern.is_empty() => {
                Err("an empty PATTERN names nothing; without one the top is listed".into())
            }
            Some(pattern) => Err(format!("{}: leads above what is served", printable(pattern))),
            None => Ok(asked),
        }
    }

    fn format(&self) -> Format {
        let is_terminal = stdout().is_terminal();
        let columns = match terminal::size(&stdout()) {
            Some((_, columns)) if is_terminal => Some(columns),
            _ => is_terminal.then_some(80),
        };
        match (self.is_json, self.is_long) {
            (true, _) => Format::Json,
            (_, true) => Format::Long { is_quoted: is_terminal, is_human: self.is_human },
            _ if self.is_single || self.is_recursive && columns.is_none() => {
                Format::Names { is_quoted: is_terminal }
            }
            _ => columns.map_or(Format::Names { is_quoted: false }, Format::Columns),
        }
    }
}

pub fn run(args: Vec<OsString>) -> Result<(), Failed> {
    let asked = Asked::parse(args).map_err(|why| Failed::new(why, USAGE))?;
    if let Some(typed) = &asked.typed {
        complete::complete(&asked.named, typed);
        return Ok(());
    }
    let (manifest, _) = asked.named.ask_any(Master::manifest)?;
    let mut out = Lines::new(&manifest, asked.format());
    let missing = list(&asked, &manifest, &mut out, &mut print_bytes)?;
    print_bytes(&out.end())?;
    if missing.is_empty() {
        return Ok(());
    }
    let named = |pattern: &Vec<u8>| format!("{}: nothing that is served fits", printable(pattern));
    let reasons = missing.iter().map(named).collect();
    Err(Failed { reasons, status: exit_code(Status::Source) })
}

/// One place to list: an entry, and what it is called.
type Place = (u32, Vec<u8>);
type Print<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), Failed>;

/// Lists all, files before what is in directories, and gives the patterns that fit nothing.
fn list(
    asked: &Asked,
    manifest: &Manifest,
    out: &mut Lines,
    print: Print,
) -> Result<Vec<Vec<u8>>, Failed> {
    let mut missing = Vec::new();
    let (mut single, mut dirs): (Vec<Place>, Vec<Place>) = (Vec::new(), Vec::new());
    for pattern in &asked.patterns {
        let found = fitting(manifest, pattern);
        if found.is_empty() {
            missing.push(pattern.clone());
        }
        for (entry, path) in found {
            match directory(asked, manifest, entry, &path) {
                Some(dir) => dirs.push((dir, path)),
                None => single.push((entry, path)),
            }
        }
    }
    if asked.patterns.is_empty() {
        let top = (0, b".".to_vec());
        if asked.lists_dirs { single.push(top) } else { dirs.push(top) }
    }
    let has_heads = asked.is_recursive || single.len() + dirs.len() + missing.len() > 1;
    asked.order.sort(manifest, &mut single);
    asked.order.sort(manifest, &mut dirs);
    out.group(&single);
    // The next to be listed stands last.
    dirs.reverse();
    while let Some((dir, path)) = dirs.pop() {
        let mut children: Vec<Place> = manifest
            .children(dir)
            .map(|child| (child, manifest.entries[child as usize].name.to_vec()))
            .collect();
        asked.order.sort(manifest, &mut children);
        if has_heads {
            out.head(&path);
        }
        out.directory(&children, &path);
        if asked.is_recursive {
            let below = children
                .into_iter()
                .rev()
                .filter(|(child, _)| manifest.entries[*child as usize].kind == EntryKind::Dir);
            dirs.extend(below.map(|(child, name)| (child, joined(&path, &name))));
        }
        print(&out.take())?;
    }
    Ok(missing)
}

/// The directory whose contents are asked for by naming this entry. A link to one stands for
/// it, as with ls(1), but not with `-l`.
fn directory(asked: &Asked, manifest: &Manifest, entry: u32, path: &[u8]) -> Option<u32> {
    let is_dir = |entry: &u32| manifest.entries[*entry as usize].kind == EntryKind::Dir;
    if asked.lists_dirs {
        return None;
    }
    let follows = !asked.is_long || path.ends_with(b"/");
    let followed = || manifest.find(path, true).filter(|_| follows);
    Some(entry).filter(is_dir).or_else(followed).filter(is_dir)
}

/// What a pattern fits, in order, as a fetch would find it: what has just the name that was typed
/// goes before that, and it comes last however it was quoted.
fn fitting(manifest: &Manifest, pattern: &[u8]) -> Vec<Place> {
    let is_dir = |entry: &u32| manifest.entries[*entry as usize].kind == EntryKind::Dir;
    let leads_to_dir = |path: &[u8]| manifest.find(path, true).is_some_and(|entry| is_dir(&entry));
    let literal = |path: &[u8]| {
        let found = manifest.find(path, false).map(|entry| (entry, path.to_vec()));
        found.filter(|_| !path.ends_with(b"/") || leads_to_dir(path)).into_iter().collect()
    };
    let path = unquote(pattern);
    let named: Vec<Place> = literal(&path);
    if !has_wildcard(pattern) || (!named.is_empty() && typed(&path) == pattern) {
        return named;
    }
    let is_of_dirs = pattern.ends_with(b"/") || pattern.ends_with(b"/.");
    let names = pattern.split(|&byte| byte == b'/').filter(|name| !matches!(*name, b"" | b"."));
    let glob = names.collect::<Vec<_>>().join(&b'/');
    let is_name = |name: &[u8]| name == b".." || is_sound(name);
    let found = match glob.split(|&byte| byte == b'/').all(is_name) {
        true => manifest.fitting(&glob),
        false => Vec::new(),
    };
    let found: Vec<Place> = found
        .into_iter()
        .map(|entry| (entry, manifest.path(entry)))
        .filter(|(_, path)| !is_of_dirs || leads_to_dir(path))
        .collect();
    if found.is_empty() { named } else { found }
}

#[cfg(test)]
mod tests;
