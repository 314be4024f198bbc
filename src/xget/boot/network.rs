//! From interfaces to an address: all candidates at once, the first wins.
//!
//! Acts on news: uevents for new interfaces, rtnetlink for carriers, packets
//! for leases; and on deadlines, each with its own words. What an address
//! means is `uplink`'s.

use super::datagram;
use super::dhcp::{CLIENT_PORT, DhcpClient, DhcpEffect, Family, SERVER_PORT};
use super::ipconfig::{IpRule, Method};
use super::ipv6::Attempt6;
use super::links::{self, Link};
use super::settings::{Settings, Timeouts};
use super::system::System;
use super::uplink::{self, Found, Renewal, Uplink};
use crate::driver::Host;
use crate::os::netif::LinkNews;
use crate::os::packet::{DATAGRAM_LEN_MAX, PacketSocket};
use crate::os::poll::{Poll, READABLE};
use std::net::Ipv4Addr;

/// A line about what is waited for.
const LINE_MS: u64 = 5_000;
/// Longest sleep: interfaces and carriers are looked at that often anyway.
const SLEEP_MS: u64 = 1_000;
const READS_MAX: usize = 64;
/// Neither a device without a driver nor anything that failed.
const NO_HINT: &str = "every network device on PCI has a driver, if there is any (a card that is \
    switched off, or on a bus without a driver here? ip= or bootdev= that name another?)";
/// Where nobody has said that the master has an IPv6 address, IPv4 has so long
/// from the first carrier on.
const IPV4_FIRST_MS: u64 = 5_000;

enum AttemptStage {
    NoCarrier,
    Asking {
        client: Box<DhcpClient>,
        socket: PacketSocket,
    },
    Ipv6(Attempt6),
    /// There is an address; one of IPv6 may have to wait until it counts.
    Found(Found),
    /// It cannot be used; said once.
    Broken,
}

/// One interface on its way to an address of one family.
struct Attempt {
    link: Link,
    rule: IpRule,
    /// IPv6 beside IPv4: it counts only where a master is known by it.
    is_spare: bool,
    start_ms: u64,
    stage: AttemptStage,
}

/// The phase that did not come to an end in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Overdue {
    Interface,
    Carrier,
    Address,
}

/// When each phase began: the next one does with the first interface that gets
/// so far.
struct Phases {
    began_ms: u64,
    nic_ms: Option<u64>,
    carrier_ms: Option<u64>,
}

impl Phases {
    #[inline(never)]
    fn overdue(&self, now_ms: u64, timeouts: &Timeouts) -> Option<Overdue> {
        let (phase, since_ms, limit_ms) = match (self.nic_ms, self.carrier_ms) {
            (None, _) => (Overdue::Interface, self.began_ms, timeouts.nic_ms),
            (Some(nic_ms), None) => (Overdue::Carrier, nic_ms, timeouts.carrier_ms),
            (_, Some(carrier_ms)) => (Overdue::Address, carrier_ms, timeouts.dhcp_ms),
        };
        (now_ms >= since_ms + limit_ms?).then_some(phase)
    }
}

struct Network<'a> {
    system: &'a mut System,
    settings: &'a Settings,
    /// Interfaces behind which no master was found before.
    excluded: &'a [u32],
    timeouts: Timeouts,
    attempts: Vec<Attempt>,
    /// Which of the links to be named or made are no more to be done.
    stacked: Vec<usize>,
    /// The index of every interface that was looked at, to act once.
    seen: Vec<u32>,
    phases: Phases,
    said_ms: u64,
}

/// Waits for an address, of an interface that is not excluded. The error is
/// the phase that did not come to an end.
pub fn bring_up(
    system: &mut System,
    settings: &Settings,
    excluded: &[u32],
    timeouts: Timeouts,
) -> Result<Uplink, String> {
    if settings.network.ip.iter().all(|rule| rule.method == Method::Off) {
        return Err("the command line says ip=off, so there is no network to fetch by".into());
    }
    let now_ms = system.clock.now_ms();
    let mut network = Network {
        system,
        settings,
        excluded,
        timeouts,
        attempts: Vec::new(),
        stacked: Vec::new(),
        seen: Vec::new(),
        phases: Phases { began_ms: now_ms, nic_ms: None, carrier_ms: None },
        said_ms: now_ms,
    };
    network.run()
}

impl Network<'_> {
    fn run(&mut self) -> Result<Uplink, String> {
        let news = LinkNews::open().map_err(|error| format!("cannot listen to links: {error}"))?;
        loop {
            self.system.chores();
            self.look_for_links();
            let now_ms = self.system.clock.now_ms();
            for at in 0..self.attempts.len() {
                match self.advance(at, now_ms) {
                    Ok(Some(uplink)) => return Ok(uplink),
                    Ok(None) => {}
                    Err(reason) => {
                        log::warn!("{}", reason);
                        self.attempts[at].stage = AttemptStage::Broken;
                    }
                }
            }
            if let Some(reason) = self.overdue(now_ms) {
                return Err(reason);
            }
            self.say(now_ms);
            self.sleep(now_ms, &news);
        }
    }

    /// New interfaces are set up; they have to be up to show a carrier.
    #[inline(never)]
    fn look_for_links(&mut self) {
        let System { netlink, drivers, .. } = &mut *self.system;
        self.settings.network.stacked.make(&mut self.stacked, netlink, drivers);
        let links = links::list();
        let now_ms = self.system.clock.now_ms();
        // Nobody waits for BOOTIF that is not there, or had its turn.
        let alone =
            !self.excluded.is_empty() || links::bootif_is_missing(&links, &self.settings.network);
        for link in links {
            if self.seen.contains(&link.index) {
                continue;
            }
            self.seen.push(link.index);
            let Some((rule, wait_ms)) = links::rule_for(&link, &self.settings.network) else {
                log::info!("{}: not to be used", link.label());
                continue;
            };
            if rule.method == Method::Off || self.excluded.contains(&link.index) {
                continue;
            }
            if let Err(error) = self.system.netlink.set_link(link.index, true) {
                log::warn!("{}: cannot be brought up: {error}", link.label());
                continue;
            }
            log::info!("{}: up, waiting for a carrier", link.label());
            let wait_ms = if alone { 0 } else { wait_ms };
            let start_ms = self.phases.began_ms + wait_ms;
            let stage = AttemptStage::NoCarrier;
            self.attempts.push(Attempt { link, rule, is_spare: false, start_ms, stage });
            self.phases.nic_ms.get_or_insert(now_ms);
        }
    }

    #[inline(never)]
    fn advance(&mut self, at: usize, now_ms: u64) -> Result<Option<Uplink>, String> {
        let Attempt { link, rule, start_ms, stage, .. } = &mut self.attempts[at];
        match stage {
            AttemptStage::NoCarrier => {
                if now_ms < *start_ms || !link.has_carrier() {
                    return Ok(None);
                }
                self.phases.carrier_ms.get_or_insert(now_ms);
                self.begin(at, now_ms)?;
            }
            AttemptStage::Asking { .. } => self.ask(at, now_ms),
            AttemptStage::Ipv6(attempt) => {
                if let Some(found) = attempt.advance(link, rule.method, self.system, now_ms)? {
                    *stage = AttemptStage::Found(found);
                }
            }
            AttemptStage::Found(_) | AttemptStage::Broken => {}
        }
        self.take(at, now_ms)
    }

    #[inline(never)]
    fn begin(&mut self, at: usize, now_ms: u64) -> Result<(), String> {
        let Attempt { link, rule, stage, .. } = &mut self.attempts[at];
        let system = &mut *self.system;
        *stage = match rule.method {
            Method::Static => {
                let lease = uplink::static_lease(rule).ok_or("ip= has no address")?;
                if lease.address.is_ipv4() {
                    AttemptStage::Found(Found { lease, renewal: Renewal::None })
                } else {
                    uplink::give(link, &lease, &mut system.netlink)?;
                    AttemptStage::Ipv6(Attempt6::new(Some(lease)))
                }
            }
            Method::Auto6 | Method::Dhcp6 | Method::Link6 => {
                AttemptStage::Ipv6(Attempt6::new(None))
            }
            Method::Any | Method::Dhcp => {
                let socket = PacketSocket::open(link.index, &link.broadcast, CLIENT_PORT)
                    .map_err(|error| format!("{}: no socket for DHCP: {error}", link.label()))?;
                let identity = system.firmware.dhcp(link);
                let seed = system.seed ^ u64::from(link.index);
                let client = Box::new(DhcpClient::new(Family::V4, identity, seed, now_ms));
                log::info!("{}: carrier; asking for an address", link.label());
                *stage = AttemptStage::Asking { client, socket };
                self.begin_spare(at);
                return Ok(());
            }
            Method::Off => AttemptStage::Broken,
        };
        Ok(())
    }

    /// An IPv6 network must not wait for IPv4.
    fn begin_spare(&mut self, at: usize) {
        let Attempt { link, rule, start_ms, .. } = &self.attempts[at];
        if rule.method == Method::Any || self.masters().any(|by_ipv6| by_ipv6 == Some(true)) {
            let rule = IpRule { method: Method::Auto6, ..rule.clone() };
            let stage = AttemptStage::Ipv6(Attempt6::new(None));
            let (link, start_ms) = (link.clone(), *start_ms);
            self.attempts.push(Attempt { link, rule, is_spare: true, start_ms, stage });
        }
    }

    /// Of the masters of the command line whether they have an IPv6 address, where
    /// that can be seen.
    fn masters(&self) -> impl Iterator<Item = Option<bool>> {
        self.settings.image.masters.iter().map(|master| match master {
            Host::Addr(addr) => Some(addr.is_ipv6()),
            Host::Name(..) => None,
        })
    }

    /// Whether an IPv6 address beside IPv4 is of use by now.
    fn counts(&self, found: &Found, now_ms: u64) -> bool {
        let is_late =
            self.phases.carrier_ms.is_some_and(|since_ms| now_ms >= since_ms + IPV4_FIRST_MS);
        let is_named = match self.settings.image.masters.is_empty() {
            true => found.lease.master.is_some() || !found.lease.master_guesses.is_empty(),
            false => self.masters().any(|by_ipv6| by_ipv6.is_none()),
        };
        is_late && is_named || self.masters().any(|by_ipv6| by_ipv6 == Some(true))
    }

    /// Takes the address that was found, if it counts.
    #[inline(never)]
    fn take(&mut self, at: usize, now_ms: u64) -> Result<Option<Uplink>, String> {
        let Attempt { is_spare, stage, .. } = &self.attempts[at];
        let AttemptStage::Found(found) = stage else { return Ok(None) };
        if *is_spare && !self.counts(found, now_ms) {
            return Ok(None);
        }
        let Attempt { link, rule, stage, .. } = &mut self.attempts[at];
        let AttemptStage::Found(found) = std::mem::replace(stage, AttemptStage::Broken) else {
            return Ok(None);
        };
        Uplink::new(link, rule, self.settings, &mut self.system.netlink, found).map(Some)
    }

    #[inline(never)]
    fn ask(&mut self, at: usize, now_ms: u64) {
        let Attempt { link, stage, .. } = &mut self.attempts[at];
        let AttemptStage::Asking { client, socket } = stage else { return };
        let mut effects: Vec<DhcpEffect> = client.tick(now_ms).into_iter().collect();
        let mut buffer = [0; DATAGRAM_LEN_MAX];
        for _ in 0..READS_MAX {
            let Some(len) = socket.receive(&mut buffer) else { break };
            if let Some(payload) = datagram::payload(&buffer[..len], CLIENT_PORT) {
                let nobody = Ipv4Addr::UNSPECIFIED.into();
                effects.extend(client.receive(now_ms, nobody, payload));
            }
        }
        let mut bound = None;
        for effect in effects {
            match effect {
                DhcpEffect::Broadcast(bytes) => {
                    let packet = datagram::broadcast(CLIENT_PORT, SERVER_PORT, &bytes);
                    if let Err(error) = socket.broadcast(&packet) {
                        log::debug!("{}: cannot send: {error}", link.name);
                    }
                }
                DhcpEffect::Bound(lease) => bound = Some(lease),
                _ => {}
            }
        }
        if let Some(lease) = bound
            && let AttemptStage::Asking { client, .. } =
                std::mem::replace(stage, AttemptStage::Broken)
        {
            let renewal = Renewal::of_ipv4(client, &lease);
            *stage = AttemptStage::Found(Found { lease, renewal });
        }
    }

    #[inline(never)]
    fn overdue(&self, now_ms: u64) -> Option<String> {
        Some(match self.phases.overdue(now_ms, &self.timeouts)? {
            Overdue::Interface => {
                let mut hints = self.system.drivers.hints();
                if hints.is_empty() {
                    hints.push(NO_HINT.into());
                }
                format!("no usable network interface: {}", hints.join("; "))
            }
            Overdue::Carrier => {
                format!("no carrier on {}: cable, switch port or driver?", self.names())
            }
            Overdue::Address => format!("no address: {}", self.describe(now_ms)),
        })
    }

    fn names(&self) -> String {
        let names: Vec<String> = self.attempts.iter().map(|attempt| attempt.link.label()).collect();
        names.join(", ")
    }

    /// One clause an interface.
    fn describe(&self, now_ms: u64) -> String {
        let clauses = self.attempts.iter().map(|attempt| {
            let name = &attempt.link.name;
            match &attempt.stage {
                AttemptStage::NoCarrier if now_ms < attempt.start_ms => {
                    format!("{name} lets BOOTIF go first")
                }
                AttemptStage::NoCarrier => format!("{name} has no carrier"),
                AttemptStage::Asking { client, .. } => {
                    format!("{name} asked DHCP {} times without success", client.sends())
                }
                AttemptStage::Ipv6(attempt) => match attempt.sends() {
                    Some(sends) => format!("{name} asked DHCPv6 {sends} times without success"),
                    None => format!("{name} hears no IPv6 router"),
                },
                AttemptStage::Found(_) => {
                    format!("{name} has an IPv6 address, and no master is known by IPv6")
                }
                AttemptStage::Broken => format!("{name} cannot be used"),
            }
        });
        clauses.collect::<Vec<String>>().join(", ")
    }

    #[inline(never)]
    fn say(&mut self, now_ms: u64) {
        if now_ms < self.said_ms + LINE_MS {
            return;
        }
        self.said_ms = now_ms;
        let since_s = (now_ms - self.phases.began_ms) / 1000;
        if self.attempts.is_empty() {
            log::info!("waiting for a network interface ({since_s} s)");
            if since_s < 10 {
                self.system.drivers.hints().iter().for_each(|said| log::warn!("{said}"));
            }
        } else {
            log::info!("waiting for the network ({since_s} s): {}", self.describe(now_ms));
        }
    }

    #[inline(never)]
    fn sleep(&mut self, now_ms: u64, news: &LinkNews) {
        let mut sleep_ms = SLEEP_MS;
        let mut poll = Poll::default();
        poll.add(news, READABLE);
        if let Some(uevents) = &self.system.uevents {
            poll.add(uevents, READABLE);
        }
        for attempt in &self.attempts {
            let due_ms = match &attempt.stage {
                AttemptStage::Asking { client, socket } => {
                    poll.add(socket, READABLE);
                    client.due_ms()
                }
                AttemptStage::Ipv6(attempt) => attempt.await_packets(&mut poll),
                _ => continue,
            };
            sleep_ms = sleep_ms.min(due_ms.saturating_sub(now_ms));
        }
        // Whatever woke us, everything is looked at.
        let _ = poll.wait(sleep_ms.max(1));
        while let Some(word) = news.next() {
            self.system.routers.hear(word);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_phase_has_its_own_time() {
        let timeouts = Timeouts {
            nic_ms: Some(10),
            carrier_ms: Some(20),
            dhcp_ms: Some(30),
            ..Timeouts::DEFAULT
        };
        let mut phases = Phases { began_ms: 100, nic_ms: None, carrier_ms: None };
        assert_eq!(phases.overdue(109, &timeouts), None);
        assert_eq!(phases.overdue(110, &timeouts), Some(Overdue::Interface));
        phases.nic_ms = Some(105);
        assert_eq!(phases.overdue(124, &timeouts), None);
        assert_eq!(phases.overdue(125, &timeouts), Some(Overdue::Carrier));
        phases.carrier_ms = Some(120);
        assert_eq!(phases.overdue(149, &timeouts), None);
        assert_eq!(phases.overdue(150, &timeouts), Some(Overdue::Address));
        let patient = Timeouts { dhcp_ms: None, ..timeouts };
        assert_eq!(phases.overdue(u64::MAX, &patient), None);
    }
}
