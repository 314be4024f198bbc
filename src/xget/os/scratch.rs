//! Temporary directories for tests, and what a test says that cannot run.
//!
//! Each test has its own directory, which is gone afterwards, whatever modes the
//! test has left in it.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

static SERIAL: AtomicU32 = AtomicU32::new(0);

#[path = "../../../tests/support/skip.rs"]
mod skip;
pub use skip::skip;

/// A directory of one test, removed when it ends.
pub struct Dir(PathBuf);

impl Dir {
    pub fn new() -> Dir {
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let name = format!("xget-test-{}-{serial}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::DirBuilder::new().mode(0o755).create(&path).unwrap();
        Dir(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn write(&self, name: &str, contents: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, contents).unwrap();
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let removed = fs::remove_dir_all(&self.0);
        if removed.is_err() && !std::thread::panicking() {
            // A test that leaves a directory without the w bit behind.
            make_writable(&self.0);
            fs::remove_dir_all(&self.0).unwrap();
        }
    }
}

fn make_writable(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    for entry in fs::read_dir(path).unwrap().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            make_writable(&entry.path());
        }
    }
}
