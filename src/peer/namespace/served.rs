//! The served tree: a manifest's entries as directories, files and links.
//!
//! Knows what an entry is in each view, and its neighbours. Refuses to know
//! control files and what is above the root.

use super::file_id::{EntryId, FileId, View};
use super::generations::Generations;
use crate::content::manifest::{Entry, EntryKind};
use ninep::server::DirEntry;
use ninep::{EACCES, ENOENT, ESTALE, Error};

/// What an entry of this kind is in this view; `None` for what has no bytes to
/// serve.
fn file_id(kind: EntryKind, view: View, id: EntryId) -> Option<FileId> {
    match kind {
        EntryKind::Dir => Some(FileId::Dir(view, id)),
        EntryKind::Symlink => Some(FileId::Link(id)),
        EntryKind::File | EntryKind::Hardlink(_) => Some(match view {
            View::Paper => FileId::FileDir(id),
            View::Plain => FileId::Plain(id),
        }),
        EntryKind::Special | EntryKind::Device(_) | EntryKind::Unreadable => None,
    }
}

/// The child of this name.
///
/// # Errors
/// `ENOENT` where there is none, `EACCES` where it has no bytes to serve,
/// `ESTALE` when the generation is gone.
pub(super) fn child(
    generations: &Generations,
    view: View,
    dir: EntryId,
    name: &[u8],
) -> Result<FileId, Error> {
    let dir = generations.current(dir).ok_or(ESTALE)?;
    let manifest = &generations.content(dir.generation)?.manifest;
    let entry = manifest.child(dir.entry, name).ok_or(ENOENT)?;
    let kind = manifest.entries[entry as usize].kind;
    file_id(kind, view, generations.lasting(EntryId { entry, ..dir })).ok_or(EACCES)
}

/// The first child from `cursor` on that has bytes to serve and `is_shown`. A cursor is the child's place among its siblings.
pub(super) fn child_at(
    generations: &Generations,
    view: View,
    dir: EntryId,
    cursor: u64,
    is_shown: impl Fn(&Entry) -> bool,
) -> Option<DirEntry<FileId>> {
    let dir = generations.current(dir)?;
    let manifest = &generations.content(dir.generation).ok()?.manifest;
    let children = manifest.children(dir.entry);
    let first = children.start;
    children.skip(usize::try_from(cursor).ok()?).find_map(|entry| {
        let known = &manifest.entries[entry as usize];
        if !is_shown(known) {
            return None;
        }
        let place = file_id(known.kind, view, generations.lasting(EntryId { entry, ..dir }))?;
        let next = u64::from(entry - first) + 1;
        Some(DirEntry { name: known.name.to_vec(), file: place, next })
    })
}

/// The directory that holds an entry.
///
/// # Errors
/// `ESTALE` when the generation is gone.
pub(super) fn parent(generations: &Generations, view: View, id: EntryId) -> Result<FileId, Error> {
    let id = generations.current(id).ok_or(ESTALE)?;
    let manifest = &generations.content(id.generation)?.manifest;
    Ok(match manifest.entries[id.entry as usize].parent {
        0 => FileId::Root(view),
        entry => FileId::Dir(view, generations.lasting(EntryId { entry, ..id })),
    })
}
