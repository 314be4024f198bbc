//! File systems of a test's own, as small as wanted: mounted where this thread
//! and what it starts alone see them, and gone with it.

use super::{lacks, lacks_root, skip};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use std::path::{Path, PathBuf};
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

/// What is mounted, until this is dropped: before the directory is removed that
/// it is in.
#[must_use]
pub struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

/// A file system in memory.
pub fn mount_memory(at: &Path, options: &str) -> Mounted {
    mount(Some("none"), at, Some("tmpfs"), MsFlags::empty(), Some(options)).unwrap();
    Mounted(at.into())
}

/// A file system in a new file; `None`, with a word why, where the kernel has none
/// of this type. The tool that makes it comes first.
pub fn mount_new(
    image: &Path,
    mkfs: &[&str],
    bytes: u64,
    options: &str,
    at: &Path,
) -> Option<Mounted> {
    if lacks(&mkfs[..1]) {
        return None;
    }
    std::fs::File::create(image).unwrap().set_len(bytes).unwrap();
    run(Command::new(mkfs[0]).args(&mkfs[1..]).arg(image));
    mount_image(image, options, at)
}

/// The file system that is in a file.
pub fn mount_image(image: &Path, options: &str, at: &Path) -> Option<Mounted> {
    let mut mounting = Command::new("mount");
    let said = mounting.args(["-o", options]).arg(image).arg(at).output().unwrap();
    let mounted = said.status.success() || !skip(&String::from_utf8_lossy(&said.stderr));
    mounted.then(|| Mounted(at.into()))
}

/// Runs a tool, which has to succeed.
#[track_caller]
pub fn run(command: &mut Command) {
    let said = command.output().unwrap();
    assert!(said.status.success(), "{command:?}: {}", String::from_utf8_lossy(&said.stderr));
}

/// A block device over a file, gone with this, however the test ends: it is open here, and
/// detached with its last user.
pub struct LoopDevice {
    pub path: PathBuf,
    _open: std::fs::File,
}

impl LoopDevice {
    /// `None`, with a word why, where there can be none.
    pub fn over(file: &Path) -> Option<LoopDevice> {
        if lacks_root() || lacks(&["losetup"]) {
            return None;
        }
        let said = Command::new("losetup").args(["-f", "--show"]).arg(file).output().unwrap();
        if !said.status.success() && skip(&String::from_utf8_lossy(&said.stderr)) {
            return None;
        }
        let path = PathBuf::from(String::from_utf8(said.stdout).unwrap().trim());
        let open = std::fs::File::open(&path).unwrap();
        run(Command::new("losetup").arg("-d").arg(&path));
        Some(LoopDevice { path, _open: open })
    }

    /// One over a new file of so many bytes, all of which are `fill`.
    pub fn filled(file: &Path, bytes: usize, fill: u8) -> Option<LoopDevice> {
        std::fs::write(file, vec![fill; bytes]).unwrap();
        LoopDevice::over(file)
    }

    pub fn as_str(&self) -> &str {
        self.path.to_str().unwrap()
    }
}
