//! Signals as flags that the loop looks at; poll(2) is interrupted by them.
//!
//! Knows which signals are flags, signal(7). Refuses to know what follows from
//! one.

#![allow(unsafe_code)]

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use std::sync::atomic::{AtomicBool, Ordering};

static HANGUP: AtomicBool = AtomicBool::new(false);
static END: AtomicBool = AtomicBool::new(false);

extern "C" fn note(signal: libc::c_int) {
    let flag = if signal == libc::SIGHUP { &HANGUP } else { &END };
    flag.store(true, Ordering::Relaxed);
}

fn watch(signal: Signal) {
    let action = SigAction::new(SigHandler::Handler(note), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler only stores to an atomic, which is
    // async-signal-safe (signal-safety(7)).
    let _ = unsafe { sigaction(signal, &action) };
}

/// SIGHUP means "look at the tree again" from now on.
pub fn watch_hangup() {
    watch(Signal::SIGHUP);
}

/// SIGINT and SIGTERM mean "come to an end" from now on.
pub fn watch_end() {
    watch(Signal::SIGINT);
    watch(Signal::SIGTERM);
}

pub fn take_hangup() -> bool {
    HANGUP.swap(false, Ordering::Relaxed)
}

pub fn take_end() -> bool {
    END.swap(false, Ordering::Relaxed)
}
