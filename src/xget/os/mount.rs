//! Mounting, as mount(2) has it.
//!
//! Which file systems a boot has, and where, is not known here.

use nix::mount::{MntFlags, MsFlags};
use std::io;
use std::path::Path;

/// Mounts a file system without a device behind it.
pub fn mount(kind: &str, target: &str, safe: bool, options: &str) -> io::Result<()> {
    let flags = if safe { MsFlags::MS_NOSUID | MsFlags::MS_NODEV } else { MsFlags::empty() };
    change(kind, target, kind, flags, options)
}

/// Mounts what a device holds, to be read only.
pub fn mount_device(device: &str, target: &str, kind: &str) -> io::Result<()> {
    change(device, target, kind, MsFlags::MS_RDONLY, "")
}

/// Mounts a disk that is written to, of which nothing is to be run.
pub fn mount_cache(device: &str, target: &str, kind: &str, options: &str) -> io::Result<()> {
    let flags = MsFlags::MS_NOATIME | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    change(device, target, kind, flags, options)
}

/// Changes the options of what is mounted.
pub fn remount(target: &str, options: &str) -> io::Result<()> {
    change("none", target, "", MsFlags::MS_REMOUNT, options)
}

/// Takes a mount, with all that is mounted in it, to another place.
pub fn move_to(from: &str, target: &str) -> io::Result<()> {
    change(from, target, "", MsFlags::MS_MOVE, "")
}

fn change(source: &str, target: &str, kind: &str, flags: MsFlags, options: &str) -> io::Result<()> {
    let given = |text| Some(text).filter(|text: &&str| !text.is_empty());
    nix::mount::mount(Some(source), target, given(kind), flags, given(options))?;
    Ok(())
}

/// Takes a mount away, now or when nobody uses it any more.
pub fn detach(target: &Path) -> io::Result<()> {
    nix::mount::umount2(target, MntFlags::MNT_DETACH)?;
    Ok(())
}
