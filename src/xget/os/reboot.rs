//! The ends of a system, reboot(2). None of these returns on success.
//!
//! Writes out what is in memory before. Which end it is, and whether it is
//! time, is not known here.

use nix::sys::reboot::{RebootMode, reboot, set_cad_enabled};
use std::io;

/// Starts the kernel that kexec has loaded; returns only when there is none.
pub fn into_loaded_kernel() -> io::Error {
    end(RebootMode::RB_KEXEC)
}

pub fn restart() -> io::Error {
    end(RebootMode::RB_AUTOBOOT)
}

pub fn power_off() -> io::Error {
    end(RebootMode::RB_POWER_OFF)
}

pub fn halt() -> io::Error {
    end(RebootMode::RB_HALT_SYSTEM)
}

/// Lets Ctrl-Alt-Del restart at once, without asking PID 1.
pub fn allow_keyboard_restart() {
    let _ = set_cad_enabled(true);
}

fn end(mode: RebootMode) -> io::Error {
    nix::unistd::sync();
    match reboot(mode) {
        Ok(never) => match never {},
        Err(errno) => errno.into(),
    }
}
