//! The fetch phase: masters by name, tries, pauses, and the lease kept alive.
//!
//! The transfer is `engine`'s; when to try again is `failure`'s.

use super::cmdline::Cmdline;
use super::engine::{Engine, Fetched, Judge};
use super::failure::{self, FetchError, Retry};
use super::ipconfig::Method;
use super::links::Link;
use super::pace::Pace;
use super::settings::{ImageSettings, Settings, Timeouts};
use super::system::System;
use super::turns::Turns;
use super::uplink::Uplink;
use super::{discovery, links, network};
use crate::driver::{self, FetchTask, Host};
use crate::store::writer::{Policy, Purpose};
use peer::alone::Head;
use peer::auth::Key;
use peer::content::digest::Digest;
use peer::control::{NodeAnswer, NodeMessage, NodeQuestion, NodeStage, printable};
use peer::discovery::Found;
use peer::failure::Status;
use peer::namespace::Content;
use peer::request::{FetchRequest, Linger, Masters, Pin, Trust};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;
use zeroize::Zeroizing;

/// Tries of the master within one fetch; this phase itself tries for longer.
const RETRIES: u32 = 5;
/// What a turn may take of one interface of several: to an address, and from
/// there to the first word of a master.
const TURN_MS: u64 = 10_000;
const TURN_IS_OVER: &str = "no master answered within 10 s";
const SLEEP_MS: u64 = 250;
/// What a master may take to say what this node is, and to hear how far it is.
const ASK_TIME_MAX: Duration = Duration::from_secs(8);
const SAY_TIME_MAX: Duration = Duration::from_secs(2);
/// What Linux calls a machine that nobody gave a name.
const NAMELESS: [&str; 2] = ["(none)", "localhost"];
/// Nobody waits silently, not even for the next try.
const REMINDER_MS: u64 = 30_000;

/// What is to be fetched, and where it goes.
pub struct Errand<'a> {
    /// For people.
    pub name: &'a str,
    pub sources: Vec<Vec<u8>>,
    /// What the manifest's digest must be.
    pub pin: Option<Digest>,
    pub dest: &'a str,
    /// It gets the modes and owners of the source.
    pub keep_attributes: bool,
    /// It goes over something else: directories that are there stay as they are.
    pub is_layer: bool,
    /// What becomes of what is there.
    pub purpose: Purpose,
    /// What came has to fit into so much, whatever is free.
    pub room_bytes: Option<u64>,
    /// A directory that may have pieces of it.
    pub copies: Option<PathBuf>,
    /// Of a root: what has been started before it ([`Trust::started`]).
    pub started: Option<&'a str>,
}

/// All transfers of one boot: what is carried from try to try, and from one to the next.
// fields: the boot's own, and one for each thing that is carried
pub struct Transfers<'a> {
    pub system: &'a mut System,
    pub settings: Settings,
    pub engine: &'a mut Engine,
    pub uplink: Uplink,
    /// The masters that were tried last.
    masters: &'a mut Masters,
    /// Who answered on the network, where it was asked.
    found: Found,
    /// Who of them answered last.
    master: Option<SocketAddr>,
    /// Who this node is, for the operator.
    identity: String,
    began_ms: u64,
    /// When bytes last came, or the phase began; the most that a try of the last fetch came to.
    moved_ms: u64,
    pub most_bytes: u64,
    turns: Turns,
    /// The master said what this node is, and can be asked again.
    is_known: bool,
}

impl<'a> Transfers<'a> {
    /// Brings the network up.
    #[inline(never)]
    pub fn begin(
        system: &'a mut System,
        settings: Settings,
        engine: &'a mut Engine,
        masters: &'a mut Masters,
    ) -> Result<Transfers<'a>, String> {
        let uplink = network::bring_up(system, &settings, &[], settings.timeouts)?;
        let now_ms = system.clock.now_ms();
        let identity = system.firmware.line(&links::list());
        Ok(Transfers {
            system,
            settings,
            engine,
            uplink,
            masters,
            found: Found::default(),
            master: None,
            identity,
            began_ms: now_ms,
            moved_ms: now_ms,
            most_bytes: 0,
            turns: Turns::default(),
            is_known: false,
        })
    }

    /// Asks the master what this node is, and waits politely until it is something.
    /// None: the master knows no nodes.
    pub fn ask(&mut self, line: &Cmdline) -> Result<Option<NodeAnswer>, FetchError> {
        let mut answer = None;
        // What another master said is not in force any more.
        self.obey(Settings::of(line));
        let is_named = line.has("xget.image");
        // It is a pause and a look, as often as it takes.
        self.is_known = false;
        self.persist(&mut |transfers| {
            answer = transfers.ask_known(is_named)?;
            Ok(())
        })?;
        self.is_known = answer.is_some();
        Ok(answer)
    }

    /// These are in force from now on.
    #[inline(never)]
    pub fn obey(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Where nobody answers whom somebody named for sure, the network is asked.
    #[inline(never)]
    fn searching(&mut self, attempt: &mut Attempt<'a, '_>) -> Result<(), FetchError> {
        let error = match attempt(self) {
            Err(error) if error.status == Status::Connection && self.may_search() => error,
            result => return result,
        };
        // Others that answered are next; where none is left, somebody may be named by now, and
        // the network is asked again.
        if !self.found.masters.is_empty() {
            self.found.drop_all(self.masters);
            return Err(error);
        }
        let Transfers { system, uplink, settings, .. } = self;
        let (index, label) = (uplink.link.index, uplink.link.label());
        // What is pinned or signed not all may have, and who answered before was of no use.
        let pin = settings.image.digest.or(settings.root.digest);
        let is_bound = pin.is_some() || !settings.image.trust.keys.is_empty();
        let is_patient = self.master.is_some() || is_bound;
        self.found =
            discovery::find(&settings.image.path, is_patient, (index, &label), &mut || {
                let now_ms = system.clock.now_ms();
                system.tick(uplink, now_ms)
            })?;
        attempt(self)
    }

    /// Neither the command line names a master, nor does a lease.
    fn may_search(&self) -> bool {
        let ImageSettings { masters, is_searched, .. } = &self.settings.image;
        *is_searched && masters.is_empty() && !self.uplink.is_master_named
    }

    #[inline(never)]
    fn ask_known(&mut self, is_named: bool) -> Result<Option<NodeAnswer>, FetchError> {
        self.look_up_masters()?;
        let (mut reason, key) = (String::new(), self.settings.key.clone());
        let image = is_named.then(|| self.settings.image.path.clone());
        let question = NodeQuestion { image, ..self.who() };
        let question = NodeMessage::Question(question).line();
        let is_short = self.turns.is_short(self.uplink.link.index, &self.usable());
        let began_ms = self.system.clock.now_ms();
        for master in self.masters.addrs() {
            // Each of them may take its time, and the lease does not wait.
            let now_ms = self.system.clock.now_ms();
            if is_short && now_ms > began_ms + TURN_MS {
                break;
            }
            if let ControlFlow::Break(text) = self.system.tick(&mut self.uplink, now_ms) {
                return Err(FetchError::interrupted(text));
            }
            let text = match driver::ask_node(master, key.as_ref(), &question, ASK_TIME_MAX) {
                Ok(text) => Some(text),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => {
                    reason = format!("cannot ask {master} what this node is: {error}");
                    continue;
                }
            };
            // It is the first that is fetched from, and dropped where it is of no use.
            self.found.put_first(master);
            let Some(text) = text else { return Ok(None) };
            // Whoever has to wait for an operator hears from the master all the time.
            self.moved_ms = self.system.clock.now_ms();
            self.master = Some(master);
            self.turns.answered(self.uplink.link.index);
            let answer = NodeAnswer::parse(&text).ok_or_else(|| {
                FetchError::source(format!("{master} gives no answer that can be read"))
            })?;
            return match &answer.refusal {
                Some(refusal) => Err(FetchError::source(refusal.reason().to_string())),
                None => Ok(Some(answer)),
            };
        }
        Err(FetchError::unreachable(reason))
    }

    /// For the master's table of nodes; with the name that the network gave.
    fn who(&self) -> NodeQuestion {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let mut question = self.system.firmware.question(&links::list());
        if !NAMELESS.contains(&host.trim()) {
            question.add_host(host.trim());
        }
        question
    }

    /// Whether another who answered on the network is asked from now on, since what came of
    /// this one ended so.
    pub fn has_another(&mut self, status: Status) -> bool {
        discovery::has_another(&mut self.found, status)
    }

    /// Whether the master can be asked again.
    pub fn is_known(&self) -> bool {
        self.is_known
    }

    /// Who answered.
    pub fn master(&self) -> Option<SocketAddr> {
        self.master
    }

    /// Tells the master how far this node is, where it wants to know; best effort.
    pub fn say(&mut self, stage: NodeStage, words: &str) {
        let Some(master) = self.master.filter(|_| self.is_known) else { return };
        let who = NodeMessage::Question(self.who());
        let lines = who.line() + &NodeMessage::State(stage, printable(words)).line();
        if let Err(error) =
            driver::ask_node(master, self.settings.key.as_ref(), &lines, SAY_TIME_MAX)
        {
            log::debug!("{master} does not hear how far this node is: {error}");
        }
    }

    /// Waits before round number `round` of the boot, and is there with an address when
    /// it begins.
    pub fn wait(&mut self, retry: Retry, round: u32) -> Result<(), FetchError> {
        let now_ms = self.system.clock.now_ms();
        let end_ms = now_ms + failure::pause_ms(retry, round, self.system.seed ^ now_ms);
        self.persist(&mut |transfers| transfers.pause(end_ms))
    }

    /// Fetches, however many tries it takes within the deadlines. `judge` sees what is to
    /// come before anything is written; what does not come as a whole is not begun.
    pub fn fetch(&mut self, errand: &Errand, judge: &mut Judge) -> Result<Fetched, FetchError> {
        let mut fetched = None;
        let judge = &mut |content: &Content, digest| {
            failure::unreadable(errand.name, &content.manifest).map_or(Ok(()), Err)?;
            judge(content, digest)
        };
        self.most_bytes = 0;
        self.persist(&mut |transfers| {
            fetched = Some(transfers.try_once(errand, judge)?);
            Ok(())
        })?;
        fetched.ok_or_else(|| FetchError::unreachable("nothing came".into()))
    }

    /// What is for this node alone, as it travels; of the masters in their order, the first that
    /// answers.
    pub fn fetch_alone(&mut self, key: &Key) -> Result<(Head, Zeroizing<Vec<u8>>), FetchError> {
        let mut found = (Head::None, Zeroizing::default());
        self.persist(&mut |transfers| {
            found = transfers.try_alone(key)?;
            Ok(())
        })?;
        self.moved_ms = self.system.clock.now_ms();
        Ok(found)
    }

    #[inline(never)]
    fn try_alone(&mut self, key: &Key) -> Result<(Head, Zeroizing<Vec<u8>>), FetchError> {
        self.look_up_masters()?;
        let (mut lost, mut reason) = (None, String::new());
        let (system, uplink) = (&mut *self.system, &mut self.uplink);
        // The lease does not wait, however long they take.
        let look = &mut || {
            let now_ms = system.clock.now_ms();
            lost = system.tick(uplink, now_ms).break_value();
            lost.is_none()
        };
        let mut wrong = None;
        for master in self.masters.addrs() {
            let why = match driver::ask_alone(master, key, ASK_TIME_MAX, look) {
                Ok((Head::Busy, _)) => "it is busy".to_string(),
                // Another may be able to.
                Ok(came @ (Head::Wrong, _)) => {
                    wrong = Some(came);
                    continue;
                }
                Ok(came) => return Ok(came),
                Err(why) if why.kind() == io::ErrorKind::Interrupted => break,
                Err(why) => why.to_string(),
            };
            reason = [&master.to_string(), " gives nothing for this node alone: ", &why].concat();
        }
        if let Some(came) = wrong.filter(|_| reason.is_empty() && lost.is_none()) {
            return Ok(came);
        }
        Err(lost.map_or(FetchError::unreachable(reason), FetchError::interrupted))
    }

    /// Tries until it succeeds, by whichever interface, or the error is final.
    fn persist(&mut self, attempt: &mut Attempt<'a, '_>) -> Result<(), FetchError> {
        loop {
            let is_next = match self.tries(attempt) {
                Ok(()) => return Ok(()),
                Err(TriesEnd::Failed(error)) => return Err(error),
                Err(TriesEnd::LeaseLost(reason)) => {
                    log::warn!("{reason}; setting up the network again");
                    false
                }
                Err(TriesEnd::NextLink(reason)) => {
                    let label = self.uplink.link.label();
                    log::warn!("{label}: {reason}; it is another interface's turn");
                    true
                }
            };
            // Whoever answered did so on that link.
            self.found = Found::default();
            self.uplink.take_down(&mut self.system.netlink);
            let uplink = match is_next {
                true => self.next_uplink(),
                false => {
                    let timeouts = self.settings.timeouts;
                    network::bring_up(self.system, &self.settings, &[], timeouts)
                }
            };
            self.uplink = uplink.map_err(FetchError::unreachable)?;
        }
    }

    /// Tries on one interface, until something comes or another has its turn.
    #[inline(never)]
    fn tries(&mut self, attempt: &mut Attempt<'a, '_>) -> Result<(), TriesEnd> {
        loop {
            let found = self.found.masters.len();
            let FetchError { status, text: reason } = match self.searching(attempt) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let now_ms = self.system.clock.now_ms();
            let retry = failure::retry(status);
            let has_others = (1..found).contains(&self.found.masters.len());
            // It does not know this node, or has nothing for it: another may, of those who answered
            // at once, else one that the network is asked for again, after a pause.
            if status == Status::Source && self.found.drop_first() {
                log::warn!("{reason}; the next who answered is asked");
                self.check_deadlines(now_ms, &reason)?;
                continue;
            }
            // Of what is not served the master may tell more than the transfer.
            if retry == Retry::Never || retry == Retry::Poll && self.is_known {
                return Err(TriesEnd::Failed(FetchError { status, text: reason }));
            }
            self.check_deadlines(now_ms, &reason)?;
            if retry == Retry::Network {
                return Err(TriesEnd::LeaseLost(reason));
            }
            let index = self.uplink.link.index;
            if status == Status::Source {
                self.turns.answered(index);
            }
            let usable = self.usable();
            let Some(round) = self.turns.failed(index, &usable) else {
                return Err(TriesEnd::NextLink(reason));
            };
            // Who was dropped is followed at once by the next that answered.
            let round = if has_others { 0 } else { round };
            let random = self.system.seed.rotate_left(round.wrapping_mul(7)) ^ now_ms;
            let pause_ms = failure::pause_ms(retry, round, random);
            log::warn!("{reason}; again in {}.{} s", pause_ms / 1000, pause_ms / 100 % 10);
            if matches!(retry, Retry::Poll) {
                log::info!("this node is {}", self.identity);
            }
            let paused = self.pause(now_ms + pause_ms);
            paused.map_err(|lost| TriesEnd::LeaseLost(lost.text))?;
        }
    }

    /// The masters as they are called now.
    fn look_up_masters(&mut self) -> Result<(), FetchError> {
        if let Some(masters) = self.found.of_first() {
            *self.masters = masters;
            return Ok(());
        }
        let asked = &self.settings.image.masters;
        let named = if asked.is_empty() { &self.uplink.masters } else { asked };
        *self.masters = resolve(named, self.uplink.link.index)?;
        Ok(())
    }

    #[inline(never)]
    fn try_once(&mut self, errand: &Errand, judge: &mut Judge) -> Result<Fetched, FetchError> {
        self.look_up_masters()?;
        let names: Vec<String> = self.masters.addrs().map(|addr| addr.to_string()).collect();
        log::info!("fetching {} from {}", errand.name, names.join(", "));
        // Where nobody ever answered and others wait, each address is tried once.
        let index = self.uplink.link.index;
        let is_short = self.turns.is_short(index, &self.usable());
        let retries = if is_short { self.masters.addrs_count() as u32 - 1 } else { RETRIES };
        let task = self.task(errand, retries);
        let (turns, mut is_silent) = (&mut self.turns, false);
        let (system, uplink) = (&mut *self.system, &mut self.uplink);
        let began_ms = system.clock.now_ms();
        let mut pace = Pace::new(began_ms, self.most_bytes);
        let (phase_ms, limit_ms) = (self.began_ms, self.settings.timeouts.fetch_ms);
        let result = self.engine.fetch(task, judge, &mut |progress| {
            let now_ms = system.clock.now_ms();
            if let Some(line) = pace.note(now_ms, progress) {
                log::info!("{line}");
            }
            system.tick(uplink, now_ms)?;
            if progress.is_answered {
                turns.answered(index);
            } else if is_short && now_ms > began_ms + TURN_MS {
                is_silent = true;
                return ControlFlow::Break(TURN_IS_OVER.into());
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
            self.master = Some(fetched.master);
            self.moved_ms = self.system.clock.now_ms();
            say_fetched(fetched, self.moved_ms - began_ms);
        }
        // The hook's break, but not the end of the lease.
        result.map_err(|error| match is_silent {
            true => FetchError { status: Status::Connection, ..error },
            false => error,
        })
    }

    #[inline(never)]
    fn task(&self, errand: &Errand, retries: u32) -> FetchTask {
        let request = FetchRequest {
            pin: errand.pin.map(Pin::Blake3),
            trust: Trust {
                started: errand.started.map(String::from),
                ..self.settings.image.trust.clone()
            },
            key: self.settings.key.clone(),
            retries,
            // How long is said by `Engine::linger`, when the time has come.
            linger: Linger::Millis(u64::MAX),
            greeting: Some(self.identity.clone()),
            ..FetchRequest::of(errand.sources.clone())
        };
        FetchTask {
            policy: Policy {
                purpose: errand.purpose,
                copies: errand.copies.clone(),
                ..Policy::default()
            },
            hold: true,
            keep_attributes: errand.keep_attributes,
            keep_root_attributes: errand.keep_attributes && !errand.is_layer,
            keep_dirs: errand.is_layer,
            space_bytes_max: errand.room_bytes,
            ..FetchTask::of(self.masters.clone(), request, errand.dest.into())
        }
    }

    fn check_deadlines(&self, now_ms: u64, reason: &str) -> Result<(), TriesEnd> {
        let timeouts = &self.settings.timeouts;
        for (since_ms, limit_ms, how) in [
            (self.moved_ms, timeouts.master_ms, "for"),
            (self.began_ms, timeouts.fetch_ms, "not done after"),
        ] {
            if let Some(limit_ms) = limit_ms.filter(|limit_ms| now_ms >= since_ms + limit_ms) {
                let text = format!("{reason} ({how} {} s)", limit_ms / 1000);
                return Err(TriesEnd::Failed(FetchError::unreachable(text)));
            }
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
    #[inline(never)]
    fn next_uplink(&mut self) -> Result<Uplink, String> {
        let patient = self.settings.timeouts;
        let turn = Some(TURN_MS);
        let hasty = Timeouts { nic_ms: turn, carrier_ms: turn, dhcp_ms: turn, ..patient };
        network::bring_up(self.system, &self.settings, self.turns.had(), hasty).or_else(|reason| {
            log::warn!("{reason}");
            // Who gets the address now is the last of this round.
            self.turns.nobody_else(&self.usable());
            network::bring_up(self.system, &self.settings, &[], patient)
        })
    }

    /// Until then, or until the lease is lost.
    fn pause(&mut self, end_ms: u64) -> Result<(), FetchError> {
        let mut said_ms = self.system.clock.now_ms();
        loop {
            let now_ms = self.system.clock.now_ms();
            if let ControlFlow::Break(reason) = self.system.tick(&mut self.uplink, now_ms) {
                return Err(FetchError::interrupted(reason));
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

/// Why the tries behind one interface end.
enum TriesEnd {
    LeaseLost(String),
    NextLink(String),
    Failed(FetchError),
}

/// What is tried until it succeeds.
type Attempt<'a, 'b> = dyn FnMut(&mut Transfers<'a>) -> Result<(), FetchError> + 'b;

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

/// Names to addresses.
fn resolve(masters: &[Host], link_index: u32) -> Result<Masters, FetchError> {
    if masters.is_empty() {
        let text = "no master is known: neither xget.master= nor DHCP names one";
        return Err(FetchError::unreachable(text.into()));
    }
    driver::resolve_all(masters, link_index, &mut |why| log::warn!("{why}"))
        .map_err(FetchError::unreachable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nobody_names_a_master_it_is_said_who_might_have() {
        let FetchError { status, text } = resolve(&[], 3).unwrap_err();
        assert_eq!(status, Status::Connection);
        assert!(text.contains("xget.master="), "{text}");
    }
}
