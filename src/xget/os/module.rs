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
pub fn load(path: &Path, params: &str) -> io::Result<()> {
    let file = File::open(path)?;
    let params = CString::new(params)?;
    match finit_module(&file, &params, ModuleInitFlags::empty()) {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        // The same number as for a file that is not there, and another matter.
        Err(Errno::ENOENT) => {
            Err(io::Error::other("it needs a symbol of a module that is not in this initramfs"))
        }
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
