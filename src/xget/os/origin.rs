//! What a process was given by whoever started it, for the program that takes its place: signals
//! that are ignored, how many files it may open.
//!
//! Knows execve(2): what it leaves as it is. Refuses to know the program.

#![allow(unsafe_code)]

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use std::ffi::CString;
use std::io;
use std::os::fd::AsFd;

/// Those that are set here; one that is ignored stays so in every program.
const CHANGED: [Signal; 5] =
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGCHLD];
/// Those that are ignored here, and that programs expect to end by.
const OURS: [Signal; 2] = [Signal::SIGPIPE, Signal::SIGXFSZ];

/// As the process was when it began.
pub struct Origin {
    ignored: Vec<Signal>,
    descriptors: Option<(rlim_t, rlim_t)>,
}

fn is_ignored(signal: &Signal) -> bool {
    // SAFETY: it is only asked for what is set, into a place of its own.
    unsafe {
        let mut now = std::mem::zeroed::<libc::sigaction>();
        let asked = libc::sigaction(*signal as libc::c_int, std::ptr::null(), &raw mut now);
        asked == 0 && now.sa_sigaction == libc::SIG_IGN
    }
}

fn set(signal: Signal, handler: SigHandler) {
    let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    // SAFETY: no function of ours is called by it.
    let _ = unsafe { sigaction(signal, &action) };
}

impl Origin {
    /// To be called before anything of it is changed. From then on children can be waited for,
    /// which a parent that ignores them would hand on (waitpid(2)).
    pub fn remember() -> Origin {
        let ignored = CHANGED.into_iter().filter(is_ignored).collect();
        set(Signal::SIGCHLD, SigHandler::SigDfl);
        Origin { ignored, descriptors: getrlimit(Resource::RLIMIT_NOFILE).ok() }
    }

    fn restore(&self) {
        for signal in CHANGED.into_iter().chain(OURS) {
            let is_ignored = self.ignored.contains(&signal);
            set(signal, if is_ignored { SigHandler::SigIgn } else { SigHandler::SigDfl });
        }
        if let Some((soft, hard)) = self.descriptors {
            let _ = setrlimit(Resource::RLIMIT_NOFILE, soft, hard);
        }
    }

    /// A program in the place of this process, looked for in `PATH`. Returns why not.
    pub fn execute(&self, words: &[CString]) -> io::Error {
        let Some(program) = words.first() else { return io::ErrorKind::InvalidInput.into() };
        self.restore();
        let Err(errno) = nix::unistd::execvp(program, words);
        // What is said of it may find nobody who reads it.
        set(Signal::SIGPIPE, SigHandler::SigIgn);
        errno.into()
    }
}

/// It stays open in a program that takes the place of this process.
pub fn keep_open(file: impl AsFd) -> io::Result<()> {
    fcntl(file, FcntlArg::F_SETFD(FdFlag::empty())).map(drop).map_err(io::Error::from)
}
