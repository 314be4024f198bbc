//! Files with keys for an initramfs, as an archive behind it
//! (Documentation/driver-api/early-userspace/buffer-format.rst).
//!
//! Pure bytes. Refuses to know which keys are in there, and what is before it.

use alloc::vec::Vec;
use zeroize::Zeroizing;

/// The directories that a node looks for keys in ([`KEY_FILE`](super::KEY_FILE)), each after the
/// one that it is in.
const DIRECTORIES: [&str; 2] = ["etc", "etc/xget"];
/// Bytes of an archive with every key that a node can have, at most.
pub const ARCHIVE_LEN_MAX: usize = 2048;

const DIRECTORY: u32 = 0o040_755;
/// For root alone.
const SECRET: u32 = 0o100_600;

/// An archive with these directories, of files for root alone.
pub struct Archive(Zeroizing<Vec<u8>>);

impl Archive {
    /// Without any file. All at once: where it grew, a text would stay.
    pub fn begin() -> Archive {
        let mut archive = Archive(Zeroizing::new(Vec::with_capacity(ARCHIVE_LEN_MAX)));
        DIRECTORIES.iter().for_each(|name| archive.entry(name, DIRECTORY, ""));
        archive
    }

    /// A file at this path, which begins with a slash.
    pub fn add(&mut self, path: &str, text: &str) {
        self.entry(path.trim_start_matches('/'), SECRET, text);
    }

    /// All of it, with its end.
    pub fn finish(mut self) -> Zeroizing<Vec<u8>> {
        self.entry("TRAILER!!!", 0, "");
        self.0
    }

    /// A header of hexadecimal digits, name and contents, each up to a multiple of four.
    fn entry(&mut self, name: &str, mode: u32, text: &str) {
        let Archive(archive) = self;
        let mut fields = [0; 13];
        // The others are numbers of inodes, owners, times and devices.
        (fields[1], fields[6], fields[11]) = (mode, text.len() as u32, name.len() as u32 + 1);
        archive.extend_from_slice(b"070701");
        for field in fields {
            archive.extend(
                (0..8).rev().map(|at| b"0123456789abcdef"[field as usize >> (4 * at) & 15]),
            );
        }
        for part in [[name, "\0"].concat().as_bytes(), text.as_bytes()] {
            archive.extend_from_slice(part);
            let len = archive.len().next_multiple_of(4);
            archive.resize(len, 0);
        }
    }
}
