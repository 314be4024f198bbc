//! One entry of a tar archive: its path, kind, owner, mode, times and attributes.
//!
//! ustar, GNU and PAX headers are read by the `tar` crate; what it leaves to others is read
//! here: PAX owners and times, SCHILY.xattr, SCHILY.acl. Nothing here touches a disk.

use super::acl;
use crate::failure::{Failure, Outcome};
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use tar::{Entry, EntryType};

/// Longest path that an archive may have, PATH_MAX.
const PATH_LEN_MAX: usize = 4096;
const XATTR: &str = "SCHILY.xattr.";
const ACLS: [(&str, &str); 2] = [
    ("SCHILY.acl.access", "system.posix_acl_access"),
    ("SCHILY.acl.default", "system.posix_acl_default"),
];

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

/// What an entry says of itself.
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
}

/// Reads what an entry says; none for one that is only about the archive.
pub fn read<R: Read>(entry: &mut Entry<R>, archive: &str) -> Outcome<Option<Meta>> {
    let raw = entry.path_bytes().into_owned();
    let shown = String::from_utf8_lossy(&raw).into_owned();
    let wrong = |why: &str| Failure::wrong(format!("{archive}: entry {shown:?} {why}"));
    let unreadable = |error| wrong(&format!("cannot be read: {error}"));
    let kind = entry.header().entry_type();
    if kind.is_pax_global_extensions() {
        return Ok(None);
    }
    let path = inside(&raw).map_err(wrong)?;
    let pax = Pax::read(entry).map_err(|why| wrong(&why))?;
    let header = entry.header();
    let device = || -> std::io::Result<(u32, u32)> {
        Ok((header.device_major()?.unwrap_or(0), header.device_minor()?.unwrap_or(0)))
    };
    let target = entry.link_name_bytes().map(|name| name.into_owned());
    let kind = match kind {
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => Kind::File,
        EntryType::Directory => Kind::Dir,
        EntryType::Fifo => Kind::Fifo,
        EntryType::Char => {
            device().map(|(major, minor)| Kind::Char(major, minor)).map_err(unreadable)?
        }
        EntryType::Block => {
            device().map(|(major, minor)| Kind::Block(major, minor)).map_err(unreadable)?
        }
        EntryType::Symlink => {
            Kind::Symlink(OsString::from_vec(target.ok_or_else(|| wrong("is a link to nothing"))?))
        }
        EntryType::Link => {
            let target = target.ok_or_else(|| wrong("is a link to nothing"))?;
            Kind::Link(inside(&target).map_err(|why| wrong(&format!("is a hard link that {why}")))?)
        }
        other => {
            return Err(wrong(&format!(
                "is of a kind that is not known ({:?})",
                other.as_byte() as char
            )));
        }
    };
    let number = |of_pax: Option<u64>, of_header: std::io::Result<u64>, what: &str| {
        let number = of_pax.map_or(of_header, Ok).map_err(unreadable)?;
        u32::try_from(number).map_err(|_| wrong(&format!("has {what} {number}")))
    };
    Ok(Some(Meta {
        path,
        kind,
        mode: header.mode().map_err(unreadable)? & 0o7777,
        uid: number(pax.uid, header.uid(), "the user")?,
        gid: number(pax.gid, header.gid(), "the group")?,
        mtime: match pax.mtime {
            Some(mtime) => mtime,
            None => (header.mtime().map_err(unreadable)? as i64, 0),
        },
        xattrs: pax.xattrs,
    }))
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
    for part in Path::new(std::ffi::OsStr::from_bytes(raw)).components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::ParentDir => return Err("leaves the root by `..`"),
            _ => {}
        }
    }
    Ok(path)
}

/// What PAX records say.
#[derive(Default)]
struct Pax {
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<(i64, u32)>,
    xattrs: Vec<(String, Vec<u8>)>,
}

impl Pax {
    fn read<R: Read>(entry: &mut Entry<R>) -> Result<Pax, String> {
        let mut pax = Pax::default();
        let Some(records) = entry.pax_extensions().map_err(|error| error.to_string())? else {
            return Ok(pax);
        };
        for record in records {
            let record =
                record.map_err(|error| format!("has a PAX record that is none: {error}"))?;
            let key = String::from_utf8_lossy(record.key_bytes()).into_owned();
            pax.take(&key, record.value_bytes())?;
        }
        Ok(pax)
    }

    fn take(&mut self, key: &str, value: &[u8]) -> Result<(), String> {
        let text = || std::str::from_utf8(value).map_err(|_| format!("has no text in {key}"));
        let number = || text()?.parse().map_err(|_| format!("has no number in {key}"));
        match key {
            "uid" => self.uid = Some(number()?),
            "gid" => self.gid = Some(number()?),
            "mtime" => self.mtime = Some(time(text()?).ok_or("has no time in mtime")?),
            _ if key.starts_with("GNU.sparse.") => {
                return Err("is a sparse file in PAX form, which is not understood: make the \
                            archive without --sparse, or with --format=gnu"
                    .into());
            }
            _ => {
                if let Some(name) = key.strip_prefix(XATTR) {
                    self.xattrs.push((name.into(), value.into()));
                } else if let Some((_, name)) = ACLS.iter().find(|(acl, _)| *acl == key) {
                    self.xattrs.push((name.to_string(), acl::attribute(text()?)?));
                }
            }
        }
        Ok(())
    }
}

/// Seconds with a fraction, as nanoseconds; before 1970 with a sign.
fn time(text: &str) -> Option<(i64, u32)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nanos: u32 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    match (whole.starts_with('-'), nanos) {
        (true, 1..) => Some((seconds - 1, 1_000_000_000 - nanos)),
        _ => Some((seconds, nanos)),
    }
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

    #[test]
    fn times_have_fractions() {
        assert_eq!(time("12"), Some((12, 0)));
        assert_eq!(time("12.5"), Some((12, 500_000_000)));
        assert_eq!(time("12.123456789123"), Some((12, 123_456_789)));
        assert_eq!(time("-1.25"), Some((-2, 750_000_000)));
        assert_eq!(time("x"), None);
        assert_eq!(time("1.x"), None);
    }
}
