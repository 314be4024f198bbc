//! Landlock: which files this process may open from now on (landlock(7), since Linux 5.13).
//!
//! Knows three system calls and the rights of each version of them. What is looked at without
//! being opened (stat(2), readlink(2), xattrs) is not held back by it, nor is what is open
//! already. Refuses to know which files those are.

#![allow(unsafe_code)]

use super::file;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

/// The same numbers on every architecture; not every libc has names for them.
const CREATE_RULESET: libc::c_long = 444;
const ADD_RULE: libc::c_long = 445;
const RESTRICT_SELF: libc::c_long = 446;
/// Asks for the version in place of a ruleset.
const ASK_VERSION: u32 = 1;
/// The only kind of rule here: a file, or what is beneath a directory.
const PATH_BENEATH: u32 = 1;

const EXECUTE: u64 = 1;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const REMOVE_FILE: u64 = 1 << 5;
const MAKE_REG: u64 = 1 << 8;
const TRUNCATE: u64 = 1 << 14;
const IOCTL_DEV: u64 = 1 << 15;
/// Those that a file can have; all others are a directory's.
const OF_FILES: u64 = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV;
/// What the first version knows, and which version brought one right more, up to the last
/// (LANDLOCK_ACCESS_FS_* of linux/landlock.h).
const FIRST: u64 = (1 << 13) - 1;
const LATER: [(u32, u64); 3] = [(2, 1 << 13), (3, TRUNCATE), (5, IOCTL_DEV)];
/// Since this version a file may be linked or moved from one directory into another; before,
/// nobody may who is held back at all.
const LINKS_SINCE: u32 = 2;
/// Since this version signals and abstract sockets stay with who is held back as much.
const SCOPED_SINCE: u32 = 6;
const SCOPED: u64 = 0b11;

/// What may be done with a file, or beneath a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum May {
    Read,
    /// Files are made, written, and take the names of others.
    Keep,
    /// Everything but to execute.
    Change,
}

impl May {
    fn rights(self) -> u64 {
        match self {
            May::Read => READ_FILE | READ_DIR,
            May::Keep => READ_FILE | WRITE_FILE | TRUNCATE | MAKE_REG | REMOVE_FILE,
            May::Change => !EXECUTE,
        }
    }
}

/// `struct landlock_ruleset_attr`. An older kernel takes more than it knows where that is zero.
#[repr(C)]
#[derive(Default)]
struct RulesetAttr {
    handled_fs: u64,
    handled_net: u64,
    scoped: u64,
}

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct PathBeneathAttr {
    allowed: u64,
    parent_fd: i32,
}

/// What a rule names, as far as it is there, and what may be done with it: whoever has it open can
/// say so where no path leads there any more.
pub type Opened = (Option<OwnedFd>, May);

pub fn named(path: &Path, may: May) -> Opened {
    (open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).ok(), may)
}

/// What the kernel can hold back.
#[derive(Clone, Copy, Debug)]
pub struct Landlock {
    version: u32,
}

impl Landlock {
    /// What is here of it.
    ///
    /// # Errors
    /// The kernel has none (ENOSYS), or it was switched off when it booted (EOPNOTSUPP).
    pub fn find() -> Result<Landlock, Errno> {
        // SAFETY: asked for its version, the call reads no memory.
        let version = unsafe {
            libc::syscall(CREATE_RULESET, std::ptr::null::<RulesetAttr>(), 0usize, ASK_VERSION)
        };
        Errno::result(version).map(|version| Landlock { version: version as u32 })
    }

    /// Whether who may change a directory can link and move from one below it into another.
    pub fn lets_link(self) -> bool {
        self.version >= LINKS_SINCE
    }

    fn handled(self) -> u64 {
        let later = LATER.iter().filter(|(since, _)| self.version >= *since);
        later.fold(FIRST, |all, (_, right)| all | right)
    }

    /// From now on this thread, and what it begins, opens nothing but what is beneath these; a
    /// second time both hold. They are to stay open: a rule is of an inode, and where a file system
    /// makes these anew (/proc, file systems of the network) it would be another one when it was
    /// forgotten. To be called when no new privileges can be had
    /// ([`super::privileges::gain_no_more`]).
    pub fn restrict(self, opened: &[Opened]) -> Result<(), Errno> {
        let scoped = if self.version >= SCOPED_SINCE { SCOPED } else { 0 };
        let attr = RulesetAttr { handled_fs: self.handled(), handled_net: 0, scoped };
        // SAFETY: `attr` is as long as is said, and outlives the call.
        let made =
            unsafe { libc::syscall(CREATE_RULESET, &raw const attr, size_of::<RulesetAttr>(), 0) };
        let made = Errno::result(made)? as RawFd;
        // SAFETY: the kernel has just opened it, for us alone.
        let ruleset = unsafe { OwnedFd::from_raw_fd(made) };
        for (fd, may) in opened {
            if let Some(fd) = fd {
                self.allow(&ruleset, fd, *may)?;
            }
        }
        // SAFETY: the call takes numbers alone.
        let restricted = unsafe { libc::syscall(RESTRICT_SELF, ruleset.as_raw_fd(), 0) };
        Errno::result(restricted).map(drop)
    }

    fn allow(self, ruleset: &OwnedFd, fd: &OwnedFd, may: May) -> Result<(), Errno> {
        let mut allowed = may.rights() & self.handled();
        if !file::stat_dir(fd)?.is_dir() {
            allowed &= OF_FILES;
        }
        let rule = PathBeneathAttr { allowed, parent_fd: fd.as_raw_fd() };
        // SAFETY: `rule` is what this kind of rule is, and outlives the call.
        let added = unsafe {
            libc::syscall(ADD_RULE, ruleset.as_raw_fd(), PATH_BENEATH, &raw const rule, 0)
        };
        Errno::result(added).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::privileges;
    use crate::os::scratch::Dir;
    use std::fs::{self, File};
    use std::os::unix::fs::symlink;

    /// In a thread of its own, which alone is held back.
    fn held_back<T: Send>(rules: &[(&Path, May)], then: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                privileges::gain_no_more().unwrap();
                let landlock = Landlock::find().expect("tests want Linux 6.2 or later");
                let opened: Vec<_> = rules.iter().map(|(path, may)| named(path, *may)).collect();
                landlock.restrict(&opened).unwrap();
                then()
            });
            thread.join().unwrap()
        })
    }

    fn is_refused<T>(result: std::io::Result<T>) -> bool {
        result.is_err_and(|error| error.raw_os_error() == Some(libc::EACCES))
    }

    #[test]
    fn what_is_served_is_read_and_nothing_else_is_opened() {
        let dir = Dir::new();
        fs::create_dir_all(dir.join("served/below")).unwrap();
        let served = dir.join("served");
        dir.write("served/below/f", b"f");
        dir.write("secret", b"s");
        symlink("../secret", dir.join("served/out")).unwrap();
        held_back(&[(&served, May::Read)], || {
            assert_eq!(fs::read(served.join("below/f")).unwrap(), b"f");
            assert_eq!(fs::read_dir(&served).unwrap().count(), 2);
            for path in ["secret", "served/out", "served/../secret"] {
                assert!(is_refused(fs::read(dir.join(path))), "{path}");
            }
            assert!(is_refused(fs::read("/etc/passwd")) && is_refused(fs::read_dir("/")));
            assert!(is_refused(File::options().write(true).open(served.join("below/f"))));
            assert!(is_refused(fs::write(served.join("new"), b"")));
            assert!(is_refused(fs::remove_file(served.join("below/f"))));
            assert!(is_refused(fs::create_dir(served.join("new"))));
            // What is not opened is not held back: it is of no use alone.
            assert!(fs::metadata(dir.join("secret")).is_ok());
        });
        assert!(fs::read("/etc/passwd").is_ok(), "other threads go on as before");
    }

    #[test]
    fn a_file_is_kept_by_a_temporary_name() {
        let dir = Dir::new();
        fs::create_dir_all(dir.join("kept/below")).unwrap();
        let kept = dir.join("kept");
        dir.write("kept/cache", b"old");
        held_back(&[(&kept, May::Keep), (&dir.join("none"), May::Read)], || {
            fs::write(kept.join("cache.1"), b"new").unwrap();
            fs::rename(kept.join("cache.1"), kept.join("cache")).unwrap();
            assert_eq!(fs::read(kept.join("cache")).unwrap(), b"new");
            fs::remove_file(kept.join("cache")).unwrap();
            assert!(is_refused(fs::create_dir(kept.join("d"))));
            assert!(is_refused(symlink("/", kept.join("l"))));
            assert!(is_refused(fs::write(dir.join("beside"), b"")));
        });
    }

    #[test]
    fn a_destination_is_changed_and_what_is_beside_it_is_not() {
        let dir = Dir::new();
        fs::create_dir_all(dir.join("dest/a")).unwrap();
        let dest = dir.join("dest");
        let one = dir.write("one", b"1");
        held_back(&[(&dest, May::Change), (&one, May::Read)], || {
            fs::create_dir(dest.join("b")).unwrap();
            fs::write(dest.join("a/f"), b"f").unwrap();
            fs::hard_link(dest.join("a/f"), dest.join("b/f")).unwrap();
            fs::rename(dest.join("a/f"), dest.join("b/g")).unwrap();
            symlink("g", dest.join("b/l")).unwrap();
            fs::remove_dir(dest.join("a")).unwrap();
            assert_eq!(fs::read(&one).unwrap(), b"1", "a rule may be of one file");
            assert!(is_refused(fs::write(&one, b"")));
            assert!(fs::rename(dest.join("b/g"), dir.join("out")).is_err());
            assert!(is_refused(fs::write(dir.join("beside"), b"")));
        });
    }

    #[test]
    fn of_two_restrictions_both_hold() {
        let dir = Dir::new();
        fs::create_dir_all(dir.join("above/below")).unwrap();
        let (above, below) = (dir.join("above"), dir.join("above/below"));
        held_back(&[(dir.path(), May::Change)], || {
            fs::write(above.join("f"), b"").unwrap();
            let landlock = Landlock::find().unwrap();
            landlock.restrict(&[named(&below, May::Change)]).unwrap();
            fs::write(below.join("f"), b"").unwrap();
            assert!(is_refused(fs::write(above.join("f"), b"")));
        });
    }

    #[test]
    fn an_old_kernel_is_asked_for_what_it_knows() {
        let handled = |version| Landlock { version }.handled();
        assert_eq!(handled(1), 0x1fff);
        assert_eq!((handled(2), handled(3), handled(4)), (0x3fff, 0x7fff, 0x7fff));
        assert_eq!((handled(5), handled(7)), (0xffff, 0xffff));
        assert!(!Landlock { version: 1 }.lets_link() && Landlock { version: 2 }.lets_link());
    }
}
