//! Why a request fails: an errno and a text, and the errors that clients know.
//!
//! A dialect sends one of the two or both: 9P2000 the text, 9P2000.L the errno,
//! 9P2000.u both. So an error always has both.

use alloc::borrow::Cow;
use alloc::string::String;
use core::fmt;

/// Bytes of an error's text that are sent; the rest is cut off. Recent Linux
/// gives the reply to a small request a buffer of 7 + 128 + 4 bytes, and drops
/// the connection above that (net/9p/protocol.c, `p9_msg_buf_size`).
pub const ERROR_TEXT_MAX: usize = 100;

/// Why a request failed: the body of Rerror and of Rlerror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// A Linux errno, 1 to 4095. Anything else is sent as EIO.
    pub errno: u16,
    /// What went wrong, in words; at most [`ERROR_TEXT_MAX`] bytes are sent.
    /// Linux mounts of 9P2000 find the errno by this text (net/9p/error.c), so
    /// the constants of this crate have the exact words.
    pub text: Cow<'static, str>,
}

impl Error {
    /// An error in words that are known at compile time.
    pub const fn new(errno: u16, text: &'static str) -> Error {
        Error { errno, text: Cow::Borrowed(text) }
    }

    /// An error in words that are made on the spot.
    pub const fn with(errno: u16, text: String) -> Error {
        Error { errno, text: Cow::Owned(text) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl core::error::Error for Error {}

/// No such file in this directory.
pub const ENOENT: Error = Error::new(2, "No such file or directory");
/// Reading or writing failed on the server.
pub const EIO: Error = Error::new(5, "Input/output error");
/// The file may not be opened so.
pub const EACCES: Error = Error::new(13, "Permission denied");
/// A walk from what is no directory.
pub const ENOTDIR: Error = Error::new(20, "Not a directory");
/// A directory was to be read or written as a file.
pub const EISDIR: Error = Error::new(21, "Is a directory");
/// An argument that no file would take.
pub const EINVAL: Error = Error::new(22, "Invalid argument");
/// The tree cannot be changed.
pub const EROFS: Error = Error::new(30, "Read-only file system");
/// A message that this dialect or this server does not have.
pub const EOPNOTSUPP: Error = Error::new(95, "Operation not supported");
/// What the fid stood for is gone.
pub const ESTALE: Error = Error::new(116, "Stale file handle");
/// The number stands for nothing: no attach or walk gave it to a file. The
/// words are lib9p's, the errno is that of diod and QEMU; so for the next two.
pub const BAD_FID: Error = Error::new(9, "fid unknown or out of range");
/// The number that an attach or a walk wants to give stands for a file already.
pub const FID_IN_USE: Error = Error::new(9, "fid already in use");
/// The fid is not open, or open in another mode, or open where it may not be.
pub const BAD_USE_OF_FID: Error = Error::new(9, "bad use of fid");
/// The tag stands for a request that is not answered yet.
pub const DUPLICATE_TAG: Error = Error::new(22, "duplicate tag");
/// A directory is read on from where the last read ended, or from 0 (read(5)).
pub const BAD_DIR_OFFSET: Error = Error::new(22, "bad offset in directory read");
/// A connection has as many fids as it may have.
pub const TOO_MANY: Error = Error::new(24, "Too many open files");
