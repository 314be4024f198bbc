//! Mounting, as mount(2) has it.
//!
//! Which file systems a boot has, and where, is not known here.

use nix::mount::MsFlags;
use std::io;

/// Mounts a file system without a device behind it.
pub fn mount(kind: &str, target: &str, safe: bool, options: &str) -> io::Result<()> {
    let flags = if safe { MsFlags::MS_NOSUID | MsFlags::MS_NODEV } else { MsFlags::empty() };
    let options = (!options.is_empty()).then_some(options);
    nix::mount::mount(Some(kind), target, Some(kind), flags, options)?;
    Ok(())
}
