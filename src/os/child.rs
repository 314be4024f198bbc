//! Children of PID 1: its own shell, and every orphan of the system.

#![allow(unsafe_code)]

use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// Orphans reaped in one go; the rest waits for the next.
const REAPS_MAX: usize = 64;

/// Collects whoever has ended.
pub fn reap() {
    for _ in 0..REAPS_MAX {
        match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return,
            _ => {}
        }
    }
}

/// Runs an interactive program on a terminal of its own until it ends.
pub fn run_on_terminal(program: &str, terminal: &str) -> io::Result<()> {
    let tty = OpenOptions::new().read(true).write(true).open(terminal)?;
    let fd = tty.as_raw_fd();
    let mut command = Command::new(program);
    command.stdin(Stdio::from(tty.try_clone()?));
    command.stdout(Stdio::from(tty.try_clone()?));
    command.stderr(Stdio::from(tty.try_clone()?));
    // SAFETY: between fork and exec only setsid(2) and ioctl(2) are called,
    // which are async-signal-safe; the descriptor is open in `tty`.
    unsafe {
        command.pre_exec(move || {
            libc::setsid();
            // Job control needs a controlling terminal; a shell without one
            // still works.
            libc::ioctl(fd, libc::TIOCSCTTY, 1);
            Ok(())
        });
    }
    let mut child = command.spawn()?;
    child.wait()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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
