//! An image's root into memory: tmpfs, overlay, layers; then over to it.
//!
//! What has to fit is `room`'s, what a layer may not do `layers`', how it ends
//! `switch`'s. Nothing is written before it is known that all fits.

use super::cache::Cache;
use super::cmdline::Cmdline;
use super::failure::FetchError;
use super::fetching::{Errand, Transfers};
use super::room::{self, Memory, Need, RootSize};
use super::settings::ROOT_UNPINNED;
use super::system::System;
use super::up::NODE_FILE;
use super::uplink::Uplink;
use super::{console, handover, layers, setup, start, switch, uplink};
use crate::os::{file, loop_device, mount, newroot};
use peer::content::digest::Digest;
use peer::content::manifest::Manifest;
use peer::control::{NodeAnswer, NodeStage, RootKind};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::time::Duration;

/// Where the next root is put together.
const NEW_ROOT: &str = "/newroot";
/// Beside /run/xget, which stays in the running system: what lies below an overlay.
const KEPT: &str = "/run/xget";
/// Patterns of what is not the image's: layers, the name.
const KEEP_FILE: &str = "/run/xget/keep";
const IMAGE: &str = "/run/xget/image";
const LOWER: &str = "/run/xget/lower";
const UPPER: &str = "/run/xget/upper";
/// HOST_NAME_MAX of Linux.
const NAME_LEN_MAX: usize = 64;
/// Others are served after the boot for so long at most, where nothing was said.
const LINGER_MS_MAX: u64 = 60_000;

/// Boots it. Returns only with the reason why not.
pub fn boot(
    transfers: &mut Transfers,
    line: &Cmdline,
    node: &NodeAnswer,
    kind: RootKind,
) -> FetchError {
    let settings = &transfers.settings;
    if settings.image.digest.is_some() && settings.root.digest.is_none() {
        return FetchError::local(ROOT_UNPINNED.into());
    }
    let init = match build(transfers, line, node, kind) {
        Ok(init) => init,
        Err(error) => {
            forget();
            return error;
        }
    };
    let words = format!("starting {init} of {}", node.image);
    log::info!("{words}");
    transfers.say(NodeStage::Starting, &words);
    pass_lease_on(transfers);
    let keep = transfers.settings.watchdog.is_some_and(|watchdog| watchdog.keep);
    FetchError::local(switch::switch(transfers.system, NEW_ROOT, &init, keep))
}

/// What was mounted for a root that is not booted gives its memory back.
fn forget() {
    for path in [NEW_ROOT, LOWER, UPPER, IMAGE] {
        let _ = mount::detach(path.as_ref());
    }
}

/// The root as it will be, and which init it has.
fn build(
    transfers: &mut Transfers,
    line: &Cmdline,
    node: &NodeAnswer,
    kind: RootKind,
) -> Result<String, FetchError> {
    setup::unmount_image();
    let packed = match kind {
        RootKind::Dir => None,
        RootKind::Squashfs => Some("squashfs"),
        RootKind::Erofs => Some("erofs"),
    };
    let has_overlay = packed.is_some() || transfers.settings.root.overlay;
    let asked = transfers.settings.root.size;
    let mut tmpfs = Tmpfs::new(if has_overlay { IMAGE } else { NEW_ROOT });
    tmpfs.asked = asked.filter(|_| !has_overlay);
    fetch_root(transfers, node, packed, &mut tmpfs)?;
    let mut upper = Tmpfs::new(UPPER);
    upper.asked = asked;
    if has_overlay {
        tmpfs.settle();
        mount_overlay(transfers, packed, &mut upper).map_err(FetchError::local)?;
        tmpfs = upper;
    }
    let _ = fs::remove_file(KEEP_FILE);
    take_name(node);
    for layer in &node.layers {
        fetch_layer(transfers, layer)?;
    }
    tmpfs.settle();
    leave_word(transfers, node);
    let found = newroot::within(NEW_ROOT, || switch::find_init(line));
    let found =
        found.map_err(|error| FetchError::local(format!("cannot look into the root: {error}")))?;
    found.map_err(|why| {
        FetchError::local(format!("the image {} cannot be started: {why}", node.image))
    })
}

/// A tmpfs that is made when it is known what has to fit into it.
struct Tmpfs {
    path: &'static str,
    asked: Option<RootSize>,
    /// What it is for, once it is mounted.
    generation: Option<Digest>,
}

impl Tmpfs {
    fn new(path: &'static str) -> Tmpfs {
        let _ = file::make_dirs(KEPT.as_ref());
        // A fetch claims a directory that is there, and this one is to be mounted first.
        let _ = fs::remove_dir(path);
        Tmpfs { path, asked: None, generation: None }
    }

    /// Makes room for a generation; of another one before it nothing stays.
    fn make_room(&mut self, manifest: &Manifest, digest: Digest) -> Result<(), String> {
        if self.generation.is_some_and(|before| before != digest) {
            log::info!("the image has changed: its root is begun anew");
            newroot::clear(self.path).map_err(|error| error.to_string())?;
        }
        self.mount(Need::of(manifest), manifest)?;
        self.generation = Some(digest);
        Ok(())
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
            true => mount::remount(self.path, &size),
            false => file::make_dirs(self.path.as_ref())
                .and_then(|()| mount_tmpfs(self.path, &format!("{owner},{size}"))),
        };
        done.map_err(|error| format!("cannot mount a tmpfs on {}: {error}", self.path))
    }

    /// All is there: of the memory that is left, half may be written to.
    fn settle(&self) {
        if self.asked.is_none() {
            let bytes = room::final_bytes(used_bytes(self.path), memory());
            let _ = mount::remount(self.path, &format!("size={bytes}"));
        }
    }
}

/// Over all nodes of memory, where there are several: a root that fills one of them
/// slows its processors down.
fn mount_tmpfs(path: &str, options: &str) -> std::io::Result<()> {
    let nodes = fs::read_to_string("/sys/devices/system/node/online").unwrap_or_default();
    if nodes.contains(['-', ',']) {
        match mount::mount("tmpfs", path, false, &format!("{options},mpol=interleave")) {
            Ok(()) => return Ok(()),
            Err(error) => log::warn!("no interleaving over memory nodes {nodes}: {error}"),
        }
    }
    mount::mount("tmpfs", path, false, options)
}

fn memory() -> Memory {
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

/// Fetches it, and leaves a child that serves it on.
fn fetch_root(
    transfers: &mut Transfers,
    node: &NodeAnswer,
    packed: Option<&str>,
    tmpfs: &mut Tmpfs,
) -> Result<(), FetchError> {
    let name = match packed {
        None => format!("{}/root", node.image),
        Some(kind) => format!("{}/root.{kind}", node.image),
    };
    let source = if packed.is_none() { format!("{name}/.") } else { name.clone() };
    let asked = transfers.settings.root.cache.clone();
    let cache = asked.and_then(|asked| Cache::open(&asked, &name, transfers.system));
    let errand = Errand {
        name: &name,
        sources: vec![source.into_bytes()],
        pin: transfers.settings.root.digest,
        dest: tmpfs.path,
        keep_attributes: true,
        is_layer: false,
        room_bytes: None,
        copies: cache.as_ref().and_then(Cache::dir),
    };
    let mut what = None;
    let began_ms = transfers.system.clock.now_ms();
    transfers.fetch(&errand, &mut |content, digest| {
        what = Some((content.manifest.clone(), content.map.clone()));
        tmpfs.make_room(&content.manifest, digest).map_err(|why| {
            FetchError::no_space(format!("the root {name} cannot be in memory: {why}"))
        })
    })?;
    let took_ms = transfers.system.clock.now_ms() - began_ms;
    let most_ms = transfers.settings.image.linger_ms.unwrap_or(LINGER_MS_MAX.min(2 * took_ms));
    serve_on(transfers, most_ms);
    if let (Some(cache), Some(what)) = (cache, what) {
        let Transfers { system, uplink, .. } = transfers;
        cache.refresh(what, Path::new(tmpfs.path), &mut || lighten(system, uplink));
    }
    Ok(())
}

/// The address stays, and with it the lease: unless it is to be given back, the next
/// system is helped to ask for the same one.
fn pass_lease_on(transfers: &mut Transfers) {
    let Transfers { system, settings, uplink, .. } = transfers;
    if settings.network.keeps_lease == Some(false) {
        uplink.release(system.clock.now_ms(), &mut system.netlink);
    } else if uplink.has_lease_of_mac()
        && let Err(error) = handover::to_networkd(NEW_ROOT, Path::new("/run"))
    {
        log::warn!("systemd-networkd may ask for a second lease: {error}");
    }
}

fn serve_on(transfers: &mut Transfers, most_ms: u64) {
    // An address that is given back serves nobody; and what is open for writing is no
    // program that the system can start.
    if transfers.settings.network.keeps_lease == Some(false) {
        transfers.engine.stop();
        return;
    }
    let Transfers { engine, system, uplink, .. } = transfers;
    engine.serve_on(Duration::from_millis(most_ms), &mut || lighten(system, uplink));
}

/// A child has no use for these, and they are the parent's.
fn lighten(system: &mut System, uplink: &mut Uplink) {
    console::close();
    system.lighten();
    uplink.let_go();
}

/// What came is not written to: a tmpfs above it is.
fn mount_overlay(
    transfers: &mut Transfers,
    packed: Option<&str>,
    upper: &mut Tmpfs,
) -> Result<(), String> {
    let drivers = &mut transfers.system.drivers;
    drivers.load("overlay");
    let mut lower = IMAGE;
    if let Some(kind) = packed {
        drivers.load("loop");
        drivers.load(kind);
        let path = Path::new(IMAGE).join(format!("root.{kind}"));
        let device = loop_device::of_file(&path)
            .map_err(|error| format!("no loop device for root.{kind} (module loop): {error}"))?;
        let _ = file::make_dirs(LOWER.as_ref());
        mount::mount_device(&device.path, LOWER, kind).map_err(|error| {
            format!("cannot mount root.{kind} (is the module {kind} in the initramfs?): {error}")
        })?;
        lower = LOWER;
    }
    let failed = |error: std::io::Error| format!("cannot make the overlay's upper half: {error}");
    let top = fs::metadata(lower).map_err(failed)?;
    let room = room::room(Need::default(), 0, memory(), upper.asked)?;
    file::make_dirs(UPPER.as_ref()).map_err(failed)?;
    mount_tmpfs(UPPER, &format!("mode=0700,size={}", room.size_bytes)).map_err(failed)?;
    let data = Path::new(UPPER).join("data");
    file::make_dirs(&data).map_err(failed)?;
    file::make_dirs(&Path::new(UPPER).join("work")).map_err(failed)?;
    chown(&data, Some(top.uid()), Some(top.gid())).map_err(failed)?;
    fs::set_permissions(&data, fs::Permissions::from_mode(top.mode() & 0o7777)).map_err(failed)?;
    let _ = file::make_dirs(NEW_ROOT.as_ref());
    let options = format!("lowerdir={lower},upperdir={UPPER}/data,workdir={UPPER}/work");
    mount::mount("overlay", NEW_ROOT, false, &options)
        .map_err(|error| format!("cannot mount the overlay (module overlay): {error}"))
}

/// Puts a layer over what is there.
fn fetch_layer(transfers: &mut Transfers, layer: &str) -> Result<(), FetchError> {
    let errand = Errand {
        name: layer,
        sources: vec![format!("{layer}/.").into_bytes()],
        pin: None,
        dest: NEW_ROOT,
        keep_attributes: true,
        is_layer: true,
        room_bytes: None,
        copies: None,
    };
    let mut begun = None;
    transfers.fetch(&errand, &mut |content, digest| {
        match begun.replace(digest) {
            // What a try before has put there is the layer's own.
            Some(before) if before == digest => {}
            Some(_) => {
                let text = format!("the layer {layer} has changed: its root is put together anew");
                return Err(FetchError::source(text));
            }
            None => {
                let conflict = layers::conflict(&content.manifest, &mut |path| {
                    layers::standing(&Path::new(NEW_ROOT).join(path))
                });
                if let Some(why) = conflict {
                    let why = format!("the layer {layer} does not go over the image: {why}");
                    return Err(FetchError::local(why));
                }
                note_kept(&layers::patterns(&content.manifest));
            }
        }
        let fits = room::room(Need::of(&content.manifest), 0, memory(), None);
        fits.map(drop).map_err(|why| {
            FetchError::no_space(format!("the layer {layer} cannot be in memory: {why}"))
        })
    })?;
    // Who fetches the same layer is soon through: a moment does.
    serve_on(transfers, LAYER_LINGER_MS);
    Ok(())
}

/// What an update of the image is to leave alone (`--keep`).
fn note_kept(patterns: &[u8]) {
    let opened = fs::OpenOptions::new().create(true).append(true).open(KEEP_FILE);
    if let Err(error) = opened.and_then(|mut file| file.write_all(patterns)) {
        log::warn!("{KEEP_FILE} lacks something: {error}");
    }
}

/// A layer is small, and few are far behind.
const LAYER_LINGER_MS: u64 = 10_000;

/// No file gets anything else as a name, whoever the master is.
fn is_host_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    (1..=NAME_LEN_MAX).contains(&text.len()) && text.bytes().all(plain)
}

/// The node's name becomes the system's. A name that the image has is of where it
/// was made; one that a layer brings later is meant.
fn take_name(node: &NodeAnswer) {
    let Some(name) = node.name.as_ref().filter(|name| is_host_name(name)) else { return };
    note_kept(b"/etc/hostname\n");
    uplink::set_hostname(Some(name));
    let write = || {
        let path = Path::new("/etc/hostname");
        let Ok(before) = fs::read_to_string(path) else { return Ok(()) };
        if before.trim().is_empty() || before.trim() == name {
            return Ok(());
        }
        // A new file: what is served of the old one is not touched.
        fs::remove_file(path)?;
        fs::write(path, format!("{name}\n"))
    };
    if let Err(error) = newroot::within(NEW_ROOT, write).and_then(|done| done) {
        log::warn!("the name {name} is not in etc/hostname: {error}");
    }
}

/// For `xget --up`, and for people.
fn leave_word(transfers: &Transfers, node: &NodeAnswer) {
    let master = transfers.master().map(|master| format!("master {master}\n"));
    let text = node.text.clone() + &master.unwrap_or_default();
    if let Err(error) = file::make_dirs(KEPT.as_ref()).and_then(|()| fs::write(NODE_FILE, text)) {
        log::warn!("cannot write {NODE_FILE}: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_host_name_or_none() {
        for name in ["n001", "n-1.rack_2.example", &"x".repeat(64)] {
            assert!(is_host_name(name), "{name}");
        }
        for name in ["", "a b", "a\nb", "../a", "n\u{e9}", &"x".repeat(65)] {
            assert!(!is_host_name(name), "{name}");
        }
    }
}
