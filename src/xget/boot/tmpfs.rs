//! The tmpfs that a root lies in: sized before anything is in it, for one generation,
//! and kept when another try follows.
//!
//! How much fits is `room`'s. Refuses to know where the root comes from.

use super::room::{self, Held, Memory, Need, RootSize};
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
        self.mount(manifest, digest)?;
        self.generation = Some(digest);
        Ok(())
    }

    /// Whether this fits beside what is there.
    pub fn has_room(&self, manifest: &Manifest) -> Result<(), String> {
        let held = Held { taken: used(self.path), is_begun: false };
        let need = Need::of(manifest).beside(held);
        let room = room::room(need, held, memory(), self.asked);
        room.map(drop).map_err(|why| ["with what is there ", &why].concat())
    }

    /// Nothing of what came stays.
    pub fn clear(&mut self) {
        self.had_contents = false;
        if let Err(error) = newroot::clear(self.path) {
            log::warn!("{} cannot be emptied: {error}", self.path);
        }
    }

    fn mount(&mut self, manifest: &Manifest, digest: Digest) -> Result<(), String> {
        let need = Need::of(manifest);
        let is_mounted = self.generation.is_some();
        let taken = if is_mounted { used(self.path) } else { Need::default() };
        let held = Held { taken, is_begun: self.generation == Some(digest) };
        let room = room::room(need, held, memory(), self.asked)?;
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
            let bytes = room::final_bytes(used(self.path).bytes, memory());
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
        passing_bytes: used("/").bytes,
    }
}

/// What lies there takes.
fn used(path: &str) -> Need {
    let space = file::open_dir(path.as_ref()).map(|dir| file::used_space(&dir)).unwrap_or_default();
    Need { bytes: space.bytes, inodes: space.files }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::on_file_system;

    #[test]
    fn pages_and_names_are_taken_and_given_back() {
        on_file_system("tmpfs", "size=1m,nr_inodes=60", |path| {
            let used = || used(path.to_str().unwrap());
            let before = used();
            let names: Vec<_> = (0..3).map(|n| path.join(n.to_string())).collect();
            names.iter().for_each(|name| fs::write(name, "x").unwrap());
            let after = used();
            assert_eq!(after.bytes - before.bytes, 3 * 4096);
            assert_eq!(after.inodes - before.inodes, 3);
            names.iter().for_each(|name| fs::remove_file(name).unwrap());
            assert_eq!(used(), before);
        });
        assert_eq!(used("/proc/nothing-there"), Need::default());
    }
}
