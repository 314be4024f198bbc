//! Archives, unpacked by the system's tar(1) beside where they were fetched, and whether they still
//! are as they were.
//!
//! What is unpacked is for one command alone, which may write to it: `tar/1`, `tar/2`, each under a
//! lock that the command inherits, and beside each the digest of what was in it. One that was
//! changed is unpacked anew, once nobody has it. Refuses to know where the archive is from.

use super::cache::{Entry, failed, has_mounts, make_dir, remove};
use crate::console::report;
use crate::driver;
use crate::failed::{Failed, exit_code};
use crate::os::{file, signal};
use crate::store::name;
use peer::content::manifest::Selector;
use peer::control::printable;
use peer::failure::Status;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const UNPACKED: &str = "tar";
/// In a place: a name of the archive's is not at the top then, where one is reserved.
const TREE: &str = "tree";
const DIGEST: &str = "digest";
/// Commands that have one archive unpacked at a time.
const PLACES_MAX: u32 = 256;
/// Between two looks at tar.
const LOOK: Duration = Duration::from_millis(50);
/// Names that are said of an archive that has several at its top.
const SAID_MAX: usize = 3;

/// What is at the top of the archive, and what keeps it for one command.
pub struct Unpacked {
    pub top: PathBuf,
    pub lock: OwnedFd,
}

/// Unpacks the archive where nobody else has it, or finds that it is there and as it was.
pub fn unpack(entry: &Entry, archive: &Path) -> Result<Unpacked, Failed> {
    let dir = entry.path().join(UNPACKED);
    make_dir(&dir)?;
    for number in 1..=PLACES_MAX {
        let place = dir.join(number.to_string());
        make_dir(&place)?;
        let lock = file::open_dir(&place).map_err(|errno| failed("open", &place, errno.desc()))?;
        // A root that somebody was in may have foreign directories mounted in it still.
        if !file::lock(&lock) || has_mounts(&place) {
            continue;
        }
        if !is_as_it_was(&place)? {
            make(archive, &place)?;
        }
        return Ok(Unpacked { top: top(&place.join(TREE))?, lock });
    }
    let why = format!("{PLACES_MAX} commands have it already, each its own");
    Err(failed("unpack", archive, why))
}

fn interrupted() -> Failed {
    Failed::new("interrupted".into(), exit_code(Status::Interrupted))
}

fn digest_file(place: &Path) -> PathBuf {
    place.with_extension(DIGEST)
}

/// Whether something is unpacked there, and nothing of it was changed since.
fn is_as_it_was(place: &Path) -> Result<bool, Failed> {
    let Ok(known) = fs::read_to_string(digest_file(place)) else { return Ok(false) };
    let is_same = match digest(place) {
        Ok(digest) => digest == known && name_of_ours(&place.join(TREE)).is_none(),
        Err(failed) if failed.status == exit_code(Status::Interrupted) => return Err(failed),
        // It can be read no more.
        Err(_) => false,
    };
    if !is_same {
        report(&format!("{} was changed since it was unpacked: unpacked anew", place.display()));
    }
    Ok(is_same)
}

/// Of every byte and attribute below the directory.
fn digest(place: &Path) -> Result<String, Failed> {
    let mut is_interrupted = false;
    let digest = driver::print_digest(place, &Selector::default(), false, &mut || {
        is_interrupted |= signal::take();
        !is_interrupted
    });
    match digest {
        _ if is_interrupted => Err(interrupted()),
        Ok((digest, _)) => Ok(format!("{digest}\n")),
        Err(why) => Err(Failed::new(why, exit_code(Status::LocalIo))),
    }
}

/// A file that no digest knows of: it has a name that xget has for its own.
fn name_of_ours(dir: &Path) -> Option<PathBuf> {
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for found in fs::read_dir(dir).into_iter().flatten().flatten() {
            if name::is_temporary(found.file_name().as_bytes()) {
                return Some(found.path());
            }
            if found.file_type().is_ok_and(|kind| kind.is_dir()) {
                dirs.push(found.path());
            }
        }
    }
    None
}

/// Removes what is there of it, and unpacks it. Whole is what has a digest.
fn make(archive: &Path, place: &Path) -> Result<(), Failed> {
    let (tree, file) = (place.join(TREE), digest_file(place));
    for (path, removed) in [(&file, fs::remove_file(&file)), (&tree, remove(&tree))] {
        match removed {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(failed("remove", path, error));
            }
            _ => {}
        }
    }
    make_dir(&tree)?;
    let made = run_tar(archive, &tree).and_then(|()| {
        if !file::is_root() {
            let opened = open_up(&tree);
            opened.map_err(|error| failed("make readable what is in", &tree, error))?;
        }
        check(&tree)?;
        digest(place)
    });
    let known = made.inspect_err(|_| {
        let _ = remove(&tree);
    })?;
    fs::write(&file, known).map_err(|error| failed("write", &file, error))
}

/// Lets its owner read what root alone could (`/etc/shadow`, mode 0): nobody else can say that it is
/// as it was.
fn open_up(dir: &Path) -> io::Result<()> {
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for found in fs::read_dir(dir)? {
            let path = found?.path();
            let status = fs::symlink_metadata(&path)?;
            let wanted = match status.file_type() {
                kind if kind.is_dir() => 0o500,
                kind if kind.is_file() => 0o400,
                _ => continue,
            };
            let mode = status.permissions().mode() & 0o7777;
            if mode & wanted != wanted {
                fs::set_permissions(&path, Permissions::from_mode(mode | wanted))?;
            }
            if status.is_dir() {
                dirs.push(path);
            }
        }
    }
    Ok(())
}

fn check(tree: &Path) -> Result<(), Failed> {
    top(tree)?;
    let Some(path) = name_of_ours(tree) else { return Ok(()) };
    let name = printable(path.strip_prefix(tree).unwrap_or(&path).as_os_str().as_bytes());
    let why = format!("an archive for `tar:` has no name that xget keeps for itself: {name}");
    Err(Failed::new(why, exit_code(Status::Source)))
}

/// Its owners are numbers, as in an archive of a root; which program unpacks gzip, zstd and xz is
/// tar's business.
fn run_tar(archive: &Path, into: &Path) -> Result<(), Failed> {
    let not_run = |error: std::io::Error| {
        failed("unpack", archive, format!("tar cannot be run: {error}; install tar"))
    };
    let mut command = Command::new("tar");
    command.arg("--numeric-owner").arg("-xf").arg(archive).arg("-C").arg(into);
    let mut tar = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().map_err(not_run)?;
    let ended = loop {
        if let Some(ended) = tar.try_wait().map_err(not_run)? {
            break ended;
        }
        std::thread::sleep(LOOK);
        if signal::take() {
            let _ = tar.kill();
            let _ = tar.wait();
            return Err(interrupted());
        }
    };
    match ended.success() {
        true => Ok(()),
        false => Err(failed("unpack", archive, format!("tar ended with {ended}"))),
    }
}

/// The one directory that is in there.
fn top(dir: &Path) -> Result<PathBuf, Failed> {
    let found = fs::read_dir(dir).map_err(|error| failed("read", dir, error))?;
    let mut names: Vec<_> = found.flatten().map(|found| found.file_name()).collect();
    names.sort();
    let wrong = |what: String| {
        let why =
            format!("an archive for `tar:` has one directory at its top, and this one {what}");
        Err(Failed::new(why, exit_code(Status::Source)))
    };
    match names.as_slice() {
        [] => wrong("is empty".into()),
        [name] => {
            let top = dir.join(name);
            match fs::symlink_metadata(&top) {
                Ok(status) if status.is_dir() => Ok(top),
                _ => wrong(format!("has {}, which is none", name.to_string_lossy())),
            }
        }
        names => {
            let said: Vec<_> = names.iter().take(SAID_MAX).map(|n| n.to_string_lossy()).collect();
            let more = if names.len() > SAID_MAX { ", ..." } else { "" };
            wrong(format!("has {}: {}{more}", names.len(), said.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::scratch::Dir;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_its_owner_could_not_read_he_can_and_nothing_else_is_changed() {
        let dir = Dir::new();
        let shadow = dir.write("top/etc/shadow", b"x");
        let (sudo, plain) = (dir.write("top/sudo", b"x"), dir.write("top/plain", b"x"));
        let outside = dir.write("outside", b"x");
        symlink(&outside, dir.join("top/link")).unwrap();
        let set =
            |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        let etc = dir.join("top/etc");
        for (path, mode) in
            [(&shadow, 0), (&sudo, 0o4111), (&plain, 0o640), (&outside, 0), (&etc, 0)]
        {
            set(path, mode);
        }
        open_up(&dir.join("top")).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        let modes = [&etc, &shadow, &sudo, &plain, &outside].map(|path| mode(path));
        assert_eq!(modes, [0o500, 0o400, 0o4511, 0o640, 0]);
    }
}
