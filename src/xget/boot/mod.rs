//! PID 1 of a small initramfs: network, fetch, verify, and into the next
//! kernel.
//!
//! `run` never returns: it ends in another kernel, or in a reboot after it
//! has said why. The transfer itself is behind `Fetcher`; everything that can
//! be decided without the machine is in pure files of its own.

pub mod cmdline;
mod console;
pub mod dhcp;
mod drivers;
mod ending;
mod engine;
pub mod failure;
mod fetching;
pub mod frame;
mod identity;
pub mod image;
pub mod ipconfig;
mod links;
pub mod modules;
mod network;
pub mod nextline;
mod plan;
pub mod settings;
mod start;
mod uplink;

pub use engine::Engine;

use crate::os::child;
use crate::os::netif::Netlink;
use crate::os::uevent::Uevents;
use crate::os::watchdog::Watchdog;
use cmdline::Cmdline;
use drivers::Drivers;
use identity::Firmware;
use peer::content::digest::Digest;
use settings::Settings;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};
use uplink::Uplink;

/// What is to be fetched, and from whom.
pub struct Order<'a> {
    /// Best first; each is to be tried.
    pub masters: &'a [SocketAddr],
    /// A directory in the master's tree, whose contents are wanted.
    pub image: &'a str,
    /// What the manifest's digest must be.
    pub digest: Option<Digest>,
    /// An existing directory. What an earlier try left there may be kept.
    pub into: &'a Path,
    /// So much fits; a larger image is refused before its first byte.
    pub room_bytes: u64,
    /// Who this node is, for the operator.
    pub identity: &'a str,
}

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Who answered.
    pub master: SocketAddr,
    /// Of the manifest that all of it was verified against.
    pub digest: Digest,
    pub files: u64,
    pub bytes: u64,
}

/// How far a transfer is; told to the caller's hook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub done_bytes: u64,
    /// 0 while it is not known.
    pub total_bytes: u64,
}

/// Why nothing came, by what can be done about it. The text names the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchError {
    /// No master answered, or all of them fell silent.
    Unreachable(String),
    /// The master answers, but has no such image.
    NoImage(String),
    /// The image was replaced on the master during the transfer.
    Changed(String),
    /// The bytes are not those that were asked for, from anybody.
    Tampered(String),
    /// It is larger than the room for it.
    NoRoom(String),
    /// The hook said so.
    Stopped(String),
    /// This machine failed: a write, a socket.
    Local(String),
}

impl FetchError {
    pub fn text(&self) -> &str {
        match self {
            FetchError::Unreachable(text)
            | FetchError::NoImage(text)
            | FetchError::Changed(text)
            | FetchError::Tampered(text)
            | FetchError::NoRoom(text)
            | FetchError::Stopped(text)
            | FetchError::Local(text) => text,
        }
    }
}

/// To be called at least once a second, whatever else goes on: leases are
/// renewed and orphans reaped in it. `Break` is why to stop at once.
pub type Hook<'a> = dyn FnMut(Progress) -> ControlFlow<String> + 'a;

/// The transfer, as this room needs it.
pub trait Fetcher {
    /// Returns when everything is there under its final name and verified.
    fn fetch(&mut self, order: &Order, hook: &mut Hook) -> Result<Fetched, FetchError>;
    /// Serves those who are fetching from us, `most` at the longest; returns
    /// as soon as nobody is.
    fn linger(&mut self, most: Duration, hook: &mut Hook);
    /// A line in the master's log; best effort, two seconds at the longest.
    fn log(&mut self, masters: &[SocketAddr], line: &str);
}

/// Time since the start, for everything that has a deadline.
#[derive(Clone, Copy)]
struct Clock(Instant);

impl Clock {
    fn now_ms(self) -> u64 {
        self.0.elapsed().as_millis() as u64
    }
}

/// What every phase needs: the kernel's doors, and the chores of PID 1.
struct Base {
    clock: Clock,
    netlink: Netlink,
    uevents: Option<Uevents>,
    drivers: Drivers,
    firmware: Firmware,
    watchdog: Option<Watchdog>,
    seed: u64,
}

impl Base {
    fn open(line: &Cmdline, settings: &Settings) -> Result<Base, String> {
        let netlink =
            Netlink::open().map_err(|error| format!("cannot talk to the network: {error}"))?;
        // Listening before looking: nothing falls in between.
        let uevents = Uevents::open();
        if let Err(error) = &uevents {
            log::warn!("cannot listen to uevents, late devices need luck: {error}");
        }
        Ok(Base {
            clock: Clock(Instant::now()),
            netlink,
            uevents: uevents.ok(),
            drivers: Drivers::open(line, &settings.modules_never),
            firmware: Firmware::read(),
            watchdog: None,
            seed: 0,
        })
    }

    /// What has to be done now and then, in every phase.
    fn chores(&mut self) {
        child::reap();
        if let Some(watchdog) = &mut self.watchdog {
            watchdog.pet();
        }
        if let Some(uevents) = &self.uevents {
            self.drivers.news(uevents);
        }
    }

    /// The chores, and those of the lease; an end is the reason for it.
    fn tick(&mut self, uplink: &mut Uplink, now_ms: u64) -> ControlFlow<String> {
        self.chores();
        match uplink.tick(now_ms, &mut self.netlink) {
            Ok(()) => ControlFlow::Continue(()),
            Err(reason) => ControlFlow::Break(reason),
        }
    }

    fn arm_watchdog(&mut self, timeout_s: Option<u32>) {
        let Some(timeout_s) = timeout_s else { return };
        match Watchdog::arm("/dev/watchdog", timeout_s) {
            Ok((watchdog, taken_s)) => {
                log::info!("watchdog: {taken_s} s");
                self.watchdog = Some(watchdog);
            }
            Err(error) => log::warn!("there is no watchdog to arm: {error}"),
        }
    }
}

/// Boots this machine. To be called by PID 1, and by nobody else.
pub fn run(fetcher: &mut dyn Fetcher) -> ! {
    let troubles = plan::carry_out();
    console::install();
    let text = std::fs::read("/proc/cmdline").unwrap_or_default();
    let line = Cmdline::parse(&String::from_utf8_lossy(&text));
    let settings = Settings::of(&line);
    ending::catch_panics(settings.panic_s, settings.end);
    console::set_debug(settings.debug);
    log::info!("xget {} as PID {}", env!("CARGO_PKG_VERSION"), std::process::id());
    troubles.iter().chain(&settings.complaints).for_each(|said| log::warn!("{said}"));
    plan::set_switches(settings.panic_s.is_some());
    let mut heard = Vec::new();
    let reason = match boot(&line, &settings, fetcher, &mut heard) {
        Ok(never) => match never {},
        Err(reason) => reason,
    };
    log::error!("boot failed: {reason}");
    fetcher.log(&heard, &format!("boot failed: {reason}"));
    ending::end(&settings)
}

/// All phases; returns only with the reason why there is no next kernel.
/// `heard` gets the masters that may listen to our last words.
fn boot(
    line: &Cmdline,
    settings: &Settings,
    fetcher: &mut dyn Fetcher,
    heard: &mut Vec<SocketAddr>,
) -> Result<std::convert::Infallible, String> {
    if let Some(reason) = &settings.refusal {
        return Err(reason.clone());
    }
    let mut base = Base::open(line, settings)?;
    base.drivers.start(&settings.modules_first);
    base.seed = identity::seed(&links::list());
    base.arm_watchdog(settings.watchdog_s);
    let reason = match fetching::fetch(&mut base, settings, fetcher, heard) {
        Ok((fetched, uplink)) => start::start(&mut base, line, settings, fetcher, &fetched, uplink),
        Err(reason) => reason,
    };
    // Left armed it guards the countdown; but not against an operator.
    let attended = settings.shell || settings.panic_s == Some(0);
    if let Some(watchdog) = base.watchdog.take_if(|_| attended) {
        watchdog.disarm();
    }
    Err(reason)
}
