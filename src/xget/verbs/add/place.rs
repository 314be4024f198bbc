//! Where a file is added: its directory, its name, and the temporary one beside it, whose lock
//! says that somebody is about it.
//!
//! No name on the way is a symlink, so that nothing leads out of the served directory. Refuses
//! to know where the bytes come from.

use crate::failed::{Failed, USAGE, exit_code};
use crate::os::{file, signal};
use crate::store::name;
use crate::store::sha256::Sum;
use nix::errno::Errno;
use peer::content::digest::Digest;
use peer::control::printable;
use peer::failure::Status;
use peer::request::Pin;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;
use std::time::SystemTime;

/// Of a file, and of the directories on its way; the umask applies.
const FILE_MODE: u32 = 0o666;
const DIR_MODE: u32 = 0o777;
const NAME_LEN_MAX: usize = 255;
/// Of a sum at a time.
const SUM_BYTES: u64 = 8 << 20;

/// A path below the served directory, in one spelling.
pub fn plain(path: &[u8]) -> Result<Vec<u8>, String> {
    let shown = printable(path);
    if path.first() == Some(&b'/') {
        return Err(format!("{shown}: a NAME is a path below the served directory"));
    }
    if path.is_empty() || path.ends_with(b"/") {
        return Err(format!("{shown:?} names no file"));
    }
    let names: Vec<&[u8]> =
        path.split(|&byte| byte == b'/').filter(|name| !matches!(*name, b"" | b".")).collect();
    let is_name = |name: &&[u8]| *name != b".." && !name.contains(&0) && name.len() <= NAME_LEN_MAX;
    if names.is_empty() || !names.iter().all(is_name) {
        return Err(format!("{shown}: has `..` or a name of more than {NAME_LEN_MAX} bytes in it"));
    }
    if names[0] == name::RESERVED || names.iter().any(|part| name::is_temporary(part)) {
        return Err(format!("{shown}: is a name that xget keeps for itself, and does not serve"));
    }
    Ok(names.join(&b'/'))
}

pub struct Place {
    dir: OwnedFd,
    /// The last of its names.
    leaf: Vec<u8>,
    temporary: Vec<u8>,
    shown: String,
    /// The directories on the way that were made, and where.
    made: Vec<(OwnedFd, Vec<u8>)>,
}

/// Where nothing was added, nothing is served of it: a directory that is not empty stays.
impl Drop for Place {
    fn drop(&mut self) {
        for (parent, name) in self.made.iter().rev() {
            let _ = file::remove_dir_at(parent, name);
        }
    }
}

impl Place {
    /// Makes the directories on the way.
    pub fn open(root: &Path, path: &[u8]) -> Result<Place, Failed> {
        let dir = file::open_dir(root).map_err(|errno| {
            let text = format!(
                "{}: {}; name the served directory with -C DIR or XGET_ROOT",
                root.display(),
                errno.desc()
            );
            Failed::new(text, USAGE)
        })?;
        let shown = format!("{}/{}", root.display(), printable(path));
        let mut names: Vec<&[u8]> = path.split(|&byte| byte == b'/').collect();
        let leaf = names.pop().unwrap_or_default().to_vec();
        let temporary = name::temporary_of(&[b"add\0", &*leaf].concat());
        let mut place = Place { dir, leaf, temporary, shown, made: Vec::new() };
        for name in names {
            place.enter(name)?;
        }
        Ok(place)
    }

    /// Goes down into a directory, which it makes if need be.
    fn enter(&mut self, name: &[u8]) -> Result<(), Failed> {
        let is_made = match file::make_dir_at(&self.dir, name, DIR_MODE) {
            Ok(()) => true,
            Err(Errno::EEXIST) => false,
            Err(errno) => return Err(on_disk(&self.shown, "make its directory", errno)),
        };
        let below = file::open_dir_at(&self.dir, name).map_err(|errno| {
            let why = match errno {
                Errno::ENOTDIR | Errno::ELOOP => "is no directory, or a symlink to one",
                errno => errno.desc(),
            };
            let text = format!("cannot add {}: {} {why}", self.shown, printable(name));
            Failed::new(text, exit_code(Status::LocalIo))
        })?;
        let parent = std::mem::replace(&mut self.dir, below);
        if is_made {
            self.made.push((parent, name.to_vec()));
        }
        Ok(())
    }

    pub fn failed(&self, status: Status, why: &str) -> Failed {
        Failed::new(format!("cannot add {}: {why}", self.shown), exit_code(status))
    }

    pub fn is_there(&self) -> bool {
        file::stat_at(&self.dir, &self.leaf).is_ok()
    }

    /// Whether it is there; if it has to be something, whether it is that. Words for it.
    pub fn found(&self, pin: Option<Pin>) -> Result<Option<String>, Failed> {
        match file::stat_at(&self.dir, &self.leaf) {
            Err(Errno::ENOENT) => return Ok(None),
            Err(errno) => return Err(on_disk(&self.shown, "look for it", errno)),
            Ok(status) if !status.is_file() => {
                return Err(self.failed(Status::LocalIo, "what has that name is no file"));
            }
            Ok(_) => {}
        }
        let file = file::open_file_at(&self.dir, &self.leaf)
            .map_err(|errno| on_disk(&self.shown, "read it", errno))?;
        let size = size_of(&file).map_err(|error| io_failed(&self.shown, "read it", &error))?;
        // Nobody asked what it is.
        let Some(pin) = pin else { return Ok(Some(format!("{size} bytes"))) };
        let sum = sum(&file, size, Some(pin), false).map_err(|e| sum_failed(&self.shown, &e))?;
        match pin {
            pin if pin != sum => {
                let why = format!(
                    "what is there has the digest {sum}, not {pin}; remove it to have it fetched"
                );
                Err(self.failed(Status::Verification, &why))
            }
            _ => Ok(Some(format!("{size} bytes, {sum}"))),
        }
    }

    /// What another that is about it changes, while it comes and while it is hashed.
    pub fn temporary_state(&self) -> Option<(u64, i64, u32)> {
        let status = file::stat_at(&self.dir, &self.temporary).ok()?;
        Some((status.size, status.mtime_s, status.mtime_ns))
    }

    /// The temporary file, if nobody else has it, and its name is free.
    pub fn claim(&self) -> Result<Option<Claim<'_>>, Failed> {
        let made = file::create_file_at(&self.dir, &self.temporary, FILE_MODE);
        let opened = match made {
            Err(Errno::ENOENT) => {
                let why = "another that failed took its directory away; add it once more";
                return Err(self.failed(Status::LocalIo, why));
            }
            Err(Errno::EEXIST) => file::open_file_rw_at(&self.dir, &self.temporary),
            made => made,
        };
        let file = match opened {
            Ok(file) => file,
            // It was there, and has its own name by now.
            Err(Errno::ENOENT) => return Ok(None),
            Err(errno) => return Err(on_disk(&self.shown, "write it", errno)),
        };
        if !file::lock(&file) {
            return Ok(None);
        }
        // Who had the lock may have put it in its place, and that file is locked now.
        let (mine, named) = (file::stat_file(&file), file::stat_at(&self.dir, &self.temporary));
        let is_named =
            matches!((&mine, &named), (Ok(a), Ok(b)) if (a.dev, a.ino) == (b.dev, b.ino));
        if !is_named {
            return Ok(None);
        }
        let claim = Claim { place: self, file: Rc::new(file) };
        if claim.place.is_there() {
            claim.remove();
            return Ok(None);
        }
        Ok(Some(claim))
    }
}

/// The temporary file, and its lock.
pub struct Claim<'a> {
    place: &'a Place,
    file: Rc<File>,
}

impl Claim<'_> {
    pub fn file(&self) -> &File {
        &self.file
    }

    pub fn size(&self) -> Result<u64, Failed> {
        size_of(&self.file).map_err(|error| io_failed(&self.place.shown, "look at it", &error))
    }

    /// Goes on behind so many bytes.
    pub fn cut(&self, len: u64) -> Result<(), Failed> {
        let cut = self.file.set_len(len);
        cut.map_err(|error| io_failed(&self.place.shown, "write it", &error))
    }

    /// Whether so many bytes are what they must be.
    pub fn is_right(&self, pin: Option<Pin>, size: u64) -> Result<bool, Failed> {
        let sum = sum(&self.file, size, pin, true);
        let sum = sum.map_err(|error| sum_failed(&self.place.shown, &error))?;
        Ok(pin.is_none_or(|pin| pin == sum))
    }

    /// Says what is kept of it, if anything is: nobody could go on with it without a digest.
    pub fn given_up(&self, mut failed: Failed, is_kept: bool) -> Failed {
        let size = self.size().unwrap_or(0);
        if !is_kept || size == 0 {
            self.remove();
            return failed;
        }
        let dir = self.place.shown.rsplit_once('/').map_or(".", |(dir, _)| dir);
        let name = printable(&self.place.temporary);
        failed.reasons.push(format!("{dir}/{name} keeps {size} bytes for the next xget add of it"));
        failed
    }

    pub fn remove(&self) {
        let _ = file::unlink_at(&self.place.dir, &self.place.temporary);
    }

    /// Verifies it, brings it to the disk and gives it its name. Words for it.
    pub fn finish(self, pin: Option<Pin>, size: u64) -> Result<String, Failed> {
        let Place { dir, leaf, temporary, shown, .. } = self.place;
        let sum = sum(&self.file, size, pin, true)
            .map_err(|error| self.given_up(sum_failed(shown, &error), pin.is_some()))?;
        if let Some(pin) = pin.filter(|pin| *pin != sum) {
            self.remove();
            let why = format!("what came has the digest {sum}, not {pin}; nothing was added");
            return Err(self.place.failed(Status::Verification, &why));
        }
        self.file.sync_all().map_err(|error| io_failed(shown, "write it to the disk", &error))?;
        match file::rename_new_at(dir, temporary, leaf) {
            Ok(()) => {}
            Err(Errno::EEXIST) => {
                self.remove();
                return Err(self.place.failed(Status::LocalIo, "something else has its name now"));
            }
            Err(errno) => return Err(on_disk(shown, "rename it", errno)),
        }
        // The name, too, is to survive a crash.
        let synced = dir.try_clone().map(File::from).and_then(|dir| dir.sync_all());
        synced.map_err(|error| io_failed(shown, "write its name to the disk", &error))?;
        Ok(format!("{size} bytes, {sum}"))
    }
}

fn on_disk(shown: &str, doing: &str, errno: Errno) -> Failed {
    let text = format!("cannot add {shown}: cannot {doing}: {}", errno.desc());
    Failed::new(text, exit_code(Status::LocalIo))
}

fn io_failed(shown: &str, doing: &str, error: &io::Error) -> Failed {
    on_disk(shown, doing, file::errno(error))
}

fn size_of(file: &File) -> io::Result<u64> {
    Ok(file.metadata()?.len())
}

fn sum_failed(shown: &str, error: &io::Error) -> Failed {
    match error.kind() {
        io::ErrorKind::Interrupted => {
            let text = format!("cannot add {shown}: interrupted");
            Failed::new(text, exit_code(Status::Interrupted))
        }
        _ => io_failed(shown, "read it", error),
    }
}

fn go_on() -> io::Result<()> {
    if signal::take() { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
}

/// The digest of so many bytes: of the kind of the pin, or BLAKE3. A signal interrupts it. Of the
/// temporary file those who wait for it see that it goes on.
fn sum(file: &File, size: u64, pin: Option<Pin>, is_temporary: bool) -> io::Result<Pin> {
    let go_on = || {
        if is_temporary {
            // Where it cannot be said they wait as for one that hangs.
            let _ = file.set_modified(SystemTime::now());
        }
        go_on()
    };
    if matches!(pin, Some(Pin::Sha256(_))) {
        let mut sum = Sum::new(Rc::new(file.try_clone()?), size);
        loop {
            go_on()?;
            if let Some(sum) = sum.step(SUM_BYTES)? {
                return Ok(Pin::Sha256(sum));
            }
        }
    }
    let mut hasher = blake3::Hasher::new();
    // By offset: the place in the file is that of who writes it.
    let (mut at, mut buffer) = (0, vec![0; 1 << 20]);
    while at < size {
        go_on()?;
        let len = std::os::unix::fs::FileExt::read_at(file, &mut buffer, at)?;
        if len == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let len = len.min((size - at) as usize);
        hasher.update(&buffer[..len]);
        at += len as u64;
    }
    Ok(Pin::Blake3(Digest(*hasher.finalize().as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::scratch::Dir;
    use std::fs;

    #[test]
    fn who_waits_sees_that_another_hashes() {
        let dir = Dir::new();
        let root = dir.join("served");
        fs::create_dir(&root).unwrap();
        let place = Place::open(&root, b"a/b").map_err(|failed| failed.reasons).unwrap();
        let claim = place.claim().map_err(|failed| failed.reasons).unwrap().unwrap();
        claim.cut(1 << 20).unwrap_or_else(|failed| panic!("{:?}", failed.reasons));
        for pin in [Pin::Sha256([0; 32]), Pin::Blake3(Digest([0; 32]))] {
            claim.file().set_modified(SystemTime::UNIX_EPOCH).unwrap();
            let before = place.temporary_state().unwrap();
            let is_right = claim.is_right(Some(pin), 1 << 20);
            assert!(!is_right.map_err(|failed| failed.reasons).unwrap());
            assert_ne!(place.temporary_state(), Some(before));
        }
        claim.remove();
        drop(claim);
        drop(place);
        fs::remove_dir(&root).expect("what was made on the way is gone");
    }
}
