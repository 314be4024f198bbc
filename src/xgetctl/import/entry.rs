//! What one entry of an archive says of itself: path, kind, owner, mode, time, attributes.
//!
//! The place where a path is held to stay below the root. Touches no disk.

use super::archive::Found;
use crate::failure::{Failure, Outcome};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use tar::EntryType;

/// Longest path that an archive may have, PATH_MAX.
const PATH_LEN_MAX: usize = 4096;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    Dir,
    Symlink(OsString),
    /// Another name of an entry before, by its path.
    Link(PathBuf),
    Char(u32, u32),
    Block(u32, u32),
    Fifo,
}

#[derive(Clone, Debug)]
pub struct Meta {
    /// Relative, without `.` and `..`; empty for the root itself.
    pub path: PathBuf,
    pub kind: Kind,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: (i64, u32),
    pub xattrs: Vec<(String, Vec<u8>)>,
    /// The name of the attribute, and the ACL as text.
    pub acls: Vec<(&'static str, String)>,
}

impl Meta {
    /// `archive` is what a person calls it.
    pub fn of(found: &Found, archive: &str) -> Outcome<Meta> {
        let shown = String::from_utf8_lossy(&found.path);
        read(found).map_err(|why| Failure::wrong(format!("{archive}: entry {shown:?} {why}")))
    }
}

fn read(found: &Found) -> Result<Meta, String> {
    let unreadable = |error: io::Error| format!("cannot be read: {error}");
    let (header, pax) = (&found.header, &found.pax);
    let kind = kind(found)?;
    if kind != Kind::File && found.len > 0 {
        return Err("has contents, and is of a kind that has none".into());
    }
    let number = |of_pax: Option<u64>, of_header: io::Result<u64>, what: &str| {
        let number = of_pax.map_or(of_header, Ok).map_err(unreadable)?;
        u32::try_from(number).map_err(|_| format!("has {what} {number}"))
    };
    Ok(Meta {
        path: inside(&found.path)?,
        kind,
        mode: header.mode().map_err(unreadable)? & 0o7777,
        uid: number(pax.uid, header.uid(), "the user")?,
        gid: number(pax.gid, header.gid(), "the group")?,
        mtime: match pax.mtime {
            Some(mtime) => mtime,
            None => (header.mtime().map_err(unreadable)? as i64, 0),
        },
        xattrs: pax.xattrs.clone(),
        acls: pax.acls.clone(),
    })
}

fn kind(found: &Found) -> Result<Kind, String> {
    let target = || found.target.clone().ok_or_else(|| "is a link to nothing".to_string());
    let device = || -> io::Result<(u32, u32)> {
        let (major, minor) = (found.header.device_major()?, found.header.device_minor()?);
        Ok((major.unwrap_or(0), minor.unwrap_or(0)))
    };
    let numbers = || device().map_err(|error| format!("has no device numbers: {error}"));
    // Before POSIX a name that ends in a slash was all that told a directory.
    let is_old_dir = found.path.last() == Some(&b'/');
    Ok(match found.header.entry_type() {
        EntryType::Regular if is_old_dir && found.len == 0 => Kind::Dir,
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => Kind::File,
        EntryType::Directory => Kind::Dir,
        EntryType::Fifo => Kind::Fifo,
        EntryType::Char => numbers().map(|(major, minor)| Kind::Char(major, minor))?,
        EntryType::Block => numbers().map(|(major, minor)| Kind::Block(major, minor))?,
        EntryType::Symlink => Kind::Symlink(OsString::from_vec(target()?)),
        EntryType::Link => {
            let target = target()?;
            Kind::Link(inside(&target).map_err(|why| format!("is a hard link that {why}"))?)
        }
        other => {
            return Err(format!("is of a kind that is not known ({:?})", other.as_byte() as char));
        }
    })
}

/// A path as it is below the root, or why it leaves it.
fn inside(raw: &[u8]) -> Result<PathBuf, &'static str> {
    if raw.len() > PATH_LEN_MAX {
        return Err("has a path longer than 4096 bytes");
    }
    if raw.contains(&0) {
        return Err("has a zero byte in its path");
    }
    let mut path = PathBuf::new();
    for part in Path::new(OsStr::from_bytes(raw)).components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::ParentDir => return Err("leaves the root by `..`"),
            _ => {}
        }
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        let path = |text: &str| inside(text.as_bytes());
        assert_eq!(path("./usr/./bin/").unwrap(), Path::new("usr/bin"));
        assert_eq!(path("/etc/passwd").unwrap(), Path::new("etc/passwd"));
        assert_eq!(path("./").unwrap(), Path::new(""));
        for outside in ["..", "a/../../b", "../etc", "/../x"] {
            assert!(path(outside).is_err(), "{outside}");
        }
        assert!(path("a\0b").is_err());
        assert!(path(&"a/".repeat(3000)).is_err());
    }
}
