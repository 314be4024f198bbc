//! A tar archive becomes files below a directory: owners, modes, times, xattrs, ACLs, hard
//! links, devices; and, of a layer, what it takes away (whiteouts).
//!
//! Names are looked up within the root (`rooted`): an archive can replace what is in it, and
//! nothing else. Knows no images and no registries' formats.

use super::acl::{self, Names};
use super::archive::{Archive, Found};
use super::decompress;
use super::entry::{Kind, Meta};
use crate::failure::{Doing, Failure, Outcome, reason};
use crate::rooted::{Rooted, split};
use crate::{interrupt, out};
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, XattrFlags, chmodat,
    chownat, linkat, lsetxattr, makedev, mkdirat, mknodat, openat, statat, symlinkat, utimensat,
};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// OCI image-spec, "Whiteouts": what a layer takes away.
const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";
/// Entries between two lines on a terminal.
const SAY_EACH: usize = 500;

/// Longest passwd and group.
const PASSWD_LEN_MAX: u64 = 16 << 20;

/// How an archive is to be taken.
pub struct Source<'a> {
    /// What a person calls it.
    pub name: &'a str,
    /// A layer of an image: some of its names take away, and its digest is held afterwards.
    pub is_layer: bool,
}

/// Unpacks an archive, compressed or not, and gives the SHA-256 of its plain bytes.
pub fn unpack(from: impl Read, root: &Path, source: &Source) -> Outcome<[u8; 32]> {
    let damaged = |error: &io::Error| {
        Failure::wrong(format!("{} is damaged, or no tar archive: {}", source.name, reason(error)))
    };
    let plain = decompress::reader(from).map_err(|error| damaged(&error))?;
    let tap = Tap { from: plain, sum: Sha256::new() };
    let rooted = Rooted::open(root)?;
    let mut unpacking = Unpacking {
        root: &rooted,
        source,
        made: HashSet::new(),
        dirs: Vec::new(),
        acls: BTreeMap::new(),
    };
    let spinner = out::Spinner::new("unpack");
    let mut archive = Archive::new(tap, source.name, source.is_layer);
    let mut count = 0_usize;
    while let Some(found) = archive.next()? {
        interrupt::check()?;
        let meta = Meta::of(&found, source.name)?;
        if count.is_multiple_of(SAY_EACH) {
            spinner.say(&meta.path.to_string_lossy());
        }
        unpacking.take(&meta, &found, &mut archive)?;
        count += 1;
    }
    let mut tap = archive.into_inner();
    // What comes behind belongs to the digest.
    io::copy(&mut tap, &mut io::sink()).map_err(|error| damaged(&error))?;
    unpacking.finish()?;
    spinner.finish();
    Ok(tap.sum.finalize().into())
}

/// What passes here is summed.
struct Tap<R> {
    from: R,
    sum: Sha256,
}

impl<R: Read> Read for Tap<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        // lzma-rust2 takes a read of nothing for the end of a block.
        let count = if buf.is_empty() { 0 } else { self.from.read(buf)? };
        self.sum.update(&buf[..count]);
        Ok(count)
    }
}

struct Unpacking<'a> {
    root: &'a Rooted,
    source: &'a Source<'a>,
    /// What this archive made, by its real path, and all above it: an opaque directory
    /// keeps that.
    made: HashSet<PathBuf>,
    /// Directories get their times last, since what comes into them changes these.
    dirs: Vec<(PathBuf, (i64, u32))>,
    /// ACLs name users that may come later in the archive.
    acls: BTreeMap<PathBuf, Vec<(&'static str, String)>>,
}

/// The directory that an entry goes into, and its name there.
struct Place<'a> {
    dir: OwnedFd,
    name: &'a OsStr,
    shown: PathBuf,
}

impl Place<'_> {
    /// For calls that take no directory.
    fn path(&self) -> PathBuf {
        Path::new("/proc/self/fd").join(self.dir.as_raw_fd().to_string()).join(self.name)
    }

    fn kind(&self) -> Outcome<Option<FileType>> {
        match statat(&self.dir, self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(status) => Ok(Some(FileType::from_raw_mode(status.st_mode))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error).doing("look at", &self.shown),
        }
    }

    fn clear(&self) -> Outcome {
        match self.kind()? {
            None => Ok(()),
            Some(FileType::Directory) => {
                fs::remove_dir_all(self.path()).doing("remove", &self.shown)
            }
            Some(_) => fs::remove_file(self.path()).doing("remove", &self.shown),
        }
    }
}

impl Unpacking<'_> {
    fn take(&mut self, meta: &Meta, found: &Found, data: &mut impl Read) -> Outcome {
        let Some((above, name)) = split(&meta.path) else {
            return self.attributes_of_root(meta);
        };
        let place =
            Place { dir: self.root.make_dir(above)?, name, shown: self.root.shown(&meta.path) };
        if self.source.is_layer
            && let Some(hidden) = name.to_str().and_then(|name| name.strip_prefix(WHITEOUT))
        {
            return self.take_away(&place, hidden);
        }
        let is_dir_again = meta.kind == Kind::Dir && place.kind()? == Some(FileType::Directory);
        if !is_dir_again {
            place.clear()?;
        }
        match meta.kind {
            Kind::File => self.make_file(&place, meta, found, data)?,
            Kind::Dir if is_dir_again => self.attributes(&place, meta)?,
            _ => self.make(&place, meta)?,
        }
        self.acls.insert(meta.path.clone(), meta.acls.clone());
        if meta.kind == Kind::Dir {
            self.dirs.push((meta.path.clone(), meta.mtime));
        }
        if self.source.is_layer {
            self.remember(&place)?;
        }
        Ok(())
    }

    fn make(&self, place: &Place, meta: &Meta) -> Outcome {
        let (dir, name) = (&place.dir, place.name);
        let mode = Mode::from_raw_mode(0o600);
        let special = |kind, device| mknodat(dir, name, kind, mode, device);
        match &meta.kind {
            Kind::File => special(FileType::RegularFile, 0),
            Kind::Dir => mkdirat(dir, name, Mode::from_raw_mode(0o700)),
            Kind::Symlink(target) => symlinkat(target, dir, name),
            Kind::Link(target) => return self.make_link(place, target),
            Kind::Char(major, minor) => special(FileType::CharacterDevice, makedev(*major, *minor)),
            Kind::Block(major, minor) => special(FileType::BlockDevice, makedev(*major, *minor)),
            Kind::Fifo => special(FileType::Fifo, 0),
        }
        .doing("make", &place.shown)?;
        self.attributes(place, meta)
    }

    /// With its holes, where the archive has them.
    fn make_file(
        &self,
        place: &Place,
        meta: &Meta,
        found: &Found,
        data: &mut impl Read,
    ) -> Outcome {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let fd = openat(&place.dir, place.name, flags, Mode::from_raw_mode(0o600));
        let mut file = File::from(fd.doing("make", &place.shown)?);
        for (offset, len) in &found.extents {
            file.seek(SeekFrom::Start(*offset)).doing("unpack", &place.shown)?;
            let copied = io::copy(&mut data.take(*len), &mut file).doing("unpack", &place.shown)?;
            if copied < *len {
                let name = self.source.name;
                let text = format!("{name} is damaged, or no tar archive: it is cut off");
                return Err(Failure::wrong(text));
            }
        }
        file.set_len(found.len).doing("unpack", &place.shown)?;
        drop(file);
        self.attributes(place, meta)
    }

    fn make_link(&self, place: &Place, target: &Path) -> Outcome {
        let broken = |why: &str| {
            Failure::wrong(format!(
                "{}: entry {} is a hard link to {}, which {why}",
                self.source.name,
                place.shown.display(),
                target.display()
            ))
        };
        let (above, name) = split(target).ok_or_else(|| broken("is the root"))?;
        let dir = self.root.dir(above).map_err(|error| broken(&reason(&error)))?;
        linkat(&dir, name, &place.dir, place.name, AtFlags::empty())
            .map_err(|error| broken(&format!("cannot be linked to: {}", reason(&error))))
    }

    /// The owner before the mode and the xattrs: it takes setuid bits and capabilities
    /// away.
    fn attributes(&self, place: &Place, meta: &Meta) -> Outcome {
        let (dir, name, shown) = (&place.dir, place.name, &place.shown);
        let owner = (Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid)));
        chownat(dir, name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)
            .doing("give away", shown)?;
        if !matches!(meta.kind, Kind::Symlink(_)) {
            let mode = Mode::from_raw_mode(meta.mode);
            chmodat(dir, name, mode, AtFlags::empty()).doing("set the mode of", shown)?;
        }
        for (attribute, value) in &meta.xattrs {
            let set = lsetxattr(place.path(), attribute.as_str(), value, XattrFlags::empty());
            set.doing(&format!("set the attribute {attribute} of"), shown)?;
        }
        let times = timestamps(meta.mtime);
        utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW).doing("set the time of", shown)
    }

    fn attributes_of_root(&mut self, meta: &Meta) -> Outcome {
        if meta.kind != Kind::Dir {
            let text = format!("{}: the root is no directory", self.source.name);
            return Err(Failure::wrong(text));
        }
        let dir = self.root.make_dir(Path::new(""))?;
        let place = Place { dir, name: OsStr::new("."), shown: self.root.shown("") };
        self.dirs.push((PathBuf::new(), meta.mtime));
        self.acls.insert(PathBuf::new(), meta.acls.clone());
        self.attributes(&place, meta)
    }

    fn take_away(&self, place: &Place, hidden: &str) -> Outcome {
        if place.name == OPAQUE {
            let dir = real(&place.dir, &place.shown)?;
            for entry in fs::read_dir(&dir).doing("list", &dir)? {
                let path = entry.doing("list", &dir)?.path();
                if !self.made.contains(&path) {
                    let is_dir = path.symlink_metadata().is_ok_and(|status| status.is_dir());
                    let removed =
                        if is_dir { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
                    removed.doing("remove", &path)?;
                }
            }
            return Ok(());
        }
        if hidden.is_empty() || hidden == "." || hidden == ".." || hidden.starts_with(".wh.") {
            // Names that AUFS kept for itself say nothing about the tree.
            return Ok(());
        }
        let hidden = Place {
            dir: place.dir.try_clone().doing("open", &place.shown)?,
            name: OsStr::new(hidden),
            shown: place.shown.with_file_name(hidden),
        };
        if self.made.contains(&real(&hidden.dir, &hidden.shown)?.join(hidden.name)) {
            return Ok(());
        }
        hidden.clear()
    }

    fn remember(&mut self, place: &Place) -> Outcome {
        let mut path = real(&place.dir, &place.shown)?.join(place.name);
        while self.made.insert(path.clone()) && path.pop() {}
        Ok(())
    }

    fn finish(&self) -> Outcome {
        self.set_acls()?;
        for (path, mtime) in self.dirs.iter().rev() {
            // A later entry may have taken it away.
            let Ok(dir) = self.root.dir(path) else { continue };
            let set = utimensat(&dir, ".", &timestamps(*mtime), AtFlags::empty());
            set.doing("set the time of", &self.root.shown(path))?;
        }
        Ok(())
    }
}

impl Unpacking<'_> {
    fn set_acls(&self) -> Outcome {
        if self.acls.values().all(Vec::is_empty) {
            return Ok(());
        }
        let text = |path: &str| -> Outcome<String> {
            let bytes = self.root.read(path, PASSWD_LEN_MAX)?.unwrap_or_default();
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let names = Names::of(&text("etc/passwd")?, &text("etc/group")?);
        for (path, acls) in self.acls.iter().filter(|(_, acls)| !acls.is_empty()) {
            let shown = self.root.shown(path);
            let (above, name) = split(path).unwrap_or((Path::new(""), OsStr::new(".")));
            // A later entry may have taken it away.
            let Ok(dir) = self.root.dir(above) else { continue };
            let place = Place { dir, name, shown };
            if place.kind()?.is_none() {
                continue;
            }
            for (attribute, text) in acls {
                let value = acl::attribute(text, &names).map_err(|why| {
                    let entry = path.display();
                    Failure::wrong(format!("{}: entry {entry}: {why}", self.source.name))
                })?;
                let set = lsetxattr(place.path(), *attribute, &value, XattrFlags::empty());
                set.doing("set the ACL of", &place.shown)?;
            }
        }
        Ok(())
    }
}

fn timestamps((seconds, nanos): (i64, u32)) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: nanos.into() },
    }
}

fn real(dir: &OwnedFd, shown: &Path) -> Outcome<PathBuf> {
    fs::read_link(format!("/proc/self/fd/{}", dir.as_raw_fd())).doing("look up", shown)
}
