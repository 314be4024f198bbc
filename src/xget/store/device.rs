//! A block device as the destination of a fetch: one file is written to it in place.
//!
//! The device is claimed as a mount claims it, so that nothing that is in use is written to, and
//! given up when all is on the medium. What is right on it is kept, so a second fetch moves what
//! differs, and one that was interrupted goes on. Until all of it is there nothing on the device
//! says so but the program that ended.
//!
//! | module | knows |
//! |---|---|
//! | `image` | the file: its pieces, and what is right |
//! | `disk` | the open device: bytes and zeros in places |
//! | `options` | what was asked for |
//! | `users` | who uses it, in words |
//! | `check` | what is there already; holes |
//! | `medium` | what is read past the page cache |
//! | `flush` | what is written goes onto the medium meanwhile |
//! | `finish` | flushed, read back, the partition table |

use super::destination::{
    CheckStep, Destination, FinishStep, OpenError, Opened, StoreFailure, Writer,
};
use super::error::DestError;
use crate::os::block::{self, Access};
use crate::os::file;
use crate::os::landlock::May;
use crate::os::sync::{self, Syncing};
use check::Check;
use disk::Disk;
use finish::Finish;
use flush::Flush;
use image::Image;
use nix::errno::Errno;
use peer::content::manifest::Manifest;
use peer::content::pieces::{Extent, PieceMap};
use peer::failure::Status;
use std::cell::Cell;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;
use users::Sources;

mod check;
mod disk;
mod finish;
mod flush;
mod image;
mod medium;
mod options;
mod users;

pub use options::DeviceOptions;

/// udev holds the lock of a device while it looks at it, and what an xget that was killed has begun
/// to flush holds its claim; waited for so long in all, with a look after each pause.
pub const WAIT_S: u32 = 3;
const PAUSES_PER_S: u32 = 10;
const PAUSE: Duration = Duration::from_millis(1000 / PAUSES_PER_S as u64);

/// Waits so long, and tells so; false where it is not to go on.
pub type Pause<'a> = &'a mut dyn FnMut(Duration) -> bool;

/// What is left of waiting for others.
struct Patience<'a> {
    pauses: u32,
    pause: Pause<'a>,
}

/// A device to fetch onto, claimed.
pub struct Device {
    path: PathBuf,
    options: DeviceOptions,
    /// Until it begins: who writes to it gives it up.
    file: Option<Rc<File>>,
    /// Something was written to it, and not yet all.
    is_torn: Rc<Cell<bool>>,
    /// What to tell when it begins.
    note: Option<String>,
}

struct DeviceWriter {
    image: Image,
    disk: Disk,
    check: Check,
    flush: Flush,
    finish: Finish,
    /// Pieces that are not here.
    left_count: u32,
    failures: Vec<DestError>,
    changes: String,
    notes: Vec<String>,
    compares: bool,
    /// What others have written to it is on its way onto the medium.
    settling: Option<Syncing>,
}

/// Whether a path is a block device, or leads to one.
pub fn is_device(path: &Path) -> bool {
    file::stat_path(path).is_ok_and(|status| status.is_block_device())
}

fn failed(path: &Path, doing: &'static str, cause: Errno) -> DestError {
    DestError::Io { doing, path: path.into(), cause }
}

impl Device {
    /// Claims a device; changes nothing on it.
    ///
    /// # Errors
    /// It is in use, and nobody forces; or it cannot be written to.
    pub fn open(
        path: &Path,
        options: DeviceOptions,
        pause: Pause<'_>,
    ) -> Result<Device, DestError> {
        let mut patience = Patience { pauses: WAIT_S * PAUSES_PER_S, pause };
        let access = match (options.compares, options.force) {
            (true, _) => Access::Read,
            (false, true) => Access::Write,
            (false, false) => Access::Claim,
        };
        let users = || {
            let status = file::stat_path(path).ok()?;
            users::users_of(status.device, &Sources::of_system())
        };
        let file = loop {
            match block::open(path, access) {
                Err(Errno::EBUSY) if users().is_none() && patience.wait(path)? => {}
                done => break done,
            }
        };
        let file = file.map_err(|cause| match cause {
            Errno::EBUSY => busy(path, users(), options.force),
            cause => failed(path, "write to", cause),
        })?;
        if !options.compares {
            refuse_read_only(path, &file)?;
            lock(path, &file, &mut patience)?;
        }
        let forced = users().filter(|_| options.force && !options.compares);
        let note = forced
            .map(|users| format!("{} is written to though it is in use: {users}", path.display()));
        let (file, is_torn) = (Some(Rc::new(file)), Rc::default());
        Ok(Device { path: path.into(), options, file, is_torn, note })
    }
}

fn busy(path: &Path, users: Option<String>, is_forced: bool) -> DestError {
    let users = users.unwrap_or_else(|| {
        "another program has it, or a partition of it, for itself alone (an xget, mkfs, mdadm)"
            .into()
    });
    let way = match is_forced {
        // CONFIG_BLK_DEV_WRITE_MOUNTED
        true => "this kernel lets nobody write to what is mounted",
        false => "--force writes to it all the same",
    };
    let text = format!("{} is in use: {users}; nothing was written ({way})", path.display());
    DestError::Other { status: Status::LocalIo, text }
}

/// Such a device can be opened for writing, and takes nothing.
fn refuse_read_only(path: &Path, file: &File) -> Result<(), DestError> {
    match block::is_read_only(file).map_err(|cause| failed(path, "measure", cause))? {
        true => {
            let path = path.display();
            let text = format!(
                "{path} is read-only; nothing was written (`blockdev --setrw` changes that, where \
                 the disk itself has no switch for it)"
            );
            Err(DestError::Other { status: Status::LocalIo, text })
        }
        false => Ok(()),
    }
}

/// Keeps udev from looking at what is half written (systemd.io/BLOCK_DEVICE_LOCKING), and a
/// second xget away where both are forced.
fn lock(path: &Path, file: &File, patience: &mut Patience) -> Result<(), DestError> {
    while !file::lock(file) {
        if !patience.wait(path)? {
            let text = format!(
                "{} is locked (flock) by another program, perhaps another xget; nothing was written",
                path.display()
            );
            return Err(DestError::Other { status: Status::LocalIo, text });
        }
    }
    Ok(())
}

impl Patience<'_> {
    /// Whether there was any left.
    fn wait(&mut self, path: &Path) -> Result<bool, DestError> {
        let is_left = self.pauses > 0;
        self.pauses = self.pauses.saturating_sub(1);
        if is_left && !(self.pause)(PAUSE) {
            let text = format!("{}: interrupted; nothing was written", path.display());
            return Err(DestError::Other { status: Status::Interrupted, text });
        }
        Ok(is_left)
    }
}

impl Destination for Device {
    fn begin(
        &mut self,
        manifest: Rc<Manifest>,
        map: Rc<PieceMap>,
    ) -> Result<Box<dyn Writer>, DestError> {
        let image = Image::of(manifest, map)?;
        let path = &self.path;
        let io = |doing| move |cause| failed(path, doing, cause);
        let file = self.file.take().ok_or(Errno::EBADF).map_err(io("write to"))?;
        let size_bytes = block::size_bytes(&file).map_err(io("measure"))?;
        let block_bytes = block::block_bytes(&file).map_err(io("measure"))?;
        let served = block::open_again(&file, Access::Read).map_err(io("read"))?;
        if image.size > size_bytes {
            let text = format!(
                "{} is too small: it has {size_bytes} bytes, and {} has {}; nothing was written",
                path.display(),
                image.name(),
                image.size
            );
            return Err(DestError::Other { status: Status::NoSpace, text });
        }
        file::read_ahead(&file);
        let options = &self.options;
        let settling = if options.compares { None } else { settle(&file) };
        let disk = Disk {
            path: path.clone(),
            file,
            served: Rc::new(served),
            size_bytes,
            block_bytes,
            is_ours: !options.force && !options.compares,
            is_torn: self.is_torn.clone(),
        };
        Ok(Box::new(DeviceWriter {
            check: Check::new(&image, options.compares, options.discards),
            flush: Flush::default(),
            finish: Finish::new(&image, options),
            left_count: image.pieces().len() as u32,
            image,
            disk,
            failures: Vec::new(),
            changes: String::new(),
            notes: self.note.take().into_iter().collect(),
            compares: options.compares,
            settling,
        }))
    }

    /// Others get it when it is whole, and not before.
    fn release(&self) {}

    fn opens(&self) -> Vec<(PathBuf, May)> {
        // Who uses it is asked there.
        let looks = ["/proc", "/sys"].map(|path| (path.into(), May::Read));
        [(self.path.clone(), May::Change)].into_iter().chain(looks).collect()
    }

    fn compares(&self) -> bool {
        self.options.compares
    }

    fn serves_alone(&self) -> bool {
        false
    }

    fn remains(&self) -> Option<String> {
        let said = || {
            format!(
                "{} is not whole: it has a part of the image over what it had before. The same \
                 command goes on with it",
                self.path.display()
            )
        };
        self.is_torn.get().then(said)
    }
}

/// What the page cache has of a device is no proof of what the medium has: an earlier run may
/// have written it there in vain. So all goes onto the medium, and is forgotten when it is there.
fn settle(file: &File) -> Option<Syncing> {
    let begun = sync::begin_one(file);
    if begun.is_err() {
        // No process to wait for it: it is done here, and nobody is served meanwhile. Whatever
        // it comes to: what is right is found out then.
        let _ = file.sync_all();
        block::drop_cache(file);
    }
    begun.ok()
}

impl DeviceWriter {
    fn put(&mut self, extent: Extent, bytes: &[u8]) -> Result<(), DestError> {
        self.disk.write(extent.offset, bytes)?;
        let piece = self.image.piece_at(extent.offset);
        self.flush.note(&self.disk, &self.image, piece)
    }

    /// What is told of a device that is only compared.
    fn compare(&mut self) {
        let (differing, image) = (self.check.differing_bytes, &self.image);
        if differing > 0 {
            self.changes = format!("changed {} {}\n", image.size, image.name());
        }
        self.notes.push(format!(
            "{}: {differing} of {} bytes differ",
            self.disk.path.display(),
            image.size
        ));
    }
}

impl Writer for DeviceWriter {
    fn check_step(&mut self, budget_bytes: u64) -> Result<CheckStep, DestError> {
        if let Some(settling) = self.settling.take() {
            // Whatever it came to: what is right is found out now.
            let _ = settling.end();
            block::drop_cache(&self.disk.file);
        }
        let step = self.check.step(&self.disk, &self.image, budget_bytes)?;
        if let CheckStep::Done { found } = &step {
            self.left_count -= found.len() as u32;
        }
        Ok(step)
    }

    fn store(&mut self, extents: &[Extent], bytes: &[u8]) -> Result<(), StoreFailure> {
        let stored = match extents {
            &[extent] if extent.len as usize == bytes.len() => self.put(extent, bytes),
            _ => Err(self.disk.wrong("what came is no piece of the image".into())),
        };
        match stored {
            Ok(()) => {
                self.left_count = self.left_count.saturating_sub(1);
                Ok(())
            }
            Err(error) => {
                self.failures.push(error.clone());
                Err(StoreFailure { entries: vec![self.image.entry], error })
            }
        }
    }

    fn finish_step(&mut self, budget_bytes: u64) -> FinishStep {
        if self.compares {
            self.compare();
            return FinishStep::Done;
        }
        if self.left_count > 0 || !self.failures.is_empty() {
            // What is missing was said by who knows why.
            return FinishStep::Done;
        }
        self.finish.unflushed = self.finish.unflushed.or(self.flush.end());
        match self.finish.step(&mut self.disk, &self.image, budget_bytes) {
            Ok(step) => {
                self.notes.append(&mut self.finish.notes);
                step
            }
            Err(error) => {
                self.failures.push(error);
                FinishStep::Done
            }
        }
    }

    fn is_waiting(&self) -> bool {
        let is_settling = self.settling.as_ref().is_some_and(|settling| !settling.has_ended());
        is_settling || self.flush.is_running() || self.finish.is_waiting()
    }

    fn is_whole(&self, entry: u32) -> bool {
        entry == self.image.entry && self.left_count == 0 && self.failures.is_empty()
    }

    fn open(&mut self, entry: u32, _offset: u64) -> Result<Opened, OpenError> {
        if entry != self.image.entry {
            return Err(OpenError::Failed(Errno::ENOENT.into()));
        }
        Ok(Opened { file: self.disk.served.clone(), start: 0, is_sure: self.disk.is_ours })
    }

    fn failures(&self) -> Vec<DestError> {
        self.failures.clone()
    }

    fn take_changes(&mut self) -> String {
        std::mem::take(&mut self.changes)
    }

    fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }
}

#[cfg(test)]
mod tests;
