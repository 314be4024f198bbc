//! `xgetctl netboot`: the files that machines boot from over the network, ready made.

mod files;
mod net;

use crate::failure::{Doing, Failure, Outcome};
use crate::head::Head;
use crate::staging::Staging;
use crate::{out, program, tab};
use files::{Bios, HEADER, Plan};
use net::Net;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where Debian's packages have boot programs; all are copied that are there.
const PROGRAMS: [(&str, &str); 5] = [
    ("/usr/lib/ipxe", "undionly.kpxe"),
    ("/usr/lib/ipxe", "snponly.efi"),
    ("/usr/lib/ipxe", "ipxe.efi"),
    ("/usr/lib/PXELINUX", "pxelinux.0"),
    ("/usr/lib/syslinux/modules/bios", "ldlinux.c32"),
];
const CONF: &str = "dnsmasq.conf";
const IPXE: &str = "boot.ipxe";
const MENUS: &str = "pxelinux.cfg";
const MENU: &str = "pxelinux.cfg/default";

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Where to write dnsmasq.conf, boot.ipxe, pxelinux.cfg, kernel, initramfs and boot programs
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// The interface that the nodes are on, with an IPv4 address
    #[arg(long, value_name = "IF")]
    interface: Option<String>,
    /// The image whose kernel and initrd are started first; the only one if none is named
    #[arg(long, conflicts_with = "boot")]
    image: Option<String>,
    /// A directory with vmlinuz and initramfs.img, as `make initramfs` leaves in build
    #[arg(long, value_name = "DIR")]
    boot: Option<PathBuf>,
    /// Words for the first kernel, console=ttyS0 and the like
    #[arg(long, default_value = "", hide_default_value = true)]
    words: String,
}

/// A file that was made, and the name that it gets.
type Made = (PathBuf, &'static str);

impl Args {
    pub fn run(&self, head: &Head) -> Outcome {
        if !files::are_words(&self.words) {
            let text = "--words cannot have $, &, |, #, control characters, or spaces around them";
            return Err(Failure::usage(text));
        }
        let (kernel, initramfs) = self.sources(head)?;
        let net = Net::find(self.interface.as_deref())?;
        let table = tab::read(head)?;
        let dir = self.directory()?;
        let staging = Staging::below(&dir)?;
        let mut made = programs(&staging)?;
        let has = |wanted: &str| made.iter().any(|(_, name)| *name == wanted);
        let has_pxelinux = has("pxelinux.0") && has("ldlinux.c32");
        let plan = Plan {
            net: &net,
            dir: plain(&dir)?,
            bios: match has("undionly.kpxe") {
                true => Some(Bios::Ipxe),
                false => has_pxelinux.then_some(Bios::Pxelinux),
            },
            uefi: ["snponly.efi", "ipxe.efi"].into_iter().find(|name| has(name)),
            words: &self.words,
        };
        let conf = write(&staging, &plan.dnsmasq(&table), CONF)?;
        let is_tested = test(&conf.0)?;
        made.extend([
            copy(&staging, &kernel, "vmlinuz")?,
            copy(&staging, &initramfs, "initramfs.img")?,
            conf,
            write(&staging, &plan.ipxe(), IPXE)?,
            menu(&staging, &plan.pxelinux())?,
        ]);
        for (_, name) in &made {
            is_free_or_ours(&dir, name)?;
        }
        make_menus(&dir)?;
        for (path, name) in &made {
            staging.put(path, &dir.join(name), true)?;
        }
        report(&dir, &made, &plan, is_tested)
    }

    /// Kernel and initramfs.
    fn sources(&self, head: &Head) -> Outcome<(PathBuf, PathBuf)> {
        if let Some(dir) = &self.boot {
            let both = (dir.join("vmlinuz"), dir.join("initramfs.img"));
            for path in [&both.0, &both.1] {
                fs::metadata(path).doing("find", path)?;
            }
            return Ok(both);
        }
        let image = match &self.image {
            Some(name) => head.image(name)?,
            None => {
                let names = head.image_names()?;
                let [name] = names.as_slice() else {
                    return Err(Failure::usage(format!(
                        "which kernel is started first? --image NAME (there are: {}), or --boot \
                         DIR with vmlinuz and initramfs.img",
                        if names.is_empty() { "none".into() } else { names.join(", ") }
                    )));
                };
                head.image(name)?
            }
        };
        if !image.kernel().is_file() || !image.initrd().is_file() || !image.root().is_dir() {
            return Err(Failure::source(format!(
                "{} has not all of kernel, initrd and root: its initrd is not the agent; `xgetctl \
                 image build {}`, or --boot DIR",
                image.dir.display(),
                image.name
            )));
        }
        Ok((image.kernel(), image.initrd()))
    }

    /// The directory, absolute; who dnsmasq runs as reads it.
    fn directory(&self) -> Outcome<PathBuf> {
        let is_new = !self.dir.exists();
        fs::create_dir_all(&self.dir).doing("make the directory", &self.dir)?;
        if is_new {
            open_up(&self.dir, 0o755)?;
        }
        self.dir.canonicalize().doing("look at", &self.dir)
    }
}

/// The boot programs that are installed.
fn programs(staging: &Staging) -> Outcome<Vec<Made>> {
    let places = PROGRAMS.iter().map(|(place, name)| (Path::new(place).join(name), *name));
    places
        .filter(|(path, _)| path.is_file())
        .map(|(path, name)| copy(staging, &path, name))
        .collect()
}

/// A path that can stand in a line of dnsmasq's.
fn plain(dir: &Path) -> Outcome<&str> {
    let is_odd = |c: char| c.is_control() || "#,\"\\".contains(c);
    dir.to_str().filter(|text| !text.contains(is_odd)).ok_or_else(|| {
        Failure::usage(format!("{dir:?} cannot stand in dnsmasq.conf: another --dir"))
    })
}

/// PXELINUX looks for its menu in a directory, where an administrator may have others.
fn make_menus(dir: &Path) -> Outcome {
    let menus = dir.join(MENUS);
    if menus.is_dir() {
        return Ok(());
    }
    fs::create_dir(&menus).doing("make the directory", &menus)?;
    open_up(&menus, 0o755)
}

fn menu(staging: &Staging, text: &str) -> Outcome<Made> {
    let dir = staging.join(MENUS);
    fs::create_dir(&dir).doing("make the directory", &dir)?;
    write(staging, text, MENU)
}

/// A configuration that somebody else wrote is not replaced.
fn is_free_or_ours(dir: &Path, name: &str) -> Outcome {
    let place = dir.join(name);
    if ![CONF, IPXE, MENU].contains(&name) || place.symlink_metadata().is_err() {
        return Ok(());
    }
    let text = fs::read(&place).doing("read", &place)?;
    match text.windows(HEADER.len()).any(|bytes| bytes == HEADER.as_bytes()) {
        true => Ok(()),
        false => Err(Failure::usage(format!(
            "{} was not made by xgetctl and stays as it is: move it away, or take another --dir",
            place.display()
        ))),
    }
}

fn open_up(path: &Path, mode: u32) -> Outcome {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).doing("open to all", path)
}

fn copy(staging: &Staging, from: &Path, name: &'static str) -> Outcome<Made> {
    let to = staging.join(name);
    fs::copy(from, &to).doing("copy", from)?;
    open_up(&to, 0o644)?;
    Ok((to, name))
}

fn write(staging: &Staging, text: &str, name: &'static str) -> Outcome<Made> {
    let to = staging.join(name);
    fs::write(&to, text).doing("write", &to)?;
    open_up(&to, 0o644)?;
    Ok((to, name))
}

/// Whether dnsmasq is here; what it does not understand is an error.
fn test(conf: &Path) -> Outcome<bool> {
    let Some(dnsmasq) = program::find("dnsmasq") else { return Ok(false) };
    let mut command = program::command(&dnsmasq)?;
    let mut option = std::ffi::OsString::from("--conf-file=");
    option.push(conf);
    program::run(command.arg("--test").arg(option), "have dnsmasq test its configuration")?;
    Ok(true)
}

fn report(dir: &Path, made: &[Made], plan: &Plan, is_tested: bool) -> Outcome {
    let net = plan.net;
    let names: Vec<&str> = made.iter().map(|(_, name)| *name).collect();
    out::line(&format!("{}: {}", dir.display(), names.join(", ")))?;
    out::line(&format!("{}: {} lends {} to {}", net.interface, net.address, net.from, net.to))?;
    out::line(&format!(
        "start: dnsmasq --keep-in-foreground --conf-file={}/{CONF}",
        dir.display()
    ))?;
    if plan.bios.is_none() {
        out::note(
            "BIOS machines without an iPXE of their own do not start: no undionly.kpxe (package \
             ipxe), nor pxelinux.0 and ldlinux.c32 (packages pxelinux, syslinux-common)",
        );
    }
    if plan.uefi.is_none() {
        out::note(
            "UEFI machines without an iPXE of their own do not start: no snponly.efi or ipxe.efi \
             (package ipxe)",
        );
    }
    if !is_tested {
        out::note("dnsmasq is not here; on Debian: apt-get install dnsmasq-base");
    }
    Ok(())
}
