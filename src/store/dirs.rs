//! Open directories of a tree, found from its root one name at a time.
//!
//! A directory is opened in its parent and never through a symlink, so what
//! this gives is inside the root, whatever was moved or planted meanwhile. The
//! number of open descriptors is bounded; a tree may be deeper than that.

use crate::os::file;
use crate::spread::index::Entry;
use nix::errno::Errno;
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::rc::Rc;

/// Most directories held open at a time, the root not counted.
const OPEN_MAX: usize = 32;

/// A directory that could not be opened, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shut {
    pub dir: u32,
    pub cause: Errno,
}

pub struct Dirs {
    root: Rc<OwnedFd>,
    /// The most recently used ones first.
    open: VecDeque<(u32, Rc<OwnedFd>)>,
}

impl Dirs {
    pub fn new(root: Rc<OwnedFd>) -> Dirs {
        Dirs { root, open: VecDeque::with_capacity(OPEN_MAX) }
    }

    /// The directory of this entry.
    pub fn get(&mut self, entries: &[Entry], dir: u32) -> Result<Rc<OwnedFd>, Shut> {
        if let Some(found) = self.find(dir) {
            return Ok(found);
        }
        let mut below = vec![dir];
        let mut at = entries[dir as usize].parent;
        let mut fd = loop {
            if let Some(found) = self.find(at) {
                break found;
            }
            below.push(at);
            at = entries[at as usize].parent;
        };
        for dir in below.into_iter().rev() {
            let opened = file::open_dir_at(&fd, &entries[dir as usize].name);
            fd = Rc::new(opened.map_err(|cause| Shut { dir, cause })?);
            self.open.truncate(OPEN_MAX - 1);
            self.open.push_front((dir, fd.clone()));
        }
        Ok(fd)
    }

    fn find(&mut self, dir: u32) -> Option<Rc<OwnedFd>> {
        if dir == 0 {
            return Some(self.root.clone());
        }
        let place = self.open.iter().position(|(number, _)| *number == dir)?;
        let used = self.open.remove(place)?;
        let fd = used.1.clone();
        self.open.push_front(used);
        Some(fd)
    }
}
