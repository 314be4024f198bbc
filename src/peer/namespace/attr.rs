//! What stat says of each file.
//!
//! Served files have the attributes of their entry, control files those of the
//! served file that they belong to, and modes and lengths of their own.

use super::directory::{CONTROL_DIR, name_of};
use super::file_id::{ControlId, Directory, EntryId, FileId};
use super::files;
use super::generations::Generations;
use super::space::NameSpace;
use ninep::{Attr, Qid};

/// Type bits of a mode (inode(7)).
const S_IFDIR: u32 = 0o040000;
const S_IFREG: u32 = 0o100000;
const S_IFLNK: u32 = 0o120000;

/// Permission bits of what has none of its own.
const DIR_PERM: u32 = 0o555;
const FILE_PERM: u32 = 0o444;
const LINK_PERM: u32 = 0o777;
const AUTH_PERM: u32 = 0o600;
const ALONE_PERM: u32 = 0o400;

/// Files that are live have version 0, "never cache" to Linux; what belongs to
/// a generation never changes. All names of a file are one file to who mounts us.
pub(super) fn qid(generations: &Generations, file: &FileId) -> Qid {
    let version = match *file {
        FileId::Control(control, _) => files::get(control).version(),
        FileId::Plain(_) | FileId::Link(_) => 1,
        _ => 0,
    };
    let path = match *file {
        FileId::Plain(id) => {
            let file = generations.file_of(id).map_or(id, |file| generations.lasting(file));
            FileId::Plain(file).qid_path()
        }
        _ => file.qid_path(),
    };
    Qid { file_type: file.qid_type(), version, path }
}

/// Everything that stat says.
#[inline(never)]
pub(super) fn attr(space: &NameSpace, file: &FileId) -> Attr {
    let generations = &space.generations;
    let attr = match *file {
        FileId::Root(_) => {
            let root = generations.shown_root().unwrap_or(EntryId::NONE);
            Attr { name: b"/".to_vec(), ..served_dir(generations, root) }
        }
        FileId::ControlDir => dir(Attr { name: CONTROL_DIR.into(), ..Attr::default() }),
        FileId::GenerationDir(id) => {
            let name = generations.get(id).map(name_of).unwrap_or_default();
            dir(Attr { name, ..Attr::default() })
        }
        FileId::Dir(_, id) => served_dir(generations, id),
        FileId::FileDir(id) => dir(owned(generations, id)),
        FileId::Plain(id) => {
            let perm = generations.entry(id).map_or(FILE_PERM, |entry| entry.mode);
            let (size, nlink) = (generations.file_len(id), generations.nlink(id));
            Attr { mode: S_IFREG | perm, size, nlink, ..owned(generations, id) }
        }
        FileId::Link(id) => {
            let link = generations.entry(id).map_or(Default::default(), |e| e.link.to_vec());
            let (mode, size) = (S_IFLNK | LINK_PERM, link.len() as u64);
            Attr { mode, size, link, ..owned(generations, id) }
        }
        FileId::Control(control, id) => of_control(space, control, id),
        FileId::Auth => Attr { mode: S_IFREG | AUTH_PERM, ..Attr::default() },
        FileId::Alone => Attr { mode: S_IFREG | ALONE_PERM, ..Attr::default() },
    };
    Attr { qid: qid(generations, file), nlink: attr.nlink.max(1), ..attr }
}

fn of_control(space: &NameSpace, control: ControlId, id: EntryId) -> Attr {
    let control = files::get(control);
    let base = match control.directory() {
        Directory::File => owned(&space.generations, id),
        Directory::Root | Directory::Control | Directory::Generation => Attr::default(),
    };
    let (mode, size) = (S_IFREG | control.mode(space, id), control.len(space, id));
    Attr { mode, size, name: control.name().into(), ..base }
}

fn dir(attr: Attr) -> Attr {
    Attr { mode: S_IFDIR | DIR_PERM, ..attr }
}

/// Mode and owner of a directory as its source has them. It has one link: how
/// many directories are in it is not counted, which find(1) takes for unknown.
fn served_dir(generations: &Generations, id: EntryId) -> Attr {
    let perm = generations.entry(id).map_or(DIR_PERM, |entry| entry.mode);
    Attr { mode: S_IFDIR | perm, ..owned(generations, id) }
}

/// The name of an entry, whose it is and when it was changed.
fn owned(generations: &Generations, id: EntryId) -> Attr {
    let Some(entry) = generations.entry(id) else { return Attr::default() };
    Attr {
        name: entry.name.to_vec(),
        uid: entry.uid,
        gid: entry.gid,
        mtime_s: entry.mtime_s,
        mtime_ns: entry.mtime_ns,
        ..Attr::default()
    }
}
