//! What every phase needs of this machine, and what PID 1 has to do in all of
//! them. Decides nothing.

use super::cmdline::Cmdline;
use super::drivers::Drivers;
use super::identity::Firmware;
use super::routers::Routers;
use super::settings::{Settings, WatchdogSettings};
use super::uplink::Uplink;
use crate::os::child::{self, Child};
use crate::os::netif::Netlink;
use crate::os::uevent::Uevents;
use crate::os::watchdog::Watchdog;
use std::ops::ControlFlow;
use std::time::Instant;

/// Time since the start, for everything that has a deadline.
#[derive(Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    pub fn now_ms(self) -> u64 {
        self.0.elapsed().as_millis() as u64
    }
}

pub struct System {
    pub clock: Clock,
    pub netlink: Netlink,
    /// `None`: the kernel does not tell of new devices.
    pub uevents: Option<Uevents>,
    pub drivers: Drivers,
    pub firmware: Firmware,
    pub routers: Routers,
    /// Armed, if it was asked for.
    pub watchdog: Option<Watchdog>,
    /// Those who serve what was fetched, or keep it on a disk, beside the boot.
    pub helpers: Vec<Child>,
    /// Differs from node to node (`identity::seed`).
    pub seed: u64,
}

impl System {
    #[inline(never)]
    pub fn open(line: &Cmdline, settings: &Settings) -> Result<System, String> {
        let netlink =
            Netlink::open().map_err(|error| format!("cannot talk to the network: {error}"))?;
        // Listening before looking: nothing falls in between.
        let uevents = Uevents::open();
        if let Err(error) = &uevents {
            log::warn!("cannot listen to uevents, late devices need luck: {error}");
        }
        Ok(System {
            clock: Clock(Instant::now()),
            netlink,
            uevents: uevents.ok(),
            drivers: Drivers::open(line, &settings.modules_never),
            firmware: Firmware::read(),
            routers: Routers::default(),
            watchdog: None,
            helpers: Vec::new(),
            seed: 0,
        })
    }

    /// What has to be done at least once a second, in every phase.
    pub fn chores(&mut self) {
        child::reap();
        log::logger().flush();
        if let Some(watchdog) = &mut self.watchdog {
            watchdog.pet();
        }
        if let Some(uevents) = &self.uevents {
            self.drivers.news(uevents);
        }
    }

    /// The chores, and those of the lease; its end is the reason for a break.
    pub fn tick(&mut self, uplink: &mut Uplink, now_ms: u64) -> ControlFlow<String> {
        self.chores();
        match uplink.tick(now_ms, &mut self.netlink) {
            Ok(()) => ControlFlow::Continue(()),
            Err(reason) => ControlFlow::Break(reason),
        }
    }

    /// For the next system: disarmed, or fed once more and left armed.
    pub fn leave_watchdog(&mut self, keep: bool) {
        let Some(mut watchdog) = self.watchdog.take() else { return };
        match keep {
            true => watchdog.pet(),
            false => watchdog.disarm(),
        }
    }

    /// They hold what lies in memory: for a boot that goes back a step.
    pub fn stop_helpers(&mut self) {
        for helper in self.helpers.drain(..) {
            if !helper.stop() {
                log::warn!(
                    "a process that kept what was fetched does not end; its memory is missing"
                );
            }
        }
    }

    /// What a child does without that only serves: devices, and news of the kernel.
    pub fn lighten(&mut self) {
        self.watchdog = None;
        self.uevents = None;
    }

    pub fn arm_watchdog(&mut self, asked: Option<WatchdogSettings>) {
        let Some(WatchdogSettings { timeout_s, .. }) = asked else { return };
        match Watchdog::arm("/dev/watchdog", timeout_s) {
            Ok((watchdog, taken_s)) => {
                log::info!("watchdog: {taken_s} s");
                self.watchdog = Some(watchdog);
            }
            Err(error) => log::warn!("there is no watchdog to arm: {error}"),
        }
    }
}
