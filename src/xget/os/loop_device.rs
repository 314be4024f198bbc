//! A file as a block device: loop(4).
//!
//! Refuses to know what is on it.

#![allow(unsafe_code)]

use nix::errno::Errno;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::thread;
use std::time::Duration;

/// linux/loop.h
const LOOP_CTL_GET_FREE: libc::c_ulong = 0x4c82;
const LOOP_CONFIGURE: libc::c_ulong = 0x4c0a;
const READ_ONLY: u32 = 1;
const AUTOCLEAR: u32 = 4;
/// struct loop_config: fd, block_size, struct loop_info64 of 232 bytes, eight words kept free.
const CONFIG_LEN: usize = 8 + 232 + 64;
/// Where in it lo_flags stands.
const FLAGS_AT: usize = 8 + 52;
/// Somebody else may take the free device first; its node may take a moment.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(50);

/// Read only, and gone with its last user.
pub struct LoopDevice {
    pub path: String,
    /// Until it is mounted this keeps it.
    _open: File,
}

/// Makes a device of a file. Linux 5.8 or later.
pub fn of_file(path: &Path) -> io::Result<LoopDevice> {
    let file = File::open(path)?;
    let control = OpenOptions::new().read(true).write(true).open("/dev/loop-control")?;
    let mut config = [0; CONFIG_LEN];
    config[..4].copy_from_slice(&(file.as_raw_fd() as u32).to_ne_bytes());
    config[FLAGS_AT..FLAGS_AT + 4].copy_from_slice(&(READ_ONLY | AUTOCLEAR).to_ne_bytes());
    let mut tries = 0;
    loop {
        tries += 1;
        match configure(&control, &config) {
            Err(error) if tries < TRIES && is_passing(&error) => thread::sleep(PAUSE),
            done => return done,
        }
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EBUSY | libc::ENOENT))
}

fn configure(control: &File, config: &[u8; CONFIG_LEN]) -> io::Result<LoopDevice> {
    // SAFETY: the descriptor is open; this request has no argument.
    let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE as _) };
    let path = format!("/dev/loop{}", Errno::result(number)?);
    let device = File::open(&path)?;
    // SAFETY: the kernel reads a struct loop_config, which `config` is long enough for.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE as _, config.as_ptr()) };
    Errno::result(result)?;
    Ok(LoopDevice { path, _open: device })
}
