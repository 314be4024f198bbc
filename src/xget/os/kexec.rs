//! Sealed files in memory, and kexec_file_load(2) on them.
//!
//! Knows how bytes get there and what the kernel's refusals mean; refuses to
//! know what an image is.

#![allow(unsafe_code)]

use super::poll::{Poll, READABLE};
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, FcntlArg, OFlag, SealFlag, fallocate, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::sendfile::sendfile;
use nix::unistd::{ForkResult, fork};
use std::ffi::CStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

/// Moved at a time; so much is in memory twice.
const MOVE_LEN: usize = 16 << 20;

/// A file in memory that nobody can change once it is sealed, or that nobody
/// can open any more.
pub struct Sealed {
    file: File,
    len: u64,
}

impl Sealed {
    pub fn new(name: &CStr) -> io::Result<Sealed> {
        let fd = memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
        Ok(Sealed { file: File::from(fd), len: 0 })
    }

    /// A file as it is, without copying it: it loses its name, and who has it
    /// open for writing would make the load fail (ETXTBSY).
    pub fn adopt(path: &Path) -> io::Result<Sealed> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        std::fs::remove_file(path)?;
        Ok(Sealed { file, len })
    }

    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Moves a file in: each stretch is given back by the source as soon as
    /// it was copied, so that the memory is used once. The source is then
    /// removed.
    pub fn take(&mut self, path: &Path) -> io::Result<u64> {
        let source = OpenOptions::new().read(true).write(true).open(path)?;
        let punch = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        let mut total = 0;
        loop {
            let moved = sendfile(&self.file, &source, None, MOVE_LEN)?;
            if moved == 0 {
                break;
            }
            // Where holes are not possible the memory comes back at the end.
            let _ = fallocate(&source, punch, total as libc::off_t, moved as libc::off_t);
            total += moved as u64;
        }
        std::fs::remove_file(path)?;
        self.len += total;
        Ok(total)
    }

    /// No write, no growth, no more seals; read from the start.
    pub fn seal(&mut self) -> io::Result<()> {
        self.file.rewind()?;
        let seals = SealFlag::F_SEAL_WRITE
            | SealFlag::F_SEAL_GROW
            | SealFlag::F_SEAL_SHRINK
            | SealFlag::F_SEAL_SEAL;
        fcntl(self.file.as_fd(), FcntlArg::F_ADD_SEALS(seals))?;
        // The kernel reads it as it reads a program: nobody may have it open
        // for writing (ETXTBSY), not even we.
        let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        self.file = File::open(path)?;
        Ok(())
    }
}

/// KEXEC_FILE_UNLOAD and KEXEC_FILE_NO_INITRAMFS of linux/kexec.h.
const UNLOAD: libc::c_ulong = 1;
const NO_INITRAMFS: libc::c_ulong = 4;

/// A load that goes on in a process of its own: the call neither says how far
/// it is nor lets anything else be done.
pub struct Loading {
    /// The kernel's answer, as its number; empty if the process was ended.
    answer: File,
}

/// Begins to load the kernel that `reboot::into_loaded_kernel` starts.
pub fn begin_load(kernel: &File, initrd: Option<&File>, cmdline: &CStr) -> io::Result<Loading> {
    let (answer, said) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    // SAFETY: what the child calls is async-signal-safe and allocates nothing.
    match unsafe { fork() }? {
        ForkResult::Child => {
            let errno = load(kernel, initrd, cmdline) as u8;
            // SAFETY: one byte that lives here; then this process is over.
            unsafe {
                libc::write(said.as_raw_fd(), (&raw const errno).cast(), 1);
                libc::_exit(0)
            }
        }
        ForkResult::Parent { .. } => Ok(Loading { answer: File::from(answer) }),
    }
}

impl Loading {
    /// The answer, if it comes within this time.
    pub fn wait(&mut self, timeout_ms: u64) -> Option<io::Result<()>> {
        let mut poll = Poll::default();
        poll.add(&self.answer, READABLE);
        if !matches!(poll.wait(timeout_ms), Ok(true)) {
            return None;
        }
        let mut errno = [0];
        Some(match self.answer.read(&mut errno) {
            Ok(1) if errno == [0] => Ok(()),
            Ok(1) => Err(io::Error::from_raw_os_error(errno[0].into())),
            _ => Err(io::Error::other("the process that loads it was ended")),
        })
    }
}

/// The call itself: 0, or the number of its error, of which none is above 255.
fn load(kernel: &File, initrd: Option<&File>, cmdline: &CStr) -> i32 {
    let flags = if initrd.is_some() { 0 } else { NO_INITRAMFS };
    let initrd_fd = initrd.map_or(-1, |file| file.as_raw_fd());
    // SAFETY: the descriptors are open during the call, and the length of the
    // command line is that of the buffer with its zero.
    let result = unsafe {
        libc::syscall(
            libc::SYS_kexec_file_load,
            kernel.as_raw_fd(),
            initrd_fd,
            cmdline.to_bytes_with_nul().len() as libc::c_ulong,
            cmdline.as_ptr(),
            flags,
        )
    };
    if result == 0 { 0 } else { Errno::last_raw() }
}

/// Forgets a loaded kernel. By this call and not the older one, which a
/// locked-down kernel refuses.
pub fn unload() {
    // SAFETY: with this flag the kernel looks at none of the other arguments.
    unsafe {
        let none = std::ptr::null::<libc::c_char>();
        libc::syscall(libc::SYS_kexec_file_load, -1, -1, 0 as libc::c_ulong, none, UNLOAD);
    }
}

/// What a refusal means, and what to do about it.
pub fn reason(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EPERM) => {
            "not permitted: kernel.kexec_load_disabled, kexec_load_limit_reboot or lockdown forbid it"
        }
        Some(libc::ENOSYS) => "this kernel has no kexec_file_load (CONFIG_KEXEC_FILE)",
        Some(libc::EBUSY) => "another load is going on",
        Some(libc::ENOEXEC) => "the kernel file is of no format that this kernel can start",
        Some(libc::EINVAL) => {
            "the kernel file, the command line or the sizes are wrong; dmesg says which"
        }
        Some(libc::ENOMEM) => "there is not enough memory to load it",
        Some(libc::EFBIG) => "a file is larger than this kernel takes (2 GiB on older ones)",
        Some(libc::EADDRNOTAVAIL) => "there is no free stretch of memory for it",
        Some(libc::ETXTBSY) => "a file is still open for writing",
        Some(libc::ELIBBAD) => "its signature is malformed",
        Some(libc::EKEYREJECTED) => "its signature was rejected",
        Some(libc::ENOKEY) => "it is signed with a key that this kernel does not trust",
        Some(libc::ENOPKG) => "its signature uses an algorithm that this kernel does not have",
        Some(libc::EBADMSG | libc::EMSGSIZE) => "its signature does not fit the file",
        Some(libc::ENODATA) => "it is not signed, and this kernel demands a signature",
        _ => "the kernel gives no usual reason",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str, bytes: &[u8]) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("xget-{name}-{}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        path
    }

    #[test]
    fn files_move_in_and_nothing_changes_them_then() {
        let (first, second) = (scratch("move1", b"abcde"), scratch("move2", &[7; 70_000]));
        let mut sealed = Sealed::new(c"test").unwrap();
        assert_eq!(sealed.take(&first).unwrap(), 5);
        sealed.write(&[0; 3]).unwrap();
        assert_eq!(sealed.take(&second).unwrap(), 70_000);
        assert!(!first.exists() && !second.exists());
        sealed.seal().unwrap();
        assert_eq!(sealed.len(), 70_008);
        assert!(sealed.write(b"x").is_err());
        let mut bytes = Vec::new();
        sealed.file().read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes[..9], *b"abcde\0\0\0\x07");
        assert_eq!(bytes.len(), 70_008);
    }

    #[test]
    fn a_file_alone_is_taken_without_copying() {
        let path = scratch("adopt", b"abcde");
        let mut sealed = Sealed::adopt(&path).unwrap();
        assert!(!path.exists() && sealed.len() == 5);
        let mut bytes = Vec::new();
        sealed.file().read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"abcde");
        assert!(sealed.write(b"x").is_err());
    }

    #[test]
    fn a_load_that_is_refused_says_why() {
        let null = File::open("/dev/null").unwrap();
        let mut loading = begin_load(&null, None, c"x").unwrap();
        let answer = loop {
            if let Some(answer) = loading.wait(1000) {
                break answer;
            }
        };
        // No kernel, and for who is not root no permission.
        assert!(answer.unwrap_err().raw_os_error().is_some());
    }

    #[test]
    fn refusals_have_words() {
        let said = |errno| reason(&io::Error::from_raw_os_error(errno));
        assert!(said(libc::EPERM).contains("lockdown"));
        assert!(said(libc::ENOKEY).contains("trust"));
        assert!(said(libc::EIO).contains("no usual"));
    }
}
