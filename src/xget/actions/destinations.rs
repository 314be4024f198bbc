//! Where a fetch goes that people began, where that is no directory.
//!
//! Knows which options make sense there. None of it is in the initramfs: it is reached
//! where the program is the `WHOLE` one.

use crate::cli::{Fetch, first_typed, text_typed};
use crate::console::report;
use crate::driver::{FetchTask, failure};
use crate::failed::{Failed, USAGE, exit_code};
use crate::os::{file, random, signal};
use crate::store::dest::{DEV, is_missing_device};
use crate::store::destination::Destination;
use crate::store::device::{Device, DeviceOptions, WAIT_S, is_device};
use crate::store::stream::{Keep, Stream, WINDOW_MIB};
use crate::store::writer::Purpose;
use nix::errno::Errno;
use peer::failure::Status;
use peer::request::Pin;
use std::io::{IsTerminal, stdout};
use std::os::fd::{IntoRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::{env, fs, thread};

/// Claims the destination of a fetch, where it is no directory.
pub fn claim(fetch: &Fetch) -> Result<Option<Box<dyn Destination>>, Failed> {
    let path = &fetch.task.dest;
    if is_device(path) {
        return claim_device(fetch).map(Some);
    }
    if fetch.is_stream() {
        return claim_stream(fetch).map(Some);
    }
    if is_lost_among_devices(path) {
        let text = format!(
            "cannot fetch onto {path:?}: there is no such device (nothing but devices is in {DEV}; \
             where a directory is meant, make it first)"
        );
        return Err(Failed::new(text, exit_code(Status::LocalIo)));
    }
    if let Some(name) = fetch.stream.typed() {
        let text = format!("{name} is for a DEST that is standard output (`-`), not {path:?}");
        return Err(Failed::new(text, USAGE));
    }
    if let Some(name) = fetch.device.typed() {
        let text = format!("{name} is for a DEST that is a block device, which {path:?} is not");
        return Err(Failed::new(text, USAGE));
    }
    match file::stat_path(path) {
        Ok(status) if !status.is_dir() => {
            let text = format!(
                "cannot fetch into {path:?}: it is not a directory; DEST is a directory, which is \
                 made if it is not there, or a block device"
            );
            Err(Failed::new(text, exit_code(Status::LocalIo)))
        }
        _ => Ok(None),
    }
}

/// Of a comparison with what is not there: an empty directory without a name stands for it, which
/// nothing can be put into, and all that comes is new. It stays open until the process ends.
pub fn stand_in(task: &mut FetchTask) -> Result<(), Failed> {
    let dest = &task.dest;
    if !task.policy.purpose.compares() || file::stat_path(dest) != Err(Errno::ENOENT) {
        return Ok(());
    }
    let failed = |text: String| Failed::new(text, exit_code(Status::LocalIo));
    if let Some(why) = cannot_be_made(dest) {
        return Err(failed(format!("cannot fetch into {dest:?}: {why}")));
    }
    let path = env::temp_dir().join(format!(".xget-empty-{:016x}", random::quick()));
    let empty = empty_dir(&path).map_err(|errno| {
        let why = errno.desc();
        failed(format!(
            "a comparison with {dest:?}, which is not there, takes an empty directory, which \
             cannot be made as {path:?}: {why}; TMPDIR says where, or make {dest:?} first"
        ))
    })?;
    task.dest = format!("/proc/self/fd/{}", empty.into_raw_fd()).into();
    Ok(())
}

/// One that has no name any more.
fn empty_dir(path: &Path) -> Result<OwnedFd, Errno> {
    file::make_dir(path, 0o700)?;
    let empty = file::open_dir(path);
    fs::remove_dir(path).map_err(|error| file::errno(&error))?;
    empty
}

/// Why a fetch could not make this directory, as far as a look tells.
fn cannot_be_made(dest: &Path) -> Option<String> {
    if dest.symlink_metadata().is_ok() {
        return Some("it is a symlink to what is not there".into());
    }
    let above = nearest_above(dest)?;
    if !above.is_dir() {
        return Some(format!("{above:?} is not a directory"));
    }
    let is_kernels = ["/proc", "/sys"].iter().any(|kernels| above.starts_with(kernels));
    let denied = if is_kernels { Errno::EPERM } else { file::can_write(&above).err()? };
    Some(format!("nothing can be made in {above:?}: {}", denied.desc()))
}

/// A path that is not there, and would be among the devices, wherever the names above it lead to.
fn is_lost_among_devices(path: &Path) -> bool {
    let above = nearest_above(path).filter(|_| file::stat_path(path) == Err(Errno::ENOENT));
    above.is_some_and(|above| is_missing_device(&above.join("it")))
}

/// What is above a path and is there.
fn nearest_above(path: &Path) -> Option<PathBuf> {
    path.ancestors().skip(1).find_map(|above| match above.as_os_str().is_empty() {
        true => Path::new(".").canonicalize().ok(),
        false => above.canonicalize().ok(),
    })
}

/// The name of the first option that was typed and makes sense for a directory alone.
fn of_trees(fetch: &Fetch) -> Option<&'static str> {
    let (task, policy) = (&fetch.task, &fetch.task.policy);
    let typed = first_typed(&[
        (policy.purpose == Purpose::Serve, "--worker"),
        (policy.purpose.removes(), "--delete"),
        (!fetch.keep.is_empty(), "--keep"),
        (task.keep_dirs, "--keep-dirs"),
    ]);
    typed.or(text_typed(&policy.copies, "--copy-dest"))
}

fn claim_stream(fetch: &Fetch) -> Result<Box<dyn Destination>, Failed> {
    let (task, stream) = (&fetch.task, &fetch.stream);
    let others = [
        (task.policy.purpose.compares(), "--dry-run"),
        (task.sync, "--fsync"),
        (fetch.device.typed().is_some(), "what is for devices"),
    ];
    let usage = |text: String| Err(Failed::new(text, USAGE));
    if let Some(name) = of_trees(fetch).or(first_typed(&others)) {
        return usage(format!("{name} does nothing for standard output, which DEST is"));
    }
    if task.request.sources.len() > 1 {
        return usage("standard output takes one SRC, a file".into());
    }
    if let Some(Pin::Sha256(_)) = task.request.pin {
        return usage(
            "a sha256 digest is known when all is written, which is too late for a pipe: pin it \
             by blake3:HEX (b3sum), or fetch it into a directory first"
                .into(),
        );
    }
    if stdout().is_terminal() {
        return usage(
            "standard output is a terminal, which a file may turn into anything: pipe it into \
             the program that takes it, or into `cat`"
                .into(),
        );
    }
    let out = Path::new("/proc/self/fd/1");
    if is_device(out) {
        let device = fs::read_link(out).unwrap_or_default();
        return usage(format!(
            "standard output is the block device {device:?}: name that as DEST in place of `-`, \
             so that it is looked at before it is written, and flushed"
        ));
    }
    let keep = match (&stream.spool, task.request.window_bytes) {
        (Some(_), _) if stream.window_mib.is_some() => {
            return usage("--window is what is kept in memory, and --spool keeps all".into());
        }
        (Some(path), _) => Keep::Spool(path.clone()),
        (None, bytes) => Keep::Window(bytes.unwrap_or(WINDOW_MIB << 20)),
    };
    match Stream::open(keep) {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => Err(vec![failure(&error)].into()),
    }
}

fn claim_device(fetch: &Fetch) -> Result<Box<dyn Destination>, Failed> {
    let (task, path) = (&fetch.task, &fetch.task.dest);
    let policy = &task.policy;
    let usage = |text| Err(Failed::new(text, USAGE));
    if let Some(name) = of_trees(fetch).or(fetch.stream.typed()) {
        return usage(format!("{name} does nothing for a device, and {path:?} is one"));
    }
    if task.request.sources.len() > 1 {
        return usage(format!("a device takes one SRC, a file, and {path:?} is one"));
    }
    let sha256 = match task.request.pin {
        Some(Pin::Sha256(sum)) => Some(sum),
        Some(Pin::Blake3(_)) | None => None,
    };
    let compares = policy.purpose.compares();
    let options = DeviceOptions { compares, sha256, ..fetch.device.clone() };
    let mut is_told = fetch.quiet;
    let mut pause = |time| {
        if !is_told {
            is_told = true;
            let path = path.display();
            report(&format!("waiting for {path}, which another program has ({WAIT_S} s at most)"));
        }
        thread::sleep(time);
        !signal::take()
    };
    match Device::open(path, options, &mut pause) {
        Ok(device) => Ok(Box::new(device)),
        Err(error) => Err(vec![failure(&error)].into()),
    }
}
