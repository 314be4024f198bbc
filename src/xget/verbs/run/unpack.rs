//! Archives, unpacked by the system's tar(1) beside where they were fetched, and whether they still
//! are as they were.
//!
//! Each unpacking has a directory of its own, `tar/1`, `tar/2`, and beside it the digest of what was
//! in it. One that was changed since is used no more, and goes when nobody uses it. Refuses to know
//! where the archive is from.

use super::cache::{Entry, Patience, Sign, failed, make_dir, remove};
use crate::console::report;
use crate::driver;
use crate::failed::{Failed, exit_code};
use crate::os::{file, signal};
use peer::content::manifest::Selector;
use peer::failure::Status;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const UNPACKED: &str = "tar";
/// Of an unpacking that is not whole.
const PART: &str = ".part";
const DIGEST: &str = ".digest";
/// Between two looks at who is waited for.
const LOOK: Duration = Duration::from_millis(50);
/// Names that are said of an archive that has several at its top.
const SAID_MAX: usize = 3;

/// What is at the top of the archive, and what keeps it from being removed.
pub struct Unpacked {
    pub top: PathBuf,
    pub lock: OwnedFd,
}

/// Unpacks the archive, or finds that it is there and as it was.
pub fn unpack(entry: &Entry, archive: &Path, is_quiet: bool) -> Result<Unpacked, Failed> {
    let dir = entry.path().join(UNPACKED);
    make_dir(&dir)?;
    let _alone = claim(entry, &dir, is_quiet)?;
    let mut sign = Sign::of(entry);
    let (mut numbers, mut last) = (numbers(&dir)?, 0);
    while let Some(number) = numbers.pop() {
        last = last.max(number);
        let path = dir.join(number.to_string());
        match used(&path, &mut sign)? {
            Some(unpacked) => return Ok(unpacked),
            None => remove_unused(&path),
        }
    }
    let path = dir.join((last + 1).to_string());
    let top = make(archive, &path, &mut sign)?;
    match used(&path, &mut sign)? {
        Some(unpacked) => Ok(unpacked),
        None => Err(failed("use", &top, "it was changed as soon as it was unpacked")),
    }
}

/// One process at a time.
fn claim(entry: &Entry, dir: &Path, is_quiet: bool) -> Result<OwnedFd, Failed> {
    let lock = file::open_dir(dir).map_err(|errno| failed("open", dir, errno.desc()))?;
    let mut patience = Patience::with(entry);
    let mut is_said = is_quiet;
    while !file::lock(&lock) {
        patience.check()?;
        if !std::mem::replace(&mut is_said, true) {
            report(&format!(
                "waits for {}, which unpacks into {}",
                patience.maker(),
                dir.display()
            ));
        }
        pause()?;
    }
    Ok(lock)
}

fn pause() -> Result<(), Failed> {
    std::thread::sleep(LOOK);
    match signal::take() {
        true => Err(Failed::new("interrupted".into(), exit_code(Status::Interrupted))),
        false => Ok(()),
    }
}

/// The unpackings that are there, in rising order. What was left unfinished goes: whoever made it
/// had the lock.
fn numbers(dir: &Path) -> Result<Vec<u64>, Failed> {
    let mut numbers = Vec::new();
    for found in fs::read_dir(dir).map_err(|error| failed("read", dir, error))?.flatten() {
        let name = found.file_name();
        let name = name.to_string_lossy();
        if let Ok(number) = name.parse() {
            numbers.push(number);
        } else if name.ends_with(PART) {
            let path = found.path();
            remove(&path).map_err(|error| failed("remove", &path, error))?;
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn digest_file(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(DIGEST);
    name.into()
}

/// What is unpacked there, if nothing of it was changed since.
fn used(path: &Path, sign: &mut Sign) -> Result<Option<Unpacked>, Failed> {
    let Ok(known) = fs::read_to_string(digest_file(path)) else { return Ok(None) };
    let lock = file::open_dir(path).map_err(|errno| failed("open", path, errno.desc()))?;
    if !file::lock_shared(&lock) {
        return Ok(None);
    }
    sign.give();
    if digest(path)? != known {
        report(&format!("{} was changed since it was unpacked: unpacked anew", path.display()));
        return Ok(None);
    }
    Ok(Some(Unpacked { top: top(path)?, lock }))
}

/// Of every byte and attribute below the directory.
fn digest(path: &Path) -> Result<String, Failed> {
    let (digest, _) = driver::print_digest(path, &Selector::default(), false)
        .map_err(|why| Failed::new(why, exit_code(Status::LocalIo)))?;
    Ok(format!("{digest}\n"))
}

/// Not what somebody uses still, be it changed or not.
fn remove_unused(path: &Path) {
    if let Ok(lock) = file::open_dir(path)
        && file::lock(&lock)
        && remove(path).is_ok()
    {
        let _ = fs::remove_file(digest_file(path));
    }
}

/// Unpacks where nobody looks, and gives it its name when all of it is right.
fn make(archive: &Path, path: &Path, sign: &mut Sign) -> Result<PathBuf, Failed> {
    let mut part = path.as_os_str().to_owned();
    part.push(PART);
    let part = PathBuf::from(part);
    make_dir(&part)?;
    let made = run_tar(archive, &part, sign).and_then(|()| top(&part));
    if let Err(why) = made {
        let _ = remove(&part);
        return Err(why);
    }
    let known = digest(&part)?;
    fs::rename(&part, path).map_err(|error| failed("rename", &part, error))?;
    let file = digest_file(path);
    fs::write(&file, known).map_err(|error| failed("write", &file, error))?;
    top(path)
}

/// Its owners are numbers, as in an archive of a root; which program unpacks gzip, zstd and xz is
/// tar's business.
fn run_tar(archive: &Path, into: &Path, sign: &mut Sign) -> Result<(), Failed> {
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
        sign.give();
        if let Err(interrupted) = pause() {
            let _ = tar.kill();
            let _ = tar.wait();
            return Err(interrupted);
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
