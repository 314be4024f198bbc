//! Into the background, once the work can be done: fork(2) and setsid(2).
//!
//! Knows the two processes and what the one tells the other. Refuses to know
//! what being ready means.

#![allow(unsafe_code)]

use nix::unistd::{
    ForkResult, dup2_stderr, dup2_stdin, dup2_stdout, fork, pipe, read, setsid, write,
};
use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;

/// What the child calls when it is ready; before that its messages still
/// reach the terminal.
pub struct Ready {
    pipe: OwnedFd,
}

/// Returns in the child. The parent stays until the child is ready, and ends
/// with status 0 then, or with 1 when the child ends before that.
///
/// To be called while there is one thread and nothing is open yet.
pub fn detach() -> io::Result<Ready> {
    let (from_child, to_parent) = pipe()?;
    // SAFETY: the process has one thread, so the child may do anything.
    match unsafe { fork() }? {
        ForkResult::Child => {
            drop(from_child);
            setsid()?;
            Ok(Ready { pipe: to_parent })
        }
        ForkResult::Parent { .. } => {
            drop(to_parent);
            let mut byte = [0];
            let ready = matches!(read(&from_child, &mut byte), Ok(1));
            std::process::exit(if ready { 0 } else { 1 });
        }
    }
}

impl Ready {
    pub fn tell(self) {
        if let Ok(null) = OpenOptions::new().read(true).write(true).open("/dev/null") {
            let _ = dup2_stdin(&null);
            let _ = dup2_stdout(&null);
            let _ = dup2_stderr(&null);
        }
        let _ = std::env::set_current_dir("/");
        let _ = write(&self.pipe, b"1");
    }
}
