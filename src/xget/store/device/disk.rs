//! An open device, and what is done with stretches of it. What goes wrong says where on it.

use super::super::error::DestError;
use crate::os::{block, file};
use nix::errno::Errno;
use peer::failure::Status;
use std::cell::Cell;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::rc::Rc;

pub struct Disk {
    /// As the operator named it.
    pub path: PathBuf,
    /// Claimed, until it is given up.
    pub file: Rc<File>,
    /// What others are served from: a claim would last as long as a reply on its way to somebody.
    pub served: Rc<File>,
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
        let mut done = 0;
        while done < bytes.len() {
            match self.file.write_at(&bytes[done..], offset + done as u64) {
                Ok(0) => return Err(self.unwritten(offset, bytes, &ErrorKind::WriteZero.into())),
                Ok(count) => {
                    self.is_torn.set(true);
                    done += count;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.unwritten(offset, bytes, &error)),
            }
        }
        Ok(())
    }

    fn unwritten(&self, offset: u64, bytes: &[u8], error: &io::Error) -> DestError {
        self.failed("write", offset, bytes.len() as u64, error)
    }

    /// Makes a stretch zeros, as far as whole blocks go, and the device can; where it `is_zeros`
    /// already, only if it is discarded by that. What reads as something else afterwards is to be
    /// written, whatever was tried.
    pub fn zero(&self, offset: u64, len: u64, is_zeros: bool) {
        let whole = len - len % self.block_bytes;
        if whole == 0 {
            return;
        }
        let punched = block::punch(&self.file, offset, whole);
        let zeroed = match punched {
            Err(_) if !is_zeros => block::zero_out(&self.file, offset, whole),
            done => done,
        };
        if [punched, zeroed].iter().any(may_have_changed) {
            self.is_torn.set(true);
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

/// What is refused as a whole leaves everything as it was; what fails may fail in the middle.
fn may_have_changed(done: &Result<(), Errno>) -> bool {
    !matches!(
        done,
        Err(Errno::EACCES
            | Errno::EBADF
            | Errno::EINVAL
            | Errno::ENOTTY
            | Errno::EOPNOTSUPP
            | Errno::EPERM
            | Errno::EROFS)
    )
}
