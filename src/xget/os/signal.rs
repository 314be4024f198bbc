//! Signals as a flag that the loop looks at; poll(2) is interrupted by them.
//!
//! Knows which signals raise it, signal(7), and which do nothing. Refuses to know
//! what follows from it.

#![allow(unsafe_code)]

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// To a master all that raise it mean one thing, and to a client another.
static RAISED: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_signal: libc::c_int) {
    RAISED.store(true, Ordering::Relaxed);
}

/// Gives what was set before.
fn set(signal: Signal, handler: SigHandler) -> Option<SigHandler> {
    let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    // SAFETY: the only handler stores to an atomic, which is
    // async-signal-safe (signal-safety(7)).
    let old = unsafe { sigaction(signal, &action) };
    old.ok().map(|old| old.handler())
}

fn watch(signal: Signal) {
    set(signal, SigHandler::Handler(note));
}

/// One that whoever started us had ignored, as nohup(1) does, stays so.
fn watch_unless_ignored(signal: Signal) {
    if matches!(set(signal, SigHandler::Handler(note)), Some(SigHandler::SigIgn)) {
        set(signal, SigHandler::SigIgn);
    }
}

/// What grows beyond the file-size limit (ulimit -f) is an error of the write,
/// EFBIG, which says which file, and not our end; setrlimit(2).
pub fn ignore_file_size() {
    set(Signal::SIGXFSZ, SigHandler::SigIgn);
}

/// Of a master: SIGHUP means "look at the tree again" from now on.
pub fn watch_hangup() {
    watch(Signal::SIGHUP);
}

/// Of a client: SIGINT, SIGTERM, SIGHUP (the terminal is gone) and SIGQUIT mean
/// "come to an end" from now on.
pub fn watch_end() {
    watch(Signal::SIGINT);
    watch(Signal::SIGTERM);
    watch_unless_ignored(Signal::SIGHUP);
    watch_unless_ignored(Signal::SIGQUIT);
}

extern "C" fn leave(_signal: libc::c_int) {
    // SAFETY: it ends this process at once, and is async-signal-safe.
    unsafe { libc::_exit(0) }
}

/// The process ends then with status 0, wherever it is: for who may be late, and then is of no use.
pub fn end_within(time: Duration) {
    set(Signal::SIGALRM, SigHandler::Handler(leave));
    let nothing = libc::timeval { tv_sec: 0, tv_usec: 0 };
    let after =
        libc::timeval { tv_sec: time.as_secs() as i64, tv_usec: i64::from(time.subsec_micros()) };
    let timer = libc::itimerval { it_interval: nothing, it_value: after };
    // SAFETY: setitimer(2) reads the timer, which outlives the call; no old one is asked for.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
}

/// Whether one has come since this was asked last.
pub fn take() -> bool {
    RAISED.swap(false, Ordering::Relaxed)
}
