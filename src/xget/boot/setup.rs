//! What has to be there before anything else, as data.
//!
//! A table for each sort of thing, one loop that carries it out. Nothing is printed: there
//! is no console yet; what failed is returned.

use crate::os::{file, mount};
use nix::errno::Errno;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;

struct Mount {
    fs_type: &'static str,
    target: &'static str,
    /// nosuid and nodev; not for where devices are.
    safe: bool,
    options: &'static str,
    /// The boot is hardly possible without it.
    needed: bool,
}

const fn row(
    fs_type: &'static str,
    target: &'static str,
    safe: bool,
    options: &'static str,
) -> Mount {
    Mount { fs_type, target, safe, options, needed: true }
}

const fn optional(fs_type: &'static str, target: &'static str, options: &'static str) -> Mount {
    Mount { fs_type, target, safe: true, options, needed: false }
}

const MOUNTS: [Mount; 6] = [
    row("proc", "/proc", true, ""),
    row("sysfs", "/sys", true, ""),
    row("devtmpfs", "/dev", false, "mode=0755"),
    row("tmpfs", "/run", true, "mode=0755,size=20%"),
    // Only to see whether the kernel is locked down.
    optional("securityfs", "/sys/kernel/security", ""),
    // Only for a shell.
    optional("devpts", "/dev/pts", "mode=0620,gid=5"),
];

const DIRECTORIES: [&str; 3] = ["/etc", "/tmp", IMAGE];

const LINKS: [(&str, &str); 4] = [
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
];

/// Written where nothing else was said: (file, only if it holds, value).
const SWITCHES: [(&str, &str, &str); 1] = [
    // A panic of the kernel must not leave the node standing for ever.
    (PANIC, "0", "60"),
];

const PANIC: &str = "/proc/sys/kernel/panic";

/// Where the image goes.
pub const IMAGE: &str = "/image";

/// Makes it so; gives a line for each thing that failed.
#[inline(never)]
pub fn carry_out() -> Vec<String> {
    let mut failed = Vec::new();
    for row in &MOUNTS {
        let done = make_directory(row.target)
            .and_then(|()| mount::mount(row.fs_type, row.target, row.safe, row.options));
        match done {
            Err(error) if row.needed && error.raw_os_error() != Some(libc::EBUSY) => {
                failed.push(format!("cannot mount {} on {}: {error}", row.fs_type, row.target));
            }
            _ => {}
        }
    }
    for path in DIRECTORIES {
        if let Err(error) = make_directory(path) {
            failed.push(format!("cannot make {path}: {error}"));
        }
    }
    for (target, path) in LINKS {
        let _ = symlink(target, path);
    }
    failed
}

/// To be called once the command line is known: a `panic=` on it is meant.
pub fn set_switches(panic_given: bool) {
    for (path, only_if, value) in SWITCHES {
        let held = fs::read_to_string(path).unwrap_or_default();
        if held.trim() == only_if && !(panic_given && path == PANIC) {
            let _ = fs::write(path, value);
        }
    }
}

fn make_directory(path: &str) -> io::Result<()> {
    match file::make_dir(path.as_ref(), 0o777) {
        Err(errno) if errno != Errno::EEXIST => Err(errno.into()),
        _ => Ok(()),
    }
}

/// A tmpfs for the image, with a limit, so that too large an image fails
/// with a reason and not with the machine. One that is there is emptied.
pub fn mount_image(room_bytes: u64) -> io::Result<()> {
    unmount_image();
    mount::mount("tmpfs", IMAGE, true, &format!("mode=0755,size={room_bytes}"))
}

/// Gives its memory back.
pub fn unmount_image() {
    // Where nothing is mounted there is nothing to give back.
    let _ = mount::detach(IMAGE.as_ref());
}
