//! Open directories of a tree, found from its root one name at a time.
//!
//! A directory is opened in its parent and never through a symlink, so what
//! this gives is inside the root, whatever was moved or planted meanwhile. The
//! number of open descriptors is bounded; a tree may be deeper than that.

use super::files::OpenDirs;
use crate::os::file;
use nix::errno::Errno;
use peer::content::manifest::Entry;
use std::os::fd::OwnedFd;
use std::rc::Rc;

/// A path for one call is cut after the name that makes it longer: with that
/// name it still fits into PATH_MAX.
const PATH_LEN: usize = 3_500;

/// A directory that could not be opened, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirError {
    pub dir: u32,
    pub cause: Errno,
}

pub struct Dirs {
    root: Rc<OwnedFd>,
    open: OpenDirs<u32>,
    /// Directories that have another name than their own for a while.
    others: Vec<(u32, Vec<u8>)>,
}

impl Dirs {
    pub fn new(root: Rc<OwnedFd>) -> Dirs {
        Dirs { root, open: OpenDirs::default(), others: Vec::new() }
    }

    /// The directory of this entry.
    pub fn get(&mut self, entries: &[Entry], dir: u32) -> Result<Rc<OwnedFd>, DirError> {
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
        if below.len() > 1
            && let Some(found) = self.open_below(&fd, entries, &below)
        {
            self.open.put(dir, found.clone());
            return Ok(found);
        }
        for dir in below.into_iter().rev() {
            let opened = file::open_dir_at(&fd, self.name(entries, dir));
            fd = Rc::new(opened.map_err(|cause| DirError { dir, cause })?);
            self.open.put(dir, fd.clone());
        }
        Ok(fd)
    }

    fn find(&mut self, dir: u32) -> Option<Rc<OwnedFd>> {
        if dir == 0 { Some(self.root.clone()) } else { self.open.get(&dir) }
    }

    /// It is found under this name from now on, or under its own again.
    pub fn set_name(&mut self, dir: u32, name: Option<Vec<u8>>) {
        self.others.retain(|(other, _)| *other != dir);
        self.others.extend(name.map(|name| (dir, name)));
    }

    /// The other name of a directory that has one.
    pub fn other_name(&self, dir: u32) -> Option<&[u8]> {
        self.others.iter().find(|(other, _)| *other == dir).map(|(_, name)| &**name)
    }

    fn name<'a>(&'a self, entries: &'a [Entry], dir: u32) -> &'a [u8] {
        self.other_name(dir).unwrap_or(&entries[dir as usize].name)
    }

    /// Goes down all of `below`, the last one first, in as few calls as the paths
    /// allow: in a deep tree, one by one would cost its depth for each directory.
    /// `None` when one cannot be opened, or the kernel does not know the call:
    /// which and why shows when they are opened one by one.
    fn open_below(
        &self,
        from: &Rc<OwnedFd>,
        entries: &[Entry],
        below: &[u32],
    ) -> Option<Rc<OwnedFd>> {
        let (mut fd, mut path) = (from.clone(), Vec::new());
        for (left, &dir) in below.iter().enumerate().rev() {
            path.extend_from_slice(self.name(entries, dir));
            if left == 0 || path.len() > PATH_LEN {
                fd = Rc::new(file::open_dir_below(&fd, &path).ok()?);
                path.clear();
            } else {
                path.push(b'/');
            }
        }
        Some(fd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::scratch::Dir;
    use peer::content::manifest::EntryKind;
    use peer::testing::entry;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// A chain of directories with long names, made as the entries say.
    fn chain(dir: &Dir, depth: u32) -> Vec<Entry> {
        let mut entries = vec![entry(0, "", EntryKind::Dir)];
        let root = Rc::new(file::open_dir(dir.path()).unwrap());
        let mut dirs = Dirs::new(root);
        for number in 0..depth {
            let name = format!("{number:0>200}");
            let at = dirs.get(&entries, number).unwrap();
            file::make_dir_at(&at, name.as_bytes(), 0o755).unwrap();
            entries.push(entry(number, &name, EntryKind::Dir));
        }
        entries
    }

    #[test]
    fn a_deep_directory_is_opened_in_a_few_calls_and_never_through_a_symlink() {
        let dir = Dir::new();
        let entries = chain(&dir, 60);
        let fresh = || Dirs::new(Rc::new(file::open_dir(dir.path()).unwrap()));
        let inode = |fd: &OwnedFd| file::stat_dir(fd).unwrap().ino;
        let (mut dirs, mut step_by_step) = (fresh(), fresh());
        let deepest = dirs.get(&entries, 60).unwrap();
        assert_eq!(dirs.open.len(), 1, "nothing else is kept");
        let wanted: Vec<u64> =
            (1..=60).map(|at| inode(&step_by_step.get(&entries, at).unwrap())).collect();
        assert_eq!(inode(&deepest), wanted[59]);
        // Another may have the first name, and lead to the same by a symlink.
        let first = dir.join(&format!("{:0>200}", 0));
        fs::rename(&first, dir.join("moved")).unwrap();
        symlink("moved", &first).unwrap();
        let shut = fresh().get(&entries, 60).err();
        assert!(matches!(shut, Some(DirError { dir: 1, cause: Errno::ELOOP | Errno::ENOTDIR })));
    }
}
