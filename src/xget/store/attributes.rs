//! Owner, extended attributes, mode and time of what is put in place: which, and in what order.
//!
//! Small files are many: one is made with its final mode where that can be,
//! and is not looked at when those before it in its directory tell what it is.

use super::xattrs::{self, Keep, XattrError};
use crate::os::file::{self, Status};
use crate::os::xattr::Xattrs;
use nix::errno::Errno;
use peer::content::manifest::{Entry, EntryKind, XattrSet};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const SETUID: u32 = 0o4000;
const SETGID: u32 = 0o2000;
const WRITE: u32 = 0o222;

/// What a file is made with until it is whole: only its owner may open it.
pub const MODE_IN_PART: u32 = 0o600;

/// The rules of one destination.
pub struct Attributes {
    pub keep_modes: bool,
    pub keep_owners: bool,
    /// What directories are that were there they stay.
    pub keep_dirs: bool,
    pub umask: u32,
    /// The destination itself gets the attributes of the source's root, though it was there.
    pub takes_root: bool,
    /// Files lose the permission to write to them.
    pub read_only: bool,
    newest: Option<Newest>,
}

/// A file that was made: another one made with this mode in this directory
/// has the same owner and mode, whatever the directory hands down.
struct Newest {
    dir: u32,
    mode: u32,
    status: Status,
    /// It had no extended attributes that have to go, as where a directory hands down ACLs.
    is_bare: bool,
}

/// What something is to be.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    pub entry: &'a Entry,
    pub xattrs: Option<&'a XattrSet>,
    /// It has no extended attributes as yet.
    pub is_bare: bool,
}

/// What of it could not be given.
pub enum AttributeError {
    Xattr(XattrError),
    /// Owner, mode or time.
    Other(Errno),
}

impl From<Errno> for AttributeError {
    fn from(cause: Errno) -> AttributeError {
        AttributeError::Other(cause)
    }
}

impl Attributes {
    pub fn new(keep_modes: bool, keep_owners: bool) -> Attributes {
        let umask = file::umask();
        let (keep_dirs, takes_root, read_only) = (false, false, false);
        Attributes {
            keep_modes,
            keep_owners,
            keep_dirs,
            umask,
            takes_root,
            read_only,
            newest: None,
        }
    }

    /// The mode to make a small file with: its final one if it will belong to
    /// whom it is to belong, so that nobody may read it who may not later.
    pub fn mode_of_new(&self, entry: &Entry) -> u32 {
        let now = match &self.newest {
            Some(newest) if newest.dir == entry.parent => newest.status,
            _ => return MODE_IN_PART,
        };
        let owner = self.owner(entry, &now);
        let mode = self.mode(entry, &now, owner, true);
        let plain = mode & !0o777 == 0 && mode & self.umask == 0 && entry.xattrs == 0;
        if plain && owner == (now.uid, now.gid) { mode } else { MODE_IN_PART }
    }

    /// The mode to make a directory with. With modes to come, nobody else enters before;
    /// without, this is final, and a later run could not tell it from one that was there.
    pub fn mode_of_new_dir(&self) -> u32 {
        if self.keep_modes { 0o700 } else { 0o777 }
    }

    /// What a file is that was made with this mode and has its bytes, and whether it has no
    /// extended attributes.
    pub fn status_of_new(
        &mut self,
        entry: &Entry,
        mode: u32,
        file: &File,
    ) -> Result<(Status, bool), Errno> {
        match &self.newest {
            Some(newest) if (newest.dir, newest.mode) == (entry.parent, mode) => {
                Ok((newest.status, newest.is_bare))
            }
            _ => {
                let mut status = file::stat_file(file)?;
                // The next one's time is another: one that no file has.
                status.mtime_ns = u32::MAX;
                let has_any = xattrs::settle(&Xattrs::of(file.as_fd()), None, self.keep(), false);
                let is_bare = has_any == Ok(false);
                self.newest = Some(Newest { dir: entry.parent, mode, status, is_bare });
                Ok((status, is_bare))
            }
        }
    }

    /// What becomes of extended attributes: root has all rights to them.
    pub fn keep(&self) -> Keep {
        Keep { all: self.keep_owners, exactly: self.keep_modes }
    }

    /// The mode that an entry gets when it belongs to this user and group.
    /// Setuid and setgid are a statement on the owner: they go where he does
    /// not come along, as with cp(1). `made` tells what we have made from what
    /// was there, which without `keep_modes` keeps its mode.
    fn mode(&self, entry: &Entry, now: &Status, (uid, gid): (u32, u32), made: bool) -> u32 {
        if !self.keep_modes {
            return match (made, entry.kind) {
                (false, _) => now.permissions(),
                // A directory inherits setgid from the one above (inode(7)).
                (true, EntryKind::Dir) => 0o777 & !self.umask | now.permissions() & SETGID,
                (true, _) => 0o666 & !self.umask,
            };
        }
        let mut mode = entry.mode & 0o7777;
        if uid != entry.uid {
            mode &= !SETUID;
        }
        if gid != entry.gid {
            mode &= !SETGID;
        }
        if self.read_only && entry.kind == EntryKind::File {
            mode &= !WRITE;
        }
        mode
    }

    pub fn owner(&self, entry: &Entry, now: &Status) -> (u32, u32) {
        match self.keep_owners {
            true => (entry.uid, entry.gid),
            false => (now.uid, now.gid),
        }
    }

    /// Whether something that was there needs no change.
    pub fn are_right(&self, wanted: Wanted, now: &Status, of: &Xattrs) -> bool {
        let entry = wanted.entry;
        let owner = self.owner(entry, now);
        owner == (now.uid, now.gid)
            && self.mode(entry, now, owner, false) == now.permissions()
            && has_mtime(entry, now)
            && xattrs::settle(of, wanted.xattrs, self.keep(), false) == Ok(false)
    }

    /// Gives a file or directory its attributes. Leaves alone what is right.
    pub fn set(
        &self,
        fd: BorrowedFd,
        wanted: Wanted,
        now: &Status,
        made: bool,
    ) -> Result<(), AttributeError> {
        let entry = wanted.entry;
        let owner = self.owner(entry, now);
        let chown = owner != (now.uid, now.gid);
        if chown {
            file::set_owner(fd, owner.0, owner.1)?;
        }
        // After the owner, because chown(2) takes capabilities, setuid and setgid away.
        let may_differ = !wanted.is_bare || wanted.xattrs.is_some();
        let of = Xattrs::of(fd);
        let was_changed = may_differ
            && xattrs::settle(&of, wanted.xattrs, self.keep(), true)
                .map_err(AttributeError::Xattr)?;
        // An ACL has changed the mode, too (acl(5)).
        let mode = self.mode(entry, now, owner, made);
        if chown || was_changed || mode != now.permissions() {
            file::set_mode(fd, mode)?;
        }
        if !has_mtime(entry, now) {
            file::set_mtime(fd, entry.mtime_s, entry.mtime_ns)?;
        }
        Ok(())
    }
}

impl Attributes {
    /// The same for what is never opened: a symlink itself, a fifo, a socket, a device.
    pub fn set_at(
        &self,
        dir: &OwnedFd,
        name: &[u8],
        wanted: Wanted,
        now: &Status,
    ) -> Result<(), AttributeError> {
        let entry = wanted.entry;
        let owner = self.owner(entry, now);
        if owner != (now.uid, now.gid) {
            file::set_owner_at(dir, name, owner.0, owner.1)?;
        }
        let settled = xattrs::settle(&Xattrs::at(dir, name)?, wanted.xattrs, self.keep(), true);
        settled.map_err(AttributeError::Xattr)?;
        if !now.is_symlink() {
            file::set_special_mode_at(dir, name, self.mode(entry, now, owner, true))?;
        }
        if !has_mtime(entry, now) {
            file::set_mtime_at(dir, name, entry.mtime_s, entry.mtime_ns)?;
        }
        Ok(())
    }
}

pub fn has_mtime(entry: &Entry, now: &Status) -> bool {
    (entry.mtime_s, entry.mtime_ns) == (now.mtime_s, now.mtime_ns)
}
