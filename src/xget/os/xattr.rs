//! Extended attributes by system call (xattr(7)).
//!
//! Of what is open, and of what has a name: nothing is opened for that, so no device is
//! woken and no fifo waited for. Knows no policy: which names are of interest is its
//! callers' business.

#![allow(unsafe_code)]

use nix::errno::Errno;
use std::ffi::{CStr, CString, c_char, c_void};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// Most memory lent to one call: no list of names and no value is longer (XATTR_LIST_MAX,
/// XATTR_SIZE_MAX in limits.h) ...
const LONG: usize = 64 << 10;
/// ... and nearly all fit into this.
const SHORT: usize = 1 << 10;

/// Whose attributes.
pub struct Xattrs<'a> {
    fd: BorrowedFd<'a>,
    /// Of the name below `fd`: the way to it through /proc, because these calls know no
    /// directory to begin with.
    path: Option<CString>,
}

impl<'a> Xattrs<'a> {
    /// Of an open file or directory.
    pub fn of(fd: BorrowedFd<'a>) -> Xattrs<'a> {
        Xattrs { fd, path: None }
    }

    /// Of what has this name, and where it is a symlink of that itself.
    pub fn at(dir: &'a OwnedFd, name: &[u8]) -> Result<Xattrs<'a>, Errno> {
        use std::os::fd::AsFd;
        let mut path = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
        path.extend_from_slice(name);
        let path = CString::new(path).map_err(|_| Errno::EINVAL)?;
        Ok(Xattrs { fd: dir.as_fd(), path: Some(path) })
    }

    /// Whether those of what has a name can be had: there is a /proc.
    pub fn have_names() -> bool {
        std::path::Path::new("/proc/self/fd").exists()
    }

    fn path(&self) -> Option<*const c_char> {
        self.path.as_ref().map(|path| path.as_ptr())
    }

    /// The names, each with a NUL behind it. There are none where the file system knows of
    /// no attributes; nor of what has a name, where there is no /proc.
    pub fn list(&self) -> Result<Vec<u8>, Errno> {
        let fd = self.fd.as_raw_fd();
        let listed = read(&|to: *mut c_void, len| {
            // SAFETY: `to` points to `len` writable bytes, and the path ends in a NUL.
            unsafe {
                match self.path() {
                    Some(path) => libc::llistxattr(path, to.cast(), len),
                    None => libc::flistxattr(fd, to.cast(), len),
                }
            }
        });
        match listed {
            Err(Errno::ENOTSUP | Errno::ENOSYS | Errno::ENOENT) => Ok(Vec::new()),
            listed => listed,
        }
    }

    pub fn get(&self, name: &CStr) -> Result<Vec<u8>, Errno> {
        let (fd, name) = (self.fd.as_raw_fd(), name.as_ptr());
        read(&|to: *mut c_void, len| {
            // SAFETY: `to` points to `len` writable bytes, path and name end in a NUL.
            unsafe {
                match self.path() {
                    Some(path) => libc::lgetxattr(path, name, to, len),
                    None => libc::fgetxattr(fd, name, to, len),
                }
            }
        })
    }

    pub fn set(&self, name: &CStr, value: &[u8]) -> Result<(), Errno> {
        let (fd, name, from) = (self.fd.as_raw_fd(), name.as_ptr(), value.as_ptr().cast());
        // SAFETY: `from` points to as many bytes as are said, path and name end in a NUL.
        let result = unsafe {
            match self.path() {
                Some(path) => libc::lsetxattr(path, name, from, value.len(), 0),
                None => libc::fsetxattr(fd, name, from, value.len(), 0),
            }
        };
        Errno::result(result).map(drop)
    }

    pub fn remove(&self, name: &CStr) -> Result<(), Errno> {
        let (fd, name) = (self.fd.as_raw_fd(), name.as_ptr());
        // SAFETY: path and name end in a NUL.
        let result = unsafe {
            match self.path() {
                Some(path) => libc::lremovexattr(path, name),
                None => libc::fremovexattr(fd, name),
            }
        };
        Errno::result(result).map(drop)
    }
}

/// What a call puts into memory that is lent to it: first little, then as much as can be.
fn read(call: &dyn Fn(*mut c_void, usize) -> isize) -> Result<Vec<u8>, Errno> {
    for len in [SHORT, LONG] {
        let mut bytes: Vec<u8> = Vec::with_capacity(len);
        match Errno::result(call(bytes.as_mut_ptr().cast(), len)) {
            Ok(written) => {
                // SAFETY: the kernel has written so many bytes, and no more than `len`.
                unsafe { bytes.set_len(written as usize) };
                return Ok(bytes);
            }
            Err(Errno::ERANGE) => {}
            Err(cause) => return Err(cause),
        }
    }
    Err(Errno::E2BIG)
}
