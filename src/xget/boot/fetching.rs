//! The fetch phase: masters by name, tries, pauses, and the lease kept alive.
//!
//! The transfer is `engine`'s; when to try again is `failure`'s.

use super::engine::{Engine, FetchProgress, Fetched};
use super::failure::{self, FetchError, Retry};
use super::ipconfig::Method;
use super::links::Link;
use super::settings::{Settings, Timeouts};
use super::system::System;
use super::turns::Turns;
use super::uplink::Uplink;
use super::{image, links, network, setup, start};
use crate::driver::{self, FetchTask, Host, Limits};
use crate::store::writer::Policy;
use peer::failure::Status;
use peer::request::{FetchRequest, Linger, Pin};
use std::net::{SocketAddr, SocketAddrV6};
use std::ops::ControlFlow;
use std::thread;
use std::time::Duration;

/// A line about how far it is.
const LINE_MS: u64 = 5_000;
/// Tries of the master within one fetch; this phase itself tries for longer.
const RETRIES: u32 = 5;
/// What a turn may take of one interface of several: to an address, and from
/// there to the first word of a master.
const TURN_MS: u64 = 10_000;
const SLEEP_MS: u64 = 250;
/// Nobody waits silently, not even for the next try.
const REMINDER_MS: u64 = 30_000;

/// Follows one transfer for people, and notices that it moves.
struct Pace {
    /// The most that any try had: what an earlier one left is no movement.
    most_bytes: u64,
    moved_ms: u64,
    said_ms: u64,
    said_bytes: u64,
}

impl Pace {
    fn new(now_ms: u64, most_bytes: u64) -> Pace {
        Pace { most_bytes, moved_ms: now_ms, said_ms: now_ms, said_bytes: 0 }
    }

    fn note(&mut self, now_ms: u64, progress: FetchProgress) -> Option<String> {
        if progress.done_bytes > self.most_bytes {
            self.most_bytes = progress.done_bytes;
            self.moved_ms = now_ms;
        }
        let since_ms = now_ms.saturating_sub(self.said_ms);
        if since_ms < LINE_MS {
            return None;
        }
        let rate = progress.done_bytes.saturating_sub(self.said_bytes) * 1000 / since_ms;
        self.said_ms = now_ms;
        self.said_bytes = progress.done_bytes;
        Some(progress_line(progress, rate))
    }
}

fn progress_line(progress: FetchProgress, bytes_per_s: u64) -> String {
    let mib = |bytes: u64| bytes >> 20;
    let FetchProgress { done_bytes, total_bytes, .. } = progress;
    if total_bytes == 0 {
        return format!("fetching: {} MiB", mib(done_bytes));
    }
    let percent = done_bytes * 100 / total_bytes;
    let mut line =
        format!("fetching: {} of {} MiB, {percent} %", mib(done_bytes), mib(total_bytes));
    match total_bytes.saturating_sub(done_bytes).checked_div(bytes_per_s) {
        Some(left_s) => {
            line.push_str(&format!(", {} MiB/s, {left_s} s to go", mib(bytes_per_s)));
        }
        None => line.push_str(", stalled"),
    }
    line
}

/// What this phase carries from try to try.
struct ImageFetch<'a> {
    system: &'a mut System,
    settings: &'a Settings,
    engine: &'a mut Engine,
    /// The masters that were tried last.
    masters: &'a mut Vec<SocketAddr>,
    /// Who this node is, for the operator.
    identity: String,
    room_bytes: u64,
    began_ms: u64,
    /// When bytes last came, or the phase began.
    moved_ms: u64,
    most_bytes: u64,
    turns: Turns,
}

/// Fetches the image, however many tries it takes within the deadlines.
pub fn fetch(
    system: &mut System,
    settings: &Settings,
    engine: &mut Engine,
    masters: &mut Vec<SocketAddr>,
) -> Result<(Fetched, Uplink), String> {
    start::check_kexec()?;
    let machine = start::machine();
    let room_bytes = settings.image.room_bytes.unwrap_or_else(|| image::room_bytes(&machine));
    setup::mount_image(room_bytes)
        .map_err(|error| format!("cannot mount {} MiB for the image: {error}", room_bytes >> 20))?;
    let mut uplink = network::bring_up(system, settings, &[], settings.timeouts)?;
    let now_ms = system.clock.now_ms();
    let identity = system.firmware.line(&links::list());
    let mut image = ImageFetch {
        system,
        settings,
        engine,
        masters,
        identity,
        room_bytes,
        began_ms: now_ms,
        moved_ms: now_ms,
        most_bytes: 0,
        turns: Turns::default(),
    };
    loop {
        match image.tries(&mut uplink) {
            Ok(fetched) => return Ok((fetched, uplink)),
            Err(TriesEnd::Failed(reason)) => return Err(reason),
            Err(TriesEnd::LeaseLost(reason)) => {
                log::warn!("{reason}; setting up the network again");
                uplink.take_down(&mut image.system.netlink);
                uplink = network::bring_up(image.system, settings, &[], settings.timeouts)?;
            }
            Err(TriesEnd::NextLink(reason)) => {
                log::warn!("{}: {reason}; it is another interface's turn", uplink.link.label());
                uplink.take_down(&mut image.system.netlink);
                uplink = image.next_uplink()?;
            }
        }
    }
}

/// Why the tries behind one interface end.
enum TriesEnd {
    LeaseLost(String),
    NextLink(String),
    Failed(String),
}

impl ImageFetch<'_> {
    /// Tries on one interface, until something comes or another has its turn.
    fn tries(&mut self, uplink: &mut Uplink) -> Result<Fetched, TriesEnd> {
        loop {
            let FetchError { status, text: reason } = match self.try_once(uplink) {
                Ok(fetched) => return Ok(fetched),
                Err(error) => error,
            };
            let now_ms = self.system.clock.now_ms();
            let retry = failure::retry(status);
            if retry == Retry::Never {
                return Err(TriesEnd::Failed(self.with_advice(status, reason)));
            }
            self.check_deadlines(now_ms, &reason)?;
            if retry == Retry::Network {
                return Err(TriesEnd::LeaseLost(reason));
            }
            if status == Status::Source {
                self.turns.answered(uplink.link.index);
            }
            let usable = self.usable();
            let Some(round) = self.turns.failed(uplink.link.index, &usable) else {
                return Err(TriesEnd::NextLink(reason));
            };
            let random = self.system.seed.rotate_left(round.wrapping_mul(7)) ^ now_ms;
            let pause_ms = failure::pause_ms(retry, round, random);
            log::warn!("{reason}; again in {}.{} s", pause_ms / 1000, pause_ms / 100 % 10);
            if matches!(retry, Retry::Poll) {
                log::info!("this node is {}", self.identity);
            }
            self.pause(pause_ms, uplink)?;
        }
    }

    fn try_once(&mut self, uplink: &mut Uplink) -> Result<Fetched, FetchError> {
        let wanted = &self.settings.image;
        let named = if wanted.masters.is_empty() { &uplink.masters } else { &wanted.masters };
        *self.masters = resolve(named, uplink.link.index)?;
        let names: Vec<String> = self.masters.iter().map(SocketAddr::to_string).collect();
        log::info!("fetching {} from {}", wanted.path, names.join(", "));
        // Where nobody ever answered and others wait, each address is tried once.
        let index = uplink.link.index;
        let is_short = self.turns.is_short(index, &self.usable());
        let retries = if is_short { self.masters.len() as u32 - 1 } else { RETRIES };
        let request = self.task(retries);
        let (turns, mut is_silent) = (&mut self.turns, false);
        let system = &mut *self.system;
        let began_ms = system.clock.now_ms();
        let mut pace = Pace::new(began_ms, self.most_bytes);
        let (phase_ms, limit_ms) = (self.began_ms, self.settings.timeouts.fetch_ms);
        let result = self.engine.fetch(request, &mut |progress| {
            let now_ms = system.clock.now_ms();
            if let Some(line) = pace.note(now_ms, progress) {
                log::info!("{line}");
            }
            system.tick(uplink, now_ms)?;
            if progress.is_answered {
                turns.answered(index);
            } else if is_short && now_ms > began_ms + TURN_MS {
                is_silent = true;
                return ControlFlow::Break(format!(
                    "no master answered within {} s",
                    TURN_MS / 1000
                ));
            }
            match limit_ms.is_some_and(|limit_ms| now_ms > phase_ms + limit_ms) {
                true => ControlFlow::Break("xget.timeout.fetch is over".into()),
                false => ControlFlow::Continue(()),
            }
        });
        if pace.moved_ms > began_ms {
            self.moved_ms = pace.moved_ms;
            self.most_bytes = pace.most_bytes;
            self.turns.moved();
        }
        if let Ok(fetched) = &result {
            say_fetched(fetched, self.system.clock.now_ms() - began_ms);
        }
        // The hook's break, but not the end of the lease.
        result.map_err(|error| match is_silent {
            true => FetchError { status: Status::Connection, ..error },
            false => error,
        })
    }

    fn task(&self, retries: u32) -> FetchTask {
        let wanted = &self.settings.image;
        let request = FetchRequest {
            sources: vec![format!("{}/.", wanted.path).into_bytes()],
            pin: wanted.digest.map(Pin::Blake3),
            retries,
            // How long is said by `Engine::linger`, when the time has come.
            linger: Linger::Millis(u64::MAX),
            greeting: Some(self.identity.clone()),
        };
        FetchTask {
            // Into memory, and for this boot alone.
            sync: false,
            policy: Policy::default(),
            limits: Limits::of_client(None, None),
            masters: self.masters.clone(),
            request,
            dest: setup::IMAGE.into(),
            keep_root_attributes: false,
            keep_attributes: false,
            space_bytes_max: Some(self.room_bytes),
        }
    }

    fn check_deadlines(&self, now_ms: u64, reason: &str) -> Result<(), TriesEnd> {
        let timeouts = &self.settings.timeouts;
        let over = |since_ms: u64, limit_ms: Option<u64>| {
            limit_ms.filter(|limit_ms| now_ms >= since_ms + limit_ms)
        };
        if let Some(limit_ms) = over(self.moved_ms, timeouts.master_ms) {
            return Err(TriesEnd::Failed(format!("{reason} (for {} s)", limit_ms / 1000)));
        }
        if let Some(limit_ms) = over(self.began_ms, timeouts.fetch_ms) {
            return Err(TriesEnd::Failed(format!(
                "{reason} (not done after {} s)",
                limit_ms / 1000
            )));
        }
        Ok(())
    }

    /// Interfaces that may be used and have a carrier.
    fn usable(&self) -> Vec<u32> {
        let rule = |link: &Link| links::rule_for(link, &self.settings.network);
        let mut links = links::list();
        links.retain(|link| {
            rule(link).is_some_and(|(rule, _)| rule.method != Method::Off) && link.has_carrier()
        });
        links.iter().map(|link| link.index).collect()
    }

    /// The next interface with an address; where none of the others gets one
    /// soon, the first one that does, with all of its time.
    fn next_uplink(&mut self) -> Result<Uplink, String> {
        let patient = self.settings.timeouts;
        let turn = Some(TURN_MS);
        let hasty = Timeouts { nic_ms: turn, carrier_ms: turn, dhcp_ms: turn, ..patient };
        network::bring_up(self.system, self.settings, self.turns.had(), hasty).or_else(|reason| {
            log::warn!("{reason}");
            // Who gets the address now is the last of this round.
            self.turns.nobody_else(&self.usable());
            network::bring_up(self.system, self.settings, &[], patient)
        })
    }

    /// What can be done about it, where that is known here.
    fn with_advice(&self, status: Status, reason: String) -> String {
        if status != Status::NoSpace {
            return reason;
        }
        format!(
            "{reason}: an image may weigh a third of the memory that is available, since it is \
             there three times while it is loaded. Give the machine more memory, make the \
             image smaller, or set xget.tmpfs.size= (now {} MiB)",
            self.room_bytes >> 20
        )
    }

    fn pause(&mut self, pause_ms: u64, uplink: &mut Uplink) -> Result<(), TriesEnd> {
        let mut said_ms = self.system.clock.now_ms();
        let end_ms = said_ms + pause_ms;
        loop {
            let now_ms = self.system.clock.now_ms();
            if let ControlFlow::Break(reason) = self.system.tick(uplink, now_ms) {
                return Err(TriesEnd::LeaseLost(reason));
            }
            if now_ms >= end_ms {
                return Ok(());
            }
            if now_ms >= said_ms + REMINDER_MS {
                said_ms = now_ms;
                log::info!("trying again in {} s", (end_ms - now_ms) / 1000);
            }
            thread::sleep(Duration::from_millis(SLEEP_MS.min(end_ms - now_ms)));
        }
    }
}

fn say_fetched(fetched: &Fetched, took_ms: u64) {
    log::info!(
        "fetched {} files, {} MiB in {}.{} s, digest blake3:{}",
        fetched.files,
        fetched.bytes >> 20,
        took_ms / 1000,
        took_ms / 100 % 10,
        fetched.digest
    );
}

/// Names to addresses. A name that is not found is only a warning while
/// another is.
fn resolve(masters: &[Host], link_index: u32) -> Result<Vec<SocketAddr>, FetchError> {
    let mut found: Vec<SocketAddr> = Vec::new();
    let mut wrong = Vec::new();
    for master in masters {
        match driver::resolve(master) {
            Ok(addresses) => {
                for address in addresses.into_iter().map(|address| scoped(address, link_index)) {
                    if !found.contains(&address) {
                        found.push(address);
                    }
                }
            }
            Err(why) => wrong.push(why),
        }
    }
    if found.is_empty() {
        let text = if masters.is_empty() {
            "no master is known: neither xget.master= nor DHCP names one".to_string()
        } else {
            wrong.join("; ")
        };
        return Err(FetchError { status: Status::Connection, text });
    }
    wrong.iter().for_each(|why| log::warn!("{why}"));
    Ok(found)
}

/// A link-local address means nothing without its link.
fn scoped(address: SocketAddr, link_index: u32) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() && v6.scope_id() == 0 => {
            SocketAddr::V6(SocketAddrV6::new(*v6.ip(), v6.port(), 0, link_index))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(done_bytes: u64, total_bytes: u64) -> FetchProgress {
        FetchProgress { done_bytes, total_bytes, is_answered: true }
    }

    #[test]
    fn lines_about_progress() {
        assert_eq!(progress_line(progress(5 << 20, 0), 0), "fetching: 5 MiB");
        assert_eq!(
            progress_line(progress(5 << 20, 10 << 20), 0),
            "fetching: 5 of 10 MiB, 50 %, stalled"
        );
        assert_eq!(
            progress_line(progress(100 << 20, 400 << 20), 100 << 20),
            "fetching: 100 of 400 MiB, 25 %, 100 MiB/s, 3 s to go"
        );
    }

    #[test]
    fn the_pace_is_said_now_and_then_and_movement_noticed() {
        let mut pace = Pace::new(1000, 0);
        assert_eq!(pace.note(2000, progress(1 << 20, 100 << 20)), None);
        assert_eq!(pace.moved_ms, 2000);
        let line = pace.note(6000, progress(10 << 20, 100 << 20)).unwrap();
        assert!(line.contains("2 MiB/s"), "{line}");
        let line = pace.note(11_000, progress(10 << 20, 100 << 20)).unwrap();
        assert!(line.contains("stalled"), "{line}");
        assert_eq!(pace.moved_ms, 6000);
        // The next try finds what is there: no movement, until there is more.
        let mut pace = Pace::new(12_000, pace.most_bytes);
        assert_eq!(pace.note(12_500, progress(10 << 20, 100 << 20)), None);
        assert_eq!(pace.moved_ms, 12_000);
        assert_eq!(pace.note(13_000, progress(11 << 20, 100 << 20)), None);
        assert_eq!(pace.moved_ms, 13_000);
    }

    #[test]
    fn masters_by_address_and_the_link_of_a_local_one() {
        let master = |ip: &str| Host::Addr(SocketAddr::new(ip.parse().unwrap(), 7));
        let found =
            resolve(&[master("10.0.0.1"), master("fe80::1"), master("10.0.0.1")], 3).unwrap();
        assert_eq!(found.len(), 2);
        let SocketAddr::V6(local) = found[1] else { panic!("{found:?}") };
        assert_eq!((local.scope_id(), local.port()), (3, 7));
        let FetchError { status, text } = resolve(&[], 3).unwrap_err();
        assert_eq!(status, Status::Connection);
        assert!(text.contains("xget.master="), "{text}");
    }
}
