//! What a fid can stand for, and the number that names it for good.
//!
//! Knows the kinds of files and that each has a qid path of its own. Refuses
//! to know what is in them.

use super::generation::GenerationId;
use ninep::{QTAUTH, QTDIR, QTFILE, QTSYMLINK};

/// An entry of a generation's manifest, by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryId {
    /// Which generation.
    pub generation: GenerationId,
    /// Which entry of its manifest; 0 is the root.
    pub entry: u32,
}

impl EntryId {
    /// No entry of any generation: what a control file of the node as a whole
    /// is about.
    pub const NONE: EntryId = EntryId { generation: GenerationId(0), entry: 0 };

    /// The root of a generation: what a control file of the generation is about.
    pub fn root(generation: GenerationId) -> EntryId {
        EntryId { generation, entry: 0 }
    }
}

/// How the served tree looks, by the name that was attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// The paper's: with control files; a served file is a directory of them.
    Paper,
    /// `files`: a served file is a file.
    Plain,
}

/// A control file, by its number in the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlId(pub u8);

/// Which of the four kinds of directories a control file stands in, and with
/// it what it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Directory {
    /// `/`
    Root,
    /// `/.xget`
    Control,
    /// `/.xget/<generation>`
    Generation,
    /// `/<path>/<file>`
    File,
}

/// What a fid of the name space stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileId {
    /// The root of either view.
    Root(View),
    /// `/.xget`
    ControlDir,
    /// `/.xget/<generation>`
    GenerationDir(GenerationId),
    /// A served directory below the root.
    Dir(View, EntryId),
    /// A served file as the directory of its control files.
    FileDir(EntryId),
    /// A served file of the plain view.
    Plain(EntryId),
    /// A served symbolic link.
    Link(EntryId),
    /// A control file, and the entry that it is about.
    Control(ControlId, EntryId),
    /// By which somebody proves who he is.
    Auth,
    /// What is for the node alone that has proved who it is.
    Alone,
}

impl FileId {
    /// The control files that stand in this directory are those of this kind,
    /// and are about this entry.
    pub(super) fn controls(&self) -> Option<(Directory, EntryId)> {
        match *self {
            FileId::Root(View::Paper) => Some((Directory::Root, EntryId::NONE)),
            FileId::ControlDir => Some((Directory::Control, EntryId::NONE)),
            FileId::GenerationDir(id) => Some((Directory::Generation, EntryId::root(id))),
            FileId::FileDir(id) => Some((Directory::File, id)),
            _ => None,
        }
    }

    /// The kind of its qid.
    pub(super) fn qid_type(&self) -> u8 {
        match self {
            FileId::Root(_) | FileId::ControlDir | FileId::GenerationDir(_) => QTDIR,
            FileId::Dir(..) | FileId::FileDir(_) => QTDIR,
            FileId::Link(_) => QTSYMLINK,
            FileId::Plain(_) | FileId::Control(..) | FileId::Alone => QTFILE,
            FileId::Auth => QTAUTH,
        }
    }

    /// Unique for the life of the server: generation, entry and what it is. A
    /// tree has at most 2^24 entries (docs/protocol.md, "Limits").
    pub(super) fn qid_path(&self) -> u64 {
        let (tag, id) = match *self {
            FileId::Root(view) => (view as u8, EntryId::NONE),
            FileId::ControlDir => (2, EntryId::NONE),
            FileId::GenerationDir(id) => (3, EntryId::root(id)),
            FileId::Dir(view, id) => (4 + view as u8, id),
            FileId::FileDir(id) => (6, id),
            FileId::Plain(id) => (7, id),
            FileId::Link(id) => (8, id),
            FileId::Auth => (9, EntryId::NONE),
            FileId::Alone => (10, EntryId::NONE),
            FileId::Control(control, id) => (CONTROL_TAG + control.0, id),
        };
        u64::from(id.generation.0) << 40 | u64::from(id.entry) << 8 | u64::from(tag)
    }
}

/// The tags of qid paths from here on are those of control files.
const CONTROL_TAG: u8 = 11;
/// Control files that have a tag.
pub(super) const CONTROLS_MAX: usize = 256 - CONTROL_TAG as usize;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_has_a_path_of_its_own() {
        let mut files = vec![FileId::Root(View::Paper), FileId::Root(View::Plain)];
        files.extend([FileId::ControlDir, FileId::Auth, FileId::Alone]);
        for number in [1, 2, 0xff_ffff] {
            let generation = GenerationId(number);
            files.push(FileId::GenerationDir(generation));
            for entry in [0, 1, 0xff_ffff] {
                let id = EntryId { generation, entry };
                files.extend([FileId::Dir(View::Paper, id), FileId::Dir(View::Plain, id)]);
                files.extend([FileId::FileDir(id), FileId::Plain(id), FileId::Link(id)]);
                let last = CONTROLS_MAX as u8 - 1;
                files.extend([0, 1, last].map(|n| FileId::Control(ControlId(n), id)));
            }
        }
        files.extend([0, 1].map(|n| FileId::Control(ControlId(n), EntryId::NONE)));
        let mut paths: Vec<u64> = files.iter().map(FileId::qid_path).collect();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), files.len());
    }
}
