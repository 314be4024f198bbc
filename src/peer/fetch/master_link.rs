//! The link to the master: connect, join, converse, reconnect.
//!
//! Knows the two files that a client holds open there, `.xget/route` and
//! `log`; refuses to know what the answers mean.

use super::candidates::Candidates;
use super::conversation::Conversation;
use crate::conn::Outbox;
use crate::control::{ClientMessage, MasterMessage};
use crate::failure::Failure;
use crate::request::Masters;
use crate::server::Server;
use crate::timers::{Timer, Timers};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;
use ninep::client::Frame;
use ninep::server::ConnId;

/// A connection that is not up by then is given up.
const CONNECT_MS: u64 = 3_000;
/// A silent master is probed after this long, and lost after that much more.
const PROBE_AFTER_MS: u64 = 3_000;
const PROBE_WAIT_MS: u64 = 5_000;
/// A master that says for so long that it is hashing, and comes no further, is lost.
const WAIT_STILL_MS: u64 = 600_000;
/// Lines in one second: more than anybody has to say, and they take our time.
const LINES_MAX: u32 = 1_000;
/// To lose a silent master counts as one in so many of all tries, because it
/// takes as long to find out.
const SILENT_SHARE: u32 = 6;
/// A master that lives says at least that it is hashing, and that every second.
const JOIN_MS: u64 = 15_000;
/// So often one after the other a master may refuse our key, or we its: it may be started anew with
/// the right one.
const REFUSALS_MAX: u32 = 3;
/// The wait between two tries begins with `MIN` and doubles up to `MAX`.
const RETRY_MS_MIN: u64 = 250;
const RETRY_MS_MAX: u64 = 1_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MasterTimer {
    /// The connection is not answered.
    Connect,
    /// The join is not answered.
    Answer,
    /// It is silent: probe it.
    Probe,
    /// The probe is not answered.
    Silent,
    /// Connect again.
    Retry,
}

impl Timer for MasterTimer {
    const ALL: &'static [MasterTimer] = &[
        MasterTimer::Connect,
        MasterTimer::Answer,
        MasterTimer::Probe,
        MasterTimer::Silent,
        MasterTimer::Retry,
    ];
    fn index(self) -> usize {
        self as usize
    }
}

/// The tries to reach the master.
#[derive(Debug)]
struct Tries {
    max: u32,
    /// Those that count against `max`, and all of them, since it last answered.
    counted: u32,
    all: u32,
    /// Those at the end of which keys were refused, without another between.
    refused: u32,
}

/// Nobody is reached at any of the addresses: the reason.
pub(super) struct GaveUp(pub String);

pub(super) struct MasterLink {
    pub candidates: Candidates,
    conn: Option<ConnId>,
    conversation: Option<Box<Conversation>>,
    timers: Timers<5>,
    tries: Tries,
    hashing: Option<(u64, u64)>,
    /// When we joined.
    joined_ms: u64,
    /// When the hashing came further.
    hashed_ms: u64,
    /// The second that lines are counted in, and how many there are.
    lines: (u64, u32),
}

impl MasterLink {
    /// To one of these masters, which are tried in turn; `retries_max` is how often it is
    /// tried again. The generation that they have to serve is not looked at here.
    pub fn new(masters: Masters, retries_max: u32) -> MasterLink {
        MasterLink {
            candidates: Candidates::new(masters),
            conn: None,
            conversation: None,
            timers: Timers::new(),
            tries: Tries { max: retries_max, counted: 0, all: 0, refused: 0 },
            hashing: None,
            joined_ms: 0,
            hashed_ms: 0,
            lines: (0, 0),
        }
    }

    /// Whether this connection is the one to the master.
    pub fn is(&self, conn: ConnId) -> bool {
        self.conn == Some(conn)
    }

    /// As it is called in messages.
    pub fn name(&self) -> String {
        format!("the master {}", self.addr())
    }

    pub fn addr(&self) -> SocketAddr {
        self.candidates.addr()
    }

    /// The master with this address is of no use, and not asked again: another is. Gives a
    /// warning for the operator.
    ///
    /// # Errors
    /// There is no other: what weighs most of what was wrong with all of them.
    pub fn refuse(
        &mut self,
        outbox: &mut Outbox,
        now_ms: u64,
        (addr, failure): (SocketAddr, Failure),
    ) -> Result<String, Failure> {
        let is_present = self.candidates.is_present(addr);
        let warning = left_for_another(addr, &failure.text());
        self.candidates.refuse(addr, failure)?;
        if is_present {
            self.pass(outbox, now_ms);
        }
        Ok(warning)
    }

    /// The master with this address cannot give something: others are asked before it, from
    /// now on. Gives a warning for the operator, or nothing where nobody is better.
    pub fn put_last(
        &mut self,
        outbox: &mut Outbox,
        now_ms: u64,
        (addr, why): (SocketAddr, &str),
    ) -> Option<String> {
        let is_present = self.candidates.is_present(addr);
        if !self.candidates.put_last(addr) {
            return None;
        }
        if is_present {
            self.pass(outbox, now_ms);
        }
        Some(left_for_another(addr, why))
    }

    /// Does not wait for a master that hashes for long while another may be ready, which
    /// each is asked once. Gives a warning for the operator.
    pub fn pass_hashing(&mut self, outbox: &mut Outbox, now_ms: u64) -> Option<String> {
        let addr = self.addr();
        if now_ms < self.joined_ms + JOIN_MS || !self.candidates.leave_hashing() {
            return None;
        }
        self.pass(outbox, now_ms);
        Some(left_for_another(addr, "has to hash what it serves"))
    }

    /// Ends this conversation, and begins one with the next.
    fn pass(&mut self, outbox: &mut Outbox, now_ms: u64) {
        self.abandon(outbox);
        self.hashing = None;
        self.timers.set(MasterTimer::Retry, now_ms + RETRY_MS_MIN);
    }

    /// Bytes that the master has hashed, and all, while it is waited for.
    pub fn hashing(&self) -> Option<(u64, u64)> {
        self.hashing
    }

    pub fn connect(&mut self, outbox: &mut Outbox, now_ms: u64) {
        self.conn = Some(outbox.connect(self.candidates.call()));
        self.timers.set(MasterTimer::Connect, now_ms + CONNECT_MS);
    }

    /// Opens the conversation and joins, all in one flight.
    pub fn connected(&mut self, server: &mut Server, now_ms: u64, join: &ClientMessage) {
        let conversation = Conversation::begin(server.credentials.as_mut(), now_ms, join);
        self.conversation = Some(Box::new(conversation));
        self.joined_ms = now_ms;
        self.timers.stop(MasterTimer::Connect);
        self.timers.set(MasterTimer::Answer, now_ms + JOIN_MS);
        self.heard(now_ms);
        self.flush(&mut server.outbox);
    }

    pub fn flush(&mut self, outbox: &mut Outbox) {
        if let (Some(conversation), Some(conn)) = (&mut self.conversation, self.conn) {
            outbox.send_queued(conn, conversation.caller.client.output());
        }
    }

    /// A sign of life.
    pub fn heard(&mut self, now_ms: u64) {
        if let Some(conversation) = &mut self.conversation {
            conversation.heard_ms = now_ms;
            self.timers.stop(MasterTimer::Silent);
            self.timers.set(MasterTimer::Probe, now_ms + PROBE_AFTER_MS);
        }
    }

    /// What the master said, or why the connection is of no more use.
    pub fn frame(&mut self, now_ms: u64, frame: Frame) -> Result<Vec<MasterMessage>, String> {
        self.heard(now_ms);
        let Some(conversation) = &mut self.conversation else { return Ok(Vec::new()) };
        if conversation.frame(frame)? { self.take_lines() } else { Ok(Vec::new()) }
    }

    fn take_lines(&mut self) -> Result<Vec<MasterMessage>, String> {
        let mut messages = Vec::new();
        while let Some(message) = self.conversation.as_mut().map_or(Ok(None), |c| c.line())? {
            self.count_line()?;
            self.note(&message)?;
            messages.push(message);
        }
        Ok(messages)
    }

    fn count_line(&mut self) -> Result<(), String> {
        let second = self.conversation.as_ref().map_or(0, |c| c.heard_ms / 1_000);
        let (counted, count) = self.lines;
        self.lines = (second, if counted == second { count + 1 } else { 1 });
        if self.lines.1 > LINES_MAX {
            return Err(format!("it said more than {LINES_MAX} lines in a second"));
        }
        Ok(())
    }

    fn note(&mut self, message: &MasterMessage) -> Result<(), String> {
        let heard_ms = self.conversation.as_ref().map_or(0, |c| c.heard_ms);
        match *message {
            MasterMessage::Wait { done_bytes, total_bytes } => {
                self.timers.set(MasterTimer::Answer, heard_ms + JOIN_MS);
                let now = Some((done_bytes, total_bytes));
                if core::mem::replace(&mut self.hashing, now) != now {
                    self.hashed_ms = heard_ms;
                }
                if heard_ms >= self.hashed_ms + WAIT_STILL_MS {
                    self.hashing = None;
                    self.timers.set(MasterTimer::Silent, heard_ms);
                    let minutes = WAIT_STILL_MS / 60_000;
                    return Err(format!(
                        "it says that it is hashing, and comes no further for {minutes} min"
                    ));
                }
                return Ok(());
            }
            MasterMessage::Generation { .. } => {
                // The conversation works: tries count anew.
                self.hashing = None;
                self.tries = Tries { max: self.tries.max, counted: 0, all: 0, refused: 0 };
            }
            // The answer is what follows.
            MasterMessage::Signature(_) => return Ok(()),
            MasterMessage::Parent { .. } | MasterMessage::Behind | MasterMessage::Error { .. } => {}
        }
        self.timers.stop(MasterTimer::Answer);
        Ok(())
    }

    pub fn tell(&mut self, outbox: &mut Outbox, message: &ClientMessage) {
        if let Some(conversation) = &mut self.conversation {
            conversation.say(message.line().into_bytes());
        }
        self.flush(outbox);
    }

    pub fn log(&mut self, outbox: &mut Outbox, text: &str) {
        if let Some(conversation) = &mut self.conversation {
            conversation.log(text);
        }
        self.flush(outbox);
    }

    /// The master has acknowledged all that was written, or cannot be told.
    pub fn is_quiet(&self) -> bool {
        match &self.conversation {
            Some(conversation) => conversation.unwritten == 0,
            None => self.conn.is_none() && self.timers.get(MasterTimer::Retry).is_none(),
        }
    }

    /// There is none, and none is tried.
    pub fn is_gone(&self) -> bool {
        self.conversation.is_none() && self.is_quiet()
    }

    /// There is a conversation, and no probe is unanswered.
    pub fn is_up(&self) -> bool {
        self.conversation.is_some() && self.timers.get(MasterTimer::Silent).is_none()
    }

    /// When to call `timeout`.
    pub fn deadline_ms(&self) -> Option<u64> {
        self.timers.next_ms()
    }

    /// Does what is due; gives the reason when the master is lost.
    #[inline(never)]
    pub fn timeout(&mut self, outbox: &mut Outbox, now_ms: u64) -> Option<String> {
        while let Some(timer) = self.timers.take_passed(now_ms) {
            match timer {
                MasterTimer::Connect => return Some("no answer to the connection".into()),
                MasterTimer::Answer => {
                    // As long as a silence, and counts like one.
                    self.timers.set(MasterTimer::Silent, now_ms);
                    return Some(format!("it did not answer for {} s", JOIN_MS / 1000));
                }
                MasterTimer::Probe => self.probe(outbox, now_ms),
                MasterTimer::Silent => {
                    let heard_ms = self.conversation.as_ref().map_or(now_ms, |c| c.heard_ms);
                    // Stays set: `lost` sees by it that this took long.
                    self.timers.set(MasterTimer::Silent, now_ms);
                    let silent_s = (now_ms - heard_ms) / 1000;
                    return Some(format!("silent for {silent_s} s, and does not answer a probe"));
                }
                MasterTimer::Retry => {
                    self.candidates.turn();
                    self.connect(outbox, now_ms);
                }
            }
        }
        None
    }

    fn probe(&mut self, outbox: &mut Outbox, now_ms: u64) {
        if let Some(conversation) = &mut self.conversation {
            conversation.probe();
            self.timers.set(MasterTimer::Silent, now_ms + PROBE_WAIT_MS);
        }
        self.flush(outbox);
    }

    /// The connection is lost: it is tried again, unless that was too often.
    /// While data flow from the parents, the master is not needed. Gives a
    /// warning for the operator.
    pub fn lost(
        &mut self,
        outbox: &mut Outbox,
        now_ms: u64,
        why: &str,
        data_flow: bool,
    ) -> Result<Option<String>, GaveUp> {
        let was_silent = self.timers.get(MasterTimer::Silent).is_some();
        let is_refused = self.conversation.as_ref().is_some_and(|c| c.caller.is_refused());
        self.abandon(outbox);
        self.tries.all += 1;
        self.tries.refused = if is_refused { self.tries.refused + 1 } else { 0 };
        if !data_flow {
            // One silence costs as much time as several refusals.
            let silence = 1 + self.tries.max / SILENT_SHARE;
            self.tries.counted += if was_silent { silence } else { 1 };
        }
        if self.tries.refused >= REFUSALS_MAX && !data_flow {
            self.tries.counted = self.tries.counted.max(self.tries.max + 1);
        }
        let Tries { max, counted, all, .. } = self.tries;
        if counted > max && !self.candidates.has_hope() {
            // What helps where nobody answers does not help here.
            let (end, times) =
                if is_refused { ("; asked ", "times") } else { ("; gave up after ", "tries") };
            return Err(GaveUp(format!("{why}{end}{all} {times}")));
        }
        let delay_ms = (RETRY_MS_MIN << all.min(8)).min(RETRY_MS_MAX);
        self.timers.set(MasterTimer::Retry, now_ms + delay_ms);
        let addr = self.addr();
        Ok(match data_flow {
            false if counted > max => Some(left_for_another(addr, why)),
            false => Some(format!("the master {addr}: {why}; trying again ({counted} of {max})")),
            true if all == 1 => Some(format!("the master {addr}: {why}; going on with the peers")),
            true => None,
        })
    }

    /// Closes the connection for good.
    pub fn abandon(&mut self, outbox: &mut Outbox) {
        if let Some(conn) = self.conn.take() {
            outbox.close(conn);
        }
        self.conversation = None;
        self.timers = Timers::new();
    }
}

fn left_for_another(addr: SocketAddr, why: &str) -> String {
    let who = format!("the master {addr}");
    let named = if why.starts_with(&who) { String::new() } else { who + ": " };
    named + why + "; another is asked"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::ConnEffect;
    use crate::namespace::NameSpace;

    fn addr(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 5))
    }

    fn called(outbox: &mut Outbox) -> SocketAddr {
        match outbox.pop() {
            Some(ConnEffect::Connect { addr, .. }) => addr,
            other => panic!("{other:?}"),
        }
    }

    fn connected(retries_max: u32) -> (MasterLink, Outbox) {
        let mut link = MasterLink::new(vec![addr(1)].into(), retries_max);
        let mut server = Server::new(NameSpace::new(false, 0));
        link.connect(&mut server.outbox, 0);
        link.connected(&mut server, 0, &ClientMessage::Leave);
        while server.outbox.pop().is_some() {}
        (link, server.outbox)
    }

    #[test]
    fn all_addresses_are_tried_in_turn_and_so_often() {
        let mut outbox = Outbox::default();
        let mut link = MasterLink::new(vec![addr(1), addr(2)].into(), 2);
        link.connect(&mut outbox, 0);
        assert_eq!(called(&mut outbox), addr(1));
        let mut now_ms = link.deadline_ms().unwrap();
        assert_eq!(now_ms, CONNECT_MS);
        for last in [2, 1] {
            let why = link.timeout(&mut outbox, now_ms).unwrap();
            let warning = link.lost(&mut outbox, now_ms, &why, false).ok().flatten();
            assert!(warning.unwrap().contains("trying again"));
            assert!(matches!(outbox.pop(), Some(ConnEffect::Close { .. })));
            now_ms = link.deadline_ms().unwrap();
            assert!(link.timeout(&mut outbox, now_ms).is_none());
            assert_eq!(called(&mut outbox), addr(last));
            now_ms += CONNECT_MS;
        }
        let why = link.timeout(&mut outbox, now_ms).unwrap();
        let GaveUp(why) = link.lost(&mut outbox, now_ms, &why, false).err().unwrap();
        assert_eq!(why, "no answer to the connection; gave up after 3 tries");
        assert_eq!(link.deadline_ms(), None);
    }

    #[test]
    fn a_silent_master_is_probed_and_its_loss_costs_several_tries() {
        let (mut link, mut outbox) = connected(SILENT_SHARE);
        assert_eq!(link.note(&MasterMessage::Error { errno: 1, text: String::new() }), Ok(()));
        assert_eq!(link.deadline_ms(), Some(PROBE_AFTER_MS));
        assert!(link.timeout(&mut outbox, PROBE_AFTER_MS).is_none());
        assert!(matches!(outbox.pop(), Some(ConnEffect::Send { .. })), "a probe left");
        assert!(!link.is_up());
        link.heard(PROBE_AFTER_MS + 1);
        assert!(link.is_up(), "it lives");
        let probe_ms = link.deadline_ms().unwrap();
        assert!(link.timeout(&mut outbox, probe_ms).is_none());
        let lost_ms = probe_ms + PROBE_WAIT_MS;
        assert_eq!(link.deadline_ms(), Some(lost_ms));
        let why = link.timeout(&mut outbox, lost_ms).unwrap();
        assert_eq!(why, "silent for 8 s, and does not answer a probe");
        let warning = link.lost(&mut outbox, lost_ms, &why, false).ok().flatten();
        assert!(warning.unwrap().ends_with("(2 of 6)"));
    }

    #[test]
    fn a_master_that_does_not_answer_the_join_is_lost_unless_it_says_that_it_hashes() {
        let (mut link, mut outbox) = connected(1);
        link.heard(14_000);
        assert_eq!(link.note(&MasterMessage::Wait { done_bytes: 1, total_bytes: 2 }), Ok(()));
        assert_eq!(link.hashing(), Some((1, 2)));
        for now_ms in [17_000, 20_000, 23_000, 26_000, 28_999] {
            assert_eq!(link.timeout(&mut outbox, now_ms), None);
            link.heard(now_ms);
        }
        let why = link.timeout(&mut outbox, 14_000 + JOIN_MS);
        assert_eq!(why.as_deref(), Some("it did not answer for 15 s"));
    }

    #[test]
    fn a_master_that_hashes_for_ever_and_comes_no_further_is_lost() {
        let (mut link, _) = connected(1);
        let mut wait = |now_ms, done_bytes| {
            link.heard(now_ms);
            link.note(&MasterMessage::Wait { done_bytes, total_bytes: 9 })
        };
        assert_eq!(wait(1_000, 0), Ok(()));
        assert_eq!(wait(WAIT_STILL_MS, 0), Ok(()));
        assert_eq!(wait(WAIT_STILL_MS + 999, 1), Ok(()), "it came further");
        assert_eq!(wait(2 * WAIT_STILL_MS + 998, 1), Ok(()));
        let why = wait(2 * WAIT_STILL_MS + 999, 1).unwrap_err();
        assert_eq!(why, "it says that it is hashing, and comes no further for 10 min");
    }

    #[test]
    fn a_master_says_at_most_so_many_lines_in_a_second() {
        let (mut link, _) = connected(1);
        let said = |link: &mut MasterLink, now_ms| {
            link.heard(now_ms);
            (0..2_000).take_while(|_| link.count_line().is_ok()).count()
        };
        assert_eq!(said(&mut link, 999), LINES_MAX as usize);
        assert_eq!(said(&mut link, 1_000), LINES_MAX as usize);
    }

    #[test]
    fn while_data_flow_the_master_is_tried_for_ever_and_that_is_said_once() {
        let (mut link, mut outbox) = connected(0);
        let first = link.lost(&mut outbox, 0, "closed", true).ok().flatten();
        assert!(first.unwrap().ends_with("closed; going on with the peers"));
        for _ in 0..50 {
            assert!(matches!(link.lost(&mut outbox, 0, "refused", true), Ok(None)));
        }
        assert!(link.lost(&mut outbox, 0, "refused", false).is_err());
    }
}
