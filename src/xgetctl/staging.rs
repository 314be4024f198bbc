//! Where something is made before it is put in place as a whole.
//!
//! A staging directory lies beside what it becomes, so that one rename(2) does it, and
//! has a name of the kind that a master leaves out (`.xget-*.part`): what is half
//! made is served to nobody. It is locked while its maker lives; what a killed one left is
//! removed by the next. Knows no images.

use crate::failure::{Doing, Failure, Outcome};
use crate::interrupt;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use std::fs::{self, File, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long processes that were killed may still be in the way of a removal.
const REMOVAL_PATIENCE: Duration = Duration::from_secs(5);
const REMOVAL_RETRY: Duration = Duration::from_millis(50);
/// How often a directory that another's sweep took is made anew.
const TRIES: usize = 8;

/// A directory that is gone with this value, and with the process at the latest when
/// the next one is made beside it.
pub struct Staging {
    dir: PathBuf,
    lock: File,
}

impl Staging {
    /// In this directory, which is made if it is not there.
    pub fn below(dir: &Path) -> Outcome<Staging> {
        fs::create_dir_all(dir).doing("make the directory", dir)?;
        sweep(dir)?;
        for _ in 0..TRIES {
            let path = dir.join(format!(".xget-{:016x}.part", RandomState::new().hash_one(0)));
            // What is in it may be a stranger's, with setuid bits and devices.
            let made = fs::DirBuilder::new().mode(0o700).create(&path);
            made.doing("make the directory", &path)?;
            if let Some(lock) = lock_directory(&path)? {
                return Ok(Staging { dir: path, lock });
            }
        }
        Err(Failure::machine(format!(
            "cannot keep a staging directory below {}: something removes each that is made",
            dir.display()
        )))
    }

    /// A place in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Gives what was made here its name, whole or not at all. What had the name is
    /// gone with the staging directory; with `replace` not set nothing may have it.
    pub fn put(&self, made: &Path, place: &Path, replace: bool) -> Outcome {
        self.sync()?;
        interrupt::check()?;
        if replace && place.symlink_metadata().is_ok() {
            return self.exchange(made, place);
        }
        match renameat_with(CWD, made, CWD, place, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL) => rename_if_free(made, place),
            done => done.doing("put in place", place),
        }
    }

    /// Each has what the other had, or nothing where that had nothing: done twice it is undone.
    pub fn swap(&self, made: &Path, place: &Path) -> Outcome {
        let is_there = |path: &Path| path.symlink_metadata().is_ok();
        match (is_there(made), is_there(place)) {
            (true, true) => self.exchange(made, place),
            (true, false) => fs::rename(made, place).doing("put in place", place),
            (false, true) => fs::rename(place, made).doing("remove", place),
            (false, false) => Ok(()),
        }
    }

    /// What is put in place is on the disk before its name is.
    pub fn sync(&self) -> Outcome {
        match rustix::fs::syncfs(&self.lock) {
            // Old kernels and odd file systems have none; the rename is right all the same.
            Err(Errno::NOSYS | Errno::INVAL) => Ok(()),
            done => done.doing("write to the disk", &self.dir),
        }
    }

    fn exchange(&self, made: &Path, place: &Path) -> Outcome {
        match renameat_with(CWD, made, CWD, place, RenameFlags::EXCHANGE) {
            // A file system without it (NFS): the name is missing for a moment.
            Err(Errno::INVAL) => {
                let old = self.join(".replaced");
                fs::rename(place, &old).doing("move away", place)?;
                let put = fs::rename(made, place).doing("put in place", place);
                let back = if put.is_ok() { made } else { place };
                fs::rename(&old, back).doing("put back", back).and(put)
            }
            done => done.doing("exchange", place),
        }
    }

    /// Takes something out of its place, to be gone with this value.
    pub fn take(&self, place: &Path) -> Outcome {
        fs::rename(place, self.join("removed")).doing("remove", place)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if let Err(failure) = remove(&self.dir) {
            crate::out::note(&failure.text);
        }
    }
}

fn rename_if_free(made: &Path, place: &Path) -> Outcome {
    match place.symlink_metadata() {
        Ok(_) => Err(io::Error::from(ErrorKind::AlreadyExists)).doing("put in place", place),
        Err(_) => fs::rename(made, place).doing("put in place", place),
    }
}

/// The lock, unless another's sweep was faster and took the directory away.
fn lock_directory(path: &Path) -> Outcome<Option<File>> {
    let Ok(file) = File::open(path) else { return Ok(None) };
    if !is_locked_now(&file, path)? {
        return Ok(None);
    }
    let ours = file.metadata().doing("look at", path)?.ino();
    Ok(path.metadata().is_ok_and(|there| there.ino() == ours).then_some(file))
}

/// Whether the lock could be had.
fn is_locked_now(file: &File, path: &Path) -> Outcome<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error).doing("lock", path),
    }
}

/// Removes what killed processes left.
pub fn sweep(dir: &Path) -> Outcome {
    for entry in fs::read_dir(dir).doing("list", dir)? {
        let entry = entry.doing("list", dir)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_ours = name.starts_with(".xget-") && name.ends_with(".part");
        if !is_ours || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let path = entry.path();
        if let Ok(file) = File::open(&path)
            && is_locked_now(&file, &path)?
        {
            remove(&path)?;
        }
    }
    Ok(())
}

/// Removes a tree. Never what is mounted in it: a bind mount's files are others'.
pub fn remove(dir: &Path) -> Outcome {
    if let Some(mount) = mount_below(dir)? {
        return Err(Failure::machine(format!(
            "{} is not removed: {} is mounted in it; unmount that and run this again",
            dir.display(),
            mount.display()
        )));
    }
    let deadline = Instant::now() + REMOVAL_PATIENCE;
    loop {
        match fs::remove_dir_all(dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error)
                if error.kind() == ErrorKind::DirectoryNotEmpty && Instant::now() < deadline =>
            {
                std::thread::sleep(REMOVAL_RETRY);
            }
            done => return done.doing("remove", dir),
        }
    }
}

/// A mount point in a tree, as this process sees it.
pub fn mount_below(dir: &Path) -> Outcome<Option<PathBuf>> {
    let Ok(dir) = dir.canonicalize() else { return Ok(None) };
    let table = Path::new("/proc/self/mountinfo");
    let text = fs::read(table).doing("read", table)?;
    let text = String::from_utf8_lossy(&text);
    let places = text.lines().filter_map(|line| line.split(' ').nth(4));
    Ok(places.map(|place| PathBuf::from(unescaped(place))).find(|place| place.starts_with(&dir)))
}

/// `\040` for a space and the like: proc_pid_mountinfo(5).
fn unescaped(text: &str) -> String {
    let pairs = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    pairs.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn what_is_put_in_place_is_all_that_stays() {
        let dir = Scratch::new();
        for (text, replace) in [("one", false), ("two", true)] {
            let staging = Staging::below(&dir).unwrap();
            let made = staging.join("image");
            fs::create_dir(&made).unwrap();
            fs::write(made.join("file"), text).unwrap();
            staging.put(&made, &dir.join("debian"), replace).unwrap();
            drop(staging);
            assert_eq!(dir.names(), ["debian"]);
            assert_eq!(fs::read_to_string(dir.join("debian/file")).unwrap(), text);
        }
        let staging = Staging::below(&dir).unwrap();
        let made = staging.join("image");
        fs::create_dir(&made).unwrap();
        let refused = staging.put(&made, &dir.join("debian"), false).unwrap_err();
        assert!(refused.text.contains("File exists"), "{refused:?}");
        drop(staging);
    }

    #[test]
    fn remains_are_swept_and_what_is_in_work_is_not() {
        let dir = Scratch::new();
        fs::create_dir_all(dir.join(".xget-0123456789abcdef.part/root")).unwrap();
        fs::create_dir(dir.join(".other")).unwrap();
        let one = Staging::below(&dir).unwrap();
        let two = Staging::below(&dir).unwrap();
        assert_eq!(dir.names().len(), 3, "{:?}", dir.names());
        drop((one, two));
        assert_eq!(dir.names(), [".other"]);
    }

    #[test]
    fn spaces_of_mount_points_are_understood() {
        assert_eq!(unescaped("/a\\040b\\134c"), "/a b\\c");
    }
}
