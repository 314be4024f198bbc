//! Reads a device past the page cache: what is on the medium, and not what was written to it.

use super::disk::Disk;
use crate::os::block::{self, Access};
use crate::os::file;
use nix::errno::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

/// Memory is to be at a multiple of this for a direct read, whatever the device (O_DIRECT,
/// open(2)); its blocks may be longer.
const ALIGN_MIN: usize = 4096;

pub struct Medium {
    /// Open for direct reads, where that can be.
    direct: Option<File>,
    cached: Rc<File>,
    align: usize,
    memory: Vec<u8>,
}

impl Medium {
    pub fn of(disk: &Disk) -> Medium {
        let direct = block::open_again(&disk.file, Access::ReadDirect).ok();
        let align = (disk.block_bytes as usize).max(ALIGN_MIN);
        let mut medium = Medium { direct, cached: disk.file.clone(), align, memory: Vec::new() };
        if medium.direct.is_none() {
            medium.go_without();
        }
        medium
    }

    /// All in the page cache is forgotten instead, once.
    fn go_without(&mut self) {
        self.direct = None;
        block::drop_cache(&self.cached);
    }

    /// The bytes of a stretch that begins at a multiple of the device's blocks, or near to it.
    pub fn read(&mut self, offset: u64, len: usize) -> io::Result<&[u8]> {
        if self.direct.is_none() {
            self.memory.resize(len, 0);
            self.cached.read_exact_at(&mut self.memory, offset)?;
            return Ok(&self.memory);
        }
        let align = self.align as u64;
        let (from, to) = (offset - offset % align, (offset + len as u64).next_multiple_of(align));
        let room = (to - from) as usize;
        self.memory.resize(room + self.align, 0);
        let start = self.memory.as_ptr().align_offset(self.align).min(self.align);
        let skip = (offset - from) as usize;
        let place = &mut self.memory[start..start + room];
        let read = self.direct.as_ref().map(|file| read_at_least(file, place, from, skip + len));
        match read {
            Some(Err(error)) if file::errno(&error) == Errno::EINVAL => {
                self.go_without();
                self.read(offset, len)
            }
            Some(Err(error)) => Err(error),
            _ => Ok(&self.memory[start + skip..][..len]),
        }
    }
}

/// Reads so many bytes, and whatever more of the place there is before the device's end.
fn read_at_least(file: &File, place: &mut [u8], offset: u64, least: usize) -> io::Result<()> {
    let mut done = 0;
    while done < least {
        match file.read_at(&mut place[done..], offset + done as u64) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
