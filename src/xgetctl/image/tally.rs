//! What a tree weighs: as it lies on disk, and as it will lie in a node's tmpfs.
//!
//! tmpfs holds whole pages of what is no hole, each file once whatever its number of
//! names. Looks at names and sizes, never into files.

use crate::failure::{Doing, Failure, Outcome};
use crate::interrupt;
use rustix::fs::{SeekFrom, seek};
use serde::Serialize;
use std::collections::HashSet;
use std::fs::{File, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use walkdir::WalkDir;

const PAGE_BYTES: u64 = 4096;
/// What the kernel keeps for each inode of a tmpfs besides its pages: inode, name and
/// entry of the directory, about (/proc/slabinfo: shmem_inode_cache, dentry).
const INODE_BYTES: u64 = 1024;
/// What a node needs for a root: so much of its weight in tmpfs, in hundredths, and
/// so much besides, for kernel, agent and the transfer.
const NODE_PERCENT: u64 = 115;
const NODE_BYTES: u64 = 150 << 20;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    pub files: u64,
    pub directories: u64,
    pub symlinks: u64,
    /// Devices, fifos and sockets.
    pub special: u64,
    pub apparent_bytes: u64,
    pub tmpfs_bytes: u64,
}

impl Tally {
    /// Of a tree, or of one file.
    pub fn of(path: &Path) -> Outcome<Tally> {
        let mut tally = Tally::default();
        let mut seen = HashSet::new();
        for entry in WalkDir::new(path) {
            interrupt::check()?;
            let entry = entry.map_err(|error| Failure::source(format!("cannot look: {error}")))?;
            let status = entry.metadata().doing("look at", entry.path())?;
            let again = status.nlink() > 1
                && !status.is_dir()
                && !seen.insert((status.dev(), status.ino()));
            if !again {
                tally.add(entry.path(), &status)?;
            }
        }
        Ok(tally)
    }

    fn add(&mut self, path: &Path, status: &Metadata) -> Outcome {
        let kind = status.file_type();
        self.tmpfs_bytes += INODE_BYTES;
        if kind.is_file() {
            self.files += 1;
            self.apparent_bytes += status.len();
            self.tmpfs_bytes += data_bytes(path, status)?;
        } else if kind.is_dir() {
            self.directories += 1;
        } else if kind.is_symlink() {
            self.symlinks += 1;
        } else if kind.is_fifo() || kind.is_socket() || status.rdev() != 0 || kind.is_char_device()
        {
            self.special += 1;
        }
        Ok(())
    }

    /// Memory that a node needs to come up with it as its root.
    pub fn node_bytes(&self) -> u64 {
        self.tmpfs_bytes * NODE_PERCENT / 100 + NODE_BYTES
    }
}

/// Bytes of whole pages that are no hole. A file that takes less room than it is long
/// has holes, or lies on a file system that compresses.
fn data_bytes(path: &Path, status: &Metadata) -> Outcome<u64> {
    let whole = status.len().next_multiple_of(PAGE_BYTES);
    if status.blocks() * 512 >= status.len() {
        return Ok(whole);
    }
    let file = File::open(path).doing("open", path)?;
    let (mut at, mut bytes) = (0, 0);
    while let Ok(start) = seek(&file, SeekFrom::Data(at)) {
        let end = seek(&file, SeekFrom::Hole(start)).doing("look for holes in", path)?;
        bytes += end.next_multiple_of(PAGE_BYTES) - start / PAGE_BYTES * PAGE_BYTES;
        at = end;
    }
    Ok(bytes.min(whole))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;
    use std::fs;
    use std::os::unix::fs::{FileExt, symlink};

    #[test]
    fn hard_links_count_once_and_holes_not_at_all() {
        let dir = Scratch::new();
        fs::write(dir.join("one"), b"x").unwrap();
        fs::hard_link(dir.join("one"), dir.join("two")).unwrap();
        symlink("nowhere", dir.join("link")).unwrap();
        let sparse = File::create(dir.join("sparse")).unwrap();
        sparse.set_len(1 << 30).unwrap();
        sparse.write_all_at(b"island", 1 << 20).unwrap();
        let tally = Tally::of(&dir).unwrap();
        assert_eq!((tally.files, tally.directories, tally.symlinks), (2, 1, 1));
        assert_eq!(tally.apparent_bytes, (1 << 30) + 1);
        let most = 4 * INODE_BYTES + PAGE_BYTES + (64 << 10);
        assert!(tally.tmpfs_bytes <= most, "{tally:?}");
        assert!(tally.tmpfs_bytes >= 4 * INODE_BYTES + 2 * PAGE_BYTES, "{tally:?}");
        assert!(tally.node_bytes() > NODE_BYTES);
    }
}
