//! What is for one node alone, in `.xget/alone/NODE` of the root of what is served: read when that
//! node asks, and kept nowhere.
//!
//! No name on the way is a symlink, and nobody but its owner may look into `.xget/alone`. Refuses
//! to know who asks, and how it travels (`peer::alone`).

use super::error::{NoteReason, ServeError};
use super::name;
use super::scan::{Scan, ScanStep};
use super::served::ServedTree;
use super::served_root::ServedRoot;
use crate::os::file;
use nix::errno::Errno;
use peer::alone::{BYTES_MAX, ENTRIES_MAX, Head};
use peer::content::manifest::EntryKind;
use peer::content::pieces::{ManifestPieces, PieceMap};
use peer::master::Packed;
use std::io::{Error, ErrorKind};
use std::mem;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use zeroize::Zeroizing;

const ALONE: &[u8] = b"alone";
/// The same for people, from the root of what is served.
const DIR: &str = ".xget/alone";
/// Nobody but the owner may look into it.
const OTHERS: u32 = 0o077;
/// How often it is read where it changes meanwhile.
const TRIES: u32 = 3;
/// Hashed between two looks at how much it is.
const SLICE_BYTES: u64 = 1 << 20;

/// Why it cannot be given: the path below `.xget/alone`, and what is wrong with it.
type Wrong = (Vec<u8>, String);

/// What became of it, with a line for the operator where there is something that cannot be given.
pub type Done = (Packed, Option<String>);

/// What there is for a node in a served directory, on its way into memory: a slice at a time,
/// since others are served meanwhile.
pub struct Packing {
    served: PathBuf,
    node: String,
    /// Its directory, once it was found.
    root: Option<Rc<OwnedFd>>,
    stage: Stage,
    tries_left: u32,
}

/// Twice the same, or begun anew: what is written meanwhile does not come in parts.
enum Stage {
    Begun,
    First(Box<Scan>),
    Reading(Box<Contents>),
    /// What was read, if it is still that: its manifest as it was, and how many files.
    Second(Box<Scan>, Box<Contents>),
}

impl Packing {
    pub fn of(served: &Path, node: String) -> Packing {
        let (served, stage) = (served.to_path_buf(), Stage::Begun);
        Packing { served, node, root: None, stage, tries_left: TRIES }
    }

    /// Works for a slice; gives what became of it when that is known.
    pub fn step(&mut self) -> Option<Done> {
        match self.advance() {
            Ok(packed) => packed.map(|packed| (packed, None)),
            Err((below, why)) => {
                let (path, node) = (self.served.join(DIR), &self.node);
                let sign = if below.is_empty() { "" } else { "/" };
                let below = String::from_utf8_lossy(&below);
                let text = format!("{}{sign}{below}: {why}; {node} waits for it", path.display());
                Some((Packed::Wrong, Some(text)))
            }
        }
    }

    fn advance(&mut self) -> Result<Option<Packed>, Wrong> {
        self.stage = match mem::replace(&mut self.stage, Stage::Begun) {
            Stage::Begun => {
                if self.root.is_none() {
                    self.root = find(&self.served, &self.node)?.map(Rc::new);
                }
                let Some(root) = &self.root else { return Ok(Some(Packed::None)) };
                if self.tries_left == 0 {
                    return Err((self.node.clone().into(), "it changes while it is read".into()));
                }
                self.tries_left -= 1;
                Stage::First(Box::new(self.scan(root)?))
            }
            Stage::First(mut scan) => match self.is_scanned(&mut scan)? {
                false => Stage::First(scan),
                true => Stage::Reading(Box::new(Contents::of(self.tree(*scan)?, &self.node)?)),
            },
            Stage::Reading(mut contents) => match (contents.read(&self.node)?, &self.root) {
                (Reading::More, _) => Stage::Reading(contents),
                (Reading::Whole, Some(root)) => Stage::Second(Box::new(self.scan(root)?), contents),
                _ => Stage::Begun,
            },
            Stage::Second(mut scan, contents) => match self.is_scanned(&mut scan)? {
                false => Stage::Second(scan, contents),
                true if self.tree(*scan)?.manifest.encode() == *contents.encoded => {
                    return Ok(Some(contents.packed()));
                }
                true => Stage::Begun,
            },
        };
        Ok(None)
    }

    fn wrong(&self, why: impl ToString) -> Wrong {
        (self.node.as_bytes().to_vec(), why.to_string())
    }

    fn scan(&self, fd: &Rc<OwnedFd>) -> Result<Scan, Wrong> {
        let path = self.served.join(DIR).join(&self.node);
        let dev = file::stat_dir(fd).map_err(|errno| self.wrong(Error::from(errno)))?.dev;
        let root = ServedRoot { path, fd: fd.clone(), dev, single: None, one_file_system: false };
        Scan::of(Rc::new(root)).map_err(|error| self.wrong(error))
    }

    fn is_scanned(&self, scan: &mut Scan) -> Result<bool, Wrong> {
        let step = scan.step(SLICE_BYTES).map_err(|error| self.wrong(error))?;
        if scan.entries_count() > ENTRIES_MAX {
            let why = format!("it has more than {ENTRIES_MAX} entries, which is the most");
            return Err(self.wrong(why));
        }
        match step {
            ScanStep::Hashing { total_bytes, .. } if total_bytes > BYTES_MAX as u64 => {
                Err(self.wrong(too_large(total_bytes)))
            }
            step => Ok(matches!(step, ScanStep::Done)),
        }
    }

    fn tree(&self, scan: Scan) -> Result<ServedTree, Wrong> {
        let tree = scan.finish().map_err(|error| self.wrong(error))?;
        let lacks = |reason: &NoteReason| !matches!(reason, NoteReason::Special(_));
        match tree.notes.iter().find(|note| lacks(&note.reason)) {
            Some(note) => {
                let below = [self.node.as_bytes(), b"/", &note.path].concat();
                Err((below, note.reason.to_string()))
            }
            None => Ok(tree),
        }
    }
}

/// The node's directory; nothing where there is no such name, and only then: whatever else keeps
/// it from being found is a mistake, and a node does without its secrets by none of these.
fn find(served: &Path, node: &str) -> Result<Option<OwnedFd>, Wrong> {
    let failed = |errno: Errno| (Vec::new(), Error::from(errno).to_string());
    let top = match file::open_dir(served) {
        // One file is served.
        Err(Errno::ENOTDIR) if served.is_file() => return Ok(None),
        opened => opened.map_err(failed)?,
    };
    let Some(own) = below(&top, name::RESERVED, b"")? else { return Ok(None) };
    let Some(alone) = below(&own, ALONE, b"")? else { return Ok(None) };
    let status = file::stat_dir(&alone).map_err(failed)?;
    let wrong = |why: &str| Err((Vec::new(), why.into()));
    if status.mode & OTHERS != 0 {
        return wrong("others can look into it: chmod 700 it, and make new secrets if they did");
    }
    if ![0, file::user()].contains(&status.uid) {
        return wrong("it belongs to somebody else, who knows what is in it");
    }
    below(&alone, node.as_bytes(), node.as_bytes())
}

/// A directory in one, if there is one; `said` is what is said of it below `.xget/alone`.
fn below(dir: &OwnedFd, name: &[u8], said: &[u8]) -> Result<Option<OwnedFd>, Wrong> {
    match file::open_dir_at(dir, name) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::ENOENT) => Ok(None),
        // A file or a link of that name is a mistake.
        Err(Errno::ENOTDIR | Errno::ELOOP) => Err((said.to_vec(), "it is no directory".into())),
        Err(errno) => Err((said.to_vec(), Error::from(errno).to_string())),
    }
}

fn too_large(bytes: u64) -> String {
    format!("it has {bytes} bytes, and {BYTES_MAX} at most may be for one node alone")
}

/// All of a tree as it travels, as far as it was read.
struct Contents {
    tree: ServedTree,
    encoded: Zeroizing<Vec<u8>>,
    map: PieceMap,
    bytes: Zeroizing<Vec<u8>>,
    /// The next piece.
    piece: u32,
}

enum Reading {
    More,
    Whole,
    /// One is another by now.
    Changed,
}

impl Contents {
    fn of(tree: ServedTree, node: &str) -> Result<Contents, Wrong> {
        let manifest = &tree.manifest;
        let encoded = Zeroizing::new(manifest.encode());
        let len = usize::try_from(manifest.bytes_total()).unwrap_or(usize::MAX);
        let head = Head::layer(encoded.len(), len)
            .ok_or_else(|| (node.into(), too_large(encoded.len() as u64 + len as u64)))?;
        let map = PieceMap::new(ManifestPieces::of(&encoded, manifest.piece_len), manifest);
        let piece = map.manifest_pieces().count();
        let head = head.encode();
        // As long as it will be: a secret is not left in memory that was too short for it.
        let mut bytes = Zeroizing::new(Vec::with_capacity(head.len() + encoded.len() + len));
        bytes.extend_from_slice(&head);
        bytes.extend_from_slice(&encoded);
        Ok(Contents { tree, encoded, map, bytes, piece })
    }

    /// Reads one piece more.
    fn read(&mut self, node: &str) -> Result<Reading, Wrong> {
        let Contents { tree, map, bytes, piece, .. } = self;
        let manifest = &tree.manifest;
        if *piece >= map.count() {
            return Ok(Reading::Whole);
        }
        let start = bytes.len();
        for extent in map.extents(manifest, *piece) {
            let below = || [node.as_bytes(), b"/", &manifest.path(extent.entry)].concat();
            let file = match tree.open(extent.entry) {
                Ok(file) => file,
                Err(ServeError::Changed(_)) => return Ok(Reading::Changed),
                Err(ServeError::Io(_, errno)) => {
                    return Err((below(), Error::from(errno).to_string()));
                }
            };
            let from = bytes.len();
            bytes.resize(from + extent.len as usize, 0);
            match file.read_exact_at(&mut bytes[from..], extent.offset) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                    return Ok(Reading::Changed);
                }
                Err(error) => return Err((below(), error.to_string())),
            }
        }
        if map.verify(manifest, *piece, &bytes[start..]).is_err() {
            return Ok(Reading::Changed);
        }
        *piece += 1;
        Ok(Reading::More)
    }

    fn packed(self) -> Packed {
        let is_file = |kind| !matches!(kind, EntryKind::Dir);
        let entries = &self.tree.manifest.entries;
        let files = entries.iter().filter(|entry| is_file(entry.kind)).count();
        Packed::Layer(self.bytes, files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::scratch::Dir;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    fn served() -> Dir {
        let dir = Dir::new();
        fs::create_dir_all(dir.join(".xget/alone/n1")).unwrap();
        fs::set_permissions(dir.join(".xget/alone"), Permissions::from_mode(0o700)).unwrap();
        dir
    }

    /// What became of it, after how many slices; `meanwhile` is called after each.
    fn packed(dir: &Dir, meanwhile: &mut dyn FnMut(usize)) -> (Done, usize) {
        let mut packing = Packing::of(dir.path(), "n1".into());
        for slices in 1.. {
            if let Some(done) = packing.step() {
                return (done, slices);
            }
            meanwhile(slices);
        }
        unreachable!("it ends");
    }

    #[test]
    fn it_is_read_in_slices_since_others_are_served_meanwhile() {
        let dir = served();
        let len = BYTES_MAX / 2;
        fs::write(dir.join(".xget/alone/n1/large"), vec![7; len]).unwrap();
        let (done, slices) = packed(&dir, &mut |_| {});
        let (Packed::Layer(bytes, 1), None) = done else { panic!("{done:?}") };
        assert!(bytes.len() > len && bytes.ends_with(&[7; 99]));
        let each = SLICE_BYTES as usize;
        assert!(slices >= 2 * len / each, "{slices} slices for two looks at {len} bytes");
    }

    #[test]
    fn what_changes_between_two_slices_is_read_anew_and_not_for_ever() {
        let dir = served();
        let path = dir.join(".xget/alone/n1/one");
        fs::write(&path, "0").unwrap();
        let (done, _) = packed(&dir, &mut |slice| {
            if slice == 3 {
                fs::write(&path, "another").unwrap();
            }
        });
        let (Packed::Layer(bytes, 1), None) = done else { panic!("{done:?}") };
        assert!(bytes.ends_with(b"another"));
        let (done, _) = packed(&dir, &mut |slice| fs::write(&path, slice.to_string()).unwrap());
        let (Packed::Wrong, Some(why)) = done else { panic!("{done:?}") };
        assert!(why.contains("n1: it changes while it is read; n1 waits for it"), "{why}");
    }
}
