//! Children of PID 1: its own shell, and every orphan of the system.
//!
//! Knows fork(2), execv(2) and waitpid(2). Refuses to know which program is to
//! run, and when.

#![allow(unsafe_code)]

use super::names;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{AccessFlags, ForkResult, Pid, access, fork, setsid};
use std::ffi::{CStr, CString};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::path::Path;
use std::thread;
use std::time::Duration;

/// Orphans reaped in one go; the rest waits for the next.
const REAPS_MAX: usize = 64;
/// What a killed child may take to let go of what it has: a disk may hold it longer.
const STOP_MS: u32 = 2_000;
const STOP_LOOK_MS: u32 = 10;

/// Collects whoever has ended.
pub fn reap() {
    for _ in 0..REAPS_MAX {
        match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return,
            _ => {}
        }
    }
}

/// Runs an interactive program on a terminal of its own until it ends. By hand,
/// because the standard library's `Command` is 20 KB for things not needed here.
pub fn run_on_terminal(program: &str, terminal: &str) -> io::Result<()> {
    let tty = OpenOptions::new().read(true).write(true).open(terminal)?;
    let path = CString::new(program)?;
    access(path.as_c_str(), AccessFlags::X_OK)?;
    // SAFETY: what the child calls is async-signal-safe and allocates nothing.
    match unsafe { fork() }? {
        ForkResult::Child => become_program(&path, &tty),
        ForkResult::Parent { child } => loop {
            match waitpid(child, None) {
                Err(Errno::EINTR) => {}
                ended => return ended.map(drop).map_err(io::Error::from),
            }
        },
    }
}

/// One that [`split`] made, as its parent knows it.
pub struct Child(Pid);

impl Child {
    /// Ends it, and waits until it has let go of everything: false where that takes too
    /// long. One that was reaped before is not looked for.
    pub fn stop(self) -> bool {
        let runs =
            || matches!(waitpid(self.0, Some(WaitPidFlag::WNOHANG)), Ok(WaitStatus::StillAlive));
        if !runs() {
            return true;
        }
        let _ = kill(self.0, Signal::SIGKILL);
        for _ in 0..STOP_MS / STOP_LOOK_MS {
            if !runs() {
                return true;
            }
            thread::sleep(Duration::from_millis(STOP_LOOK_MS.into()));
        }
        false
    }
}

/// Makes a child of this process that goes on where the parent does: `None` in the
/// child, which `ps` shows under this name. Only where there is one thread.
pub fn split(name: &str) -> io::Result<Option<Child>> {
    // SAFETY: no other thread could hold a lock that the child would wait for.
    if let ForkResult::Parent { child } = unsafe { fork() }? {
        return Ok(Some(Child(child)));
    }
    // Whoever lacks memory is to take it from here.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    let _ = std::fs::write("/proc/self/comm", name);
    // The kernel gave its console to the first process.
    if let Ok(nothing) = OpenOptions::new().read(true).write(true).open("/dev/null") {
        for standard in 0..=2 {
            // SAFETY: both are numbers of this process; whoever has opened the second one
            // goes on with nothing under it.
            unsafe { libc::dup2(nothing.as_raw_fd(), standard) };
        }
    }
    Ok(None)
}

/// The same of a process that is nobody's child, and is in nobody's way: no terminal, no directory
/// and no file of who started us is its own. True in it.
pub fn split_off(name: &str) -> io::Result<bool> {
    if let Some(between) = split(name)? {
        return forked(&between).map(|()| false);
    }
    let _ = setsid();
    // SAFETY: as above.
    match unsafe { fork() } {
        Ok(ForkResult::Child) => {}
        // The process itself does not wait for who serves.
        Ok(ForkResult::Parent { .. }) => end(),
        // SAFETY: it ends this process at once.
        Err(errno) => unsafe { libc::_exit(errno as i32) },
    }
    let _ = std::env::set_current_dir("/");
    each_open(|fd| {
        if fd > 2 && !is_own(fd) {
            // SAFETY: nobody in this process knows it.
            unsafe { libc::close(fd) };
        }
    });
    Ok(true)
}

/// Waits for the process between, which ends at once: with the error of its fork(2), if it has one.
fn forked(between: &Child) -> io::Result<()> {
    loop {
        return match waitpid(between.0, None) {
            Err(Errno::EINTR) => continue,
            Ok(WaitStatus::Exited(_, 0)) | Err(_) => Ok(()),
            Ok(WaitStatus::Exited(_, errno)) => Err(io::Error::from_raw_os_error(errno)),
            Ok(_) => Err(io::Error::other("it was killed")),
        };
    }
}

/// Whether this process has opened it, all of whose files go at execve(2), and did not inherit it.
fn is_own(fd: RawFd) -> bool {
    // SAFETY: fcntl(2) looks at a number, which need not be open.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    flags < 0 || flags & libc::FD_CLOEXEC != 0
}

fn each_open(act: impl FnMut(RawFd)) {
    let names = names::of(Path::new("/proc/self/fd"), usize::MAX);
    names.iter().filter_map(|name| name.parse().ok()).for_each(act);
}

/// Leaves processors and disks to whoever else wants them.
pub fn yield_to_others() {
    // linux/ioprio.h: this process; of the class that waits for idle disks.
    let (who_process, idle) = (1, 3 << 13);
    // SAFETY: system calls with numbers alone. Whether they succeed decides about nothing.
    unsafe {
        libc::syscall(libc::SYS_setpriority, libc::PRIO_PROCESS, 0, 19);
        libc::syscall(libc::SYS_ioprio_set, who_process, 0, idle);
    }
}

/// Opens every file of this process anew that may be written to, to be read alone: the kernel starts
/// no program that somebody could write to (execve(2), ETXTBSY). Before [`split`], so
/// that neither process is in the other's way.
pub fn write_no_more() {
    each_open(read_only);
}

/// What is no file, or cannot be opened anew, stays as it is.
fn read_only(fd: RawFd) {
    // SAFETY: fcntl(2) and fstat(2) look at a number, which need not be open.
    let (flags, is_file) = unsafe {
        let mut status = std::mem::zeroed::<libc::stat>();
        let is_known = libc::fstat(fd, &raw mut status) == 0;
        (libc::fcntl(fd, libc::F_GETFL), is_known && status.st_mode & libc::S_IFMT == libc::S_IFREG)
    };
    if !is_file || !is_own(fd) || flags & libc::O_ACCMODE == libc::O_RDONLY {
        return;
    }
    if let Ok(file) = File::open(format!("/proc/self/fd/{fd}")) {
        // SAFETY: both are open, and whoever owns the second one goes on with the same
        // file under the same number.
        unsafe { libc::dup3(file.as_raw_fd(), fd, libc::O_CLOEXEC) };
    }
}

/// Ends a child that [`split`] made, without anything of the parent's.
pub fn end() -> ! {
    // SAFETY: it ends this process at once.
    unsafe { libc::_exit(0) }
}

/// The child's half, between fork(2) and execv(2).
fn become_program(path: &CStr, tty: &File) -> ! {
    let arguments = [path.as_ptr(), std::ptr::null()];
    // SAFETY: system calls alone; the descriptor is open in `tty`, path and
    // arguments live until the program takes over.
    unsafe {
        libc::setsid();
        // Job control needs a controlling terminal; a shell without one
        // still works.
        libc::ioctl(tty.as_raw_fd(), libc::TIOCSCTTY, 1);
        // Above them in every Rust program, so the copies stay open at exec.
        for standard in 0..=2 {
            libc::dup2(tty.as_raw_fd(), standard);
        }
        // Ignored by every Rust program; a shell's pipes want it.
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        libc::execv(path.as_ptr(), arguments.as_ptr());
        libc::_exit(127)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_and_not_written_any_more() {
        use crate::os::scratch::Dir;
        use std::io::{Read, Write};
        let dir = Dir::new();
        let path = dir.join("f");
        std::fs::write(&path, "text").unwrap();
        let mut file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        read_only(file.as_raw_fd());
        assert!(file.write(b"x").is_err());
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "text");
        read_only(-1);
    }

    #[test]
    fn a_fork_that_failed_in_between_is_told() {
        for errno in [0, libc::EAGAIN, libc::ENOMEM] {
            let Some(between) = split("xget-test").unwrap() else {
                // SAFETY: it ends the child at once.
                unsafe { libc::_exit(errno) }
            };
            let told = forked(&between).err().and_then(|error| error.raw_os_error());
            assert_eq!(told, (errno != 0).then_some(errno));
        }
        let Some(killed) = split("xget-test").unwrap() else {
            loop {
                thread::sleep(Duration::from_secs(60));
            }
        };
        kill(killed.0, Signal::SIGKILL).unwrap();
        assert!(forked(&killed).is_err());
    }

    #[test]
    fn a_child_is_ended_wherever_it_is_and_once() {
        let (input, said) = nix::unistd::pipe().unwrap();
        let Some(child) = split("xget-test").unwrap() else {
            // It says that it is there, and waits for what does not come.
            let _ = nix::unistd::write(&said, b"x");
            loop {
                thread::sleep(Duration::from_secs(60));
            }
        };
        drop(said);
        assert_eq!(nix::unistd::read(&input, &mut [0]), Ok(1));
        let again = Child(child.0);
        assert!(child.stop());
        assert_eq!(nix::unistd::read(&input, &mut [0]), Ok(0), "its end is closed");
        assert!(again.stop());
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        let error = run_on_terminal("/nonexistent/sh", "/dev/null").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_program_is_waited_for() {
        run_on_terminal("/bin/true", "/dev/null").unwrap();
    }
}
