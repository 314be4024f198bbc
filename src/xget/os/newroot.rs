//! Another root for this process, as switch_root(8) makes it: for PID 1 alone.
//!
//! Knows chroot(2), what a file system in memory is, and what the kernel gives to
//! init. Refuses to know what is in the new root and when it is time.

#![allow(unsafe_code)]

use super::file;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::Mode;
use nix::sys::statfs::{FsType, TMPFS_MAGIC, fstatfs};
use nix::unistd::{chdir, chroot, fchdir};
use std::ffi::{CString, OsString};
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

/// linux/magic.h: rootfs where it is no tmpfs.
const RAMFS_MAGIC: i64 = 0x8584_58f6;
/// INR_OPEN_CUR of linux/fs.h: the soft limit that init begins with.
const DESCRIPTORS_OF_INIT: u64 = 1024;
/// Levels of directories that are cleared; no initramfs is deeper.
const DEPTH_MAX: usize = 64;

/// Does something with another directory as root, and comes back.
pub fn within<T>(root: &str, look: impl FnOnce() -> T) -> io::Result<T> {
    let old = file::open_dir("/".as_ref())?;
    chroot(root)?;
    chdir("/")?;
    let seen = look();
    fchdir(&old)?;
    chroot(".")?;
    Ok(seen)
}

/// Removes everything below a directory that lies in memory, on its own file
/// system alone. False: it lies elsewhere, and nothing was touched.
pub fn clear(path: &str) -> io::Result<bool> {
    let dir = file::open_dir(path.as_ref())?;
    let kind = fstatfs(&dir).map(|fs| fs.filesystem_type())?;
    if kind != TMPFS_MAGIC && kind != FsType(RAMFS_MAGIC as _) {
        return Ok(false);
    }
    let device = file::stat_dir(&dir)?.dev;
    clear_below(&dir, device, DEPTH_MAX);
    Ok(true)
}

/// What cannot be removed stays, and takes memory; that ends no boot.
fn clear_below(dir: &OwnedFd, device: u64, depth: usize) {
    let Ok(names) = file::list(dir) else { return };
    for name in names.filter_map(Result::ok) {
        let Ok(status) = file::stat_at(dir, &name) else { continue };
        if !status.is_dir() {
            let _ = file::unlink_at(dir, &name);
        } else if status.dev == device
            && let Some(depth) = depth.checked_sub(1)
        {
            if let Ok(below) = file::open_dir_at(dir, &name) {
                clear_below(&below, device, depth);
            }
            let _ = file::remove_dir_at(dir, &name);
        }
    }
}

/// Makes a mount the root of everything, and of this process.
pub fn enter(root: &str) -> io::Result<()> {
    chdir(root)?;
    super::mount::move_to(".", "/")?;
    chroot(".")?;
    chdir("/")?;
    Ok(())
}

/// Becomes another program, with what the kernel gives to init: its console as the
/// three standard streams, default signals, its limit of descriptors. Returns
/// only with the reason why not.
pub fn become_init(program: &str, arguments: Vec<OsString>) -> io::Error {
    let first = CString::new(program);
    let rest = arguments.into_iter().map(|argument| CString::new(argument.into_vec()));
    let owned: Result<Vec<CString>, _> = std::iter::once(first).chain(rest).collect();
    let Ok(owned) = owned else { return Errno::EINVAL.into() };
    let mut list: Vec<*const libc::c_char> = owned.iter().map(|text| text.as_ptr()).collect();
    list.push(std::ptr::null());
    let console = OpenOptions::new().read(true).write(true).open("/dev/console");
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, soft.min(DESCRIPTORS_OF_INIT), hard);
    }
    // SAFETY: system calls alone; the strings and their list live until the
    // program takes over, the list ends with a null, and `console` is open.
    unsafe {
        if let Ok(console) = &console {
            for standard in 0..=2 {
                libc::dup2(console.as_raw_fd(), standard);
            }
        }
        // Ignored by every Rust program.
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        libc::execv(owned[0].as_ptr(), list.as_ptr());
    }
    io::Error::last_os_error()
}

/// Opens a file for its first bytes, following symlinks as the root has them.
pub fn head(path: &str, len: usize) -> io::Result<Vec<u8>> {
    use std::io::Read;
    let fd = nix::fcntl::open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut bytes = Vec::new();
    std::fs::File::from(fd).take(len as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::scratch::Dir;
    use std::fs;

    #[test]
    fn only_what_lies_in_memory_is_cleared() {
        let disk = Dir::new();
        fs::write(disk.join("kept"), "x").unwrap();
        let path = disk.path().to_str().unwrap().to_string();
        if !file::is_in_memory(&file::open_dir(disk.path()).unwrap()) {
            assert!(!clear(&path).unwrap());
            assert!(disk.join("kept").exists());
        }
        let memory = std::path::Path::new("/dev/shm").join(format!("xget-{}", std::process::id()));
        fs::create_dir_all(memory.join("a/b")).unwrap();
        fs::write(memory.join("a/b/f"), "x").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", memory.join("a/l")).unwrap();
        assert!(clear(memory.to_str().unwrap()).unwrap());
        assert_eq!(fs::read_dir(&memory).unwrap().count(), 0);
        fs::remove_dir(&memory).unwrap();
        assert!(fs::metadata("/etc/passwd").is_ok());
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        let error = become_init("/nonexistent/init\0", Vec::new());
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    }
}
