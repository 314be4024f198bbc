//! Everything onto the medium, syncfs(2) or fsync(2), while the loop goes on: another process
//! waits for the disk.
//!
//! Knows open directories and what becomes of them. Refuses to know what is in
//! them, and who asks.

#![allow(unsafe_code)]

use nix::errno::Errno;
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::rc::Rc;

/// Since when syncfs(2) tells of data that could not be written.
const TELLS_SINCE: (u32, u32) = (5, 8);

/// Whether this kernel tells of data that could not be written.
pub fn tells_errors() -> bool {
    let Ok(uname) = nix::sys::utsname::uname() else { return false };
    is_since(uname.release().as_encoded_bytes(), TELLS_SINCE)
}

/// Whether a release, as `6.1.0-9-amd64`, is this version or a later one.
fn is_since(release: &[u8], version: (u32, u32)) -> bool {
    let mut numbers = release.split(|byte| !byte.is_ascii_digit()).map(|digits| {
        digits.iter().fold(0u32, |n, digit| n.saturating_mul(10) + u32::from(digit - b'0'))
    });
    let major = numbers.next().unwrap_or(0);
    (major, numbers.next().unwrap_or(0)) >= version
}

/// The process that waits. Dropped, it is left to itself.
pub struct Syncing(Pid);

/// One of the two calls.
type Call = unsafe extern "C" fn(RawFd) -> libc::c_int;

/// Begins to sync the file systems that these directories are on. An error is
/// told of if it has come since the directory was opened.
pub fn begin(dirs: &[Rc<OwnedFd>]) -> Result<Syncing, Errno> {
    let mut fds: Vec<RawFd> = Vec::new();
    for fd in dirs.iter().map(|dir| dir.as_raw_fd()) {
        fds.insert(fds.partition_point(|known| *known < fd), fd);
    }
    begin_call(&fds, libc::syncfs)
}

/// Begins to sync one file, or a whole device, fsync(2).
pub fn begin_one(file: &File) -> Result<Syncing, Errno> {
    begin_call(&[file.as_raw_fd()], libc::fsync)
}

fn begin_call(fds: &[RawFd], call: Call) -> Result<Syncing, Errno> {
    // SAFETY: no handler is set; where whoever started us ignores SIGCHLD, nothing
    // would be told of the child (waitpid(2)).
    let _ = unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) };
    // SAFETY: what the child calls is async-signal-safe and allocates nothing.
    match unsafe { fork() }? {
        ForkResult::Child => sync_all(fds, call),
        ForkResult::Parent { child } => Ok(Syncing(child)),
    }
}

/// The child's half. Its descriptors are in rising order.
fn sync_all(fds: &[RawFd], call: Call) -> ! {
    let mut from = 0;
    // SAFETY: system calls that take numbers, in a process of one thread that
    // uses nothing but `fds` after it.
    unsafe {
        // Ours alone, or peers would take us for alive when the parent is gone.
        for &fd in fds {
            if fd > from {
                libc::syscall(libc::SYS_close_range, from, fd - 1, 0);
            }
            from = fd + 1;
        }
        libc::syscall(libc::SYS_close_range, from, libc::c_uint::MAX, 0);
        for &fd in fds {
            if call(fd) != 0 {
                libc::_exit(Errno::last_raw());
            }
        }
        libc::_exit(0)
    }
}

impl Syncing {
    /// Whether `end` gives an answer at once.
    pub fn has_ended(&self) -> bool {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        !matches!(waitid(Id::Pid(self.0), flags), Ok(WaitStatus::StillAlive) | Err(Errno::EINTR))
    }

    /// Waits for the end; an error if not all is on the medium.
    pub fn end(self) -> Result<(), Errno> {
        match waitpid(self.0, None) {
            Ok(WaitStatus::Exited(_, 0)) => Ok(()),
            Ok(WaitStatus::Exited(_, errno)) => Err(Errno::from_raw(errno)),
            // Ended by somebody, before all was written.
            Ok(_) => Err(Errno::EINTR),
            Err(errno) => Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::file;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        for (release, is) in [
            (&b"5.8.0"[..], true),
            (b"5.10.0-28-amd64", true),
            (b"10.0-rc1", true),
            (b"5.7.19", false),
            (b"4.18.0-553.el8_10.x86_64", false),
            (b"", false),
        ] {
            assert_eq!(is_since(release, TELLS_SINCE), is, "{release:?}");
        }
    }

    #[test]
    fn what_cannot_be_synced_is_an_error_and_the_rest_is_none() {
        let dirs = [Rc::new(file::open_dir("/".as_ref()).unwrap())];
        assert_eq!(begin(&dirs).unwrap().end(), Ok(()));
        let killed = begin(&dirs).unwrap();
        let (pid, signal) = (killed.0, nix::sys::signal::Signal::SIGKILL);
        let _ = nix::sys::signal::kill(pid, signal);
        let ended = killed.end();
        assert!(matches!(ended, Ok(()) | Err(Errno::EINTR)), "{ended:?}");
    }
}
