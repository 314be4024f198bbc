//! Contents of files that are left as they are in the destination: kept aside for
//! those who are served, under no name, until the process ends.

use crate::os::file;
use nix::errno::Errno;
use sorted::SortedMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::rc::Rc;

#[derive(Default)]
pub struct Aside {
    file: Option<Rc<File>>,
    /// Where each file begins in it.
    starts: SortedMap<u32, u64>,
    len: u64,
}

impl Aside {
    /// Where the contents of an entry of this size are, or are to go. The file is in
    /// memory, or in this directory.
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
        let start = *self.starts.get_or_insert_with(entry, || self.len);
        if start == self.len {
            self.len += size;
        }
        Ok((file, start))
    }

    /// The same of one that has something here.
    pub fn get(&self, entry: u32) -> Option<(Rc<File>, u64)> {
        Some((self.file.clone()?, *self.starts.get(&entry)?))
    }
}
