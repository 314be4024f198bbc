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
    /// What went wrong, in words; at most [`ERROR_TEXT_MAX`] bytes are sent, and
    /// in plain 9P2000 only words that Linux knows.
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

    /// What a client of plain 9P2000 is told, which gets no errno: the error's
    /// own words where Linux knows them, else those of its errno.
    pub(crate) fn known_text(&self) -> &str {
        if KNOWN.iter().any(|(_, text)| *text == self.text) {
            return &self.text;
        }
        KNOWN.iter().find(|(errno, _)| *errno == self.errno).map_or(EIO_TEXT, |(_, text)| text)
    }
}

const EIO_TEXT: &str = "Input/output error";

/// Words by which a Linux mount of plain 9P2000 finds the errno: it compares the
/// whole text, and what is not in its table (net/9p/error.c) becomes
/// ESERVERFAULT, with a line in the kernel's log. Of several for one errno the
/// first stands for whatever has none of its own. For ESTALE it has no words:
/// the nearest are fossil's, EIDRM there.
const KNOWN: [(u16, &str); 22] = [
    (2, "No such file or directory"),
    (5, EIO_TEXT),
    (9, "Bad file descriptor"),
    (9, "fid unknown or out of range"),
    (9, "fid already in use"),
    (9, "bad use of fid"),
    (11, "Resource temporarily unavailable"),
    (12, "Cannot allocate memory"),
    (13, "Permission denied"),
    (16, "Device or resource busy"),
    (20, "Not a directory"),
    (21, "Is a directory"),
    (22, "Invalid argument"),
    (23, "Too many open files in system"),
    (24, "Too many open files"),
    (29, "bad offset in directory read"),
    (30, "Read-only file system"),
    (71, "Protocol error"),
    (90, "Message too long"),
    (95, "Operation not supported"),
    (105, "No buffer space available"),
    (116, "file has been removed"),
];

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl core::error::Error for Error {}

/// No such file in this directory.
pub const ENOENT: Error = Error::new(2, "No such file or directory");
/// Reading or writing failed on the server.
pub const EIO: Error = Error::new(5, EIO_TEXT);
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
/// None is asked for. In .L the number has to be ENOENT: libnpclient's npc_auth takes only that
/// as "not required".
pub const NO_AUTH: Error = Error::new(2, "authentication not required");
/// words are lib9p's, the errno is that of diod and QEMU; so for the next two.
pub const BAD_FID: Error = Error::new(9, "fid unknown or out of range");
/// The number that an attach or a walk wants to give stands for a file already.
pub const FID_IN_USE: Error = Error::new(9, "fid already in use");
/// The fid is not open, or open in another mode, or open where it may not be.
pub const BAD_USE_OF_FID: Error = Error::new(9, "bad use of fid");
/// The tag stands for a request that is not answered yet.
pub const DUPLICATE_TAG: Error = Error::new(22, "duplicate tag");
/// A directory is read on from where the last read ended, or from 0 (read(5)).
/// ESPIPE, as Linux takes these words.
pub const BAD_DIR_OFFSET: Error = Error::new(29, "bad offset in directory read");
/// A connection has as many fids as it may have.
pub const TOO_MANY: Error = Error::new(24, "Too many open files");

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    /// What net/9p/error.c of Linux 6.12 has for the words that are ours, and
    /// its errno for each.
    const OF_LINUX: [(&str, u16); 22] = [
        ("No such file or directory", 2),
        ("Input/output error", 5),
        ("Bad file descriptor", 9),
        ("fid unknown or out of range", 9),
        ("fid already in use", 9),
        ("bad use of fid", 9),
        ("Resource temporarily unavailable", 11),
        ("Cannot allocate memory", 12),
        ("Permission denied", 13),
        ("Device or resource busy", 16),
        ("Not a directory", 20),
        ("Is a directory", 21),
        ("Invalid argument", 22),
        ("Too many open files in system", 23),
        ("Too many open files", 24),
        ("bad offset in directory read", 29),
        ("Read-only file system", 30),
        ("Protocol error", 71),
        ("Message too long", 90),
        ("Operation not supported", 95),
        ("No buffer space available", 105),
        ("file has been removed", 43), // EIDRM
    ];

    #[test]
    fn plain_9p2000_is_told_what_linux_knows() {
        for errno in 0..300 {
            for text in ["our own words", "Is a directory ", ""] {
                let error = Error::new(errno, text);
                let found = OF_LINUX.iter().find(|(known, _)| *known == error.known_text());
                let (_, of_linux) = found.expect("words that Linux knows");
                let is_ours = KNOWN.iter().any(|(known, _)| *known == errno);
                let wanted = if errno == 116 {
                    43
                } else if is_ours {
                    errno
                } else {
                    5
                };
                assert_eq!(*of_linux, wanted, "errno {errno} as {}", error.known_text());
            }
        }
    }

    #[test]
    fn words_that_linux_knows_are_kept_and_mean_the_same() {
        for error in [BAD_FID, FID_IN_USE, BAD_USE_OF_FID, BAD_DIR_OFFSET, TOO_MANY, EISDIR] {
            assert_eq!(error.known_text(), error.text);
            let (_, of_linux) = OF_LINUX.iter().find(|(known, _)| *known == error.text).unwrap();
            assert_eq!(*of_linux, error.errno);
        }
        assert_eq!(ESTALE.known_text(), "file has been removed");
        assert_eq!(Error::with(13, "no".to_string()).known_text(), "Permission denied");
    }
}
