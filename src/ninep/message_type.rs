//! The numbers and names of 9P's messages.
//!
//! One table for three dialects. It does not say which message belongs to which
//! dialect: that is the decoder's business ([`crate::wire::request`]).
//! Sources: intro(5), diod's protocol.md, Linux' `include/net/9p/9p.h`.

use core::fmt;

/// The type byte of a frame: even for requests (T-messages), odd for their
/// replies (R-messages).
///
/// Shown as the manual writes it:
///
/// ```
/// use ninep::MessageType;
///
/// assert_eq!(MessageType::TREAD.to_string(), "Tread");
/// assert_eq!(MessageType(117), MessageType::RREAD);
/// assert_eq!(MessageType(201).to_string(), "R?");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageType(pub u8);

macro_rules! message_types {
    ($($request:ident $reply:ident $number:literal $name:literal $meaning:literal)*) => {
        impl MessageType {
            $(
                #[doc = concat!("T", $name, ": ", $meaning, ".")]
                pub const $request: MessageType = MessageType($number);
                #[doc = concat!("R", $name, ", the reply to T", $name, ".")]
                pub const $reply: MessageType = MessageType($number + 1);
            )*

            /// The name without its T or R.
            fn base_name(self) -> &'static str {
                match self.0 & !1 {
                    $($number => $name,)*
                    6 => "lerror",
                    106 => "error",
                    _ => "?",
                }
            }
        }
    };
}

message_types! {
    TSTATFS RSTATFS 8 "statfs" "how large the file system is (9P2000.L)"
    TLOPEN RLOPEN 12 "lopen" "opens with flags of open(2) (9P2000.L)"
    TLCREATE RLCREATE 14 "lcreate" "creates and opens a file (9P2000.L)"
    TSYMLINK RSYMLINK 16 "symlink" "creates a symbolic link (9P2000.L)"
    TMKNOD RMKNOD 18 "mknod" "creates a device (9P2000.L)"
    TRENAME RRENAME 20 "rename" "moves a file by its fid (9P2000.L)"
    TREADLINK RREADLINK 22 "readlink" "the target of a symbolic link (9P2000.L)"
    TGETATTR RGETATTR 24 "getattr" "the attributes of a file (9P2000.L)"
    TSETATTR RSETATTR 26 "setattr" "changes attributes (9P2000.L)"
    TXATTRWALK RXATTRWALK 30 "xattrwalk" "a fid for an extended attribute (9P2000.L)"
    TXATTRCREATE RXATTRCREATE 32 "xattrcreate" "creates an extended attribute (9P2000.L)"
    TREADDIR RREADDIR 40 "readdir" "lists a directory (9P2000.L)"
    TFSYNC RFSYNC 50 "fsync" "asks for what was written to be on disk (9P2000.L)"
    TLOCK RLOCK 52 "lock" "takes or gives back a record lock (9P2000.L)"
    TGETLOCK RGETLOCK 54 "getlock" "who holds a record lock (9P2000.L)"
    TLINK RLINK 70 "link" "creates a hard link (9P2000.L)"
    TMKDIR RMKDIR 72 "mkdir" "creates a directory (9P2000.L)"
    TRENAMEAT RRENAMEAT 74 "renameat" "moves a file by its names (9P2000.L)"
    TUNLINKAT RUNLINKAT 76 "unlinkat" "removes a name (9P2000.L)"
    TVERSION RVERSION 100 "version" "agrees on dialect and msize (version(5))"
    TAUTH RAUTH 102 "auth" "begins an authentication (attach(5))"
    TATTACH RATTACH 104 "attach" "a fid for the root of a tree (attach(5))"
    TFLUSH RFLUSH 108 "flush" "gives an earlier request up (flush(5))"
    TWALK RWALK 110 "walk" "a fid for a file below another (walk(5))"
    TOPEN ROPEN 112 "open" "prepares a fid for reading and writing (open(5); not in 9P2000.L)"
    TCREATE RCREATE 114 "create" "creates and opens a file (open(5); not in 9P2000.L)"
    TREAD RREAD 116 "read" "bytes of a file (read(5))"
    TWRITE RWRITE 118 "write" "bytes for a file (read(5))"
    TCLUNK RCLUNK 120 "clunk" "gives a fid back (clunk(5))"
    TREMOVE RREMOVE 122 "remove" "removes a file and gives its fid back (remove(5))"
    TSTAT RSTAT 124 "stat" "the attributes of a file (stat(5); not in 9P2000.L)"
    TWSTAT RWSTAT 126 "wstat" "changes attributes (stat(5); not in 9P2000.L)"
}

impl MessageType {
    /// Rlerror: why a request failed, as an errno (9P2000.L). There is no Tlerror.
    pub const RLERROR: MessageType = MessageType(7);
    /// Rerror: why a request failed, as a text (error(5)). There is no Terror.
    pub const RERROR: MessageType = MessageType(107);

    /// Whether it is the type of a request: T-messages have even numbers.
    fn is_request(self) -> bool {
        self.0 & 1 == 0
    }
}

impl fmt::Display for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = if self.is_request() { "T" } else { "R" };
        write!(f, "{direction}{}", self.base_name())
    }
}

impl fmt::Debug for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} ({})", self.0)
    }
}
