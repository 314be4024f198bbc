//! Files by descriptor and name: what `store` asks of Linux.
//!
//! Every name here is one component, or in one place a path of them, looked up
//! in an open directory and never followed when it is a symlink; so whatever
//! stands on disk, a path built from these steps cannot leave the directory it
//! began in. Knows no entry, no manifest and no policy: which mode, which name
//! and what to do about an error are its callers' business.

#![allow(unsafe_code)]

use nix::dir::{Dir, OwningIter};
use nix::errno::Errno;
use nix::fcntl::{self, AtFlags, FallocateFlags, OFlag, OpenHow, PosixFadviseAdvice, ResolveFlag};
use nix::sys::memfd::{self, MFdFlags};
use nix::sys::stat::{self, Mode, SFlag, UtimensatFlags};
use nix::sys::time::TimeSpec;
use nix::unistd::{self, AccessFlags, Gid, Uid, UnlinkatFlags, Whence};
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

/// st_blocks counts these, whatever the file system's own blocks (stat(3type)).
pub const STAT_BLOCK_BYTES: u64 = 512;
/// fallocate(2) of a large file may be interrupted; it keeps what it got.
const ALLOCATE_TRIES: u32 = 10;

/// Linux keeps a device's minor number in so many bits, and below its major one.
pub(super) const MINOR_BITS: u32 = 20;

/// What stat(2) says, as far as anything here asks.
// fields: one for each thing that stat(2) says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    pub dev: u64,
    pub ino: u64,
    /// Type and permission bits.
    pub mode: u32,
    /// Of a device: which it is, as the manifest has it.
    pub device: u32,
    pub nlink: u64,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    pub allocated_bytes: u64,
    pub mtime_s: i64,
    pub mtime_ns: u32,
    pub ctime_s: i64,
    pub ctime_ns: u32,
}

impl Status {
    pub fn is_dir(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFDIR
    }
    pub fn is_file(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFREG
    }
    pub fn is_symlink(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFLNK
    }
    pub fn is_block_device(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFBLK
    }
    pub fn is_device(&self) -> bool {
        matches!(self.mode & libc::S_IFMT, libc::S_IFCHR | libc::S_IFBLK)
    }
    /// What it is, where it is none of these.
    pub fn type_name(&self) -> &'static str {
        match self.mode & libc::S_IFMT {
            libc::S_IFIFO => "a fifo",
            libc::S_IFSOCK => "a socket",
            libc::S_IFCHR => "a character device",
            libc::S_IFBLK => "a block device",
            _ => "no file, directory or symlink",
        }
    }
    pub fn permissions(&self) -> u32 {
        self.mode & 0o7777
    }
}

// The widths of these fields differ between architectures and C libraries.
#[allow(clippy::unnecessary_cast)]
fn status(st: stat::FileStat) -> Status {
    // Network and user-space file systems have given nanoseconds out of range.
    let ns = |value: i64| if (0..1_000_000_000).contains(&value) { value as u32 } else { 0 };
    Status {
        dev: st.st_dev as u64,
        ino: st.st_ino as u64,
        mode: st.st_mode as u32,
        device: libc::major(st.st_rdev) << MINOR_BITS | libc::minor(st.st_rdev),
        nlink: st.st_nlink as u64,
        uid: st.st_uid,
        gid: st.st_gid,
        size: st.st_size.max(0) as u64,
        allocated_bytes: st.st_blocks.max(0) as u64 * STAT_BLOCK_BYTES,
        mtime_s: st.st_mtime as i64,
        mtime_ns: ns(st.st_mtime_nsec as i64),
        ctime_s: st.st_ctime as i64,
        ctime_ns: ns(st.st_ctime_nsec as i64),
    }
}

/// For the kernel. By nix itself it would be code of its own in each function.
fn c_name(name: &[u8]) -> Result<CString, Errno> {
    CString::new(name).map_err(|_| Errno::EINVAL)
}

fn c_path(path: &Path) -> Result<CString, Errno> {
    c_name(path.as_os_str().as_encoded_bytes())
}

/// Follows symlinks: for paths that the operator gave.
pub fn stat_path(path: &Path) -> Result<Status, Errno> {
    stat::stat(&*c_path(path)?).map(status)
}

pub fn stat_at(dir: &OwnedFd, name: &[u8]) -> Result<Status, Errno> {
    stat::fstatat(dir, &*c_name(name)?, AtFlags::AT_SYMLINK_NOFOLLOW).map(status)
}

pub fn stat_dir(dir: &OwnedFd) -> Result<Status, Errno> {
    stat::fstat(dir).map(status)
}

pub fn stat_file(file: &File) -> Result<Status, Errno> {
    stat::fstat(file).map(status)
}

const DIR_FLAGS: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC).union(OFlag::O_NONBLOCK);

/// Follows symlinks: for paths that the operator gave.
pub fn open_dir(path: &Path) -> Result<OwnedFd, Errno> {
    fcntl::open(&*c_path(path)?, DIR_FLAGS, Mode::empty())
}

/// Opens what is in the directory and nothing else, whatever the name is: so the kernel sees to
/// it since Linux 5.6. Before, and where a container's filter does not know the call, it is
/// the names that do: none has a slash in it.
fn open_in(dir: &OwnedFd, name: &[u8], flags: OFlag) -> Result<OwnedFd, Errno> {
    let (name, flags) = (c_name(name)?, flags | OFlag::O_NOFOLLOW);
    match fcntl::openat2(dir, &*name, OpenHow::new().flags(flags).resolve(BENEATH)) {
        Err(Errno::ENOSYS | Errno::EPERM) => fcntl::openat(dir, &*name, flags, Mode::empty()),
        opened => opened,
    }
}

const BENEATH: ResolveFlag = ResolveFlag::RESOLVE_BENEATH
    .union(ResolveFlag::RESOLVE_NO_SYMLINKS)
    .union(ResolveFlag::RESOLVE_NO_MAGICLINKS);

pub fn open_dir_at(dir: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    open_in(dir, name, DIR_FLAGS)
}

/// The same for a path of several names, none of which may be a symlink
/// either; since Linux 5.6.
pub fn open_dir_below(dir: &OwnedFd, path: &[u8]) -> Result<OwnedFd, Errno> {
    fcntl::openat2(dir, &*c_name(path)?, OpenHow::new().flags(DIR_FLAGS).resolve(BENEATH))
}

/// Not blocking, in case a fifo has taken the file's name meanwhile.
const FILE_FLAGS: OFlag =
    OFlag::O_NOFOLLOW.union(OFlag::O_CLOEXEC).union(OFlag::O_NONBLOCK).union(OFlag::O_NOCTTY);

pub fn open_file_at(dir: &OwnedFd, name: &[u8]) -> Result<File, Errno> {
    open_in(dir, name, FILE_FLAGS | OFlag::O_RDONLY).map(File::from)
}

pub fn open_file_rw_at(dir: &OwnedFd, name: &[u8]) -> Result<File, Errno> {
    fcntl::openat(dir, &*c_name(name)?, FILE_FLAGS | OFlag::O_RDWR, Mode::empty()).map(File::from)
}

/// A new file; the umask applies.
pub fn create_file_at(dir: &OwnedFd, name: &[u8], mode: u32) -> Result<File, Errno> {
    let flags = FILE_FLAGS | OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL;
    fcntl::openat(dir, &*c_name(name)?, flags, Mode::from_bits_truncate(mode)).map(File::from)
}

/// A new directory; the umask applies.
pub fn make_dir_at(dir: &OwnedFd, name: &[u8], mode: u32) -> Result<(), Errno> {
    stat::mkdirat(dir, &*c_name(name)?, Mode::from_bits_truncate(mode))
}

/// By its whole path; the umask applies.
pub fn make_dir(path: &Path, mode: u32) -> Result<(), Errno> {
    unistd::mkdir(&*c_path(path)?, Mode::from_bits_truncate(mode))
}

/// Whether this process can make something in a directory, with the capabilities that it has now.
pub fn can_write(dir: &Path) -> Result<(), Errno> {
    let wanted = AccessFlags::W_OK | AccessFlags::X_OK;
    unistd::faccessat(fcntl::AT_FDCWD, &*c_path(dir)?, wanted, AtFlags::AT_EACCESS)
}

/// With those above it that are not there. One that is there stays as it is.
pub fn make_dirs(path: &Path) -> io::Result<()> {
    let mut made = make_dir(path, 0o777);
    if made == Err(Errno::ENOENT)
        && let Some(above) = path.parent()
    {
        make_dirs(above)?;
        made = make_dir(path, 0o777);
    }
    match made {
        Err(_) if path.is_dir() => Ok(()),
        made => Ok(made?),
    }
}

/// A fifo, a socket or a device, by the type in its mode; the umask applies.
pub fn make_special_at(dir: &OwnedFd, name: &[u8], mode: u32, device: u32) -> Result<(), Errno> {
    let (kind, mode) = (SFlag::from_bits_truncate(mode), Mode::from_bits_truncate(mode));
    let minor = device & ((1 << MINOR_BITS) - 1);
    stat::mknodat(dir, &*c_name(name)?, kind, mode, libc::makedev(device >> MINOR_BITS, minor))
}

pub fn make_symlink_at(dir: &OwnedFd, name: &[u8], target: &[u8]) -> Result<(), Errno> {
    unistd::symlinkat(&*c_name(target)?, dir, &*c_name(name)?)
}

pub fn read_symlink_at(dir: &OwnedFd, name: &[u8]) -> Result<Vec<u8>, Errno> {
    fcntl::readlinkat(dir, &*c_name(name)?).map(OsString::into_vec)
}

/// Another name of a file; a symlink of the old name is not followed.
pub fn link_at(
    old_dir: &OwnedFd,
    old_name: &[u8],
    dir: &OwnedFd,
    name: &[u8],
) -> Result<(), Errno> {
    unistd::linkat(old_dir, &*c_name(old_name)?, dir, &*c_name(name)?, AtFlags::empty())
}

/// Within one directory, replacing what has the new name.
pub fn rename_at(dir: &OwnedFd, old_name: &[u8], name: &[u8]) -> Result<(), Errno> {
    fcntl::renameat(dir, &*c_name(old_name)?, dir, &*c_name(name)?)
}

/// Lets two names of a directory change places in one step: rename(2), RENAME_EXCHANGE, since
/// Linux 3.15 and not for every file system. musl has no function of it.
pub fn exchange_at(dir: &OwnedFd, one: &[u8], other: &[u8]) -> Result<(), Errno> {
    rename_by(dir, one, other, libc::RENAME_EXCHANGE)
}

/// Within one directory, where nothing has the new name; a file system that cannot tell so in
/// one step (EINVAL) replaces it.
pub fn rename_new_at(dir: &OwnedFd, old_name: &[u8], name: &[u8]) -> Result<(), Errno> {
    match rename_by(dir, old_name, name, libc::RENAME_NOREPLACE) {
        Err(Errno::EINVAL | Errno::ENOSYS) => rename_at(dir, old_name, name),
        result => result,
    }
}

fn rename_by(dir: &OwnedFd, one: &[u8], other: &[u8], flag: u32) -> Result<(), Errno> {
    let (fd, one, other) = (dir.as_raw_fd(), c_name(one)?, c_name(other)?);
    // SAFETY: `fd` is open, and both names end in a NUL.
    let result =
        unsafe { libc::syscall(libc::SYS_renameat2, fd, one.as_ptr(), fd, other.as_ptr(), flag) };
    Errno::result(result).map(drop)
}

/// Removes a name that is no directory.
pub fn unlink_at(dir: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
    unistd::unlinkat(dir, &*c_name(name)?, UnlinkatFlags::NoRemoveDir)
}

/// Waits until all that was written to a file system is on its medium.
pub fn sync_all(dir: &OwnedFd) -> Result<(), Errno> {
    unistd::syncfs(dir)
}

/// Removes an empty directory.
pub fn remove_dir_at(dir: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
    unistd::unlinkat(dir, &*c_name(name)?, UnlinkatFlags::RemoveDir)
}

/// What a file is called between its making and the loss of its name.
const UNNAMED: &[u8] = b".xget-0000000000000001.part";

/// A file without a name, on the file system of a directory. By hand, as O_TMPFILE is
/// not for every file system.
pub fn unnamed_in(dir: &OwnedFd) -> Result<File, Errno> {
    let _ = unlink_at(dir, UNNAMED);
    let file = create_file_at(dir, UNNAMED, 0o600)?;
    unlink_at(dir, UNNAMED)?;
    Ok(file)
}

/// The same by O_TMPFILE, where the file system has it: nobody else ever sees a name.
pub fn unnamed_below(dir: &Path) -> Result<File, Errno> {
    let tried =
        fcntl::open(dir, OFlag::O_TMPFILE | OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::S_IRWXU);
    match tried {
        Ok(file) => Ok(File::from(file)),
        Err(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::EINVAL) => unnamed_in(&open_dir(dir)?),
        Err(cause) => Err(cause),
    }
}

/// Gives the space of a stretch of a file back; it reads as zeros then.
pub fn punch(file: &File, from: u64, to: u64) -> Result<(), Errno> {
    let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    fcntl::fallocate(file, flags, from as libc::off_t, (to - from) as libc::off_t)
}

/// A file without a name, in memory.
pub fn unnamed_in_memory() -> Result<File, Errno> {
    memfd::memfd_create(c"xget", MFdFlags::MFD_CLOEXEC).map(File::from)
}

/// Whether something is mounted on a name, as far as the kernel tells (statx(2), since Linux
/// 5.8): devices are no help, since an overlayfs gives files of one directory several.
pub fn is_mounted_at(dir: &OwnedFd, name: &[u8]) -> bool {
    let Ok(name) = c_name(name) else { return false };
    let mut told = std::mem::MaybeUninit::<libc::statx>::zeroed();
    let (fd, flags) = (dir.as_raw_fd(), libc::AT_SYMLINK_NOFOLLOW | libc::AT_NO_AUTOMOUNT);
    // SAFETY: `dir` is open, the name ends in a NUL, and there is room for what is told; all
    // of which are numbers, for which zeros do.
    let told = unsafe {
        let to = told.as_mut_ptr();
        if libc::syscall(libc::SYS_statx, fd, name.as_ptr(), flags, 0, to) != 0 {
            return false;
        }
        told.assume_init()
    };
    told.stx_attributes & told.stx_attributes_mask & libc::STATX_ATTR_MOUNT_ROOT as u64 != 0
}

/// The number of the mount that a directory is in, where /proc tells
/// (proc_pid_fdinfo(5), since Linux 3.15).
pub fn mount_id(dir: &OwnedFd) -> Option<u64> {
    let told = std::fs::read(format!("/proc/self/fdinfo/{}", dir.as_raw_fd())).ok()?;
    let line = told.split(|&b| b == b'\n').find_map(|line| line.strip_prefix(b"mnt_id:\t"));
    std::str::from_utf8(line?).ok()?.trim().parse().ok()
}

/// The names in a directory, without "." and "..", in no order.
pub struct Listing(OwningIter);

/// Opens the directory anew, so that the reading position is this listing's.
pub fn list(dir: &OwnedFd) -> Result<Listing, Errno> {
    let again = fcntl::openat(dir, c".", DIR_FLAGS, Mode::empty())?;
    Ok(Listing(Dir::from_fd(again)?.into_iter()))
}

impl Iterator for Listing {
    type Item = Result<Box<[u8]>, Errno>;
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.0.next()? {
                Ok(entry) => match entry.file_name().to_bytes() {
                    b"." | b".." => {}
                    name => return Some(Ok(name.into())),
                },
                Err(cause) => return Some(Err(cause)),
            }
        }
    }
}

/// Where the next data at or after `offset` begin; `None` when only a hole
/// follows. A file system that cannot tell says that all is data (lseek(2)).
pub fn next_data(file: &File, offset: u64) -> Option<u64> {
    match unistd::lseek(file, offset as libc::off_t, Whence::SeekData) {
        Ok(at) => Some(at as u64),
        Err(Errno::ENXIO) => None,
        Err(_) => Some(offset),
    }
}

/// Whether there is a hole before the end of the file.
pub fn has_hole(file: &File, size: u64) -> bool {
    matches!(unistd::lseek(file, 0, Whence::SeekHole), Ok(at) if (at as u64) < size)
}

/// Tells the kernel that a file will be read from its start to its end.
pub fn read_ahead(file: &File) {
    // Advice: without it the bytes are the same, only later.
    let _ = fcntl::posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_SEQUENTIAL);
}

/// Reserves the space of a whole file, so that a lack of it shows now. A file
/// system that cannot reserve is let pass.
pub fn allocate(file: &File, len: u64) -> Result<(), Errno> {
    for _ in 0..ALLOCATE_TRIES {
        match fcntl::fallocate(file, FallocateFlags::empty(), 0, len as libc::off_t) {
            Err(Errno::EINTR) => {}
            Err(Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EINVAL) => return Ok(()),
            done => return done,
        }
    }
    Ok(())
}

pub fn set_owner(fd: BorrowedFd, uid: u32, gid: u32) -> Result<(), Errno> {
    unistd::fchown(fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
}

/// Permission bits with setuid, setgid and sticky.
pub fn set_mode(fd: BorrowedFd, mode: u32) -> Result<(), Errno> {
    stat::fchmod(fd, Mode::from_bits_truncate(mode))
}

/// The access time stays as it is.
pub fn set_mtime(fd: BorrowedFd, s: i64, ns: u32) -> Result<(), Errno> {
    stat::futimens(fd, &TimeSpec::UTIME_OMIT, &TimeSpec::new(s, i64::from(ns)))
}

/// Of the symlink itself.
pub fn set_owner_at(dir: &OwnedFd, name: &[u8], uid: u32, gid: u32) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    unistd::fchownat(dir, &*c_name(name)?, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)
}

/// Of the symlink itself.
pub fn set_mtime_at(dir: &OwnedFd, name: &[u8], s: i64, ns: u32) -> Result<(), Errno> {
    let mtime = TimeSpec::new(s, i64::from(ns));
    let flag = UtimensatFlags::NoFollowSymlink;
    stat::utimensat(dir, &*c_name(name)?, &TimeSpec::UTIME_OMIT, &mtime, flag)
}

/// Sets the mode of a directory that its mode does not let us open.
pub fn set_dir_mode_at(dir: &OwnedFd, name: &[u8], mode: u32) -> Result<(), Errno> {
    set_mode_unopened(dir, name, mode, OFlag::O_DIRECTORY)
}

/// Sets the mode of what is never opened: a fifo, a socket, a device.
pub fn set_special_mode_at(dir: &OwnedFd, name: &[u8], mode: u32) -> Result<(), Errno> {
    set_mode_unopened(dir, name, mode, OFlag::empty())
}

fn set_mode_unopened(dir: &OwnedFd, name: &[u8], mode: u32, flags: OFlag) -> Result<(), Errno> {
    let flags = flags | OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let fd = fcntl::openat(dir, &*c_name(name)?, flags, Mode::empty())?;
    // fchmod(2) refuses O_PATH; its link in /proc names the same directory.
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let follow = stat::FchmodatFlags::FollowSymlink;
    stat::fchmodat(&fd, &*c_name(path.as_bytes())?, Mode::from_bits_truncate(mode), follow)
}

/// Takes the advisory lock of an open directory or device. False when another process
/// holds it. A file system without locks (ENOLCK, or EBADF on NFS, flock(2))
/// is let pass: the lock only protects from mistakes.
pub fn lock(fd: &impl AsRawFd) -> bool {
    // SAFETY: flock(2) takes no pointers, and `fd` is open.
    let result = unsafe { libc::flock(fd.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) };
    Errno::result(result) != Err(Errno::EWOULDBLOCK)
}

/// Takes part in it, together with others who do: nobody has it alone meanwhile.
pub fn lock_shared(dir: &OwnedFd) -> bool {
    // SAFETY: flock(2) takes no pointers, and `dir` is open.
    let result = unsafe { libc::flock(dir.as_raw_fd(), libc::LOCK_SH | libc::LOCK_NB) };
    Errno::result(result) != Err(Errno::EWOULDBLOCK)
}

/// Gives it up, also in the name of processes that share the descriptor.
pub fn unlock(dir: &OwnedFd) {
    // SAFETY: flock(2) takes no pointers, and `dir` is open.
    unsafe { libc::flock(dir.as_raw_fd(), libc::LOCK_UN) };
}

/// What a file system has left for this user.
#[derive(Clone, Copy, Debug)]
pub struct FreeSpace {
    /// `None` when the file system has no limit of its own (ramfs).
    pub bytes: Option<u64>,
    /// Files that it can still hold; `None` as for `bytes`.
    pub files: Option<u64>,
    /// Files take space in multiples of this.
    pub block_bytes: u64,
}

/// Of the file system that an open directory is on. One that does not say has
/// no limit.
// The widths of these fields differ between architectures and C libraries.
#[allow(clippy::unnecessary_cast)]
pub fn free_space(dir: &OwnedFd) -> FreeSpace {
    let Ok(fs) = nix::sys::statvfs::fstatvfs(dir) else {
        return FreeSpace { bytes: None, files: None, block_bytes: STAT_BLOCK_BYTES };
    };
    let block_bytes = (fs.fragment_size() as u64).max(STAT_BLOCK_BYTES);
    let (blocks, files) = match is_root() {
        true => (fs.blocks_free() as u64, fs.files_free() as u64),
        false => (fs.blocks_available() as u64, fs.files_available() as u64),
    };
    FreeSpace {
        bytes: (fs.blocks() > 0).then(|| blocks.saturating_mul(block_bytes)),
        files: (fs.files() > 0).then_some(files),
        block_bytes,
    }
}

/// What is in use of a file system; 0 where it does not say.
#[derive(Clone, Copy, Debug, Default)]
pub struct UsedSpace {
    pub bytes: u64,
    pub files: u64,
}

pub fn used_space(dir: &OwnedFd) -> UsedSpace {
    let used = |fs: nix::sys::statvfs::Statvfs| UsedSpace {
        bytes: fs.blocks().saturating_sub(fs.blocks_free()) * fs.fragment_size(),
        files: fs.files().saturating_sub(fs.files_free()),
    };
    nix::sys::statvfs::fstatvfs(dir).map_or_else(|_| UsedSpace::default(), used)
}

/// Whether the files below an open directory are memory, where reserving
/// space for them is of no use.
pub fn is_in_memory(dir: &OwnedFd) -> bool {
    nix::sys::statfs::fstatfs(dir)
        .is_ok_and(|fs| fs.filesystem_type() == nix::sys::statfs::TMPFS_MAGIC)
}

pub fn is_root() -> bool {
    user() == 0
}

/// Whom new files belong to.
pub fn user() -> u32 {
    unistd::geteuid().as_raw()
}

/// The process' umask, which umask(2) only tells while it changes it; so from
/// /proc where there is one (proc_pid_status(5), since Linux 4.7).
pub fn umask() -> u32 {
    let status = std::fs::read("/proc/self/status").unwrap_or_default();
    let line = status.split(|&b| b == b'\n').find_map(|line| line.strip_prefix(b"Umask:\t"));
    let told = line.and_then(|text| std::str::from_utf8(text).ok());
    told.and_then(|text| u32::from_str_radix(text.trim(), 8).ok()).unwrap_or_else(|| {
        let mask = stat::umask(Mode::S_IRWXG | Mode::S_IRWXO);
        stat::umask(mask);
        mask.bits()
    })
}

/// The error number in an error of the standard library's.
pub fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// Makes the calling thread alone a user without rights, for tests of what
/// such a user may not do. The C library's setresuid(2) changes all threads,
/// the system call of that name only the calling one (nptl(7)).
#[cfg(test)]
pub fn drop_rights_of_this_thread(id: u32) {
    // SAFETY: these system calls take numbers, and setgroups(2) a null list of
    // length 0; they touch no memory.
    let results = unsafe {
        [
            libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<libc::gid_t>()),
            libc::syscall(libc::SYS_setresgid, id, id, id),
            libc::syscall(libc::SYS_setresuid, id, id, id),
        ]
    };
    assert_eq!(results, [0; 3]);
    assert_eq!(user(), id);
}

/// Gives the calling thread alone its own view of what is mounted, for tests
/// of small file systems. False without the right to.
#[cfg(test)]
pub fn private_mounts_of_this_thread() -> bool {
    use nix::mount::{MsFlags, mount};
    // SAFETY: unshare(2) takes flags and touches no memory.
    let unshared = unsafe { libc::unshare(libc::CLONE_NEWNS) } == 0;
    let none: Option<&str> = None;
    unshared && mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::scratch::Dir;

    #[test]
    fn no_name_leads_out_of_the_directory() {
        let dir = Dir::new();
        std::fs::create_dir_all(dir.join("served/below")).unwrap();
        dir.write("secret", b"s");
        dir.write("served/f", b"f");
        std::os::unix::fs::symlink("../secret", dir.join("served/link")).unwrap();
        let served = open_dir(&dir.join("served")).unwrap();
        assert!(open_file_at(&served, b"f").is_ok() && open_dir_at(&served, b"below").is_ok());
        for name in ["../secret", "/etc/passwd", "below/../../secret", "link"] {
            assert!(open_file_at(&served, name.as_bytes()).is_err(), "{name}");
        }
        for name in ["..", "/", "below/../.."] {
            assert_eq!(open_dir_at(&served, name.as_bytes()).err(), Some(Errno::EXDEV), "{name}");
        }
        assert_eq!(open_file_at(&served, b"none").err(), Some(Errno::ENOENT));
    }
}
