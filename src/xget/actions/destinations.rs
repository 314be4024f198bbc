//! Where a fetch goes that people began, where that is no directory.
//!
//! Knows which options make sense there. None of it is in the initramfs: it is reached from
//! `xget::main` alone.

use crate::cli::Fetch;
use crate::driver::failure;
use crate::failed::{Failed, USAGE, exit_code};
use crate::os::file;
use crate::store::destination::Destination;
use crate::store::device::{Device, DeviceOptions, is_device};
use crate::store::writer::Purpose;
use peer::failure::Status;
use peer::request::Pin;

/// Claims the destination of a fetch, where it is no directory.
pub type Claim = fn(&Fetch) -> Result<Option<Box<dyn Destination>>, Failed>;

/// What the whole program can do.
pub fn claim(fetch: &Fetch) -> Result<Option<Box<dyn Destination>>, Failed> {
    let path = &fetch.task.dest;
    if is_device(path) {
        return claim_device(fetch).map(Some);
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

fn claim_device(fetch: &Fetch) -> Result<Box<dyn Destination>, Failed> {
    let (task, path) = (&fetch.task, &fetch.task.dest);
    let policy = &task.policy;
    let of_trees = [
        (policy.purpose == Purpose::Serve, "--worker"),
        (policy.purpose.removes(), "--delete"),
        (!fetch.keep.is_empty(), "--keep"),
        (task.keep_dirs, "--keep-dirs"),
        (policy.copies.is_some(), "--copy-dest"),
    ];
    let usage = |text| Err(Failed::new(text, USAGE));
    if let Some((_, name)) = of_trees.iter().find(|(is, _)| *is) {
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
    match Device::open(path, options) {
        Ok(device) => Ok(Box::new(device)),
        Err(error) => Err(vec![failure(&error)].into()),
    }
}
