//! `xgetctl netboot`: what machines boot from over the network, made and, with `--run`, served.

mod children;
mod files;
mod http;
mod log;
mod names;
mod net;
mod place;
mod ports;
mod programs;
mod run;
mod taken;

use crate::failure::{Doing, Failure, Outcome};
use crate::head::Head;
use crate::staging::Staging;
use crate::{out, program, tab};
use files::Plan;
use net::Net;
use nodes::Table;
use place::{CONF, GRUB_CFG, HOSTS, IPXE, MENU, NAMES, open_up, write};
use programs::Loader;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Where to write dnsmasq.conf, boot.ipxe, pxelinux.cfg, kernel, initramfs and boot programs;
    /// with --run also leases, which are in /var/lib/xget without it
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
    /// The boot program for firmware that has no iPXE of its own
    #[arg(long, value_enum, default_value_t = Loader::Ipxe)]
    loader: Loader,
    /// Another server lends addresses on this net; say what to boot alone
    #[arg(long)]
    proxy: bool,
    /// IPv6 as well, by the interface's address of a /64
    #[arg(long, conflicts_with = "proxy")]
    ipv6: bool,
    /// Answer for the names of nodes as well, and pass on what is asked of others
    #[arg(long)]
    dns: bool,
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
    lent: Vec<(IpAddr, IpAddr)>,
    is_tested: bool,
}

impl Args {
    pub fn run(&self, head: &Head) -> Outcome {
        if self.run {
            return run::run(self, head);
        }
        let dir = self.dir.as_deref().unwrap_or(Path::new("."));
        let made = self.make(head, self.net()?, dir, None)?;
        made.report()
    }

    fn net(&self) -> Outcome<Net> {
        let net = Net::find(self.interface.as_deref())?;
        if self.ipv6 { net.with_ipv6() } else { Ok(net) }
    }

    /// Makes the files for this net in this directory. `http` is the port where they will be
    /// served.
    fn make(&self, head: &Head, net: Net, dir: &Path, http: Option<u16>) -> Outcome<Netboot> {
        if !files::are_words(&self.words) {
            let text = "--words cannot have $|#&;'\\<>(){}, control characters, or spaces around them: boot \
                 programs take them for something else";
            return Err(Failure::usage(text));
        }
        let first = self.first(head)?;
        let is_run = http.is_some();
        // A head that is started again serves what it can.
        let table = match tab::read(head) {
            Err(failure) if is_run => {
                out::note(&format!("{}; names stay as they were", failure.text));
                None
            }
            table => Some(table?),
        };
        let words = self.all_words(head, &first)?;
        let dir = directory(dir)?;
        let staging = Staging::below(&dir)?;
        let (pair, files) = place::pair(&staging, &first.kernel, &first.initramfs)?;
        let mut made = programs::copy_or_make(&staging, self.loader)?;
        let known: Vec<(IpAddr, IpAddr)> = match &table {
            Some(table) => table.ranges().collect(),
            None => tab::addresses_of_lines(head),
        };
        let lent = match lent(&net, &known) {
            _ if self.proxy => Vec::new(),
            Err(failure) if is_run => {
                out::note(&failure.text);
                Vec::new()
            }
            lent => lent?,
        };
        let lent6 = net.range6_without(&known.iter().filter_map(v6).collect::<Vec<_>>());
        let plan = Plan {
            net: &net,
            dir: plain(&dir)?,
            bios: self.loader.bios(&made),
            uefi: self.loader.uefi(&made),
            words: &words,
            pair: &pair,
            http,
            lent: &lent,
            lent6: &lent6,
            proxy: self.proxy,
            dns: self.dns,
        };
        say_what_is_missing(&plan);
        made.extend(files);
        let empty = Table::default();
        for (name, text) in names(table.as_ref().unwrap_or(&empty)) {
            if table.is_none() && dir.join(name).exists() {
                continue;
            }
            made.push(write(&staging, &text, name)?);
        }
        made.push(write(&staging, &plan.ipxe(), IPXE)?);
        made.push(write(&staging, &plan.pxelinux(), MENU)?);
        made.push(write(&staging, &plan.grub(), GRUB_CFG)?);
        let conf = plan.dnsmasq() + &self.lines_for_dnsmasq()?;
        made.push(write(&staging, &conf, CONF)?);
        let is_tested = test(&staging.join(CONF))?;
        place::put(&staging, &dir, &made)?;
        let names = made.into_iter().map(|(_, name)| name).collect();
        drop(staging);
        let lent = lent.into_iter().map(|(from, to)| (from.into(), to.into()));
        let lent6 = lent6.into_iter().map(|(from, to)| (from.into(), to.into()));
        let lent = lent.chain(lent6).collect();
        Ok(Netboot { dir, net, names, lent, is_tested })
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

/// What follows nodes.tab, and is read again by dnsmasq.
fn names(table: &Table) -> [(&'static str, String); 2] {
    [(HOSTS, files::hosts(table)), (NAMES, files::names(table))]
}

fn v4(range: &(IpAddr, IpAddr)) -> Option<(Ipv4Addr, Ipv4Addr)> {
    match range {
        (IpAddr::V4(from), IpAddr::V4(to)) => Some((*from, *to)),
        _ => None,
    }
}

fn v6(range: &(IpAddr, IpAddr)) -> Option<(Ipv6Addr, Ipv6Addr)> {
    match range {
        (IpAddr::V6(from), IpAddr::V6(to)) => Some((*from, *to)),
        _ => None,
    }
}

/// What is lent: the range of the net without the addresses by which nodes.tab knows nodes.
fn lent(net: &Net, known: &[(IpAddr, IpAddr)]) -> Outcome<Vec<(Ipv4Addr, Ipv4Addr)>> {
    let known: Vec<(Ipv4Addr, Ipv4Addr)> =
        known.iter().filter_map(v4).filter(|(from, to)| net.meets(*from, *to)).collect();
    if !known.is_empty() {
        out::note(
            "nodes.tab knows nodes by addresses of this net: these are lent to nobody, but for \
             lines dhcp-host=MAC,ADDRESS in a file of --dnsmasq",
        );
    }
    let lent = net.range_without(&known);
    if lent.is_empty() {
        return Err(Failure::wrong(format!(
            "nodes.tab knows nodes by all addresses from {} to {}: there is none left to lend; \
             a line for all that have no other has the key *",
            net.from, net.to
        )));
    }
    Ok(lent)
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
    let note = |firmware: &str, files: &str| {
        out::note(&format!(
            "{firmware} machines without an iPXE of their own do not start: no {files}"
        ));
    };
    if plan.bios.is_none() {
        note(
            "BIOS",
            "undionly.kpxe (package ipxe), nor pxelinux.0 and ldlinux.c32 (packages pxelinux, \
             syslinux-common)",
        );
    }
    if plan.uefi.is_none() {
        note("UEFI", "snponly.efi or ipxe.efi (package ipxe)");
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
