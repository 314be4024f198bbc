//! `netboot --run`: the whole head in one process and its children.
//!
//! Everything is looked at before anything is started; dnsmasq comes last, so that no machine
//! is told of what is not there yet. One log, lines named by who says them. At the end, however
//! it comes, nothing stays but what `--dir` asked for.

use super::children::Children;
use super::log::Log;
use super::names::Names;
use super::net::Net;
use super::place::{CONF, open_up};
use super::taken::{Taken, answers};
use super::{Args, Netboot, files, http, place, ports};
use crate::failure::{Doing, Failure, Outcome, Status};
use crate::head::Head;
use crate::image::tools;
use crate::staging::Staging;
use crate::{interrupt, program};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, TryLockError};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where what it needs for a time is; only root can write there.
const PLACE: &str = "/run";
const LEASES: &str = "leases";
/// Where leases outlive us without `--dir`. A service has it of its StateDirectory=.
const STATE: &str = "/var/lib/xget";
const STATE_VARIABLE: &str = "STATE_DIRECTORY";
const MASTER_PORT: u16 = 20_004;
/// For one that was started: it looks at all that it serves first.
const MASTER_START_PATIENCE: Duration = Duration::from_secs(600);
const DNSMASQ_START_PATIENCE: Duration = Duration::from_secs(20);
/// What dnsmasq says when it serves.
const DNSMASQ_SERVES: &str = "started, version";
const TICK: Duration = Duration::from_millis(200);
const MASTER: &str = "master";
const DNSMASQ: &str = "dnsmasq";
const HTTP: &str = "http";

pub fn run(args: &Args, head: &Head) -> Outcome {
    if !rustix::process::geteuid().is_root() {
        let text = "netboot --run serves DHCP: only root may; run it as root, or as a service";
        return Err(Failure::new(Status::Root, text));
    }
    let dnsmasq = program::need("dnsmasq", "dnsmasq-base", "netboot --run")?;
    let net = args.net()?;
    let place = Place::new(args.dir.as_deref())?;
    ports::check(&net, args.proxy, args.dns)?;
    let listeners: Vec<TcpListener> =
        addresses(&net).map(|at| ports::listen(at, args.http_port)).collect::<Outcome<_>>()?;
    // What changes in the table from here on is seen.
    let names = Names::new(head);
    let made = args.make(head, net, &place.dir, Some(args.http_port))?;
    let (log, writer) = Log::new()?;
    let leases = leases(args.dir.is_some(), &made, &log)?;
    let children = Children::new(log.clone());
    let mut run = Run { head, made: &made, leases, children, log, taken: None };
    run.say_what_is_served(args.http_port);
    // Before the first child: what was made is removed when they have ended.
    let ended = run.serve(names, &dnsmasq, listeners);
    let Run { children, log, .. } = run;
    drop(children);
    drop(place);
    // To be ended is how this ends.
    let ended = if interrupt::is_asked() { Ok(()) } else { ended };
    if ended.is_ok() {
        log.line("netboot: ended, as asked");
    }
    log.end();
    writer.finish();
    ended
}

/// What all of it is about.
struct Run<'a> {
    head: &'a Head,
    made: &'a Netboot,
    leases: PathBuf,
    children: Children,
    log: Log,
    taken: Option<Taken>,
}

/// The head's, on which it serves.
fn addresses(net: &Net) -> impl Iterator<Item = IpAddr> {
    std::iter::once(net.address.into()).chain(net.address6.map(IpAddr::from))
}

impl Run<'_> {
    fn say_what_is_served(&self, port: u16) {
        let Run { made, log, .. } = self;
        let dir = made.dir.display();
        let (fetched, others): (Vec<_>, Vec<_>) =
            made.names.iter().map(String::as_str).partition(|name| place::is_fetched(name));
        log.line(&format!("netboot: {}", made.net));
        let urls: Vec<String> = addresses(&made.net).map(|at| files::url(at, port)).collect();
        log.line(&format!("netboot: {} has {}", urls.join(" and "), fetched.join(", ")));
        log.line(&format!("netboot: TFTP has these, too, and {} ({dir})", others.join(", ")));
    }

    fn serve(&mut self, mut names: Names, dnsmasq: &Path, listeners: Vec<TcpListener>) -> Outcome {
        for listener in listeners {
            http::serve(listener, self.made.dir.clone(), self.children.voice(HTTP))
                .map_err(|error| Failure::machine(format!("cannot serve HTTP: {error}")))?;
        }
        self.start_master()?;
        self.start_dnsmasq(dnsmasq)?;
        self.log.line("netboot: machines can boot; ^C ends it all");
        loop {
            self.tick(None)?;
            if names.follow(self.head, self.made, &self.log) {
                self.children.tell_to_reread(DNSMASQ);
            }
            if let Some(taken) = &mut self.taken {
                taken.look(self.head, &self.log);
            }
        }
    }

    /// Whether what is awaited was said.
    fn tick(&mut self, awaited: Option<(&str, &str)>) -> Outcome<bool> {
        let is_said = self.children.log(TICK, awaited);
        interrupt::check()?;
        self.children.check()?;
        Ok(is_said)
    }

    /// One that answers is taken, whoever started it.
    fn start_master(&mut self) -> Outcome {
        let address = SocketAddr::from((self.made.net.address, MASTER_PORT));
        if answers(address) {
            self.taken = Some(Taken::new(self.head, address, &self.log)?);
            return Ok(());
        }
        let dir = &self.head.dir;
        fs::read_dir(dir).doing("serve", dir)?;
        self.log.line(&format!(
            "netboot: no master answers on {address}: one is started for {}",
            dir.display()
        ));
        let xget = tools::program()?;
        self.children.start(MASTER, &xget, &[dir.as_os_str()], false)?;
        let deadline = Instant::now() + MASTER_START_PATIENCE;
        while !answers(address) {
            self.tick(None)?;
            if Instant::now() > deadline {
                let patience = MASTER_START_PATIENCE.as_secs();
                let text = format!("the master does not answer on {address} for {patience} s");
                return Err(Failure::new(Status::Child, text));
            }
        }
        Ok(())
    }

    fn start_dnsmasq(&mut self, dnsmasq: &Path) -> Outcome {
        let option = |name: &str, path: PathBuf| {
            let mut option = OsString::from(name);
            option.push(path);
            option
        };
        let args = [
            "--keep-in-foreground".into(),
            // Standard error.
            "--log-facility=-".into(),
            // None.
            "--pid-file".into(),
            option("--conf-file=", self.made.dir.join(CONF)),
            option("--dhcp-leasefile=", self.leases.clone()),
        ];
        let args: Vec<&OsStr> = args.iter().map(OsString::as_os_str).collect();
        self.children.start(DNSMASQ, dnsmasq, &args, true)?;
        let deadline = Instant::now() + DNSMASQ_START_PATIENCE;
        while !self.tick(Some((DNSMASQ, DNSMASQ_SERVES)))? {
            if Instant::now() > deadline {
                let patience = DNSMASQ_START_PATIENCE.as_secs();
                let text = format!("dnsmasq does not say within {patience} s that it serves");
                return Err(Failure::new(Status::Child, text));
            }
        }
        Ok(())
    }
}

/// In the directory that was asked for, else where they are found after a restart.
fn leases(is_kept: bool, made: &Netboot, log: &Log) -> Outcome<PathBuf> {
    let here = made.dir.join(LEASES);
    if is_kept {
        return make_leases(here);
    }
    // Of several directories the first.
    let said = std::env::var(STATE_VARIABLE).unwrap_or_default();
    let state = said.split(':').next().filter(|dir| !dir.is_empty()).unwrap_or(STATE);
    let path = Path::new(state).join(format!("{LEASES}-{}", made.net.interface));
    make_leases(path).or_else(|failure| {
        log.line(&format!("netboot: {}; leases go at the end", failure.text));
        make_leases(here)
    })
}

/// dnsmasq opens it while it is root, and TFTP has it for nobody.
fn make_leases(path: PathBuf) -> Outcome<PathBuf> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).doing("make the directory", dir)?;
    }
    let mut options = File::options();
    options.append(true).create(true).mode(0o600).open(&path).doing("make", &path)?;
    Ok(path)
}

/// The directory of the files: the one that was asked for, or one that goes with us.
struct Place {
    dir: PathBuf,
    _own: Option<Staging>,
    _lock: Option<File>,
}

impl Place {
    fn new(dir: Option<&Path>) -> Outcome<Place> {
        let Some(dir) = dir else {
            let own = Staging::below(Path::new(PLACE))?;
            // Who dnsmasq runs as reads it.
            open_up(&own.join(""), 0o755)?;
            return Ok(Place { dir: own.join(""), _own: Some(own), _lock: None });
        };
        let dir = super::directory(dir)?;
        let lock = File::open(&dir).doing("open", &dir)?;
        match lock.try_lock() {
            Ok(()) => Ok(Place { dir, _own: None, _lock: Some(lock) }),
            Err(TryLockError::WouldBlock) => Err(Failure::usage(format!(
                "another `xgetctl netboot --run` has {}: take another --dir",
                dir.display()
            ))),
            Err(TryLockError::Error(error)) => Err(error).doing("lock", &dir),
        }
    }
}
