//! The places of the name space: what a fid can stand for.

use ninep::{QTDIR, QTFILE, QTSYMLINK, Qid};

/// A generation that a node serves, by number; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GenerationId(pub u32);

/// The files that the paper gives to each served file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Data,
    Redir,
    Avail,
    Checksum,
}

pub const ROLES: [(Role, &[u8]); 4] = [
    (Role::Data, b"data"),
    (Role::Redir, b"redir"),
    (Role::Avail, b"avail"),
    (Role::Checksum, b"checksum"),
];

/// Names below `/.xget`.
pub const CONTROLS: [(FileId, &[u8]); 4] = [
    (FileId::Info, b"info"),
    (FileId::Route, b"route"),
    (FileId::Status, b"status"),
    (FileId::Manifest, b"manifest"),
];

/// Names below `/.xget/<generation>`.
pub const STREAMS: [(Stream, &[u8]); 3] =
    [(Stream::List, b"list"), (Stream::Pieces, b"pieces"), (Stream::Held, b"held")];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// The digests of the manifest's pieces.
    List,
    /// All pieces, each at its number times the piece length.
    Pieces,
    /// The same, for those who do not wait: what is not here reads as empty.
    Held,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileId {
    /// The root, with control files; or of the plain tree (attach `files`)
    /// where a served file is a file.
    Root {
        plain: bool,
    },
    Log,
    /// A served directory.
    Dir {
        slot: GenerationId,
        entry: u32,
        plain: bool,
    },
    /// A served file as a directory of its `Role`s.
    FileDir {
        slot: GenerationId,
        entry: u32,
    },
    Member {
        slot: GenerationId,
        entry: u32,
        role: Role,
    },
    /// A served file of the plain tree.
    Plain {
        slot: GenerationId,
        entry: u32,
    },
    Link {
        slot: GenerationId,
        entry: u32,
    },
    Control,
    Info,
    Route,
    Status,
    Manifest,
    Generation {
        slot: GenerationId,
    },
    Stream {
        slot: GenerationId,
        stream: Stream,
    },
}

impl FileId {
    pub fn is_dir(&self) -> bool {
        matches!(
            self,
            FileId::Root { .. }
                | FileId::Dir { .. }
                | FileId::FileDir { .. }
                | FileId::Control
                | FileId::Generation { .. }
        )
    }

    /// Unique for the life of the server: slot, entry and what it is.
    fn path(&self) -> u64 {
        let at = |slot: GenerationId, entry: u32, tag: u64| {
            u64::from(slot.0) << 40 | u64::from(entry) << 5 | tag
        };
        let none = GenerationId(0);
        match *self {
            FileId::Root { plain } => at(none, 0, u64::from(plain)),
            FileId::Log => at(none, 0, 2),
            FileId::Control => at(none, 0, 3),
            FileId::Info => at(none, 0, 4),
            FileId::Route => at(none, 0, 5),
            FileId::Status => at(none, 0, 6),
            FileId::Manifest => at(none, 0, 7),
            FileId::Dir { slot, entry, plain } => at(slot, entry, 8 + u64::from(plain)),
            FileId::FileDir { slot, entry } => at(slot, entry, 10),
            FileId::Member { slot, entry, role } => at(slot, entry, 11 + role as u64),
            FileId::Plain { slot, entry } => at(slot, entry, 15),
            FileId::Link { slot, entry } => at(slot, entry, 16),
            FileId::Generation { slot } => at(slot, 0, 17),
            FileId::Stream { slot, stream } => at(slot, 0, 18 + stream as u64),
        }
    }

    /// Live files have version 0, "never cache" to Linux; what belongs to a
    /// generation never changes.
    pub fn qid(&self) -> Qid {
        let file_type = match self {
            FileId::Link { .. } => QTSYMLINK,
            place if place.is_dir() => QTDIR,
            _ => QTFILE,
        };
        let fixed = matches!(
            self,
            FileId::Member { role: Role::Data, .. } | FileId::Plain { .. } | FileId::Link { .. }
        );
        Qid { file_type, version: u32::from(fixed), path: self.path() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_has_its_own_path() {
        let (slot, entry) = (GenerationId(1), 0);
        let mut places = vec![
            FileId::Root { plain: false },
            FileId::Root { plain: true },
            FileId::Log,
            FileId::Control,
            FileId::Dir { slot, entry, plain: false },
            FileId::Dir { slot, entry, plain: true },
            FileId::FileDir { slot, entry },
            FileId::Plain { slot, entry },
            FileId::Link { slot, entry },
            FileId::Generation { slot },
        ];
        places.extend(CONTROLS.map(|(place, _)| place));
        places.extend(ROLES.map(|(role, _)| FileId::Member { slot, entry, role }));
        places.extend(STREAMS.map(|(stream, _)| FileId::Stream { slot, stream }));
        let mut paths: Vec<u64> = places.iter().map(|p| p.qid().path).collect();
        paths.sort_unstable();
        let count = paths.len();
        paths.dedup();
        assert_eq!(paths.len(), count);
    }
}
