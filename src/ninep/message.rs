//! The messages of 9P2000, 9P2000.u and 9P2000.L as values.
//!
//! Knows what each message carries; refuses to know how it is encoded (that is
//! `wire`) and what a fid stands for (that is `server` and `client`). Requests
//! borrow from the frame they were decoded from: nothing is copied until
//! somebody needs to keep it.

use crate::error::Error;
use alloc::vec::Vec;

/// The tag of Tversion: "no tag" (version(5)).
pub const NOTAG: u16 = 0xffff;
/// "No fid", in Tattach's afid: no authentication (attach(5)).
pub const NOFID: u32 = 0xffff_ffff;
/// "No numeric user", in the n_uname of Tattach (9P2000.u and .L).
pub const NONUNAME: u32 = 0xffff_ffff;
/// Most names in one Twalk (walk(5), MAXWELEM).
pub const WALK_NAMES_MAX: usize = 16;
/// Bytes of every frame's header: `size[4] type[1] tag[2]`.
pub const HEADER_LEN: usize = 7;
/// Bytes of an Rread before its data: `size[4] type[1] tag[2] count[4]`.
pub const RREAD_HEADER_LEN: usize = 11;
/// Bytes of a frame of msize that clients and servers leave to the header of an
/// Rread or a Twrite (IOHDRSZ in lib9p and in Linux): data fill at most the rest.
pub const IO_HEADER_LEN: u32 = 24;

/// Which of the three protocols a session speaks, after Tversion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// 9P2000, as in section 5 of Plan 9's manual.
    Plan9,
    /// 9P2000.u: numeric users, symbolic links, an errno beside the error text.
    Unix,
    /// 9P2000.L: Linux' own file operations; errors are an errno only.
    Linux,
}

impl Dialect {
    /// What Tversion and Rversion call it.
    pub const fn version(self) -> &'static [u8] {
        match self {
            Dialect::Plan9 => b"9P2000",
            Dialect::Unix => b"9P2000.u",
            Dialect::Linux => b"9P2000.L",
        }
    }
}

/// What the server says a file is: stable for the life of the server (intro(5)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Qid {
    /// [`QTDIR`], [`QTAUTH`], [`QTSYMLINK`] or [`QTFILE`]: the qid's type of the manual.
    pub file_type: u8,
    /// Another number when the content is another. 0 tells recent Linux clients
    /// never to cache the file (fs/9p/fid.h).
    pub version: u32,
    /// The number of this file, of no other that the server ever had.
    pub path: u64,
}

/// A [`Qid::file_type`]: a directory.
pub const QTDIR: u8 = 0x80;
/// Type of a file by which somebody proves who he is (attach(5)).
pub const QTAUTH: u8 = 0x08;
/// A [`Qid::file_type`]: a symbolic link (9P2000.u and .L).
pub const QTSYMLINK: u8 = 0x02;
/// A [`Qid::file_type`]: a plain file.
pub const QTFILE: u8 = 0x00;

impl Qid {
    pub(crate) fn is_dir(&self) -> bool {
        self.file_type & QTDIR != 0
    }

    pub(crate) fn is_symlink(&self) -> bool {
        self.file_type & QTSYMLINK != 0
    }
}

/// The attributes of a file in POSIX terms, from which Rstat and Rgetattr are
/// made. They are sent as they are but for what a dialect cannot say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attr {
    /// Its type agrees with that in [`mode`](Attr::mode).
    pub qid: Qid,
    /// st_mode: the type of file and the permissions.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Hard links; 0 is sent as 1.
    pub nlink: u64,
    /// Bytes. Rstat says 0 for directories (stat(5)).
    pub size: u64,
    /// When the content changed, in seconds since 1970. Rstat has 32 bits for it.
    pub mtime_s: i64,
    /// Nanoseconds beside them (9P2000.L).
    pub mtime_ns: u32,
    /// Last element of the path, "/" for the root; at most 255 bytes are sent.
    pub name: Vec<u8>,
    /// Target of a symbolic link, else empty; at most 4095 bytes are sent.
    pub link: Vec<u8>,
}

/// A request, decoded. Of those that would change a served tree only the fid is
/// kept, and whether the rest was well formed: a read-only server refuses them
/// all alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Tversion. Any bytes are a version: what is not known is answered with
    /// "unknown" and not with an error (version(5)).
    Version {
        /// Longest frame that the client wants to see, in bytes.
        msize: u32,
        /// The dialect that it offers.
        version: &'a [u8],
    },
    /// Tauth.
    Auth {
        /// Fid that is to stand for the authentication.
        afid: u32,
        /// Who asks.
        uname: &'a [u8],
        /// For which tree.
        aname: &'a [u8],
    },
    /// Tattach.
    Attach {
        /// Fid for the root of the tree.
        fid: u32,
        /// What Tauth gave, or [`NOFID`].
        afid: u32,
        /// Who asks.
        uname: &'a [u8],
        /// Which tree; usually empty.
        aname: &'a [u8],
        /// Who asks, as a number, or [`NONUNAME`] (9P2000.u and .L).
        n_uname: u32,
    },
    /// Tflush.
    Flush {
        /// Tag of the request to be given up.
        oldtag: u16,
    },
    /// Twalk.
    Walk {
        /// Where it begins.
        fid: u32,
        /// Fid for where it ends.
        newfid: u32,
        /// At most [`WALK_NAMES_MAX`]; each is not empty and has neither NUL nor '/'.
        names: Vec<&'a [u8]>,
    },
    /// Topen.
    Open {
        /// What to open.
        fid: u32,
        /// As in open(5): the low two bits, 0x10 OTRUNC, 0x40 ORCLOSE.
        mode: u8,
    },
    /// Tlopen.
    Lopen {
        /// What to open.
        fid: u32,
        /// As in Linux' open(2).
        flags: u32,
    },
    /// Tread.
    Read {
        /// What to read.
        fid: u32,
        /// Byte to begin at; of a directory, 0 or where the last read ended.
        offset: u64,
        /// Most bytes that the client wants.
        count: u32,
    },
    /// Twrite.
    Write {
        /// What to write to.
        fid: u32,
        /// Byte to begin at.
        offset: u64,
        /// The bytes.
        data: &'a [u8],
    },
    /// Tclunk.
    Clunk {
        /// Given back, also when the reply is an error (clunk(5)).
        fid: u32,
    },
    /// Tremove.
    Remove {
        /// Given back, also when the reply is an error (remove(5)).
        fid: u32,
    },
    /// Tstat.
    Stat {
        /// Of which file.
        fid: u32,
    },
    /// Twstat.
    Wstat {
        /// Of which file.
        fid: u32,
        /// What is to be changed.
        change: AttrChange,
    },
    /// Tstatfs.
    Statfs {
        /// Any file of the file system.
        fid: u32,
    },
    /// Tgetattr.
    Getattr {
        /// Of which file.
        fid: u32,
        /// Which attributes: P9_STATS_* of Linux' net/9p/9p.h.
        mask: u64,
    },
    /// Tsetattr.
    Setattr {
        /// Of which file.
        fid: u32,
        /// What is to be changed.
        change: AttrChange,
    },
    /// Treadlink.
    Readlink {
        /// The link.
        fid: u32,
    },
    /// Treaddir.
    Readdir {
        /// The directory.
        fid: u32,
        /// 0, or the offset that stood beside the last entry that was read.
        offset: u64,
        /// Most bytes that the client wants.
        count: u32,
    },
    /// Tfsync.
    Fsync {
        /// Of which file.
        fid: u32,
    },
    /// Tlock.
    Lock {
        /// Of which file.
        fid: u32,
    },
    /// Tgetlock.
    Getlock {
        /// Of which file.
        fid: u32,
    },
    /// Txattrwalk.
    Xattrwalk {
        /// Of which file.
        fid: u32,
        /// Fid for the extended attribute.
        newfid: u32,
    },
    /// Any other request that the dialect has. All of them would change the
    /// tree: Tcreate, Tlcreate, Tsymlink, Tmknod, Trename, Txattrcreate, Tlink,
    /// Tmkdir, Trenameat, Tunlinkat.
    ChangeTree {
        /// The file or directory that it is about.
        fid: u32,
    },
}

/// What a Twstat or Tsetattr asks to change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttrChange {
    /// A new length, in bytes.
    pub size: Option<u64>,
    /// Anything besides the length. Times that come with a new length are not
    /// counted: the file would get them anyway.
    pub other: bool,
}

/// A reply of a server, to be encoded in the session's dialect. What a client
/// makes of one is a [`wire::reply::Rmessage`](crate::wire::reply::Rmessage).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Rversion.
    Version {
        /// Longest frame from now on, in bytes.
        msize: u32,
        /// `None` is sent as "unknown": none of what was offered (version(5)).
        dialect: Option<Dialect>,
    },
    /// Rauth.
    Auth {
        /// That of the file by which it goes on.
        qid: Qid,
    },
    /// Rattach.
    Attach {
        /// The root's.
        qid: Qid,
    },
    /// Rflush.
    Flush,
    /// Rwalk.
    Walk {
        /// One for each name that was walked; at most [`WALK_NAMES_MAX`].
        qids: Vec<Qid>,
    },
    /// Ropen, or Rlopen in 9P2000.L.
    Open {
        /// The file's.
        qid: Qid,
        /// Most bytes that are read or written as one; 0 is what msize allows.
        iounit: u32,
    },
    /// Rread, with its data. See [`wire::reply::rread_header`] for data that are
    /// not in memory.
    ///
    /// [`wire::reply::rread_header`]: crate::wire::reply::rread_header
    Read {
        /// Empty at the end of the file.
        data: Vec<u8>,
    },
    /// Rwrite.
    Write {
        /// Bytes that were taken.
        count: u32,
    },
    /// Rclunk.
    Clunk,
    /// Rstat.
    Stat {
        /// What the record is made of.
        attr: Attr,
    },
    /// Rwstat.
    Wstat,
    /// Rstatfs: a file system that is full and read-only.
    Statfs {
        /// Files and directories.
        files: u64,
        /// Blocks of data.
        blocks: u64,
        /// Bytes of a block.
        block_len: u32,
    },
    /// Rgetattr.
    Getattr {
        /// What is sent of it is marked as valid: P9_STATS_BASIC.
        attr: Attr,
    },
    /// Rsetattr.
    Setattr,
    /// Rreadlink.
    Readlink {
        /// At most 4095 bytes are sent.
        target: Vec<u8>,
    },
    /// Rreaddir.
    Readdir {
        /// Whole entries; empty at the end of the directory.
        data: Vec<u8>,
    },
    /// Rfsync.
    Fsync,
    /// Rlock: granted.
    Lock,
    /// Rgetlock: nobody holds such a lock.
    Getlock,
    /// Rerror, or Rlerror in 9P2000.L.
    Error(Error),
}
