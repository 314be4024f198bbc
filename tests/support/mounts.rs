//! File systems of a test's own, as small as wanted: mounted where this thread
//! and what it starts alone see them, and gone with it.

use super::{lacks, lacks_root, skip};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use std::path::Path;
use std::process::Command;

/// From now on this thread's own. False, with a word why, where that cannot be.
pub fn have_own_mounts() -> bool {
    if lacks_root() || lacks(&["mount"]) {
        return false;
    }
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    true
}

/// A file system in memory.
pub fn mount_memory(at: &Path, options: &str) {
    mount(Some("none"), at, Some("tmpfs"), MsFlags::empty(), Some(options)).unwrap();
}

/// A file system in a file; false, with a word why, where the kernel has none
/// of this type. The tool that makes it is named as mkfs(8) wants it.
pub fn mount_image(image: &Path, mkfs: &[&str], bytes: u64, options: &str, at: &Path) -> bool {
    if lacks(&mkfs[..1]) {
        return false;
    }
    std::fs::File::create(image).unwrap().set_len(bytes).unwrap();
    run(Command::new(mkfs[0]).args(&mkfs[1..]).arg(image));
    let mut mounting = Command::new("mount");
    let said = mounting.args(["-o", options]).arg(image).arg(at).output().unwrap();
    said.status.success() || !skip(&String::from_utf8_lossy(&said.stderr))
}

/// Runs a tool, which has to succeed.
#[track_caller]
pub fn run(command: &mut Command) {
    let said = command.output().unwrap();
    assert!(said.status.success(), "{command:?}: {}", String::from_utf8_lossy(&said.stderr));
}
