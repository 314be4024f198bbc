//! An open device, and what is done with stretches of it. What goes wrong says where on it.

use super::super::error::DestError;
use crate::os::{block, file};
use nix::errno::Errno;
use peer::failure::Status;
use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::rc::Rc;

pub struct Disk {
    /// As the operator named it.
    pub path: PathBuf,
    pub file: Rc<File>,
    pub size_bytes: u64,
    /// What it is read and written in, at the least.
    pub block_bytes: u64,
    /// It is claimed, so that what was written to it is there. Else it may be anybody's.
    pub is_ours: bool,
    /// Something was written to it, and not yet all. Shared with who says so when the fetch ends.
    pub is_torn: Rc<Cell<bool>>,
}

impl Disk {
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), DestError> {
        self.is_torn.set(true);
        let written = self.file.write_all_at(bytes, offset);
        written.map_err(|error| self.failed("write", offset, bytes.len() as u64, &error))
    }

    /// Makes a stretch zeros, as far as whole blocks go, and the device can; where it `is_zeros`
    /// already, only if it is discarded by that. What reads as something else afterwards is to be
    /// written, whatever was tried.
    pub fn zero(&self, offset: u64, len: u64, is_zeros: bool) {
        self.is_torn.set(true);
        let whole = len - len % self.block_bytes;
        if whole > 0 && block::punch(&self.file, offset, whole).is_err() && !is_zeros {
            let _ = block::zero_out(&self.file, offset, whole);
        }
    }

    pub fn failed(&self, doing: &str, offset: u64, len: u64, error: &io::Error) -> DestError {
        let gone = match file::errno(error) {
            Errno::ENOSPC | Errno::ENXIO | Errno::ENODEV => {
                "; is it there still? See the kernel's log (dmesg)"
            }
            _ => "; see the kernel's log (dmesg)",
        };
        self.wrong(format!("cannot {doing} {len} bytes at offset {offset}: {error}{gone}"))
    }

    /// An error of the device as a whole.
    pub fn wrong(&self, text: String) -> DestError {
        let text = format!("{}: {text}", self.path.display());
        DestError::Other { status: Status::LocalIo, text }
    }
}
