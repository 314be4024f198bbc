//! `xgetctl netboot`: what machines boot from over the network, made and, with `--run`, served.

mod children;
mod files;
mod http;
mod net;
mod place;
mod ports;
mod run;

use crate::failure::{Doing, Failure, Outcome};
use crate::head::Head;
use crate::staging::Staging;
use crate::{out, program, tab};
use files::{Bios, Plan};
use net::Net;
use place::{CONF, HOSTS, IPXE, MENU, Made, copy, open_up, write};
use std::fs;
use std::path::{Path, PathBuf};

/// Where Debian's packages have boot programs; all are copied that are there.
const PROGRAMS: [(&str, &str); 5] = [
    ("/usr/lib/ipxe", "undionly.kpxe"),
    ("/usr/lib/ipxe", "snponly.efi"),
    ("/usr/lib/ipxe", "ipxe.efi"),
    ("/usr/lib/PXELINUX", "pxelinux.0"),
    ("/usr/lib/syslinux/modules/bios", "ldlinux.c32"),
];

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Where to write dnsmasq.conf, boot.ipxe, pxelinux.cfg, kernel, initramfs and boot programs;
    /// with --run also leases, which then outlive it
    #[arg(long, value_name = "DIR", required_unless_present = "run")]
    dir: Option<PathBuf>,
    /// Serve it all until ^C: dnsmasq, HTTP, and the master if none answers here
    #[arg(long)]
    run: bool,
    /// Where --run serves HTTP
    #[arg(long, value_name = "PORT", default_value_t = 80, requires = "run")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    http_port: u16,
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
    /// More lines for dnsmasq, after ours: reservations, other boot files for some machines
    #[arg(long, value_name = "FILE")]
    dnsmasq: Option<PathBuf>,
}

/// What is started first.
struct First {
    kernel: PathBuf,
    initramfs: PathBuf,
    /// Where it is an image's.
    image: Option<String>,
}

/// What was made, and can be served.
struct Netboot {
    dir: PathBuf,
    net: Net,
    names: Vec<String>,
    is_tested: bool,
}

impl Args {
    pub fn run(&self, head: &Head) -> Outcome {
        if self.run {
            return run::run(self, head);
        }
        let dir = self.dir.as_deref().unwrap_or(Path::new("."));
        let made = self.make(head, Net::find(self.interface.as_deref())?, dir, None)?;
        made.report()
    }

    /// Makes the files for this net in this directory. `http` is where they will be served.
    fn make(&self, head: &Head, net: Net, dir: &Path, http: Option<&str>) -> Outcome<Netboot> {
        if !files::are_words(&self.words) {
            let text = "--words cannot have $, &, |, #, control characters, or spaces around them";
            return Err(Failure::usage(text));
        }
        let first = self.first(head)?;
        let table = tab::read(head)?;
        let words = self.all_words(head, &first)?;
        let dir = directory(dir)?;
        let staging = Staging::below(&dir)?;
        let (pair, files) = place::pair(&staging, &first.kernel, &first.initramfs)?;
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
            words: &words,
            pair: &pair,
            http,
        };
        say_what_is_missing(&plan);
        made.extend(files);
        made.push(write(&staging, &files::hosts(&table), HOSTS)?);
        made.push(write(&staging, &plan.ipxe(), IPXE)?);
        made.push(write(&staging, &plan.pxelinux(), MENU)?);
        let conf = plan.dnsmasq() + &self.lines_for_dnsmasq()?;
        made.push(write(&staging, &conf, CONF)?);
        let is_tested = test(&staging.join(CONF))?;
        place::put(&staging, &dir, &made)?;
        let names = made.into_iter().map(|(_, name)| name).collect();
        drop(staging);
        Ok(Netboot { dir, net, names, is_tested })
    }

    /// An administrator's own; dnsmasq tests all of it together.
    fn lines_for_dnsmasq(&self) -> Outcome<String> {
        let Some(path) = &self.dnsmasq else { return Ok(String::new()) };
        let text = fs::read_to_string(path).doing("read", path)?;
        Ok(format!("# Of {}.\n{text}", path.display()))
    }

    /// Kernel and initramfs.
    fn first(&self, head: &Head) -> Outcome<First> {
        if let Some(dir) = &self.boot {
            let (kernel, initramfs) = (dir.join("vmlinuz"), dir.join("initramfs.img"));
            for path in [&kernel, &initramfs] {
                fs::metadata(path).doing("find", path)?;
            }
            return Ok(First { kernel, initramfs, image: None });
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
        let (kernel, initramfs) = (image.kernel(), image.initrd());
        Ok(First { kernel, initramfs, image: Some(image.name) })
    }

    /// The words for the first kernel. Where there is no nodes.tab they say which image it is.
    fn all_words(&self, head: &Head, first: &First) -> Outcome<String> {
        let is_said = self.words.split(' ').any(|word| word.starts_with("xget.image="));
        if is_said || head.nodes_tab().exists() {
            return Ok(self.words.clone());
        }
        let Some(image) = &first.image else {
            let there = head.image_names()?;
            if !there.iter().any(|name| name == "default") {
                out::note(&format!(
                    "there is no {}: nodes ask for the image default, which there is not; `xgetctl \
                     nodes add '*' --image NAME`, or --words xget.image=NAME (there are: {})",
                    head.nodes_tab().display(),
                    if there.is_empty() { "none".into() } else { there.join(", ") }
                ));
            }
            return Ok(self.words.clone());
        };
        let word = format!("xget.image={image}");
        Ok(if self.words.is_empty() { word } else { format!("{word} {}", self.words) })
    }
}

/// The directory, absolute; who dnsmasq runs as reads it.
fn directory(dir: &Path) -> Outcome<PathBuf> {
    let is_new = !dir.exists();
    fs::create_dir_all(dir).doing("make the directory", dir)?;
    if is_new {
        open_up(dir, 0o755)?;
    }
    dir.canonicalize().doing("look at", dir)
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

/// Whether dnsmasq is here; what it does not understand is an error.
fn test(conf: &Path) -> Outcome<bool> {
    let Some(dnsmasq) = program::find("dnsmasq") else { return Ok(false) };
    let mut command = program::command(&dnsmasq)?;
    let mut option = std::ffi::OsString::from("--conf-file=");
    option.push(conf);
    command.arg("--test").arg(option);
    program::run(&mut command, "have dnsmasq read its configuration")?;
    Ok(true)
}

fn say_what_is_missing(plan: &Plan) {
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
}

impl Netboot {
    fn report(&self) -> Outcome {
        let dir = self.dir.display();
        out::line(&format!("{dir}: {}", self.names.join(", ")))?;
        out::line(&self.net.to_string())?;
        out::line(&format!("start: dnsmasq --keep-in-foreground --conf-file={dir}/{CONF}"))?;
        if !self.is_tested {
            out::note("dnsmasq is not here; on Debian: apt-get install dnsmasq-base");
        }
        Ok(())
    }
}
