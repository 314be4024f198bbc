//! Directories: tables of named children, whatever stands in them.
//!
//! Knows the parent and the children of each: control files first, in the order
//! of the registry, then what is served. Refuses to know what a file does.

use super::file_id::{FileId, View};
use super::generation::{Generation, GenerationId};
use super::space::NameSpace;
use super::{files, served};
use crate::content::digest::Digest;
use crate::content::manifest::{Entry, EntryKind};
use alloc::string::ToString;
use ninep::server::DirEntry;
use ninep::{ENOENT, ENOTDIR, Error};

/// The directory of what is not the paper's. Reserved: no served root entry
/// has this name.
pub(super) const CONTROL_DIR: &str = ".xget";

/// Children whose names are fixed, in order: control files and their directory.
fn fixed(dir: &FileId) -> impl Iterator<Item = (&'static str, FileId)> {
    let controls = dir.controls().into_iter().flat_map(|(directory, id)| {
        files::of(directory).map(move |file| (files::get(file).name(), FileId::Control(file, id)))
    });
    let is_root = *dir == FileId::Root(View::Paper);
    controls.chain(is_root.then_some((CONTROL_DIR, FileId::ControlDir)))
}

/// The directory that holds this one.
///
/// # Errors
/// `ENOTDIR` when it is none, `ESTALE` when its generation is gone.
pub(super) fn parent(space: &NameSpace, dir: &FileId) -> Result<FileId, Error> {
    match *dir {
        FileId::Root(view) => Ok(FileId::Root(view)),
        FileId::ControlDir => Ok(FileId::Root(View::Paper)),
        FileId::GenerationDir(_) => Ok(FileId::ControlDir),
        FileId::Dir(view, id) => served::parent(&space.generations, view, id),
        FileId::FileDir(id) => served::parent(&space.generations, View::Paper, id),
        FileId::Plain(_) | FileId::Link(_) | FileId::Control(..) => Err(ENOTDIR),
        FileId::Auth | FileId::Alone => Err(ENOTDIR),
    }
}

/// The child of this name.
///
/// # Errors
/// `ENOENT` where there is none, `EACCES` where it has no bytes to serve,
/// `ENOTDIR` in what is no directory, `ESTALE` when its generation is gone.
pub(super) fn child(space: &NameSpace, dir: &FileId, name: &[u8]) -> Result<FileId, Error> {
    if let Some((_, found)) = fixed(dir).find(|(known, _)| known.as_bytes() == name) {
        return Ok(found);
    }
    match *dir {
        FileId::Root(view) => {
            let root = space.generations.shown_root().ok_or(ENOENT)?;
            served::child(&space.generations, view, root, name)
        }
        FileId::Dir(view, id) => served::child(&space.generations, view, id, name),
        FileId::ControlDir => {
            let digest = core::str::from_utf8(name).ok().and_then(Digest::parse);
            let found = digest.and_then(|digest| space.generations.of_digest(digest));
            found.map(FileId::GenerationDir).ok_or(ENOENT)
        }
        FileId::GenerationDir(_) | FileId::FileDir(_) => Err(ENOENT),
        FileId::Plain(_) | FileId::Link(_) | FileId::Control(..) => Err(ENOTDIR),
        FileId::Auth | FileId::Alone => Err(ENOTDIR),
    }
}

/// The child at a cursor, or the next one after it; `None` after the last. Without
/// `links` symbolic links are passed over.
#[inline(never)]
pub(super) fn child_at(
    space: &NameSpace,
    dir: &FileId,
    cursor: u64,
    links: bool,
) -> Option<DirEntry<FileId>> {
    let fixed_count = fixed(dir).count() as u64;
    if cursor < fixed_count {
        let (name, place) = fixed(dir).nth(cursor as usize)?;
        return Some(DirEntry { name: name.into(), file: place, next: cursor + 1 });
    }
    let cursor = cursor - fixed_count;
    let is_shown = |entry: &Entry| {
        // A served `log` is hidden where the control file stands in its place.
        (links || entry.kind != EntryKind::Symlink)
            && fixed(dir).all(|(known, _)| known.as_bytes() != &*entry.name)
    };
    let of_served = |view, id| served::child_at(&space.generations, view, id, cursor, is_shown);
    let found = match *dir {
        FileId::Root(view) => of_served(view, space.generations.shown_root()?),
        FileId::Dir(view, id) => of_served(view, id),
        FileId::ControlDir => generation_at(space, cursor),
        _ => None,
    };
    found.map(|entry| DirEntry { next: fixed_count + entry.next, ..entry })
}

/// Their numbers only grow: a cursor stays right while they come and go.
fn generation_at(space: &NameSpace, cursor: u64) -> Option<DirEntry<FileId>> {
    let from = GenerationId(u32::try_from(cursor).ok()?);
    let (id, generation) = space.generations.at_or_after(from)?;
    let (name, next) = (name_of(generation), u64::from(id.0) + 1);
    Some(DirEntry { name, file: FileId::GenerationDir(id), next })
}

/// The name of a generation's directory: 64 hex digits.
pub(super) fn name_of(generation: &Generation) -> alloc::vec::Vec<u8> {
    generation.digest().to_string().into_bytes()
}
