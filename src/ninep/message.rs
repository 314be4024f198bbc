//! The messages of 9P2000, 9P2000.u and 9P2000.L as values.
//!
//! Knows what each message carries; refuses to know how it is encoded (that is
//! `decode.rs` and `encode.rs`) and what a fid stands for (that is `serve`).
//! Requests borrow from the frame they were decoded from: nothing is copied
//! until somebody needs to keep it.

use alloc::string::String;
use alloc::vec::Vec;

/// NOTAG: the tag of Tversion (intro(5)).
pub const NOTAG: u16 = 0xffff;
/// NOFID: "no fid", in Tattach's afid (attach(5)).
pub const NOFID: u32 = 0xffff_ffff;
/// "No numeric user" in .u and .L (n_uname).
pub const NONUNAME: u32 = 0xffff_ffff;
/// Most names in one Twalk (walk(5), MAXWELEM).
pub const WALK_NAMES_MAX: usize = 16;
/// size[4] type[1] tag[2].
pub const HEADER_LEN: usize = 7;
/// Rread's header: size[4] type[1] tag[2] count[4]; the data follow.
pub const RREAD_HEADER_LEN: usize = 11;
/// Room that clients and servers keep for headers within msize (IOHDRSZ).
pub const IO_HEADER_LEN: u32 = 24;

/// Which of the three protocols a session speaks, after Tversion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// 9P2000, as in Plan 9's section 5 manual.
    Plan9,
    /// 9P2000.u: numeric ids, errno beside the error text.
    Unix,
    /// 9P2000.L: Linux' own; errors are errno only.
    Linux,
}

/// What the server says a file is: stable for the life of the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Qid {
    /// QTDIR 0x80, QTSYMLINK 0x02, QTFILE 0.
    pub kind: u8,
    /// 0 means "never cache" to recent Linux clients.
    pub version: u32,
    pub path: u64,
}

pub const QTDIR: u8 = 0x80;
pub const QTSYMLINK: u8 = 0x02;
pub const QTFILE: u8 = 0x00;

/// The attributes of a file, in POSIX terms; each dialect is derived from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attr {
    pub qid: Qid,
    /// st_mode: type bits and permissions.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub nlink: u64,
    pub size: u64,
    pub mtime_s: i64,
    pub mtime_ns: u32,
    /// Last path element; "/" for the root.
    pub name: Vec<u8>,
    /// Target of a symbolic link, else empty.
    pub link: Vec<u8>,
}

/// Up to 16 path names of one Twalk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names<'a> {
    pub list: Vec<&'a [u8]>,
}

/// A request, decoded. Those that change a served tree carry only the fids
/// that clunking rules need: a read-only server refuses them all alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    Version {
        msize: u32,
        version: &'a [u8],
    },
    Auth {
        afid: u32,
    },
    Attach {
        fid: u32,
        afid: u32,
        uname: &'a [u8],
        aname: &'a [u8],
        n_uname: u32,
    },
    Flush {
        oldtag: u16,
    },
    Walk {
        fid: u32,
        newfid: u32,
        names: Names<'a>,
    },
    /// Topen: mode as in open(5): low two bits, 0x10 OTRUNC, 0x40 ORCLOSE.
    Open {
        fid: u32,
        mode: u8,
    },
    /// Tlopen: Linux open(2) flags.
    Lopen {
        fid: u32,
        flags: u32,
    },
    Read {
        fid: u32,
        offset: u64,
        count: u32,
    },
    Write {
        fid: u32,
        offset: u64,
        data: &'a [u8],
    },
    Clunk {
        fid: u32,
    },
    Remove {
        fid: u32,
    },
    Stat {
        fid: u32,
    },
    Wstat {
        fid: u32,
        change: Change,
    },
    Statfs {
        fid: u32,
    },
    Getattr {
        fid: u32,
        mask: u64,
    },
    Setattr {
        fid: u32,
        change: Change,
    },
    Readlink {
        fid: u32,
    },
    Readdir {
        fid: u32,
        offset: u64,
        count: u32,
    },
    Fsync {
        fid: u32,
    },
    /// Tlock, answered with a status.
    Lock {
        fid: u32,
    },
    Getlock {
        fid: u32,
    },
    Xattrwalk {
        fid: u32,
        newfid: u32,
    },
    /// Anything else that the dialect knows and that would change the tree:
    /// Tcreate, Tlcreate, Tsymlink, Tmkdir, Tlink, Trename(at), Tunlinkat,
    /// Tmknod, Txattrcreate.
    Change {
        fid: u32,
    },
}

/// What a Twstat or Tsetattr asks to change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// A new length; control files take 0 as a no-op (`echo x > ctl`).
    pub size: Option<u64>,
    /// Anything besides the length.
    pub other: bool,
}

/// A reply, to be encoded in the session's dialect. `Read` is not here: its
/// data travel beside the header (see `encode::rread_header`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    Version {
        msize: u32,
        version: &'a [u8],
    },
    Attach {
        qid: Qid,
    },
    Flush,
    Walk {
        qids: &'a [Qid],
    },
    /// Ropen and Rlopen.
    Open {
        qid: Qid,
        iounit: u32,
    },
    Write {
        count: u32,
    },
    Clunk,
    Remove,
    Stat {
        attr: &'a Attr,
    },
    Wstat,
    Statfs {
        files: u64,
        blocks: u64,
        block_len: u32,
    },
    Getattr {
        attr: &'a Attr,
    },
    Setattr,
    Readlink {
        target: &'a [u8],
    },
    Fsync,
    /// Rlock: status 0 is success.
    Lock {
        status: u8,
    },
    Getlock,
    /// Rread and Rreaddir: the data as one slice, for small replies.
    Data {
        readdir: bool,
        data: &'a [u8],
    },
    Error(Error),
}

/// Why a request failed: an errno, and the words that 9P2000 sends instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Linux errno, 1..4095.
    pub errno: u16,
    /// At most ERROR_TEXT_MAX bytes go out. For 9P2000 clients on Linux the
    /// exact words matter (net/9p/error.c): use the constants below.
    pub text: alloc::borrow::Cow<'static, str>,
}

/// Recent Linux gives an error reply a buffer of 128 bytes beyond its header.
pub const ERROR_TEXT_MAX: usize = 100;

impl Error {
    pub const fn new(errno: u16, text: &'static str) -> Error {
        Error { errno, text: alloc::borrow::Cow::Borrowed(text) }
    }
    pub fn with(errno: u16, text: String) -> Error {
        Error { errno, text: alloc::borrow::Cow::Owned(text) }
    }
}

pub const EPERM: Error = Error::new(1, "Operation not permitted");
pub const ENOENT: Error = Error::new(2, "No such file or directory");
pub const EIO: Error = Error::new(5, "Input/output error");
pub const EACCES: Error = Error::new(13, "Permission denied");
pub const ENOTDIR: Error = Error::new(20, "Not a directory");
pub const EISDIR: Error = Error::new(21, "Is a directory");
pub const EINVAL: Error = Error::new(22, "Invalid argument");
pub const EROFS: Error = Error::new(30, "Read-only file system");
pub const EOPNOTSUPP: Error = Error::new(95, "Operation not supported");
pub const ESTALE: Error = Error::new(116, "Stale file handle");
/// fid errors keep Plan 9's words; the errno is the one of diod and QEMU.
pub const BAD_FID: Error = Error::new(9, "fid unknown or out of range");
pub const FID_IN_USE: Error = Error::new(9, "fid already in use");
pub const BAD_USE_OF_FID: Error = Error::new(9, "bad use of fid");
pub const DUPLICATE_TAG: Error = Error::new(22, "duplicate tag");
pub const BAD_DIR_OFFSET: Error = Error::new(22, "bad offset in directory read");
pub const TOO_MANY: Error = Error::new(24, "Too many open files");

/// Message types. R is T + 1; the R-types that our client awaits have names too.
pub mod kind {
    pub const RLERROR: u8 = 7;
    pub const TSTATFS: u8 = 8;
    pub const TLOPEN: u8 = 12;
    pub const TLCREATE: u8 = 14;
    pub const TSYMLINK: u8 = 16;
    pub const TMKNOD: u8 = 18;
    pub const TRENAME: u8 = 20;
    pub const TREADLINK: u8 = 22;
    pub const TGETATTR: u8 = 24;
    pub const TSETATTR: u8 = 26;
    pub const TXATTRWALK: u8 = 30;
    pub const TXATTRCREATE: u8 = 32;
    pub const TREADDIR: u8 = 40;
    pub const TFSYNC: u8 = 50;
    pub const TLOCK: u8 = 52;
    pub const TGETLOCK: u8 = 54;
    pub const TLINK: u8 = 70;
    pub const TMKDIR: u8 = 72;
    pub const TRENAMEAT: u8 = 74;
    pub const TUNLINKAT: u8 = 76;
    pub const TVERSION: u8 = 100;
    pub const RVERSION: u8 = 101;
    pub const TAUTH: u8 = 102;
    pub const TATTACH: u8 = 104;
    pub const RATTACH: u8 = 105;
    pub const RERROR: u8 = 107;
    pub const TFLUSH: u8 = 108;
    pub const RFLUSH: u8 = 109;
    pub const TWALK: u8 = 110;
    pub const RWALK: u8 = 111;
    pub const TOPEN: u8 = 112;
    pub const ROPEN: u8 = 113;
    pub const TCREATE: u8 = 114;
    pub const TREAD: u8 = 116;
    pub const RREAD: u8 = 117;
    pub const TWRITE: u8 = 118;
    pub const RWRITE: u8 = 119;
    pub const TCLUNK: u8 = 120;
    pub const RCLUNK: u8 = 121;
    pub const TREMOVE: u8 = 122;
    pub const TSTAT: u8 = 124;
    pub const TWSTAT: u8 = 126;
}

/// The name of a message type, for debug output.
pub fn kind_name(kind: u8) -> &'static str {
    const NAMES: [(u8, &str); 31] = [
        (6, "lerror"),
        (kind::TSTATFS, "statfs"),
        (kind::TLOPEN, "lopen"),
        (kind::TLCREATE, "lcreate"),
        (kind::TSYMLINK, "symlink"),
        (kind::TMKNOD, "mknod"),
        (kind::TRENAME, "rename"),
        (kind::TREADLINK, "readlink"),
        (kind::TGETATTR, "getattr"),
        (kind::TSETATTR, "setattr"),
        (kind::TXATTRWALK, "xattrwalk"),
        (kind::TXATTRCREATE, "xattrcreate"),
        (kind::TREADDIR, "readdir"),
        (kind::TFSYNC, "fsync"),
        (kind::TLOCK, "lock"),
        (kind::TGETLOCK, "getlock"),
        (kind::TLINK, "link"),
        (kind::TMKDIR, "mkdir"),
        (kind::TVERSION, "version"),
        (kind::TAUTH, "auth"),
        (kind::TATTACH, "attach"),
        (106, "error"),
        (kind::TFLUSH, "flush"),
        (kind::TWALK, "walk"),
        (kind::TOPEN, "open"),
        (kind::TREAD, "read"),
        (kind::TWRITE, "write"),
        (kind::TCLUNK, "clunk"),
        (kind::TREMOVE, "remove"),
        (kind::TSTAT, "stat"),
        (kind::TWSTAT, "wstat"),
    ];
    NAMES.iter().find(|(t, _)| *t == kind & !1).map_or("?", |(_, name)| name)
}
