//! What is wanted of files that are left as they are in the destination, and is not in
//! them: kept aside for those who are served, under no name, until the process ends.

use crate::os::file;
use nix::errno::Errno;
use peer::content::pieces::Extent;
use sorted::{SortedMap, SortedSet};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::rc::Rc;

/// Each file begins at a multiple of this, so that its holes are holes here.
const ALIGN_BYTES: u64 = 4096;

#[derive(Default)]
pub struct Aside {
    file: Option<Rc<File>>,
    /// Where each file begins in it.
    starts: SortedMap<u32, u64>,
    /// Where the stretches begin that are here.
    held: SortedSet<u64>,
    len: u64,
}

impl Aside {
    /// Where the contents of an entry of this size are to go: all of it a hole as yet. The
    /// file is in memory, or in this directory.
    #[inline(never)]
    pub fn place(
        &mut self,
        entry: u32,
        size: u64,
        dir: Option<&OwnedFd>,
    ) -> Result<(Rc<File>, u64), Errno> {
        let file = match &self.file {
            Some(file) => file.clone(),
            None => Rc::new(match dir {
                Some(dir) => file::unnamed_in(dir)?,
                None => file::unnamed_in_memory()?,
            }),
        };
        self.file = Some(file.clone());
        if let Some(start) = self.starts.get(&entry) {
            return Ok((file, *start));
        }
        let start = self.len;
        file.set_len(start + size).map_err(|error| file::errno(&error))?;
        self.len = (start + size).next_multiple_of(ALIGN_BYTES);
        self.starts.insert(entry, start);
        Ok((file, start))
    }

    /// This stretch is here.
    pub fn hold(&mut self, extent: Extent) {
        if let Some(start) = self.starts.get(&extent.entry) {
            self.held.insert(start + extent.offset);
        }
    }

    /// The file, and where an entry begins in it, whose stretch from this offset on is here.
    pub fn get(&self, entry: u32, offset: u64) -> Option<(Rc<File>, u64)> {
        let start = *self.starts.get(&entry)?;
        self.held.contains(&(start + offset)).then_some((self.file.clone()?, start))
    }
}
