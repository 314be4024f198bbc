//! Drivers for what the machine has: sysfs and uevents to loaded modules.
//!
//! Which module and in which order is `modules`' to say. Modules are stored
//! uncompressed; the build of the initramfs sees to that.

use super::cmdline::Cmdline;
use super::modules::{Catalogue, DepmodTexts};
use crate::os::uevent::Uevents;
use crate::os::{module, names};
use sorted::SortedSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Directories of sysfs that are looked at in one walk.
const WALK_MAX: usize = 200_000;
/// A bus driver makes new devices, whose drivers may again be buses.
const ROUNDS_MAX: usize = 16;
/// Wanted without any device asking for them: raw sockets for DHCP, and IP
/// over InfiniBand, which has no modalias.
const FIRST: [&str; 1] = ["af_packet"];
const INFINIBAND: &str = "ib_ipoib";

pub struct Drivers {
    catalogue: Catalogue,
    directory: PathBuf,
    /// `<module>.<parameter>=<value>` of the command line.
    params: Vec<(String, String)>,
    /// Modaliases that were looked up already.
    known: SortedSet<String>,
    /// Loaded, or tried and failed for good.
    done: SortedSet<String>,
    /// Names and reasons.
    failed: Vec<(String, String)>,
    /// Of those the ones that lack another module: tried again when one came.
    waiting: Vec<String>,
    /// A module was loaded since those that wait were tried.
    came: bool,
}

impl Drivers {
    pub fn open(line: &Cmdline, never: &[String]) -> Drivers {
        let release = module::kernel_release().map(|(release, _)| release).unwrap_or_default();
        let directory = Path::new("/lib/modules").join(release);
        let text = |name: &str| fs::read_to_string(directory.join(name)).unwrap_or_default();
        let texts = DepmodTexts {
            dep: text("modules.dep"),
            alias: text("modules.alias"),
            softdep: text("modules.softdep"),
            builtin: text("modules.builtin"),
        };
        let loaded = fs::read_to_string("/proc/modules").unwrap_or_default();
        let names = loaded.lines().filter_map(|line| line.split(' ').next());
        let mut done = SortedSet::new();
        done.extend(names.map(str::to_string));
        Drivers {
            catalogue: Catalogue::new(&texts, never),
            params: module_params(line),
            known: SortedSet::new(),
            done,
            failed: Vec::new(),
            waiting: Vec::new(),
            came: false,
            directory,
        }
    }

    /// Loads what was asked for by name, then what the devices want, until
    /// no device turns up that was not there before.
    #[inline(never)]
    pub fn start(&mut self, first: &[String]) {
        if self.catalogue.is_empty() {
            log::warn!("there is no modules.dep in {}", self.directory.display());
        }
        for name in FIRST.iter().copied().chain(first.iter().map(String::as_str)) {
            self.load(name);
        }
        for name in first.iter().filter(|name| !self.catalogue.knows(name)) {
            log::warn!("there is no module {name} in this initramfs");
        }
        let before = self.done.len();
        self.coldplug();
        let loaded = self.done.len() - before;
        log::info!(
            "drivers: {} devices, {loaded} modules of {}",
            self.known.len(),
            self.catalogue.len()
        );
    }

    /// One look at all devices after another until nothing is new.
    fn coldplug(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let before = self.known.len();
            for modalias in modaliases(Path::new("/sys/devices")) {
                self.device(&modalias);
            }
            self.retry();
            if self.known.len() == before {
                break;
            }
        }
        if Path::new("/sys/class/infiniband").exists() {
            self.load(INFINIBAND);
        }
    }

    fn device(&mut self, modalias: &str) {
        if !self.known.insert(modalias.to_string()) {
            return;
        }
        let wanted = self.catalogue.matching(modalias);
        for name in wanted.iter() {
            self.load(name);
        }
    }

    /// Loads a module, and what it needs, unless it is built in or not here.
    pub fn load(&mut self, name: &str) {
        for (name, path) in self.catalogue.order(name, &self.done) {
            let params: Vec<&str> = self
                .params
                .iter()
                .filter(|(module, _)| *module == name)
                .map(|(_, param)| param.as_str())
                .collect();
            match module::load(&self.directory.join(&path), &params.join(" ")) {
                Ok(()) => self.loaded(&name),
                // ENODEV: a driver that finds its hardware is not there.
                Err(error) if error.raw_os_error() == Some(libc::ENODEV) => {}
                Err(error) => {
                    self.failed(&name, &path, &error);
                    if error.kind() == io::ErrorKind::NotFound {
                        continue;
                    }
                }
            }
            self.done.insert(name);
        }
    }

    fn loaded(&mut self, name: &str) {
        self.came = true;
        let before = self.failed.len();
        self.failed.retain(|(failed, _)| failed != name);
        match self.failed.len() == before {
            true => log::debug!("loaded {name}"),
            false => log::info!("loaded {name}, now that there is what it needs"),
        }
    }

    fn failed(&mut self, name: &str, path: &str, error: &io::Error) {
        if error.kind() == io::ErrorKind::NotFound && !self.waiting.iter().any(|w| w == name) {
            self.waiting.push(name.to_string());
        }
        if !self.failed.iter().any(|(known, _)| known == name) {
            log::warn!("cannot load {path}: {error}");
            self.failed.push((name.to_string(), error.to_string()));
        }
    }

    /// Modules that lacked another one are tried again, as long as others come.
    fn retry(&mut self) {
        while self.came && !self.waiting.is_empty() {
            self.came = false;
            for name in std::mem::take(&mut self.waiting) {
                self.load(&name);
            }
        }
    }

    /// What the kernel asks for, by name or alias (request_module): whether all
    /// of it is there now.
    pub fn request(&mut self, name: &str) -> bool {
        if !self.catalogue.knows(name) {
            return false;
        }
        self.load(name);
        self.failed.is_empty()
    }

    /// Takes the news of the kernel; true when a network device may be new.
    pub fn news(&mut self, uevents: &Uevents) -> bool {
        let mut network = false;
        let mut missed = false;
        while let Some(event) = uevents.next() {
            network |= event.subsystem == "net";
            missed |= event.action.is_empty();
            self.came |= event.subsystem == "module" && event.action == "add";
            if event.action == "add"
                && let Some(modalias) = event.modalias
            {
                self.device(&modalias);
            }
        }
        if missed {
            self.coldplug();
        }
        self.retry();
        network || missed
    }

    /// Why there may be no interface: network devices on the PCI bus without
    /// a driver, modules that failed, firmware that was not found.
    pub fn hints(&self) -> Vec<String> {
        let mut said = unclaimed(Path::new("/sys/bus/pci/devices"));
        said.extend(self.failed.iter().map(|(name, why)| format!("module failed: {name} ({why})")));
        said.extend(missing_firmware());
        said
    }
}

/// Names with a '.' and a value; which of them are modules is seen on loading.
fn module_params(line: &Cmdline) -> Vec<(String, String)> {
    let params = line.params.iter().filter_map(|param| {
        let (module, name) = param.name.split_once('.')?;
        let value = param.value.as_ref().map_or(String::new(), |value| format!("={value}"));
        Some((module.replace('-', "_"), format!("{name}{value}")))
    });
    params.filter(|(module, _)| !matches!(module.as_str(), "xget" | "rd")).collect()
}

/// Every `modalias` below a directory of sysfs; links are not followed.
#[inline(never)]
fn modaliases(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![root.to_path_buf()];
    let mut walked = 0;
    while let Some(directory) = waiting.pop() {
        walked += 1;
        if walked > WALK_MAX {
            log::warn!("more than {WALK_MAX} directories in {}", root.display());
            break;
        }
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|file_type| file_type.is_dir()) {
                waiting.push(entry.path());
            } else if entry.file_name() == "modalias"
                && let Ok(text) = fs::read_to_string(entry.path())
                && !text.trim().is_empty()
            {
                found.push(text.trim().to_string());
            }
        }
    }
    found
}

fn unclaimed(devices: &Path) -> Vec<String> {
    let mut said = Vec::new();
    for slot in names::of(devices, usize::MAX) {
        let path = devices.join(&slot);
        let read = |name: &str| {
            let text = fs::read_to_string(path.join(name)).unwrap_or_default();
            text.trim().trim_start_matches("0x").to_string()
        };
        let class = read("class");
        // PCI class 02 is a network controller, 0c06 InfiniBand.
        let network = class.starts_with("02") || class.starts_with("0c06");
        if network && !path.join("driver").exists() {
            said.push(format!(
                "PCI {slot} [{}:{}] is a network device without a driver in this initramfs",
                read("vendor"),
                read("device")
            ));
        }
    }
    said
}

/// Records of the kernel's log that are looked at.
const RECORDS_MAX: usize = 20_000;
/// Lines about firmware that are repeated.
const FIRMWARE_LINES_MAX: usize = 8;

/// The kernel's own words on firmware (drivers/base/firmware_loader/main.c).
fn missing_firmware() -> Vec<String> {
    let mut failures = Vec::new();
    let opened = File::options().read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg");
    let Ok(mut log) = opened else { return failures };
    let mut record = [0; 8192];
    for _ in 0..RECORDS_MAX {
        // One record a read; EPIPE means that some were overwritten.
        let len = match log.read(&mut record) {
            Ok(len) if len > 0 => len,
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => continue,
            _ => break,
        };
        failures.extend(firmware_failure(&String::from_utf8_lossy(&record[..len])));
        if failures.len() == FIRMWARE_LINES_MAX {
            break;
        }
    }
    failures
}

/// A record is `PRIORITY,SEQUENCE,TIME,FLAGS;TEXT` and further lines
/// (Documentation/ABI/testing/dev-kmsg).
fn firmware_failure(record: &str) -> Option<String> {
    let text = record.split_once(';')?.1.lines().next()?;
    let about = text.contains("firmware") && (text.contains("failed") || text.contains("error"));
    about.then(|| format!("the kernel says: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::scratch::Dir;

    #[test]
    fn parameters_of_modules() {
        let line = Cmdline::parse("e1000e.debug=3 a-b.flag xget.image=x rd.shell=1 quiet");
        let expected = [("e1000e", "debug=3"), ("a_b", "flag")];
        let expected = expected.map(|(module, param)| (module.to_string(), param.to_string()));
        assert_eq!(module_params(&line), expected);
    }

    #[test]
    fn a_walk_finds_every_modalias_and_follows_no_link() {
        let dir = Dir::new();
        let root = dir.path();
        fs::create_dir_all(root.join("pci0/virtio0/net")).unwrap();
        fs::write(root.join("pci0/modalias"), "pci:x\n").unwrap();
        fs::write(root.join("pci0/virtio0/modalias"), "virtio:y\n").unwrap();
        fs::write(root.join("pci0/virtio0/net/modalias"), "\n").unwrap();
        std::os::unix::fs::symlink(root, root.join("pci0/loop")).unwrap();
        let mut found = modaliases(root);
        found.sort();
        assert_eq!(found, ["pci:x", "virtio:y"]);
    }

    #[test]
    fn network_devices_without_a_driver_are_named() {
        let dir = Dir::new();
        let root = dir.path();
        for (slot, class, driver) in
            [("a", "0x020000", false), ("b", "0x020000", true), ("c", "0x030000", false)]
        {
            let path = root.join(slot);
            fs::create_dir_all(&path).unwrap();
            fs::write(path.join("class"), format!("{class}\n")).unwrap();
            fs::write(path.join("vendor"), "0x8086\n").unwrap();
            fs::write(path.join("device"), "0x100e\n").unwrap();
            if driver {
                fs::create_dir(path.join("driver")).unwrap();
            }
        }
        let said = unclaimed(root);
        assert_eq!(said.len(), 1);
        assert!(said[0].contains("PCI a [8086:100e]"), "{said:?}");
    }

    #[test]
    fn the_kernels_words_on_firmware() {
        let missed = "4,812,5140900,-;bnx2 0000:03:00.0: Direct firmware load for bnx2/bnx2-mips.fw failed with error -2\n SUBSYSTEM=pci\n";
        let said = firmware_failure(missed).unwrap();
        assert!(said.ends_with("bnx2-mips.fw failed with error -2"), "{said}");
        for other in ["6,1,0,-;firmware loaded", "6,1,0,-;usb failed", "firmware failed", "", "6;"]
        {
            assert_eq!(firmware_failure(other), None, "{other}");
        }
    }
}
