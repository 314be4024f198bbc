//! The hardware watchdog, linux/watchdog.h.
//!
//! Knows how it is armed, kept quiet and disarmed. Refuses to know when a
//! system counts as alive.

#![allow(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;

nix::ioctl_readwrite!(set_timeout, b'W', 6, libc::c_int);

/// Armed while it is open.
pub struct Watchdog {
    file: File,
}

impl Watchdog {
    /// Arms it. The device may round the time; what it took comes back too.
    pub fn arm(path: &str, timeout_s: u32) -> io::Result<(Watchdog, u32)> {
        let file = OpenOptions::new().write(true).open(path)?;
        let mut seconds = libc::c_int::try_from(timeout_s).unwrap_or(libc::c_int::MAX);
        // SAFETY: WDIOC_SETTIMEOUT reads and writes one int, which lives here.
        let set = unsafe { set_timeout(file.as_raw_fd(), &raw mut seconds) };
        let taken = if set.is_ok() { seconds as u32 } else { 0 };
        Ok((Watchdog { file }, taken))
    }

    pub fn pet(&mut self) {
        let _ = self.file.write(b"\0");
    }

    /// Disarms it, where the driver allows that (magic close).
    pub fn disarm(mut self) {
        let _ = self.file.write(b"V");
    }
}
