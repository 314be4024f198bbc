//! The tmpfs that a root lies in: sized before anything is in it, for one generation,
//! and kept when another try follows.
//!
//! How much fits is `room`'s. Refuses to know where the root comes from.

use super::room::{self, Memory, Need, RootSize};
use super::start;
use crate::os::{file, mount as os, newroot};
use peer::content::digest::Digest;
use peer::content::manifest::Manifest;
use std::fs;
use std::io;

/// A tmpfs that is made when it is known what has to fit into it.
pub struct Tmpfs {
    pub path: &'static str,
    /// Of which file system the root in it is one file, if any.
    pub packed: Option<&'static str>,
    /// `xget.root.size=`
    pub asked: Option<RootSize>,
    /// What it is for, once it is mounted.
    generation: Option<Digest>,
    /// Something was in it when room was made for what is there now.
    pub had_contents: bool,
}

impl Tmpfs {
    pub fn new(path: &'static str, packed: Option<&'static str>) -> Tmpfs {
        // A fetch claims a directory that is there, and this one is to be mounted first.
        let _ = fs::remove_dir(path);
        Tmpfs { path, packed, asked: None, generation: None, had_contents: false }
    }

    /// Makes room for a generation; of another one before it nothing stays where there is
    /// no room for both.
    pub fn make_room(&mut self, manifest: &Manifest, digest: Digest) -> Result<(), String> {
        self.had_contents = self.generation.is_some();
        if self.generation.is_some_and(|before| before != digest) {
            log::info!("the image has changed: what is right of its root stays");
            if self.has_room(manifest).is_err() {
                self.clear();
            }
        }
        self.mount(Need::of(manifest), manifest)?;
        self.generation = Some(digest);
        Ok(())
    }

    /// Whether this fits beside what is there.
    pub fn has_room(&self, manifest: &Manifest) -> Result<(), String> {
        let held_bytes = used_bytes(self.path);
        let mut need = Need::of(manifest);
        need.bytes += held_bytes;
        let room = room::room(need, held_bytes, memory(), self.asked);
        room.map(drop).map_err(|why| ["with what is there ", &why].concat())
    }

    /// Nothing of what came stays.
    pub fn clear(&mut self) {
        self.had_contents = false;
        if let Err(error) = newroot::clear(self.path) {
            log::warn!("{} cannot be emptied: {error}", self.path);
        }
    }

    fn mount(&mut self, need: Need, manifest: &Manifest) -> Result<(), String> {
        let is_mounted = self.generation.is_some();
        let held_bytes = if is_mounted { used_bytes(self.path) } else { 0 };
        let room = room::room(need, held_bytes, memory(), self.asked)?;
        let size = format!("size={},nr_inodes={}", room.size_bytes, room.inodes);
        log::info!(
            "the root takes {} MiB in {} files; room for {} MiB",
            need.bytes.div_ceil(1 << 20),
            need.inodes,
            room.size_bytes >> 20
        );
        let top = &manifest.entries[0];
        let owner = format!("mode={:o},uid={},gid={}", top.mode & 0o7777, top.uid, top.gid);
        let done = match is_mounted {
            true => os::remount(self.path, &size),
            false => file::make_dirs(self.path.as_ref())
                .and_then(|()| mount(self.path, &format!("{owner},{size}"))),
        };
        done.map_err(|error| format!("cannot mount a tmpfs on {}: {error}", self.path))
    }

    /// All is there: of the memory that is left, half may be written to.
    pub fn settle(&self) {
        if self.asked.is_none() {
            let bytes = room::final_bytes(used_bytes(self.path), memory());
            let _ = os::remount(self.path, &format!("size={bytes}"));
        }
    }
}

/// Over all nodes of memory, where there are several: a root that fills one of them
/// slows its processors down.
pub fn mount(path: &str, options: &str) -> io::Result<()> {
    let nodes = fs::read_to_string("/sys/devices/system/node/online").unwrap_or_default();
    if nodes.contains(['-', ',']) {
        match os::mount("tmpfs", path, false, &format!("{options},mpol=interleave")) {
            Ok(()) => return Ok(()),
            Err(error) => log::warn!("no interleaving over memory nodes {nodes}: {error}"),
        }
    }
    os::mount("tmpfs", path, false, options)
}

pub fn memory() -> Memory {
    let machine = start::machine();
    Memory {
        all_bytes: machine.memory_bytes,
        available_bytes: machine.available_bytes,
        passing_bytes: used_bytes("/"),
    }
}

fn used_bytes(path: &str) -> u64 {
    file::open_dir(path.as_ref()).map_or(0, |dir| file::used_bytes(&dir))
}
