//! What is left when all of an image is written: what is behind it discarded, all flushed to the
//! medium, the SHA-256 that was asked for, all read back; then the device is given up, with its
//! partition table read anew.
//!
//! A failed flush does not say where: all is read back then, too, to find out.

use super::super::destination::FinishStep;
use super::super::error::DestError;
use super::super::sha256::Sum;
use super::disk::Disk;
use super::flush::{lost, unflushed};
use super::image::Image;
use super::medium::Medium;
use super::options::DeviceOptions;
use crate::os::block;
use crate::os::sync::{self, Syncing};
use nix::errno::Errno;
use peer::content::hex::Hex;
use peer::failure::Status;
use std::io;

/// Discarded at once: some devices take their time.
const DISCARD_BYTES_MAX: u64 = 256 << 20;

pub struct Finish {
    phase: Phase,
    verifies: bool,
    sha256: Option<[u8; 32]>,
    /// What flushing has come to, now or before.
    pub unflushed: Option<Errno>,
    pub notes: Vec<String>,
}

enum Phase {
    /// What is behind the image goes, from this offset on.
    Discard(u64),
    Flush,
    Flushing(Syncing),
    Summing(Sum),
    /// The next piece that is read back.
    Reading(Medium, u32),
    GiveUp,
    Done,
}

impl Finish {
    pub fn new(image: &Image, options: &DeviceOptions) -> Finish {
        let phase = if options.discards { Phase::Discard(image.size) } else { Phase::Flush };
        Finish {
            phase,
            verifies: options.verifies,
            sha256: options.sha256,
            unflushed: None,
            notes: Vec::new(),
        }
    }

    pub fn is_waiting(&self) -> bool {
        matches!(&self.phase, Phase::Flushing(syncing) if !syncing.has_ended())
    }

    /// Works for about as long as reading `budget_bytes` takes.
    ///
    /// # Errors
    /// Not all is on the medium, or it is not what is wanted.
    pub fn step(
        &mut self,
        disk: &mut Disk,
        image: &Image,
        budget_bytes: u64,
    ) -> Result<FinishStep, DestError> {
        self.phase = match std::mem::replace(&mut self.phase, Phase::Done) {
            Phase::Discard(from) => self.discard(disk, from),
            Phase::Flush => match sync::begin_one(&disk.file) {
                Ok(syncing) => Phase::Flushing(syncing),
                Err(cause) => return Err(unflushed(disk, cause)),
            },
            Phase::Flushing(syncing) => {
                self.unflushed = self.unflushed.or(syncing.end().err());
                self.after_flush(disk, image)
            }
            Phase::Summing(mut sum) => match sum.step(budget_bytes / SUM_COST) {
                Ok(None) => Phase::Summing(sum),
                Ok(Some(found)) => {
                    self.compare_sum(disk, found)?;
                    self.read_back(disk, image)
                }
                Err(error) => return Err(disk.failed("read", 0, image.size, &error)),
            },
            Phase::Reading(medium, piece) => {
                self.read_on(disk, image, (medium, piece), budget_bytes)?
            }
            Phase::GiveUp => {
                self.give_up(disk);
                Phase::Done
            }
            Phase::Done => return Ok(FinishStep::Done),
        };
        Ok(FinishStep::Finishing)
    }

    fn discard(&mut self, disk: &Disk, from: u64) -> Phase {
        let from = from.next_multiple_of(disk.block_bytes);
        let len = disk.size_bytes.saturating_sub(from).min(DISCARD_BYTES_MAX);
        if len == 0 {
            return Phase::Flush;
        }
        match block::discard(&disk.file, from, len) {
            Ok(()) => Phase::Discard(from + len),
            Err(cause) => {
                let why = io::Error::from(cause);
                let path = disk.path.display();
                self.notes
                    .push(format!("{path}: what is behind the image is not discarded: {why}"));
                Phase::Flush
            }
        }
    }

    fn after_flush(&self, disk: &Disk, image: &Image) -> Phase {
        match self.sha256 {
            Some(_) if self.unflushed.is_none() => {
                Phase::Summing(Sum::new(disk.file.clone(), image.size))
            }
            _ => self.read_back(disk, image),
        }
    }

    fn compare_sum(&self, disk: &Disk, found: [u8; 32]) -> Result<(), DestError> {
        match self.sha256 {
            Some(wanted) if wanted != found => {
                // It is the image that the master has, as a whole.
                disk.is_torn.set(false);
                let (path, found, wanted) = (disk.path.display(), Hex(&found), Hex(&wanted));
                let text = format!(
                    "{path} has sha256:{found} now and not the wanted sha256:{wanted}: the master \
                     has another image"
                );
                Err(DestError::Other { status: Status::Verification, text })
            }
            _ => Ok(()),
        }
    }

    fn read_back(&self, disk: &Disk, image: &Image) -> Phase {
        match self.verifies || self.unflushed.is_some() {
            true => Phase::Reading(Medium::of(disk), image.pieces().start),
            false => Phase::GiveUp,
        }
    }

    fn read_on(
        &self,
        disk: &Disk,
        image: &Image,
        (mut medium, first): (Medium, u32),
        budget_bytes: u64,
    ) -> Result<Phase, DestError> {
        let mut left = budget_bytes.max(1);
        for piece in first..image.pieces().end {
            if left == 0 {
                return Ok(Phase::Reading(medium, piece));
            }
            let extent = image.extent(piece);
            left = left.saturating_sub(u64::from(extent.len));
            let how = match medium.read(extent.offset, extent.len as usize) {
                Ok(bytes) if image.is_right(piece, bytes) => continue,
                Ok(_) => String::new(),
                Err(error) => format!(" ({error})"),
            };
            return Err(lost(disk, image, piece, self.unflushed, &how));
        }
        match self.unflushed {
            Some(cause) => Err(unflushed(disk, cause)),
            None => Ok(Phase::GiveUp),
        }
    }

    /// The device is whole. From now on others may have it, and change it.
    fn give_up(&mut self, disk: &mut Disk) {
        disk.is_torn.set(false);
        let path = disk.path.display();
        match block::reread_partitions(&disk.file) {
            // Nothing that has partitions.
            Ok(()) | Err(Errno::EINVAL | Errno::ENOTTY) => {}
            Err(Errno::EBUSY) => self.notes.push(format!(
                "{path}: the kernel goes by the old partition table, because a partition of it is \
                 in use (partprobe, or a reboot)"
            )),
            Err(cause) => {
                let why = io::Error::from(cause);
                self.notes.push(format!("{path}: the partition table is not read anew: {why}"));
            }
        }
        // What is sent of it is compared with its digest from now on.
        disk.is_ours = false;
        // Nobody else has it open for us: the claim and the lock go with it.
        disk.file = disk.served.clone();
    }
}

/// Hashed by SHA-256 in the time in which so many times as much is read.
const SUM_COST: u64 = 16;
