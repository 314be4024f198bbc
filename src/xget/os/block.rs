//! Block devices: opened for oneself alone, measured, zeroed, discarded, read past the page
//! cache; the ioctls of linux/fs.h.
//!
//! Refuses to know what is on them, and who else uses them.

#![allow(unsafe_code)]

use super::file::{self, MINOR_BITS};
use nix::errno::Errno;
use nix::fcntl::{self, FallocateFlags, OFlag, PosixFadviseAdvice};
use nix::sys::stat::Mode;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

nix::ioctl_read_bad!(get_size, nix::request_code_read!(0x12, 114, size_of::<usize>()), u64);
nix::ioctl_read_bad!(get_block_len, nix::request_code_none!(0x12, 104), libc::c_int);
nix::ioctl_read_bad!(get_read_only, nix::request_code_none!(0x12, 94), libc::c_int);
nix::ioctl_none!(reread, 0x12, 95);
nix::ioctl_none!(flush_buffers, 0x12, 97);
nix::ioctl_write_ptr_bad!(do_discard, nix::request_code_none!(0x12, 119), [u64; 2]);
nix::ioctl_write_ptr_bad!(do_zero_out, nix::request_code_none!(0x12, 127), [u64; 2]);

/// How a device is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read, and written by whoever wants.
    Read,
    /// The same past the page cache.
    ReadDirect,
    Write,
    /// As `Write`, and by nobody else who asks so: no mount, no swap, no other claim (`O_EXCL`,
    /// open(2)). EBUSY where somebody has one, be it on a partition alone.
    Claim,
}

/// Follows symlinks: for paths that the operator gave.
///
/// # Errors
/// ENOTBLK where it is no block device; what open(2) says.
pub fn open(path: &Path, access: Access) -> Result<File, Errno> {
    let flags = match access {
        Access::Read => OFlag::O_RDONLY,
        Access::ReadDirect => OFlag::O_RDONLY | OFlag::O_DIRECT,
        Access::Write => OFlag::O_RDWR,
        Access::Claim => OFlag::O_RDWR | OFlag::O_EXCL,
    };
    // Not blocking, should it be a fifo by now.
    let flags = flags | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = File::from(fcntl::open(path, flags, Mode::empty())?);
    let status = file::stat_file(&file)?;
    if status.is_block_device() { Ok(file) } else { Err(Errno::ENOTBLK) }
}

/// Opens what is open once more, whatever has its name by now.
pub fn open_again(file: &File, access: Access) -> Result<File, Errno> {
    open(&PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd())), access)
}

/// The major and the minor number of a device, as the manifest has it.
pub fn numbers(device: u32) -> (u32, u32) {
    (device >> MINOR_BITS, device & ((1 << MINOR_BITS) - 1))
}

/// The other way round; none where they are too great for Linux.
pub fn of_numbers(major: u32, minor: u32) -> Option<u32> {
    let fits = minor >> MINOR_BITS == 0 && major >> (u32::BITS - MINOR_BITS) == 0;
    fits.then_some(major << MINOR_BITS | minor)
}

pub fn size_bytes(file: &File) -> Result<u64, Errno> {
    let mut bytes = 0;
    // SAFETY: BLKGETSIZE64 writes one u64, which lives here (the header says size_t, and
    // block/ioctl.c goes by u64).
    unsafe { get_size(file.as_raw_fd(), &raw mut bytes) }?;
    Ok(bytes)
}

/// What it is read and written in, at the least.
pub fn block_bytes(file: &File) -> Result<u64, Errno> {
    let mut bytes = 0;
    // SAFETY: BLKSSZGET writes one int, which lives here.
    unsafe { get_block_len(file.as_raw_fd(), &raw mut bytes) }?;
    Ok(u64::try_from(bytes).unwrap_or(0).max(512))
}

/// Whether it takes no writes, however it was opened.
pub fn is_read_only(file: &File) -> Result<bool, Errno> {
    let mut is = 0;
    // SAFETY: BLKROGET writes one int, which lives here.
    unsafe { get_read_only(file.as_raw_fd(), &raw mut is) }?;
    Ok(is != 0)
}

/// Discards a stretch where the device promises that what is discarded so reads as zeros (write
/// zeroes with unmap; the kernel knows which does). What the page cache had of it is forgotten.
pub fn punch(file: &File, offset: u64, len: u64) -> Result<(), Errno> {
    let punch = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    fcntl::fallocate(file, punch, offset as libc::off_t, len as libc::off_t)
}

/// Has zeros written, by the device or by the kernel.
pub fn zero_out(file: &File, offset: u64, len: u64) -> Result<(), Errno> {
    // SAFETY: BLKZEROOUT reads two u64, which live here.
    unsafe { do_zero_out(file.as_raw_fd(), &[offset, len]) }.map(drop)
}

/// Gives a stretch back to the device. It reads as anything afterwards.
pub fn discard(file: &File, offset: u64, len: u64) -> Result<(), Errno> {
    // SAFETY: BLKDISCARD reads two u64, which live here.
    unsafe { do_discard(file.as_raw_fd(), &[offset, len]) }.map(drop)
}

/// Has the page cache forget the device. What is not on the medium yet it writes before that, or
/// keeps, where the user may not ask for more (CAP_SYS_ADMIN).
pub fn drop_cache(file: &File) {
    // SAFETY: BLKFLSBUF takes no argument.
    if unsafe { flush_buffers(file.as_raw_fd()) }.is_err() {
        let _ = fcntl::posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
    }
}

/// Has the kernel look at the partition table again. EBUSY where a partition is in use, EINVAL
/// where there can be none.
pub fn reread_partitions(file: &File) -> Result<(), Errno> {
    // SAFETY: BLKRRPART takes no argument.
    unsafe { reread(file.as_raw_fd()) }.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::scratch::Dir;

    #[test]
    fn a_file_is_no_device() {
        let dir = Dir::new();
        let path = dir.write("f", b"file");
        for access in [Access::Read, Access::Write] {
            assert_eq!(open(&path, access).unwrap_err(), Errno::ENOTBLK);
        }
        let file = File::open(&path).unwrap();
        assert_eq!(size_bytes(&file), Err(Errno::ENOTTY));
        assert_eq!(reread_partitions(&file), Err(Errno::ENOTTY));
    }
}
