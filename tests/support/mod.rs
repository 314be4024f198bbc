//! What the tests with real processes share: processes, directories, trees,
//! networks, and small 9P peers that behave as badly as they are told.

#![allow(dead_code)] // each test binary uses its part
#![allow(clippy::unwrap_used)] // in tests a panic is the report

pub mod bench;
pub mod fake;
pub mod lab;
pub mod mounts;
pub mod proc;
pub mod reader;
mod skip;
pub mod stranger;
pub mod tree;

pub use skip::skip;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, getsockname, socket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

static USED: AtomicU32 = AtomicU32::new(0);

pub fn unique() -> u32 {
    USED.fetch_add(1, Ordering::Relaxed)
}

/// A directory that goes with the test.
pub struct Scratch {
    pub path: PathBuf,
}

impl Scratch {
    pub fn new() -> Scratch {
        Scratch::below(&std::env::temp_dir())
    }

    /// Where no disk decides how long things take, if there is such a place.
    pub fn in_memory() -> Scratch {
        let memory = Path::new("/dev/shm");
        let room = nix::sys::statvfs::statvfs(memory)
            .map_or(0, |fs| fs.blocks_available() * fs.fragment_size());
        if room > 3 << 30 { Scratch::below(memory) } else { Scratch::new() }
    }

    fn below(dir: &Path) -> Scratch {
        let name = format!("xget-test-{}-{}", std::process::id(), unique());
        let path = dir.join(name);
        std::fs::create_dir(&path).unwrap();
        Scratch { path }
    }

    pub fn dir(&self, name: &str) -> PathBuf {
        let path = self.path.join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

pub fn lacks_root() -> bool {
    !is_root() && skip("this test wants root")
}

/// Whether one of these programs is missing.
pub fn lacks(programs: &[&str]) -> bool {
    let dirs = ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/bin"];
    let has = |p: &&str| dirs.iter().any(|dir| Path::new(dir).join(p).exists());
    match programs.iter().find(|p| !has(p)) {
        Some(missing) => skip(&format!("{missing} is not installed")),
        None => false,
    }
}

/// A port of 127.0.0.1 at which nobody listens, and nobody can as long as this
/// is held: calls to it are refused.
pub struct DeafPort {
    _socket: OwnedFd,
    pub port: u16,
}

impl DeafPort {
    pub fn new() -> DeafPort {
        let held =
            socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        bind(held.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).unwrap();
        let port = getsockname::<SockaddrIn>(held.as_raw_fd()).unwrap().port();
        DeafPort { _socket: held, port }
    }

    pub fn addr(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

/// Waits until it is so; the test fails when it does not come to be.
#[track_caller]
pub fn until(what: &str, seconds: u64, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not within {seconds} s");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Bytes that nothing compresses, the same for the same seed.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}
