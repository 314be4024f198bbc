//! `netboot --run`: the whole head in one process and its children.
//!
//! Everything is looked at before anything is started; dnsmasq comes last, so that no machine
//! is told of what is not there yet. One log, lines named by who says them. At the end, however
//! it comes, nothing stays but what `--dir` asked for.

use super::children::Children;
use super::net::Net;
use super::place::{CONF, Made, open_up, write};
use super::{Args, Netboot, files, http, place, ports};
use crate::failure::{Doing, Failure, Outcome, Status};
use crate::head::Head;
use crate::image::tools;
use crate::master::Session;
use crate::staging::Staging;
use crate::{interrupt, out, program, tab};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, TryLockError};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// Where what it needs for a time is; only root can write there.
const PLACE: &str = "/run";
const LEASES: &str = "leases";
const MASTER_PORT: u16 = 20_004;
/// For a connection to a master of this machine.
const MASTER_PATIENCE: Duration = Duration::from_secs(2);
/// For one that was started: it looks at all that it serves first.
const MASTER_START_PATIENCE: Duration = Duration::from_secs(600);
const DNSMASQ_START_PATIENCE: Duration = Duration::from_secs(20);
/// What dnsmasq says when it serves.
const DNSMASQ_SERVES: &str = "started, version";
const TICK: Duration = Duration::from_millis(200);
/// How often nodes.tab is looked at.
const TABLE_EVERY: Duration = Duration::from_secs(2);
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
    let made = args.make(head, net, &place.dir, Some(args.http_port))?;
    let mut children = Children::new();
    say_what_is_served(&made, args.http_port)?;
    // Before the first child: what was made is removed when they have ended.
    let ended = serve(&mut children, head, &made, &dnsmasq, listeners);
    drop(children);
    drop(place);
    match ended {
        // To be ended is how this ends.
        Err(_) if interrupt::is_asked() => out::line("netboot: ended, as asked"),
        ended => ended,
    }
}

/// The head's, on which it serves.
fn addresses(net: &Net) -> impl Iterator<Item = IpAddr> {
    std::iter::once(net.address.into()).chain(net.address6.map(IpAddr::from))
}

fn say_what_is_served(made: &Netboot, port: u16) -> Outcome {
    let dir = made.dir.display();
    let (fetched, others): (Vec<_>, Vec<_>) =
        made.names.iter().map(String::as_str).partition(|name| place::is_fetched(name));
    out::line(&format!("netboot: {}", made.net))?;
    let urls: Vec<String> = addresses(&made.net).map(|at| files::url(at, port)).collect();
    out::line(&format!("netboot: {} has {}", urls.join(" and "), fetched.join(", ")))?;
    out::line(&format!("netboot: TFTP has these, too, and {} ({dir})", others.join(", ")))
}

fn serve(
    children: &mut Children,
    head: &Head,
    made: &Netboot,
    dnsmasq: &Path,
    listeners: Vec<TcpListener>,
) -> Outcome {
    for listener in listeners {
        http::serve(listener, made.dir.clone(), children.voice(HTTP))
            .map_err(|error| Failure::machine(format!("cannot serve HTTP: {error}")))?;
    }
    start_master(children, head, made)?;
    start_dnsmasq(children, made, dnsmasq)?;
    out::line("netboot: machines can boot; ^C ends it all")?;
    let mut table = TableSeen::new(head);
    loop {
        children.log(TICK, None)?;
        interrupt::check()?;
        children.check()?;
        if table.has_changed(head) {
            rewrite_names(children, head, made)?;
        }
    }
}

/// One that answers is taken, whoever started it.
fn start_master(children: &mut Children, head: &Head, made: &Netboot) -> Outcome {
    let address = SocketAddr::from((made.net.address, MASTER_PORT));
    if answers(address) {
        return take_master(head, address);
    }
    fs::read_dir(&head.dir).doing("serve", &head.dir)?;
    out::line(&format!(
        "netboot: no master answers on {address}: one is started for {}",
        head.dir.display()
    ))?;
    let xget = tools::program()?;
    children.start(MASTER, &xget, &[head.dir.as_os_str()], false)?;
    let deadline = Instant::now() + MASTER_START_PATIENCE;
    while !answers(address) {
        children.log(TICK, None)?;
        interrupt::check()?;
        children.check()?;
        if Instant::now() > deadline {
            return Err(Failure::new(
                Status::Child,
                format!(
                    "the master does not answer on {address} for {} s",
                    MASTER_START_PATIENCE.as_secs()
                ),
            ));
        }
    }
    Ok(())
}

/// What is no master is told apart, and what serves another table.
fn take_master(head: &Head, address: SocketAddr) -> Outcome {
    let theirs = Session::open(&address.to_string())?.served("nodes.tab")?;
    let ours = tab::read_with_text(head)?.1.into_bytes();
    out::line(&format!("netboot: a master answers on {address}, and is taken"))?;
    if theirs.unwrap_or_default() != ours {
        let served = head.dir.display();
        out::note(&format!("that master has another nodes.tab: it does not serve {served}"));
    }
    Ok(())
}

fn answers(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, MASTER_PATIENCE).is_ok()
}

fn start_dnsmasq(children: &mut Children, made: &Netboot, dnsmasq: &Path) -> Outcome {
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
        option("--conf-file=", made.dir.join(CONF)),
        option("--dhcp-leasefile=", leases(&made.dir)?),
    ];
    let args: Vec<&OsStr> = args.iter().map(OsString::as_os_str).collect();
    children.start(DNSMASQ, dnsmasq, &args, true)?;
    let deadline = Instant::now() + DNSMASQ_START_PATIENCE;
    while !children.log(TICK, Some((DNSMASQ, DNSMASQ_SERVES)))? {
        interrupt::check()?;
        children.check()?;
        if Instant::now() > deadline {
            let patience = DNSMASQ_START_PATIENCE.as_secs();
            let text = format!("dnsmasq does not say within {patience} s that it serves");
            return Err(Failure::new(Status::Child, text));
        }
    }
    Ok(())
}

/// dnsmasq opens it while it is root, and TFTP has it for nobody.
fn leases(dir: &Path) -> Outcome<PathBuf> {
    let path = dir.join(LEASES);
    let mut options = File::options();
    options.append(true).create(true).mode(0o600).open(&path).doing("make", &path)?;
    Ok(path)
}

/// What is wrong with a table is no end: the master goes on with the last good one, too.
fn rewrite_names(children: &mut Children, head: &Head, made: &Netboot) -> Outcome {
    let table = match tab::read(head) {
        Ok(table) => table,
        Err(failure) => return out::line(&format!("netboot: {}; names stay", failure.text)),
    };
    let staging = Staging::below(&made.dir)?;
    for (name, text) in super::names(&table) {
        let (path, name): Made = write(&staging, &text, name)?;
        staging.put(&path, &made.dir.join(name), true)?;
    }
    children.tell_to_reread(DNSMASQ);
    out::line("netboot: nodes.tab has changed; dnsmasq has its names")
}

/// What nodes.tab was when it was last looked at.
struct TableSeen {
    state: Option<(u64, u64, SystemTime)>,
    at: Instant,
}

impl TableSeen {
    fn new(head: &Head) -> TableSeen {
        TableSeen { state: state_of(&head.nodes_tab()), at: Instant::now() }
    }

    fn has_changed(&mut self, head: &Head) -> bool {
        if self.at.elapsed() < TABLE_EVERY {
            return false;
        }
        self.at = Instant::now();
        let state = state_of(&head.nodes_tab());
        let has_changed = state != self.state;
        self.state = state;
        has_changed
    }
}

fn state_of(path: &Path) -> Option<(u64, u64, SystemTime)> {
    let status = fs::metadata(path).ok()?;
    Some((status.ino(), status.len(), status.modified().ok()?))
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
