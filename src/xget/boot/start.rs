//! The last phase: the image checked, sealed, loaded, and started.
//!
//! Everything that the kernel might refuse is looked at while the network is
//! still up, so that the reason reaches the master.

use super::cmdline::{Cmdline, words};
use super::engine::Fetched;
use super::fetching::Transfers;
use super::image::{self, HEADER_LEN, ImageError, ImageFiles, Machine};
use super::next_cmdline::{self, KEYED, Keyed, Provenance};
use super::settings::{ROOT_UNPINNED, Settings, Timeouts};
use super::system::System;
use super::uplink::Uplink;
use super::{links, loading, network, setup};
use crate::key_file;
use crate::os::kexec;
use crate::os::reboot;
use peer::auth::{Archive, Key};
use peer::control::NodeStage;
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;
use zeroize::Zeroizing;

/// What an address may take after a kexec that came back.
const COME_BACK_MS: u64 = 15_000;
/// How often a carrier is looked for after a kexec that came back.
const CARRIER_TRIES: u32 = 25;
const CARRIER_PAUSE_MS: u64 = 200;
/// Served to others before the start when nothing else is asked for.
const LINGER_MS: u64 = 2_000;

/// What must hold for any kernel at all. Cheap, and so before the fetch.
pub fn check_kexec() -> Result<(), String> {
    if !Path::new(loading::LOADED).exists() {
        return Err("this kernel cannot start another one (no CONFIG_KEXEC)".into());
    }
    let holds = |name: &str, value: &str| {
        fs::read_to_string(format!("/proc/sys/kernel/{name}"))
            .is_ok_and(|text| text.trim() == value)
    };
    if holds("kexec_load_disabled", "1") {
        return Err("kernel.kexec_load_disabled is 1: this kernel starts no other".into());
    }
    if holds("kexec_load_limit_reboot", "0") {
        return Err("kernel.kexec_load_limit_reboot is 0: no more loads are allowed".into());
    }
    let lockdown = fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    if lockdown.contains("[integrity]") || lockdown.contains("[confidentiality]") {
        log::warn!(
            "this kernel is locked down: it will start only a kernel with a signature that it trusts"
        );
    }
    Ok(())
}

pub fn machine() -> Machine {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags")).unwrap_or("");
    Machine {
        memory_bytes: meminfo_bytes(&text, "MemTotal:"),
        available_bytes: meminfo_bytes(&text, "MemAvailable:"),
        la57: flags.split_ascii_whitespace().any(|flag| flag == "la57"),
    }
}

fn meminfo_bytes(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("");
    let kib = line.split_ascii_whitespace().next().and_then(|word| word.parse().ok());
    kib.unwrap_or(0u64) * 1024
}

/// What an operator alone says, or this agent.
const OF_OPERATORS: [&str; 10] = [
    "xget.digest",
    "xget.root.digest",
    "xget.unpinned",
    "xget.trust",
    "xget.not-before",
    // It is handed on beside the command line.
    "xget.key",
    "xget.node-key",
    KEYED,
    "xget.booted",
    "xget.kernel",
];

/// Words for the next kernel: the operator's, then the node's. An agent that goes on there
/// hears what nodes.tab pins from the master, and must not take it for the operator's.
fn appended(append: Option<&str>, of_node: &str, has_root: bool) -> Option<String> {
    let is_passed = |word: &&str| {
        let name = word.trim_start_matches('"').split('=').next().unwrap_or_default();
        !has_root || !OF_OPERATORS.contains(&name)
    };
    let mut said: Vec<&str> = append.filter(|words| !words.is_empty()).into_iter().collect();
    said.extend(words(of_node).into_iter().filter(is_passed));
    (!said.is_empty()).then(|| said.join(" "))
}

/// Which keys the agent that goes on has to have, as this one has them.
fn keyed(settings: &Settings) -> Option<Keyed> {
    let of_node = settings.node_key.as_ref().map(|_| Keyed::Node);
    of_node.or(settings.key.as_ref().map(|_| Keyed::Cluster))
}

/// An image that passed every check.
struct CheckedImage {
    directory: PathBuf,
    files: ImageFiles,
    cmdline: CString,
    /// The next system knows what its root has to be.
    pins_root: bool,
}

/// What the next system is, beside its files.
pub struct NextSystem<'a> {
    /// It is this agent again, for the image's root.
    pub has_root: bool,
    /// Of the node's line.
    pub words: &'a str,
    /// The kernel's digest, as it was verified.
    pub kernel: Option<String>,
}

/// Starts what was fetched. Returns the reason if that fails.
#[inline(never)]
pub fn start(
    transfers: &mut Transfers,
    line: &Cmdline,
    fetched: &Fetched,
    next: &NextSystem,
) -> String {
    let Transfers { system, settings, engine, uplink, .. } = transfers;
    let provenance = Provenance {
        mac: uplink.link.mac(),
        master: next_cmdline::master(fetched.master),
        image: settings.image.path.clone(),
        digest: fetched.digest.to_string(),
        kernel: next.kernel.clone(),
        has_root: next.has_root,
        by_hand: uplink.by_hand,
        append: appended(settings.image.append.as_deref(), next.words, next.has_root),
        keyed: if next.has_root { keyed(settings) } else { None },
    };
    let name = &settings.image.path;
    let image = match inspect(Path::new(setup::IMAGE), line, &provenance) {
        Ok(image) => image,
        Err(reason) => return format!("the image {name} cannot be started: {reason}"),
    };
    let pins_root = image.pins_root || settings.root.digest.is_some();
    if next.has_root && settings.image.digest.is_some() && !pins_root {
        return ROOT_UNPINNED.into();
    }
    // Those who fetch from us go on for a moment; then the files are consumed.
    let linger_ms = settings.image.linger_ms.unwrap_or(LINGER_MS);
    engine.linger(Duration::from_millis(linger_ms), &mut |_| {
        let now_ms = system.clock.now_ms();
        system.tick(uplink, now_ms)
    });
    let keys = [(key_file::DEFAULT, &settings.key), (key_file::OF_NODE, &settings.node_key)];
    if provenance.keyed.is_some()
        && let Err(error) = hand_on(&image, keys)
    {
        return format!("the key cannot be put behind an initrd: {error}");
    }
    let mut tick = || {
        let now_ms = system.clock.now_ms();
        // A lease that ends now does no harm: the network is not needed.
        let _ = system.tick(uplink, now_ms);
    };
    if let Err(reason) = loading::load(&image.directory, &image.files, &image.cmdline, &mut tick) {
        return format!("the kernel of {name} cannot be loaded: {reason}");
    }
    let words = format!("starting {name} blake3:{} by kexec", provenance.short_digest());
    log::info!("{words}");
    engine.log(&vec![fetched.master].into(), settings.key.as_ref(), &words);
    transfers.say(NodeStage::Starting, &words);
    let Transfers { system, settings, uplink, .. } = transfers;
    // The same agent asks again under the same id.
    let keeps_lease = settings.network.keeps_lease.unwrap_or(next.has_root);
    let has_released = !keeps_lease && uplink.release(system.clock.now_ms(), &mut system.netlink);
    leave(system, settings.watchdog.is_some_and(|watchdog| watchdog.keep));
    let error = reboot::into_loaded_kernel();
    kexec::unload();
    come_back(system, settings, uplink, has_released);
    format!("kexec came back: {error}")
}

/// Puts the keys that there are behind the last initrd, for the agent there: its command line is
/// for everybody to read. Nobody is served from these files any more.
fn hand_on(image: &CheckedImage, keys: [(&str, &Option<Key>); 2]) -> io::Result<()> {
    let mut archive = Archive::begin();
    let known = keys.into_iter().filter_map(|(path, key)| Some((path, key.as_ref()?)));
    for (path, key) in known {
        archive.add(path, &Zeroizing::new(key.text()));
    }
    let last = image.files.initrds.last().ok_or(io::ErrorKind::NotFound)?;
    let mut file = File::options().append(true).open(image.directory.join(last))?;
    let padding = image::padding(file.metadata()?.len());
    file.write_all(&[0; image::PADDING_MAX][..padding])?;
    file.write_all(&archive.finish())
}

/// All checks that can be made before anything is changed.
#[inline(never)]
fn inspect(
    directory: &Path,
    line: &Cmdline,
    provenance: &Provenance,
) -> Result<CheckedImage, String> {
    let names = names(directory).map_err(|error| format!("cannot list it: {error}"))?;
    let words = |error: ImageError| error.to_string();
    let files = image::roles(&names).map_err(words)?;
    let machine = machine();
    let (header, kernel_bytes) = read_header(&directory.join("kernel"))?;
    let kernel = image::check_kernel(&header, kernel_bytes, &machine).map_err(words)?;
    let mut initrd_bytes = 0;
    for name in &files.initrds {
        initrd_bytes += size(&directory.join(name))?;
    }
    image::check_memory(&kernel, kernel_bytes, initrd_bytes, &machine).map_err(words)?;
    let text =
        if files.has_cmdline { read_cmdline(&directory.join("cmdline"))? } else { String::new() };
    let cmdline = next_cmdline::compose(&text, line, provenance);
    if cmdline.len() as u64 > kernel.cmdline_len_max {
        return Err(format!(
            "the command line has {} bytes and this kernel takes {}: {cmdline}",
            cmdline.len(),
            kernel.cmdline_len_max
        ));
    }
    log::info!(
        "kernel {} KiB, {} initrds of {} KiB, command line: {cmdline}",
        kernel_bytes >> 10,
        files.initrds.len(),
        initrd_bytes >> 10
    );
    let pins_root = Cmdline::parse(&cmdline).has("xget.root.digest");
    let cmdline = CString::new(cmdline).map_err(|_| "the command line has a zero byte in it")?;
    Ok(CheckedImage { directory: directory.to_path_buf(), files, cmdline, pins_root })
}

fn names(directory: &Path) -> io::Result<Vec<String>> {
    /// Names that are looked at; a tree with more is no image.
    const NAMES_MAX: usize = 10_000;
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)?.take(NAMES_MAX) {
        names.extend(entry?.file_name().into_string());
    }
    sorted::sort(&mut names);
    Ok(names)
}

fn size(path: &Path) -> Result<u64, String> {
    let meta = fs::metadata(path).map_err(|error| match fs::read_link(path) {
        Ok(target) => format!(
            "{} is a symlink to {}, which is not in the image: put the file itself there, or a \
             hard link",
            path.display(),
            target.display()
        ),
        Err(_) => format!("{}: {error}", path.display()),
    })?;
    if meta.is_file() { Ok(meta.len()) } else { Err(format!("{} is no file", path.display())) }
}

fn read_header(path: &Path) -> Result<(Vec<u8>, u64), String> {
    let bytes = size(path)?;
    let mut header = Vec::new();
    File::open(path)
        .and_then(|file| file.take(HEADER_LEN as u64).read_to_end(&mut header))
        .map_err(|error| format!("{}: {error}", path.display()))?;
    Ok((header, bytes))
}

/// Text; line ends are spaces, and lines that begin with '#' are for people.
pub fn read_cmdline(path: &Path) -> Result<String, String> {
    let bytes = size(path)?;
    if bytes > image::CMDLINE_LEN_MAX {
        return Err(format!("the file cmdline has {bytes} bytes"));
    }
    let text = fs::read_to_string(path).map_err(|error| format!("cmdline: {error}"))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    Ok(lines.collect::<Vec<&str>>().join(" ").trim().to_string())
}

/// Leaves nothing running: no interface that writes into memory while the
/// next kernel starts, no armed watchdog that it does not know.
fn leave(system: &mut System, keep_watchdog: bool) {
    super::console::finish();
    system.leave_watchdog(keep_watchdog);
    for link in links::list() {
        if let Err(error) = system.netlink.set_link(link.index, false) {
            log::debug!("{}: cannot be taken down: {error}", link.name);
        }
    }
}

/// Up again, with the address that it still has or another lease, so that the
/// master on the same net hears why.
#[inline(never)]
fn come_back(system: &mut System, settings: &Settings, uplink: &Uplink, has_released: bool) {
    if has_released {
        let soon = Some(COME_BACK_MS);
        let timeouts =
            Timeouts { nic_ms: soon, carrier_ms: soon, dhcp_ms: soon, ..Timeouts::DEFAULT };
        if let Err(reason) = network::bring_up(system, settings, &[], timeouts) {
            log::warn!("the network does not come back: {reason}");
        }
        return;
    }
    // What it is made upon comes before it.
    for link in links::list() {
        if let Err(error) = system.netlink.set_link(link.index, true) {
            log::debug!("{}: cannot be brought up: {error}", link.name);
        }
    }
    for _ in 0..CARRIER_TRIES {
        if uplink.link.has_carrier() {
            return;
        }
        thread::sleep(Duration::from_millis(CARRIER_PAUSE_MS));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::scratch::Dir;
    use peer::auth::ARCHIVE_LEN_MAX;
    use std::os::unix::fs::PermissionsExt;
    use std::process::{Command, Stdio};

    #[test]
    fn words_for_the_next_kernel() {
        assert_eq!(appended(None, "", true), None);
        assert_eq!(appended(Some(""), "", true), None);
        let words = "quiet xget.root.digest=blake3:00 xget.debug xget.booted=00 xget.kernel=00 \"xget.unpinned=1\" a=\"b c\"";
        let all = appended(Some("ro"), words, false).unwrap();
        assert_eq!(all, ["ro ", words].concat());
        // The agent there is told by the master.
        assert_eq!(appended(Some("ro"), words, true).unwrap(), "ro quiet xget.debug a=\"b c\"");
    }

    #[test]
    fn a_key_is_behind_the_last_initrd_at_a_multiple_of_four() {
        let dir = Dir::new();
        let root = Key::root([7; 32]);
        let (key, of_node) = (root.cluster(), root.node(&"n".repeat(255)));
        let keys = [(key_file::DEFAULT, &key), (key_file::OF_NODE, &of_node)];
        let names = ["initrd", "initrd.node"];
        names.iter().for_each(|name| fs::write(dir.join(name), "abcde").unwrap());
        let initrds = names.map(String::from).into();
        let files = ImageFiles { initrds, has_cmdline: false };
        let (directory, cmdline) = (dir.path().to_path_buf(), CString::default());
        let mut image = CheckedImage { directory, files, cmdline, pins_root: false };
        hand_on(&image, keys).unwrap();
        assert_eq!(fs::read(dir.join("initrd")).unwrap(), b"abcde");
        let last = fs::read(dir.join("initrd.node")).unwrap();
        assert!(
            last.starts_with(b"abcde\0\0\0\0\0\0\x00070701") && last.len() <= ARCHIVE_LEN_MAX + 12
        );
        for key in [&key, &of_node].into_iter().flatten() {
            let text = key.text();
            assert!(last.windows(text.len()).any(|part| part == text.as_bytes()));
        }
        image.files.initrds.clear();
        assert!(hand_on(&image, keys).is_err(), "there is no place for it");
    }

    #[test]
    fn memory_of_the_machine() {
        let text = "MemTotal:        2048 kB\nMemFree:  1 kB\nMemAvailable:    1024 kB\n";
        assert_eq!(meminfo_bytes(text, "MemTotal:"), 2 << 20);
        assert_eq!(meminfo_bytes(text, "MemAvailable:"), 1 << 20);
        assert_eq!(meminfo_bytes("", "MemTotal:"), 0);
    }

    #[test]
    fn the_file_cmdline_may_have_lines_and_remarks() {
        let dir = Dir::new();
        let path = dir.path();
        fs::write(path.join("cmdline"), "# nodes of rack 1\nroot=tmpfs ro\n  quiet\n").unwrap();
        assert_eq!(read_cmdline(&path.join("cmdline")).unwrap(), "root=tmpfs ro quiet");
        fs::write(path.join("cmdline"), "x".repeat(5000)).unwrap();
        assert!(read_cmdline(&path.join("cmdline")).unwrap_err().contains("5000"));
        fs::write(path.join("cmdline"), [0xff, 0xfe]).unwrap();
        assert!(read_cmdline(&path.join("cmdline")).is_err());
    }

    #[test]
    fn an_image_that_cannot_be_started_says_why_and_stays() {
        let dir = Dir::new();
        let path = dir.path();
        let reason = |path: &Path| {
            inspect(path, &Cmdline::default(), &Provenance::default()).err().unwrap_or_default()
        };
        assert!(reason(&path.join("none")).contains("cannot list"));
        std::os::unix::fs::symlink("/boot/vmlinuz-none", path.join("kernel")).unwrap();
        assert!(reason(path).contains("is a symlink to /boot/vmlinuz-none, which is not in"));
        fs::remove_file(path.join("kernel")).unwrap();
        assert!(reason(path).contains("no file 'kernel'"));
        fs::write(path.join("kernel"), [0x1f, 0x8b, 8]).unwrap();
        assert!(reason(path).contains("gzip"));
        fs::remove_file(path.join("kernel")).unwrap();
        fs::create_dir(path.join("kernel")).unwrap();
        assert!(reason(path).contains("is no file"));
    }

    #[test]
    fn another_program_takes_it_out_as_it_was_put_in() {
        let (dir, text) = (Dir::new(), "xget-cluster-1:00\n");
        let mut archive = Archive::begin();
        archive.add(key_file::DEFAULT, text);
        archive.add(key_file::OF_NODE, "other");
        let bytes = archive.finish();
        assert!(bytes.len().is_multiple_of(4) && bytes.len() <= 1024);
        fs::write(dir.join("archive"), bytes).unwrap();
        let out = dir.join("out");
        fs::create_dir(&out).unwrap();
        let cpio = Command::new("cpio")
            .args(["-idm", "--quiet", "--no-absolute-filenames"])
            .current_dir(&out)
            .stdin(Stdio::from(fs::File::open(dir.join("archive")).unwrap()))
            .status();
        assert!(cpio.unwrap().success());
        assert_eq!(fs::read_to_string(out.join("etc/xget/key")).unwrap(), text);
        assert_eq!(fs::read_to_string(out.join("etc/xget/node-key")).unwrap(), "other");
        let mode = |path: &str| fs::metadata(out.join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("etc"), mode("etc/xget/key")), (0o755, 0o600));
    }
}
