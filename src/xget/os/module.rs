//! Loading kernel modules, finit_module(2).
//!
//! Knows one file and what the kernel's refusals mean. Refuses to know which
//! modules there are, and what they need.

use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::path::Path;

/// Loads an uncompressed module. One that is loaded already is no error.
/// `NotFound`: the kernel does not find what the module needs, or has no such
/// module itself.
pub fn load(path: &Path, params: &str) -> io::Result<()> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(io::Error::other("it is not in this initramfs"));
        }
        opened => opened?,
    };
    let params = CString::new(params)?;
    match finit_module(&file, &params, ModuleInitFlags::empty()) {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(Errno::ENOENT) => Err(io::Error::new(
            io::ErrorKind::NotFound,
            "it needs another module that is not there, or not yet",
        )),
        Err(Errno::ENOEXEC) => {
            Err(io::Error::other("it is compressed, or was built for another kernel"))
        }
        Err(errno) => Err(errno.into()),
    }
}

/// The running kernel's release and machine, as uname(1) prints them.
pub fn kernel_release() -> io::Result<(String, String)> {
    let uts = nix::sys::utsname::uname()?;
    let text = |value: &std::ffi::OsStr| value.to_string_lossy().into_owned();
    Ok((text(uts.release()), text(uts.machine())))
}

/// The running kernel's release and version, as the kernel's file has them too.
pub fn kernel_version() -> io::Result<(String, String)> {
    let uts = nix::sys::utsname::uname()?;
    let text = |value: &std::ffi::OsStr| value.to_string_lossy().into_owned();
    Ok((text(uts.release()), text(uts.version())))
}
