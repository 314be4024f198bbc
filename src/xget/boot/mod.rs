//! PID 1 of a small initramfs: network, fetch, verify, and into the next
//! kernel.
//!
//! `run` never returns: it ends in another kernel, in the init of an image's root, or in
//! a reboot after it has said why. The transfer itself is behind `engine`; everything that can
//! be decided without the machine is in pure files of its own.

mod alone;
mod cache;
mod cmdline;
mod console;
mod datagram;
mod dhcp;
mod discovery;
mod drivers;
mod end;
mod engine;
mod failure;
mod fetching;
mod fields;
mod handover;
mod hex;
mod identity;
mod image;
mod ipconfig;
mod ipv6;
mod journey;
mod layers;
mod links;
mod loading;
mod modprobe;
mod modules;
mod network;
mod next_cmdline;
mod pace;
mod program;
mod room;
mod root;
mod routers;
mod running;
mod settings;
mod setup;
mod stacked;
mod start;
mod switch;
mod system;
mod tmpfs;
mod turns;
mod up;
mod uplink;

pub use alone::fetch_alone;
pub use modprobe::run as modprobe;

use cmdline::Cmdline;
use engine::Engine;
use failure::EndSettings;
use fetching::Transfers;
use peer::control::NodeStage;
use peer::request::Masters;
use settings::Settings;
use system::System;

pub use up::{Booted, NODE_FILE, booted};

#[cfg(feature = "fuzzing")]
pub use dhcp::fuzz6 as fuzz_dhcp6;
#[cfg(feature = "fuzzing")]
pub use fuzzing::dhcp as fuzz_dhcp;

#[cfg(feature = "fuzzing")]
mod fuzzing {
    use super::{datagram, dhcp};

    /// Any bytes, as a message and as a packet with one in it.
    pub fn dhcp(bytes: &[u8]) {
        dhcp::fuzz(bytes);
        if let Some(payload) = datagram::payload(bytes, dhcp::CLIENT_PORT) {
            dhcp::fuzz(payload);
        }
    }
}

/// Boots this machine. To be called by PID 1, and by nobody else.
pub fn run() -> ! {
    let troubles = setup::carry_out();
    console::install();
    let text = std::fs::read("/proc/cmdline").unwrap_or_default();
    let line = Cmdline::parse(&String::from_utf8_lossy(&text));
    let settings = Settings::of(&line);
    end::catch_panics(settings.end);
    console::set_debug(settings.debug);
    log::info!("xget {} as PID {}", env!("CARGO_PKG_VERSION"), std::process::id());
    troubles.iter().chain(&settings.warnings).for_each(|said| log::warn!("{said}"));
    setup::set_switches(settings.end.panic_s.is_some());
    let (mut engine, mut masters, mut end) = (Engine::default(), Masters::default(), settings.end);
    let key = settings.key.clone();
    let reason = match boot(&line, settings, &mut engine, &mut masters, &mut end) {
        Ok(never) => match never {},
        Err(reason) => reason,
    };
    log::error!("boot failed: {reason}");
    engine.log(&masters, key.as_ref(), &format!("boot failed: {reason}"));
    end::end(end)
}

/// All phases; returns only with the reason why there is no next system. `masters` gets
/// those that may listen to our last words, `end` what the master had to add to it.
fn boot(
    line: &Cmdline,
    settings: Settings,
    engine: &mut Engine,
    masters: &mut Masters,
    end: &mut EndSettings,
) -> Result<std::convert::Infallible, String> {
    if let Some(reason) = settings.refusal {
        return Err(reason);
    }
    let mut system = System::open(line, &settings)?;
    system.drivers.start(&settings.modules_first);
    system.seed = identity::seed(&links::list());
    system.arm_watchdog(settings.watchdog);
    let reason = match Transfers::begin(&mut system, settings, engine, masters) {
        Ok(mut transfers) => {
            let reason = journey::go(&mut transfers, line);
            transfers.say(NodeStage::Failed, &reason);
            *end = transfers.settings.end;
            reason
        }
        Err(reason) => reason,
    };
    // Left armed it guards the countdown; but not against an operator.
    let attended = end.shell || end.panic_s == Some(0);
    if let Some(watchdog) = system.watchdog.take_if(|_| attended) {
        watchdog.disarm();
    }
    Err(reason)
}
