//! A partition that keeps the root between boots: `xget.cache=`. It has one, whatever image it
//! is of: what two images share is of use to both, and the next one takes the room of the last.
//!
//! Knows how file systems are told apart and named, and that nothing of a disk may
//! keep a node from booting: whatever is wrong with it is a line, and the boot goes on
//! without. Refuses to know what is in the cache: pieces that are right are.

use super::system::System;
use crate::driver;
use crate::os::child::{self, Child};
use crate::os::landlock::May;
use crate::os::{file, mount, names};
use crate::store::refresh::Refresh;
use nix::errno::Errno;
use peer::content::manifest::Manifest;
use peer::content::pieces::PieceMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

/// A disk may need so long after its driver has come.
const WAIT_MS: u64 = 10_000;
const LOOK_MS: u64 = 100;
/// Only as long as it takes to open it: nobody else sees it.
const PLACE: &str = "/run/xget-cache";
/// What `ps` calls the child that brings it up to date.
const REFRESHING: &str = "xget-cache";
/// What is ours on the partition, and the root in it.
const DIRECTORY: &str = "xget-cache";
const ROOT: &str = "root";

/// How a file system says what it is, and what it is called.
struct FileSystem {
    kind: &'static str,
    /// Where its mark stands, and what that is.
    mark: (u64, &'static [u8]),
    uuid_at: u64,
    /// Where its label stands, and how long that may be.
    label: (u64, usize),
    options: &'static str,
}

const FILE_SYSTEMS: [FileSystem; 3] = [
    // ext2 and ext3 are ext4's as well. Its superblock may ask for a panic.
    FileSystem {
        kind: "ext4",
        mark: (0x438, b"\x53\xef"),
        uuid_at: 0x468,
        label: (0x478, 16),
        options: "errors=remount-ro",
    },
    FileSystem { kind: "xfs", mark: (0, b"XFSB"), uuid_at: 32, label: (108, 12), options: "" },
    FileSystem {
        kind: "btrfs",
        mark: (0x10040, b"_BHRfS_M"),
        uuid_at: 0x10020,
        label: (0x1012b, 256),
        options: "",
    },
];

/// The directory of a partition that is the cache of something, open. The partition is
/// mounted nowhere, and let go with the last that has it open.
pub struct Cache(OwnedFd);

impl Cache {
    /// Finds and opens it, in a bounded time.
    #[inline(never)]
    pub fn open(asked: &str, name: &str, system: &mut System) -> Option<Cache> {
        let opened = open(asked, system);
        match opened {
            Ok(cache) => {
                log::info!("{asked} is the cache of {name}");
                Some(cache)
            }
            Err(why) => {
                log::warn!("xget.cache={asked}: {why}; the boot goes on without");
                None
            }
        }
    }

    /// Where pieces of it may be.
    pub fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.0.as_raw_fd()).into()
    }

    /// Leaves a child that brings it up to date from what was fetched into this directory.
    /// All is opened here and now: soon no path leads there any more.
    #[inline(never)]
    pub fn refresh(
        self,
        what: (Rc<Manifest>, Rc<PieceMap>),
        from: &Path,
        lighten: &mut dyn FnMut(),
    ) -> Option<Child> {
        let begun = Refresh::begin(what, from, &self.path());
        let from = file::open_dir(from).ok();
        let forked = begun.map_err(|error| error.to_string()).and_then(|refresh| {
            child::split(REFRESHING).map(|child| (child, refresh)).map_err(|e| e.to_string())
        });
        match forked {
            Ok((None, refresh)) => {
                // Who serves says what the kernel lacks.
                let opened = [(from, May::Read), (Some(self.0), May::Change)];
                let _ = driver::shut_child_in(&opened);
                lighten();
                child::yield_to_others();
                if let Err(error) = refresh.run() {
                    log::warn!("the cache is not up to date: {error}");
                }
                child::end()
            }
            Ok((child, _)) => child,
            Err(why) => {
                log::warn!("the cache is not brought up to date: {why}");
                None
            }
        }
    }
}

#[inline(never)]
fn open(asked: &str, system: &mut System) -> Result<Cache, String> {
    let (device, of) = wait_for(asked, system)?;
    // A disk may take its time, and the watchdog knows nothing of it.
    system.chores();
    system.drivers.load(of.kind);
    file::make_dirs(PLACE.as_ref()).map_err(|error| error.to_string())?;
    let mounted = mount::mount_cache(&device, PLACE, of.kind, of.options);
    mounted.map_err(|error| {
        let kind = of.kind;
        format!("{device} cannot be mounted: {error} (is the module {kind} in the initramfs?)")
    })?;
    let root = file::open_dir(Path::new(PLACE));
    let _ = mount::detach(Path::new(PLACE));
    root.and_then(|root| enter(&root)).map_err(|cause| {
        let why = io::Error::from(cause);
        format!("{DIRECTORY}/{ROOT} on it cannot be used: {why} (both must be directories, the first of them root's)")
    })
}

/// The directory below the top of a partition, made where it is not there. It has what
/// the image keeps secret, and who can write to the partition decides nothing by it: it is
/// ours alone, and reached through no symlink.
fn enter(root: &OwnedFd) -> Result<Cache, Errno> {
    let open = |dir: &OwnedFd, name: &[u8]| match file::make_dir_at(dir, name, 0o700) {
        Err(cause) if cause != Errno::EEXIST => Err(cause),
        _ => file::open_dir_at(dir, name),
    };
    let dir = open(root, DIRECTORY.as_bytes())?;
    let status = file::stat_dir(&dir)?;
    if status.uid != file::user() {
        return Err(Errno::EPERM);
    }
    if status.permissions() & 0o077 != 0 {
        file::set_mode(dir.as_fd(), 0o700)?;
    }
    open(&dir, ROOT.as_bytes()).map(Cache)
}

fn wait_for(asked: &str, system: &mut System) -> Result<(String, &'static FileSystem), String> {
    let until_ms = system.clock.now_ms() + WAIT_MS;
    loop {
        if let Some(found) = find(asked) {
            return Ok(found);
        }
        if system.clock.now_ms() >= until_ms {
            return Err(format!(
                "no disk has such a file system of ext4, xfs or btrfs (waited {} s; is its driver in the initramfs?)",
                WAIT_MS / 1000
            ));
        }
        system.chores();
        thread::sleep(Duration::from_millis(LOOK_MS));
    }
}

#[inline(never)]
fn find(asked: &str) -> Option<(String, &'static FileSystem)> {
    let of = |device: String| {
        let disk = File::open(&device).ok()?;
        let read = |at, place: &mut [u8]| disk.read_exact_at(place, at).is_ok();
        let found = identify(&read).filter(|volume| volume.is(asked, &device))?;
        Some((device, found.of))
    };
    let mut names = names::of(Path::new("/sys/class/block"), usize::MAX).into_iter();
    // A slash in the name of a device is written so.
    names.find_map(|name| of(format!("/dev/{}", name.replace('!', "/"))))
}

/// What a file system says of itself.
struct Volume {
    of: &'static FileSystem,
    label: Vec<u8>,
    uuid: [u8; 16],
}

impl Volume {
    fn is(&self, asked: &str, device: &str) -> bool {
        match asked.split_once('=') {
            Some(("LABEL", label)) => label.as_bytes() == self.label,
            Some(("UUID", uuid)) => {
                super::hex::joined(&uuid.replace('-', "")).is_some_and(|uuid| uuid == self.uuid)
            }
            Some(_) => false,
            None => asked == device,
        }
    }
}

fn identify(read: &dyn Fn(u64, &mut [u8]) -> bool) -> Option<Volume> {
    FILE_SYSTEMS.iter().find_map(|of| {
        let (mut mark, mut uuid) = ([0; 8], [0; 16]);
        let mark = &mut mark[..of.mark.1.len()];
        let mut label = vec![0; of.label.1];
        let is_read = read(of.mark.0, mark) && read(of.uuid_at, &mut uuid);
        if !is_read || mark != of.mark.1 || !read(of.label.0, &mut label) {
            return None;
        }
        label.truncate(label.iter().position(|&byte| byte == 0).unwrap_or(label.len()));
        Some(Volume { of, label, uuid })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::scratch::Dir;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    #[test]
    fn what_is_on_the_partition_is_ours_alone_and_reached_through_no_symlink() {
        let disk = Dir::new();
        let root = file::open_dir(disk.path()).unwrap();
        let mode = |path| file::stat_path(&disk.join(path)).unwrap().permissions();
        let cache = enter(&root).unwrap();
        fs::write(cache.path().join("shadow"), "secret").unwrap();
        assert!(disk.join("xget-cache/root/shadow").exists());
        assert_eq!(mode("xget-cache"), 0o700);
        // One of an earlier version, or of somebody who wants to look into it.
        fs::set_permissions(disk.join("xget-cache"), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(enter(&root).is_ok());
        assert_eq!(mode("xget-cache"), 0o700);
        // Whoever points elsewhere with it points nowhere.
        let elsewhere = disk.join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        let refused = |what: &str| {
            let place = disk.join(what);
            fs::rename(&place, disk.join("away")).unwrap();
            symlink(&elsewhere, &place).unwrap();
            let entered = enter(&root).err();
            fs::remove_file(&place).unwrap();
            fs::rename(disk.join("away"), &place).unwrap();
            entered
        };
        for what in ["xget-cache/root", "xget-cache"] {
            assert_eq!(refused(what), Some(Errno::ENOTDIR), "{what}");
        }
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
        if file::is_root() {
            chown(disk.join("xget-cache"), Some(1234), None).unwrap();
            assert_eq!(enter(&root).err(), Some(Errno::EPERM));
        }
    }

    /// A disk with a file system, as `mkfs` writes it.
    fn disk(of: &FileSystem, label: &str) -> Vec<u8> {
        let mut disk = vec![0; 0x11000];
        let mut write = |at: u64, bytes: &[u8]| {
            disk[at as usize..][..bytes.len()].copy_from_slice(bytes);
        };
        write(of.mark.0, of.mark.1);
        write(of.uuid_at, &(0xa0..0xb0).collect::<Vec<u8>>());
        write(of.label.0, label.as_bytes());
        disk
    }

    fn identified(disk: &[u8]) -> Option<Volume> {
        identify(&|at, place| {
            let there = disk.get(at as usize..at as usize + place.len());
            there.map(|there| place.copy_from_slice(there)).is_some()
        })
    }

    #[test]
    fn file_systems_are_known_by_label_uuid_and_device() {
        for of in &FILE_SYSTEMS {
            let volume = identified(&disk(of, "cache")).unwrap();
            assert_eq!(volume.of.kind, of.kind);
            for (asked, is) in [
                ("LABEL=cache", true),
                ("LABEL=cach", false),
                ("UUID=a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf", true),
                ("UUID=A0A1A2A3A4A5A6A7A8A9AAABACADAEAF", true),
                ("UUID=a0a1", false),
                ("UUID=none", false),
                ("PARTUUID=a0", false),
                ("/dev/sda2", true),
                ("/dev/sda1", false),
            ] {
                assert_eq!(volume.is(asked, "/dev/sda2"), is, "{} {asked}", of.kind);
            }
        }
        let full = identified(&disk(&FILE_SYSTEMS[1], "twelve-bytes")).unwrap();
        assert_eq!(full.label, b"twelve-bytes");
    }

    #[test]
    fn what_is_none_of_them_is_none() {
        assert!(identified(&[0; 0x11000]).is_none());
        assert!(identified(&disk(&FILE_SYSTEMS[2], "x")[..0x10050]).is_none());
        assert!(identified(b"XFSB").is_none());
    }
}
