//! An image's root into memory: tmpfs, overlay, layers; then over to it.
//!
//! What lies where in memory is `tmpfs`', what a layer may not do `layers`', how it ends
//! `switch`'s. Nothing is written before it is known that all fits.

use super::cache::Cache;
use super::cmdline::Cmdline;
use super::failure::FetchError;
use super::fetching::{Errand, Transfers};
use super::room::{self, Held, Need};
use super::settings::ROOT_UNPINNED;
use super::system::System;
use super::tmpfs::{self, Tmpfs};
use super::up::NODE_FILE;
use super::uplink::Uplink;
use super::{alone, console, failure, handover, layers, setup, switch, uplink};
use crate::os::{file, loop_device, mount, newroot};
use crate::store::writer::Purpose;
use log::LevelFilter;
use peer::content::manifest::Manifest;
use peer::content::pieces::PieceMap;
use peer::control::{NodeAnswer, NodeStage, RootKind};
use peer::failure::Status;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

/// Where the next root is put together.
const NEW_ROOT: &str = "/newroot";
/// It stays in the running system, and has what lies below an overlay.
const RUN: &str = "/run/xget";
/// Patterns of what is not the image's: layers, the name.
const KEEP_FILE: &str = "/run/xget/keep";
const IMAGE: &str = "/run/xget/image";
const LOWER: &str = "/run/xget/lower";
const UPPER: &str = "/run/xget/upper";
/// HOST_NAME_MAX of Linux.
const NAME_LEN_MAX: usize = 64;
/// Others are served after the boot for so long at most, where nothing was said.
const LINGER_MS_MAX: u64 = 60_000;

/// Of which image, a root of which kind, and what has been started before it
/// ([`Errand::started`]).
type What<'a> = (&'a NodeAnswer, RootKind, &'a str);

/// Boots it. Returns only with the reason why not.
#[inline(never)]
pub fn boot(transfers: &mut Transfers, line: &Cmdline, what: What, kept: &mut Kept) -> FetchError {
    let settings = &transfers.settings;
    if settings.image.digest.is_some() && settings.root.digest.is_none() {
        return FetchError::unverified(ROOT_UNPINNED.into());
    }
    let init = match build(transfers, line, what, kept) {
        Ok(init) => init,
        Err(error) => return error,
    };
    let words = format!("starting {init} of {}", what.0.image);
    log::info!("{words}");
    transfers.say(NodeStage::Starting, &words);
    pass_lease_on(transfers);
    let keep = transfers.settings.watchdog.is_some_and(|watchdog| watchdog.keep);
    FetchError::local(switch::switch(transfers.system, NEW_ROOT, &init, keep))
}

/// What earlier rounds of this boot have left of a root: it is brought to what it is to
/// be, whatever went over it, and only what differs comes once more.
#[derive(Default)]
pub struct Kept(Option<Tmpfs>);

impl Kept {
    /// Gives its memory back.
    pub fn forget(&mut self, system: &mut System) {
        system.stop_helpers();
        self.0 = None;
        for path in [NEW_ROOT, LOWER, UPPER, IMAGE] {
            let _ = mount::detach(path.as_ref());
        }
    }

    /// What is left there for this sort of root, else nothing of any.
    fn tmpfs(&mut self, path: &'static str, packed: Packed, system: &mut System) -> &mut Tmpfs {
        // They hold files that are going to be replaced.
        system.stop_helpers();
        if self.0.as_ref().is_none_or(|left| (left.path, left.packed) != (path, packed)) {
            self.forget(system);
        }
        self.0.get_or_insert_with(|| Tmpfs::new(path, packed))
    }
}

/// Of which file system the root is one file, if any.
type Packed = Option<&'static str>;

/// The root as it will be, and which init it has.
fn build(
    transfers: &mut Transfers,
    line: &Cmdline,
    (node, kind, started): What,
    kept: &mut Kept,
) -> Result<String, FetchError> {
    setup::unmount_image();
    file::make_dirs(RUN.as_ref())
        .map_err(|e| FetchError::local(format!("cannot make {RUN}: {e}")))?;
    let packed = match kind {
        RootKind::Dir => None,
        RootKind::Squashfs => Some("squashfs"),
        RootKind::Erofs => Some("erofs"),
    };
    let has_overlay = packed.is_some() || transfers.settings.root.overlay;
    let asked = transfers.settings.root.size;
    let path = if has_overlay { IMAGE } else { NEW_ROOT };
    let mut tmpfs = kept.tmpfs(path, packed, transfers.system);
    tmpfs.asked = asked.filter(|_| !has_overlay);
    for path in [NEW_ROOT, LOWER, UPPER].iter().filter(|_| has_overlay) {
        // What is below an overlay of an earlier round is going to change.
        let _ = mount::detach(path.as_ref());
    }
    fetch_root(transfers, node, started, tmpfs)?;
    let mut upper = Tmpfs::new(UPPER, None);
    upper.asked = asked;
    if has_overlay {
        tmpfs.settle();
        mount_overlay(transfers, packed, &upper).map_err(FetchError::local)?;
        tmpfs = &mut upper;
    }
    let _ = fs::remove_file(KEEP_FILE);
    take_name(node);
    for layer in &node.layers {
        fetch_layer(transfers, layer, tmpfs)?;
    }
    if let Some(key) = transfers.settings.node_key.clone() {
        let put = alone::put_over(transfers, &key, NEW_ROOT, &mut |manifest| {
            go_over(manifest, tmpfs, "for this node alone")
        });
        put?;
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

/// Fetches it, and leaves a child that serves it on.
#[inline(never)]
fn fetch_root(
    transfers: &mut Transfers,
    node: &NodeAnswer,
    started: &str,
    tmpfs: &mut Tmpfs,
) -> Result<(), FetchError> {
    let packed = tmpfs.packed;
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
        // What an earlier round has left there, or put over it, is nothing of the image.
        purpose: Purpose::Copy,
        room_bytes: None,
        copies: cache.as_ref().map(Cache::path),
        started: Some(started),
    };
    let began_ms = transfers.system.clock.now_ms();
    let what = match put_in_place(transfers, &errand, tmpfs) {
        Err(error) if tmpfs.had_contents && failure::is_for_what_was_there(error.status) => {
            log::warn!("{}; the root is begun anew", error.text);
            tmpfs.clear();
            put_in_place(transfers, &errand, tmpfs)
        }
        done => done,
    }?;
    let took_ms = transfers.system.clock.now_ms() - began_ms;
    let most_ms = transfers.settings.image.linger_ms.unwrap_or(LINGER_MS_MAX.min(2 * took_ms));
    serve_on(transfers, tmpfs.path, most_ms);
    if let (Some(cache), Some(what)) = (cache, what) {
        let Transfers { system, settings, uplink, .. } = transfers;
        let child = cache.refresh(what, Path::new(tmpfs.path), &mut || {
            (settings.key, settings.node_key) = (None, None);
            lighten(system, uplink, LevelFilter::Warn)
        });
        system.helpers.extend(child);
    }
    Ok(())
}

/// What was fetched, for who keeps it.
type Fetched = Option<(Rc<Manifest>, Rc<PieceMap>)>;

fn put_in_place(
    transfers: &mut Transfers,
    errand: &Errand,
    tmpfs: &mut Tmpfs,
) -> Result<Fetched, FetchError> {
    let mut what = None;
    transfers.fetch(errand, &mut |content, digest| {
        what = Some((content.manifest.clone(), content.map.clone()));
        tmpfs.make_room(&content.manifest, digest).map_err(|why| {
            FetchError::no_space(format!("the root {} cannot be in memory: {why}", errand.name))
        })
    })?;
    Ok(what)
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

fn serve_on(transfers: &mut Transfers, dir: &str, most_ms: u64) {
    // An address that is given back serves nobody; and what is open for writing is no
    // program that the system can start.
    if transfers.settings.network.keeps_lease == Some(false) {
        transfers.engine.stop();
        return;
    }
    let dir = file::open_dir(dir.as_ref()).ok();
    let Transfers { engine, system, settings, uplink, .. } = transfers;
    let child = engine.serve_on(dir, Duration::from_millis(most_ms), &mut || {
        // Whoever takes it over is not to be this node.
        settings.node_key = None;
        lighten(system, uplink, LevelFilter::Off)
    });
    system.helpers.extend(child);
}

/// A child has no use for these, and they are the parent's.
fn lighten(system: &mut System, uplink: &mut Uplink, says: LevelFilter) {
    console::close(says);
    system.lighten();
    uplink.let_go();
}

/// What came is not written to: a tmpfs above it is.
#[inline(never)]
fn mount_overlay(transfers: &mut Transfers, packed: Packed, upper: &Tmpfs) -> Result<(), String> {
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
    let room = room::room(Need::default(), Held::default(), tmpfs::memory(), upper.asked)?;
    file::make_dirs(UPPER.as_ref()).map_err(failed)?;
    tmpfs::mount(UPPER, &format!("mode=0700,size={}", room.size_bytes)).map_err(failed)?;
    let data = Path::new(UPPER).join("data");
    file::make_dirs(&data).map_err(failed)?;
    file::make_dirs(&Path::new(UPPER).join("work")).map_err(failed)?;
    chown(&data, Some(top.uid()), Some(top.gid())).map_err(failed)?;
    fs::set_permissions(&data, fs::Permissions::from_mode(top.mode() & 0o7777)).map_err(failed)?;
    let _ = file::make_dirs(NEW_ROOT.as_ref());
    let options = format!("lowerdir={lower},upperdir={UPPER}/data,workdir={UPPER}/work");
    // So that a live update can give directories of the image other names. Kernels before
    // 4.10 do not take it.
    mount::mount("overlay", NEW_ROOT, false, &format!("{options},redirect_dir=on"))
        .or_else(|_| mount::mount("overlay", NEW_ROOT, false, &options))
        .map_err(|error| format!("cannot mount the overlay (module overlay): {error}"))
}

/// Puts a layer over what is there.
fn fetch_layer(transfers: &mut Transfers, layer: &str, tmpfs: &Tmpfs) -> Result<(), FetchError> {
    let errand = Errand {
        name: layer,
        sources: vec![format!("{layer}/.").into_bytes()],
        pin: None,
        dest: NEW_ROOT,
        keep_attributes: true,
        is_layer: true,
        purpose: Purpose::Fill,
        room_bytes: None,
        copies: None,
        started: None,
    };
    let (mut begun, mut has_changed) = (None, false);
    let fetched = transfers.fetch(&errand, &mut |content, digest| {
        match begun.replace(digest) {
            // What a try before has put there is the layer's own.
            Some(before) if before == digest => return Ok(()),
            Some(_) => {
                has_changed = true;
                let why = "has changed: it is fetched anew over the image; nobody should write to it until the nodes have it";
                return Err(FetchError::local(format!("the layer {layer} {why}")));
            }
            None => {}
        }
        go_over(&content.manifest, tmpfs, layer)
    });
    // This try is over; what went over the root before is the image's again in the next round.
    fetched.map_err(|error| match has_changed {
        true => FetchError { status: Status::Changed, ..error },
        false => error,
    })?;
    // Who fetches the same layer is soon through: a moment does.
    serve_on(transfers, NEW_ROOT, LAYER_LINGER_MS);
    Ok(())
}

/// Whether a layer can go over what is there; an update leaves it alone from now on.
fn go_over(manifest: &Manifest, tmpfs: &Tmpfs, layer: &str) -> Result<(), FetchError> {
    let conflict =
        layers::conflict(manifest, &mut |path| layers::standing(&Path::new(NEW_ROOT).join(path)));
    if let Some(why) = conflict {
        let why = format!("the layer {layer} does not go over the image: {why}");
        return Err(FetchError::local(why));
    }
    note_kept(&layers::patterns(manifest));
    tmpfs.has_room(manifest).map_err(|why| {
        FetchError::no_space(format!("the layer {layer} cannot be in memory: {why}"))
    })
}

/// What an update of the image is to leave alone (`--keep`). Names may be secrets, too.
fn note_kept(patterns: &[u8]) {
    let mut opening = fs::OpenOptions::new();
    let opened = opening.create(true).append(true).mode(0o600).open(KEEP_FILE);
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
#[inline(never)]
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
    if let Err(error) = file::make_dirs(RUN.as_ref()).and_then(|()| fs::write(NODE_FILE, text)) {
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
