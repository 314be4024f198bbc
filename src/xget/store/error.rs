//! What can go wrong with a tree on disk, in words: which file, why, and what
//! to do. Knows no file itself.

use super::name;
use nix::errno::Errno;
use peer::content::hex::Hex;
use peer::failure::Status;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// Something in the tree that the operator should know of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Below the served path; of the digest cache its own path.
    pub path: Vec<u8>,
    pub reason: NoteReason,
}

/// What there is to know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoteReason {
    /// It has no entry in the manifest.
    LeftOut(LeftOut),
    /// A directory on another file system, whose entries are not served.
    LeftEmpty,
    /// Neither file, directory nor symlink: this, in words.
    Special(&'static str),
    /// It has an entry, and nobody gets its contents.
    Unreadable(Unreadable),
    CacheUnused(CacheTrouble),
    CacheUnwritten(Errno),
    /// So nothing is known of extended attributes of what is never opened.
    NoProc,
}

/// Why a name on disk gets no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftOut {
    NameTooLong,
    /// It is an unfinished xget's.
    Temporary,
    OtherFileSystem,
}

/// Why the contents of an entry cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    Io(Errno),
    /// What cannot be read is its extended attributes.
    Xattrs(Errno),
    TooDeep,
    /// Something else has its name by now.
    NoFile,
    Symlink,
    KeepsChanging,
}

/// Why a digest cache is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheTrouble {
    Damaged,
    /// It would change the tree by being written.
    InsideTree,
    Io(Errno),
}

/// How a served tree differs from what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    Gone,
    New,
    Changed,
    OtherKind,
    OtherModeOrOwner,
    OtherAttributes,
    OtherEntries,
    LostEntry,
    Unlistable,
    Unseen,
}

/// Why a path cannot be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScanError {
    NotServable(PathBuf),
    Reserved(PathBuf),
    TooMany(PathBuf),
    Io { path: PathBuf, cause: Errno },
}

/// Why a file of the tree cannot be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServeError {
    /// It is not what was hashed.
    Changed(Vec<u8>),
    Io(Vec<u8>, Errno),
}

/// What is done in an `Io` that attributes are the matter of.
pub const SET_ATTRIBUTES: &str = "set owner, mode or time of";
/// The same of what was right when it was looked at.
pub const SET_ATTRIBUTES_LATE: &str = "set owner and mode (it was changed meanwhile) of";
/// What is done with a temporary file or directory that is not ours.
pub const FOREIGN_TEMPORARY: &str = "use what took the temporary name of";

/// What went wrong, and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DestError {
    /// Another process has the lock.
    Busy(PathBuf),
    NotADirectory(PathBuf),
    /// The running system would be replaced by something that is none.
    NoSystem(PathBuf),
    /// So much differs for who only serves.
    TooLittle {
        path: PathBuf,
        aside_bytes: u64,
        most_bytes: u64,
    },
    /// A SHA-256 is wanted of a source that is not one file but so many.
    PinOfMany(usize),
    NoSpace {
        path: PathBuf,
        needed_bytes: u64,
        free_bytes: u64,
    },
    NoFilesLeft {
        path: PathBuf,
        needed: u64,
        free: u64,
    },
    Io {
        doing: &'static str,
        path: PathBuf,
        cause: Errno,
    },
    /// A directory where something else must go.
    DirInTheWay(PathBuf),
    /// Something else, perhaps a symlink, where a directory must go.
    NotDirInTheWay(PathBuf),
    /// The directory that would hold it could not be made.
    NoDirAbove(PathBuf),
    /// The file that it is another name of is not there.
    NoLinkTarget(PathBuf),
    /// The name is one of our temporary files'.
    ReservedName(PathBuf),
    /// The file system takes its name for that of another entry.
    SameName {
        path: PathBuf,
        other: PathBuf,
    },
    /// An extended attribute that is to be set or removed; of an empty name, all.
    Xattr {
        path: PathBuf,
        name: Box<[u8]>,
        cause: Errno,
    },
    /// Of a destination that is no tree, in its words. It ends all.
    Other {
        status: Status,
        text: String,
    },
    WrongSha256 {
        path: PathBuf,
        wanted: [u8; 32],
        found: [u8; 32],
    },
}

impl DestError {
    /// The medium and not one file is what failed: going on is of little use.
    pub fn ends_all(&self) -> bool {
        match self {
            DestError::Io { cause, .. } => matches!(
                cause,
                Errno::ENOSPC | Errno::EDQUOT | Errno::EIO | Errno::EROFS | Errno::ENOMEM
            ),
            DestError::Busy(_)
            | DestError::NotADirectory(_)
            | DestError::NoSystem(_)
            | DestError::TooLittle { .. }
            | DestError::PinOfMany(_)
            | DestError::NoSpace { .. }
            | DestError::NoFilesLeft { .. }
            | DestError::Other { .. }
            | DestError::WrongSha256 { .. } => true,
            DestError::DirInTheWay(_)
            | DestError::NotDirInTheWay(_)
            | DestError::NoDirAbove(_)
            | DestError::NoLinkTarget(_)
            | DestError::ReservedName(_)
            | DestError::Xattr { .. }
            | DestError::SameName { .. } => false,
        }
    }
}

impl fmt::Display for NoteReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoteReason::LeftOut(LeftOut::NameTooLong) => {
                write!(f, "the name is too long to be served")
            }
            NoteReason::LeftOut(LeftOut::Temporary) => {
                write!(f, "left out: the temporary file of an unfinished xget")
            }
            NoteReason::LeftOut(LeftOut::OtherFileSystem) => {
                write!(f, "left out: on another file system (-x)")
            }
            NoteReason::LeftEmpty => write!(f, "left empty: on another file system (-x)"),
            NoteReason::Special(what) => write!(f, "{what}: only clients that are root make it"),
            NoteReason::Unreadable(why) => write!(f, "cannot be read: {why}"),
            NoteReason::NoProc => f.write_str(
                "not there: extended attributes of symlinks, fifos, sockets and devices do not \
                 come along",
            ),
            NoteReason::CacheUnused(why) => write!(f, "digest cache not used: {why}"),
            NoteReason::CacheUnwritten(cause) => {
                write!(f, "digest cache not written: {}", io::Error::from(*cause))
            }
        }
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unreadable::Io(cause) => io::Error::from(*cause).fmt(f),
            Unreadable::Xattrs(cause) => {
                write!(f, "its extended attributes: {}", io::Error::from(*cause))
            }
            Unreadable::TooDeep => f.write_str("directories are too deep here"),
            Unreadable::NoFile => f.write_str("it is no file any more"),
            Unreadable::Symlink => f.write_str("it is a symlink by now"),
            Unreadable::KeepsChanging => f.write_str("it keeps changing"),
        }
    }
}

impl fmt::Display for CacheTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CacheTrouble::Damaged => f.write_str("is damaged or of another version"),
            CacheTrouble::InsideTree => f.write_str("it is inside the served tree"),
            CacheTrouble::Io(cause) => io::Error::from(*cause).fmt(f),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Difference::Gone => "is gone",
            Difference::New => "is new",
            Difference::Changed => "has changed",
            Difference::OtherKind => "is of another kind",
            Difference::OtherModeOrOwner => "has another mode or owner",
            Difference::OtherAttributes => "may have other extended attributes",
            Difference::OtherEntries => "has got or lost entries",
            Difference::LostEntry => "has lost an entry",
            Difference::Unlistable => "cannot be listed any more",
            Difference::Unseen => "cannot be looked at any more",
        })
    }
}

impl fmt::Display for DestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DestError::Busy(path) => write!(f, "another xget is fetching into {path:?}"),
            DestError::NotADirectory(path) => {
                write!(f, "cannot fetch into {path:?}: it is not a directory")
            }
            DestError::NoSystem(path) => write!(
                f,
                "will not make {path:?} the same as the source, which has no etc/ and usr/: \
                 that would delete the running system; name its root (IMAGE/root/.)"
            ),
            DestError::TooLittle { path, aside_bytes, most_bytes } => write!(
                f,
                "{} MiB are not in {path:?} as the master has them, and a worker holds {} MiB in \
                 memory (a quarter of it all, and an eighth of what is free); make it the same \
                 first (--delete)",
                aside_bytes.div_ceil(1 << 20),
                most_bytes >> 20
            ),
            DestError::PinOfMany(files) => {
                write!(f, "a sha256 digest is of one file, but the source has {files} files")
            }
            DestError::NoSpace { path, needed_bytes, free_bytes } => write!(
                f,
                "not enough room in {path:?}: {needed_bytes} bytes are needed, \
                 {free_bytes} bytes are free"
            ),
            DestError::NoFilesLeft { path, needed, free } => {
                write!(f, "the file system of {path:?} can hold {free} more files, not {needed}")
            }
            DestError::Io { doing, path, cause } => {
                write!(f, "cannot {doing} {path:?}: {}", io::Error::from(*cause))?;
                // What a file system like vfat has none of.
                if (*doing, *cause) == (SET_ATTRIBUTES, Errno::EPERM) {
                    f.write_str("; -s does without owners and modes")?;
                }
                Ok(())
            }
            DestError::Other { text, .. } => f.write_str(text),
            DestError::DirInTheWay(path) => {
                write!(f, "cannot put {path:?} in place: a directory is in the way")
            }
            DestError::NotDirInTheWay(path) => write!(
                f,
                "cannot make the directory {path:?}: what has its name is not a directory"
            ),
            DestError::NoDirAbove(path) => {
                write!(f, "cannot make {path:?}: there is no directory for it")
            }
            DestError::NoLinkTarget(path) => {
                write!(f, "cannot make {path:?}: the file that it is another name of is not there")
            }
            DestError::ReservedName(path) => {
                write!(f, "will not make {path:?}: the name is one of xget's temporary files'")
            }
            DestError::SameName { path, other } => write!(
                f,
                "{path:?} and {other:?} are one here: this file system takes their names for the same"
            ),
            DestError::Xattr { path, name, cause } => write!(
                f,
                "cannot set the extended attribute {:?} of {path:?}: {}; it may be removed at the \
                 source (setfattr -x), and -s does without",
                name::full_path("".as_ref(), name),
                io::Error::from(*cause)
            ),
            DestError::WrongSha256 { path, wanted, found } => {
                let (found, wanted) = (Hex(found), Hex(wanted));
                write!(
                    f,
                    "{path:?} has sha256:{found} and not the wanted sha256:{wanted}; \
                     it is not put in place"
                )
            }
        }
    }
}

impl std::error::Error for DestError {}

impl fmt::Display for ScanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ScanError::NotServable(path) => {
                write!(f, "cannot serve {path:?}: it is neither a file nor a directory")
            }
            ScanError::Reserved(path) => write!(
                f,
                "cannot serve {path:?}: the name \".xget\" in it is kept for a directory of \
                 xget's own; rename it, or serve another directory"
            ),
            ScanError::TooMany(path) => {
                write!(f, "cannot serve {path:?}: it has more entries than a manifest can hold")
            }
            ScanError::Io { path, cause } => {
                write!(f, "cannot serve {path:?}: {}", io::Error::from(*cause))
            }
        }
    }
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |path: &[u8]| name::full_path("".as_ref(), path);
        match self {
            ServeError::Changed(path) => {
                write!(f, "{:?} has changed since it was hashed", shown(path))
            }
            ServeError::Io(path, cause) => {
                write!(f, "cannot read {:?}: {}", shown(path), io::Error::from(*cause))
            }
        }
    }
}

impl std::error::Error for ScanError {}
impl std::error::Error for ServeError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Operators search their logs for these.
    #[test]
    fn the_words_of_notes() {
        let denied = Unreadable::Io(Errno::EACCES);
        for (reason, words) in [
            (NoteReason::LeftOut(LeftOut::NameTooLong), "the name is too long to be served"),
            (
                NoteReason::LeftOut(LeftOut::Temporary),
                "left out: the temporary file of an unfinished xget",
            ),
            (
                NoteReason::LeftOut(LeftOut::OtherFileSystem),
                "left out: on another file system (-x)",
            ),
            (NoteReason::LeftEmpty, "left empty: on another file system (-x)"),
            (NoteReason::Special("a fifo"), "a fifo: only clients that are root make it"),
            (NoteReason::Unreadable(denied), "cannot be read: Permission denied (os error 13)"),
            (
                NoteReason::Unreadable(Unreadable::TooDeep),
                "cannot be read: directories are too deep here",
            ),
            (
                NoteReason::CacheUnused(CacheTrouble::Damaged),
                "digest cache not used: is damaged or of another version",
            ),
            (
                NoteReason::CacheUnused(CacheTrouble::InsideTree),
                "digest cache not used: it is inside the served tree",
            ),
            (
                NoteReason::CacheUnwritten(Errno::ENOSPC),
                "digest cache not written: No space left on device (os error 28)",
            ),
        ] {
            assert_eq!(reason.to_string(), words);
        }
    }
}
