//! Files below a directory that may be anybody's: a root that was imported.
//!
//! Every path is looked up as if that directory were `/` (openat2(2),
//! RESOLVE_IN_ROOT): a symbolic link in it, `etc -> /etc` or `../../..`, leads nowhere
//! but into it. Whoever writes into an image does so here, or the head's own files would be
//! a stranger's to name. Knows no images.

use crate::failure::{Doing, Failure, Outcome};
use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fchmod, mkdirat, openat, openat2,
    renameat, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// How something is made that takes another's name when it is whole.
const MAKING: &str = ".xgetctl.new";
const DIR_FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// A directory that is `/` for all that is looked up in it.
pub struct Rooted {
    fd: OwnedFd,
    path: PathBuf,
}

impl Rooted {
    /// It is a directory itself, and no link to one, which would be somebody else's.
    pub fn open(path: &Path) -> Outcome<Rooted> {
        let fd = openat(rustix::fs::CWD, path, DIR_FLAGS | OFlags::NOFOLLOW, Mode::empty());
        Ok(Rooted { fd: fd.doing("open the directory", path)?, path: path.into() })
    }

    /// What a person would call it.
    pub fn shown(&self, path: impl AsRef<Path>) -> PathBuf {
        self.path.join(path.as_ref().strip_prefix("/").unwrap_or(path.as_ref()))
    }

    fn open_at(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        // A fifo must not hold us up; openat2 takes the flag for what is really opened only.
        let patience =
            if flags.contains(OFlags::PATH) { OFlags::empty() } else { OFlags::NONBLOCK };
        let flags = flags | OFlags::CLOEXEC | patience;
        let within = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        openat2(&self.fd, path, flags, Mode::empty(), within)
    }

    /// A directory in it.
    pub fn dir(&self, path: &Path) -> Result<OwnedFd, Errno> {
        self.open_at(path, DIR_FLAGS)
    }

    /// A directory in it, made with all above it where it is not there.
    pub fn make_dir(&self, path: &Path) -> Outcome<OwnedFd> {
        let made = match self.dir(path) {
            Err(Errno::NOENT) => {
                let (above, name) = split(path)
                    .ok_or_else(|| Failure::source(format!("{} is gone", self.path.display())))?;
                let above = self.make_dir(above)?;
                match mkdirat(&above, name, Mode::from_raw_mode(0o755)) {
                    Ok(()) => self.dir(path),
                    // It was there all the time, and leads nowhere.
                    Err(Errno::EXIST) => {
                        let text = format!(
                            "{} is a link that leads nowhere within the root",
                            self.shown(path).display()
                        );
                        return Err(Failure::wrong(text));
                    }
                    Err(error) => Err(error),
                }
            }
            found => found,
        };
        made.doing("make the directory", &self.shown(path))
    }

    /// A file's bytes; none where there is no such file. One that is longer is refused.
    pub fn read(&self, path: &str, len_max: u64) -> Outcome<Option<Vec<u8>>> {
        let shown = self.shown(path);
        let fd = match self.open_at(Path::new(path), OFlags::RDONLY) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            found => found.doing("open", &shown)?,
        };
        let mut bytes = Vec::new();
        let file = File::from(fd);
        if !file.metadata().doing("look at", &shown)?.is_file() {
            return Err(Failure::wrong(format!("{} is no file", shown.display())));
        }
        let read = file.take(len_max + 1).read_to_end(&mut bytes);
        read.doing("read", &shown)?;
        if bytes.len() as u64 > len_max {
            let text = format!("{} has more than {len_max} bytes", shown.display());
            return Err(Failure::wrong(text));
        }
        Ok(Some(bytes))
    }

    /// A file to read from.
    pub fn file(&self, path: &Path) -> Outcome<File> {
        let shown = self.shown(path);
        let file = File::from(self.open_at(path, OFlags::RDONLY).doing("open", &shown)?);
        if !file.metadata().doing("look at", &shown)?.is_file() {
            return Err(Failure::wrong(format!("{} is no file", shown.display())));
        }
        Ok(file)
    }

    /// Makes a file, or another in its place; what stands there is no longer in the way,
    /// a symbolic link least of all.
    pub fn write(&self, path: &str, bytes: &[u8], mode: u32) -> Outcome {
        let shown = self.shown(path);
        let (above, name) = split(Path::new(path))
            .ok_or_else(|| Failure::usage(format!("{path:?} is no name of a file")))?;
        let dir = self.make_dir(above)?;
        match unlinkat(&dir, MAKING, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error).doing("remove", &self.shown(above.join(MAKING))),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let fd = openat(&dir, MAKING, flags, Mode::from_raw_mode(0o600)).doing("make", &shown)?;
        let mut file = File::from(fd);
        file.write_all(bytes).doing("write", &shown)?;
        fchmod(&file, Mode::from_raw_mode(mode)).doing("set the mode of", &shown)?;
        renameat(&dir, MAKING, &dir, name).doing("put in place", &shown)
    }

    /// Makes a symbolic link, in the place of what is there unless it is a directory.
    pub fn link(&self, path: &str, target: &str) -> Outcome {
        self.remove(path)?;
        let shown = self.shown(path);
        let (above, name) = split(Path::new(path))
            .ok_or_else(|| Failure::usage(format!("{path:?} is no name of a link")))?;
        symlinkat(target, &self.make_dir(above)?, name).doing("make the link", &shown)
    }

    /// Removes a name that is no directory. Whether there was one.
    pub fn remove(&self, path: &str) -> Outcome<bool> {
        let Some((above, name)) = split(Path::new(path)) else { return Ok(false) };
        let removed = self.dir(above).and_then(|dir| unlinkat(dir, name, AtFlags::empty()));
        match removed {
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
            removed => removed.doing("remove", &self.shown(path)).map(|()| true),
        }
    }

    /// The names in a directory, in order; none where there is none.
    pub fn names(&self, path: &str) -> Outcome<Vec<String>> {
        let shown = self.shown(path);
        let dir = match self.dir(Path::new(path)) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Vec::new()),
            found => found.doing("list", &shown)?,
        };
        let mut names = Vec::new();
        for entry in Dir::read_from(&dir).doing("list", &shown)? {
            let entry = entry.doing("list", &shown)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// What a name stands for, itself and not where a link leads; none where it stands
    /// for nothing.
    pub fn status(&self, path: &str) -> Outcome<Option<Stat>> {
        let found = match split(Path::new(path)) {
            None => statat(&self.fd, ".", AtFlags::empty()),
            Some((above, name)) => {
                self.dir(above).and_then(|dir| statat(dir, name, AtFlags::SYMLINK_NOFOLLOW))
            }
        };
        match found {
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            found => found.doing("look at", &self.shown(path)).map(Some),
        }
    }

    /// The kind of what a path leads to, links followed within; none where it leads nowhere.
    pub fn kind(&self, path: &str) -> Outcome<Option<FileType>> {
        let fd = match self.open_at(Path::new(path), OFlags::PATH) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            found => found.doing("look up", &self.shown(path))?,
        };
        let status = statat(&fd, "", AtFlags::EMPTY_PATH).doing("look at", &self.shown(path))?;
        Ok(Some(FileType::from_raw_mode(status.st_mode)))
    }

    pub fn has(&self, path: &str) -> Outcome<bool> {
        Ok(self.kind(path)?.is_some())
    }

    pub fn is_dir(&self, path: &str) -> Outcome<bool> {
        Ok(self.kind(path)? == Some(FileType::Directory))
    }

    pub fn is_file(&self, path: &str) -> Outcome<bool> {
        Ok(self.kind(path)? == Some(FileType::RegularFile))
    }

    /// Where a path really is, as other programs may be told; none where it leads
    /// nowhere.
    pub fn real(&self, path: &str) -> Outcome<Option<PathBuf>> {
        let fd = match self.open_at(Path::new(path), OFlags::PATH) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            found => found.doing("look up", &self.shown(path))?,
        };
        let link = PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()));
        std::fs::read_link(&link).doing("look up", &self.shown(path)).map(Some)
    }
}

/// What is above a name, and the name; none of a path without one.
pub fn split(path: &Path) -> Option<(&Path, &OsStr)> {
    let name = path.file_name()?;
    let above = path.parent().unwrap_or(Path::new(""));
    // A last component of `..` has no file name, and one of `.` is not seen.
    (!path.as_os_str().as_bytes().is_empty()).then_some((above, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn scratch() -> Scratch {
        let dir = Scratch::new();
        fs::create_dir_all(dir.join("root/usr/lib")).unwrap();
        dir
    }

    #[test]
    fn links_lead_nowhere_but_into_the_root() {
        let dir = scratch();
        fs::create_dir(dir.join("host")).unwrap();
        fs::write(dir.join("host/machine-id"), "the host's").unwrap();
        let root = dir.join("root");
        symlink(dir.join("host"), root.join("etc")).unwrap();
        symlink("../../../../usr/lib", root.join("lib")).unwrap();
        let rooted = Rooted::open(&root).unwrap();
        // What the link names is not there, seen from the root.
        assert!(rooted.write("etc/machine-id", b"", 0o444).is_err());
        assert_eq!(rooted.read("etc/machine-id", 100).unwrap(), None);
        rooted.write("lib/os-release", b"ID=x", 0o644).unwrap();
        assert_eq!(fs::read(root.join("usr/lib/os-release")).unwrap(), b"ID=x");
        symlink(dir.join("host/machine-id"), root.join("usr/id")).unwrap();
        rooted.write("usr/id", b"ours", 0o600).unwrap();
        assert_eq!(fs::read(root.join("usr/id")).unwrap(), b"ours");
        assert_eq!(fs::read(dir.join("host/machine-id")).unwrap(), b"the host's");
        assert!(rooted.is_dir("lib").unwrap() && rooted.is_file("lib/os-release").unwrap());
        assert!(!rooted.has("etc/machine-id").unwrap() && !rooted.has("etc").unwrap());
        let real = rooted.real("lib/os-release").unwrap().unwrap();
        assert_eq!(real, root.canonicalize().unwrap().join("usr/lib/os-release"));
    }

    #[test]
    fn what_is_missing_is_no_failure_and_what_is_too_long_is() {
        let dir = scratch();
        let rooted = Rooted::open(&dir.join("root")).unwrap();
        assert_eq!(rooted.read("no/such", 9).unwrap(), None);
        assert!(!rooted.remove("no/such").unwrap());
        assert!(rooted.names("no").unwrap().is_empty());
        assert!(rooted.status("no").unwrap().is_none());
        rooted.write("new/dir/file", b"0123456789", 0o640).unwrap();
        assert!(rooted.read("new/dir/file", 9).is_err());
        assert_eq!(rooted.names("new/dir").unwrap(), ["file"]);
        assert!(rooted.remove("new/dir/file").unwrap());
        rooted.link("new/link", "dir").unwrap();
        assert_eq!(fs::read_link(dir.join("root/new/link")).unwrap(), Path::new("dir"));
    }
}
