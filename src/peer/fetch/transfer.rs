//! The pieces on their way: parents are connected to, asked, watched, replaced.
//!
//! Ties together the links to parents, the scheduler and liveness. Refuses to
//! know the phases of a fetch and what is done with a piece that arrived.

use super::callable::{self, CallRate};
use super::common::Common;
use super::liveness::{DROUGHT_MS, Liveness};
use super::parent_link::{Arrived, LinkTimeout, ParentLink};
use super::parents::Parents;
use super::scheduler::{Scheduler, View};
use super::window::Pace;
use crate::conn::ConnEvent;
use crate::content::digest::Digest;
use crate::control::{ClientMessage, Complaint, ParentAddr, VERSION_MIN};
use crate::namespace::GenerationId;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::ops::Range;
use ninep::client::Frame;
use ninep::server::ConnId;

/// How long after a link to the master that was made to ask about lost pieces another
/// one may be.
const DISPUTE_PAUSE_MS: u64 = 1_000;

mod passed;
mod watch;

/// What arrived, for the download to verify.
pub(super) enum Arrival<'a> {
    /// The digests of the manifest's pieces.
    List(Vec<u8>),
    /// A piece, not verified yet.
    Piece {
        piece: u32,
        len: u32,
        /// Its bytes, if the frame was there whole.
        data: Option<&'a [u8]>,
        /// Where its bytes are in the frame.
        range: Range<usize>,
    },
    /// What is left of a piece, not verified yet.
    Rest { piece: u32, len: u32, range: Range<usize> },
    /// The master itself does not have a piece, or, `is_whole`, not all of it.
    Unavailable { piece: u32, why: String, is_whole: bool },
}

/// Whether pieces are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asking {
    Yes,
    /// Not while the destination is checked.
    Paused,
    /// Not any more.
    Over,
}

pub(super) struct Transfer {
    pub generation: GenerationId,
    digest: Digest,
    /// Where the master is that announced the generation last.
    master: SocketAddr,
    asking: Asking,
    parents: Parents,
    scheduler: Scheduler,
    liveness: Liveness,
    calls: CallRate,
    /// What was said of addresses that are not called: each reason once.
    said: Vec<&'static str>,
    /// When all links were last asked for what could be asked for.
    filled_ms: u64,
    /// When the master may next be connected to though it is no stripe's parent.
    dispute_ms: u64,
    pub pace: Pace,
}

/// What the scheduler decides by and does not own.
fn view<'a>(parents: &'a Parents, common: &'a Common, id: GenerationId) -> Option<View<'a>> {
    let holdings = &common.generation(id)?.holdings;
    Some(View { holdings, parents: parents.by_stripe() })
}

impl Transfer {
    #[inline(never)]
    pub fn new(
        common: &Common,
        generation: GenerationId,
        digest: Digest,
        stripes: u8,
        pace: Pace,
    ) -> Transfer {
        let now_ms = common.now_ms;
        Transfer {
            generation,
            digest,
            master: common.master_link.addr(),
            asking: Asking::Yes,
            parents: Parents::new(stripes),
            scheduler: Scheduler::new(stripes),
            liveness: Liveness::new(stripes, now_ms),
            calls: CallRate::default(),
            said: Vec::new(),
            filled_ms: now_ms,
            dispute_ms: now_ms,
            pace,
        }
    }

    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Where the master is that is asked for pieces.
    pub fn master(&self) -> SocketAddr {
        self.master
    }

    /// Another master serves the generation from now on: nothing more is asked of the one
    /// before, which may stand still for ever.
    pub fn set_master(&mut self, common: &mut Common, master: SocketAddr) {
        self.master = master;
        self.leave_master(common);
    }

    /// Closes the link to the master.
    pub fn leave_master(&mut self, common: &mut Common) {
        if let Some(conn) = self.parents.conn_of(ParentAddr::Master) {
            self.close(common, conn);
            self.fill_all(common);
        }
    }

    /// The parent that a connection leads to.
    pub fn addr(&self, conn: ConnId) -> Option<ParentAddr> {
        self.parents.addr(conn)
    }

    pub fn pause(&mut self) {
        self.scheduler.is_stuck = false;
        self.asking = Asking::Paused;
    }

    pub fn go_on(&mut self, common: &mut Common) {
        self.asking = Asking::Yes;
        self.liveness.data_came(common.now_ms);
        self.liveness.right_came(common.now_ms);
        self.fill_all(common);
    }

    /// Asks for nothing any more, and closes all links.
    pub fn end(&mut self, common: &mut Common) {
        self.asking = Asking::Over;
        while let Some(conn) = self.parents.next_conn(None) {
            self.close(common, conn);
        }
    }

    /// Data came lately, from some parent.
    pub fn is_flowing(&self, now_ms: u64) -> bool {
        self.asking == Asking::Yes && self.liveness.silent_ms(now_ms) < DROUGHT_MS / 6
    }

    /// The master names a parent. Where it knows none but one that was rejected in
    /// that stripe, the master itself becomes the parent: to go back and forth
    /// would bring nothing.
    #[inline(never)]
    pub fn handle_parent(&mut self, common: &mut Common, stripe: u8, parent: ParentAddr) {
        let at = usize::from(stripe);
        if at >= self.parents.by_stripe().len() || self.asking == Asking::Over {
            return;
        }
        let parent = match parent {
            ParentAddr::Peer(addr) => match callable::check(addr, self.master) {
                Ok(addr) => ParentAddr::Peer(addr),
                Err(why) => {
                    self.say_once(common, parent, why);
                    return self.complain(common, stripe, parent, Complaint::Lost);
                }
            },
            ParentAddr::Master => parent,
        };
        if self.parents.is_shunned(parent, common.now_ms) {
            if self.parents.by_stripe()[at].is_none() {
                self.replace(common, at, parent, Complaint::Refused);
            }
        } else if !self.parents.is_rejected(at, parent) {
            let parent = self.unless_too_many(common, parent);
            self.set_parent(common, at, parent);
        } else if self.parents.by_stripe()[at].is_none() {
            self.set_parent(common, at, ParentAddr::Master);
        }
    }

    /// The parent, or the master where to call it would be one call too many.
    fn unless_too_many(&mut self, common: &mut Common, parent: ParentAddr) -> ParentAddr {
        let is_new = parent != ParentAddr::Master
            && self.parents.conn_of(parent).is_none()
            && !self.parents.is_banned(parent);
        if is_new && !self.calls.allows(common.now_ms) {
            let why = "is one parent too many in so short a time: the master is asked itself";
            self.say_once(common, parent, why);
            return ParentAddr::Master;
        }
        parent
    }

    fn say_once(&mut self, common: &mut Common, parent: ParentAddr, why: &'static str) {
        if !self.said.contains(&why) {
            self.said.push(why);
            self.warn(common, parent, why);
        }
    }

    fn set_parent(&mut self, common: &mut Common, stripe: usize, parent: ParentAddr) {
        if self.parents.is_banned(parent) {
            return self.complain(common, stripe as u8, parent, Complaint::Corrupt);
        }
        self.liveness.forget_lag(stripe);
        let conn = match self.parents.conn_of(parent) {
            Some(conn) => conn,
            None => self.connect(common, parent),
        };
        self.parents.set(stripe, conn);
        self.close_idle(common);
        self.fill(common, conn);
    }

    /// Closes links that are for no stripe any more; that to the master stays while it is
    /// asked what is lost.
    fn close_idle(&mut self, common: &mut Common) {
        let needed = self.needs_master();
        for idle in self.parents.idle() {
            if !needed || self.parents.addr(idle) != Some(ParentAddr::Master) {
                self.close(common, idle);
            }
        }
    }

    /// Whether the master has to be asked, though it is no stripe's parent: about pieces
    /// that a parent says are lost, and for the manifest where nobody gives it.
    fn needs_master(&self) -> bool {
        self.scheduler.has_disputed() || self.scheduler.is_stuck
    }

    /// Sees to it that it can be.
    fn call_master(&mut self, common: &mut Common) {
        let is_asking = self.asking == Asking::Yes && self.needs_master();
        if !is_asking || !common.master_link.is_up() || common.now_ms < self.dispute_ms {
            return;
        }
        if self.parents.conn_of(ParentAddr::Master).is_none() {
            self.dispute_ms = common.now_ms + DISPUTE_PAUSE_MS;
            self.connect(common, ParentAddr::Master);
        }
    }

    fn connect(&mut self, common: &mut Common, parent: ParentAddr) -> ConnId {
        let conn = common.server.outbox.connect(address(self.master, parent));
        let link = ParentLink::new(
            conn,
            parent,
            self.digest,
            common.now_ms,
            common.server.credentials.as_mut(),
        );
        self.add_link(conn, link);
        conn
    }

    fn add_link(&mut self, conn: ConnId, link: ParentLink) {
        self.scheduler.add_parent(conn, link.parent == ParentAddr::Master);
        self.parents.add(conn, link);
    }

    /// Connects once more to a parent that does not answer: a SYN may be lost.
    fn reconnect(&mut self, common: &mut Common, old: ConnId) {
        let stripes = self.parents.stripes_of(old);
        let Some(mut link) = self.parents.remove(old) else { return };
        self.scheduler.drop_parent(old);
        common.server.outbox.close(old);
        let conn = common.server.outbox.connect(address(self.master, link.parent));
        link.reconnect(conn, common.now_ms);
        self.add_link(conn, link);
        stripes.into_iter().for_each(|stripe| self.parents.set(stripe, conn));
    }

    fn close(&mut self, common: &mut Common, conn: ConnId) {
        if self.parents.remove(conn).is_some() {
            self.scheduler.drop_parent(conn);
            common.server.outbox.close(conn);
        }
    }

    fn complain(&self, common: &mut Common, stripe: u8, parent: ParentAddr, complaint: Complaint) {
        let says_piece = complaint == Complaint::Corrupt && common.version > VERSION_MIN;
        let piece = if says_piece { self.parents.corrupt_piece(parent) } else { None };
        common.tell(&ClientMessage::Replace { stripe, parent, complaint, piece });
    }

    fn warn(&self, common: &mut Common, parent: ParentAddr, why: &str) {
        common.warn(format!("{}: {why}", self.name(parent)));
    }

    fn name(&self, parent: ParentAddr) -> String {
        match parent {
            ParentAddr::Master => format!("the master {}", self.master),
            ParentAddr::Peer(addr) => format!("peer {addr}"),
        }
    }

    /// A parent failed: closes its link, and complains of it in all its stripes.
    fn lose(&mut self, common: &mut Common, conn: ConnId, complaint: Complaint, why: &str) {
        let Some(parent) = self.parents.addr(conn) else { return };
        self.warn(common, parent, why);
        let stripes = self.parents.stripes_of(conn);
        self.close(common, conn);
        for stripe in stripes {
            self.replace(common, stripe, parent, complaint);
        }
        self.fill_all(common);
    }

    fn replace(
        &mut self,
        common: &mut Common,
        stripe: usize,
        parent: ParentAddr,
        complaint: Complaint,
    ) {
        self.parents.clear(stripe);
        self.liveness.forget_lag(stripe);
        self.complain(common, stripe as u8, parent, complaint);
        if let ParentAddr::Peer(addr) = parent {
            match complaint {
                Complaint::Refused => self.parents.shun(addr, common.now_ms),
                Complaint::Frozen => self.parents.note_frozen(addr, common.now_ms),
                _ => {}
            }
        }
        // A frozen parent is not rejected: it may only be busy, and the master
        // hears from its other children whether it is.
        if let (ParentAddr::Peer(addr), true) = (parent, complaint != Complaint::Frozen)
            && self.parents.reject(stripe, addr)
        {
            self.set_parent(common, stripe, ParentAddr::Master);
        }
    }

    /// Takes what happened on a link. After it has dealt with what arrived, the
    /// caller calls `fill`.
    #[inline(never)]
    pub fn handle<'a>(
        &mut self,
        common: &mut Common,
        event: ConnEvent<'a>,
    ) -> Option<(ConnId, Arrival<'a>)> {
        match event {
            ConnEvent::Connected { conn } => {
                let link = self.parents.link(conn)?;
                link.connected(&mut common.server.outbox, common.now_ms);
            }
            ConnEvent::Partial { conn, len } => {
                self.parents.link(conn)?.heard_part(common.now_ms, len);
                self.liveness.data_came(common.now_ms);
            }
            ConnEvent::Closed { conn, reason } => {
                self.lose(common, conn, Complaint::Lost, &format!("lost: {reason}"));
            }
            ConnEvent::Frame { conn, frame } => {
                let arrival = self.handle_frame(common, conn, frame);
                return arrival.map(|arrival| (conn, arrival));
            }
            // Whoever connects to us is a child, which `Server` answers.
            ConnEvent::Accepted { .. } => {}
        }
        None
    }

    #[inline(never)]
    fn handle_frame<'a>(
        &mut self,
        common: &mut Common,
        conn: ConnId,
        frame: Frame<'a>,
    ) -> Option<Arrival<'a>> {
        let arrived = self.parents.link(conn)?.frame(common.now_ms, frame);
        match arrived {
            Ok(Arrived::Nothing) => {}
            Ok(Arrived::List(bytes)) => return Some(Arrival::List(bytes)),
            // Of a file that is whole no piece is empty.
            Ok(Arrived::Piece { piece, len: 0, .. }) if self.may_pass(common, conn, piece) => {
                self.passed(common, conn, piece);
            }
            Ok(Arrived::Piece { piece, len, data }) => {
                self.liveness.data_came(common.now_ms);
                let range = ninep::RREAD_HEADER_LEN..ninep::RREAD_HEADER_LEN + len as usize;
                return Some(Arrival::Piece { piece, len, data, range });
            }
            Ok(Arrived::Absent { piece }) => self.scheduler.absent(conn, piece, common.now_ms),
            Ok(Arrived::Rest { piece, len }) => {
                let range = ninep::RREAD_HEADER_LEN..ninep::RREAD_HEADER_LEN + len as usize;
                return Some(Arrival::Rest { piece, len, range });
            }
            Ok(Arrived::Refused { piece, why, is_whole }) => {
                if self.parents.addr(conn)? == ParentAddr::Master {
                    return Some(Arrival::Unavailable { piece, why, is_whole });
                }
                // It may have lost it on its own, or lie: it stays a parent until the piece
                // comes from somebody else.
                self.scheduler.refused(conn, piece);
                self.call_master(common);
            }
            Err(why) => self.lose(common, conn, Complaint::Refused, &why),
        }
        self.fill(common, conn);
        None
    }

    /// Asks for what is left of a piece that the master has not got whole any more.
    pub fn ask_rest(&mut self, common: &mut Common, conn: ConnId, piece: u32) {
        let Some(generation) = common.server.space.generation(self.generation) else { return };
        let stride = generation.manifest_pieces.stride();
        if let Some(link) = self.parents.link(conn) {
            link.ask_rest(&mut common.server.outbox, piece, stride);
        }
    }

    /// A piece that a parent was asked for has arrived, corrupt or not.
    pub fn piece_arrived(&mut self, common: &Common, conn: ConnId, piece: u32) {
        self.scheduler.arrived(conn, piece, common.now_ms);
    }

    /// Something that is right has come.
    pub fn right_came(&mut self, common: &Common) {
        self.liveness.right_came(common.now_ms);
    }

    /// The piece is held: who said that it is lost is of no use.
    pub fn piece_held(&mut self, common: &mut Common, piece: u32) {
        self.right_came(common);
        let refused_by = self.scheduler.refused_by(piece);
        self.piece_settled(common, piece);
        if let Some(conn) = refused_by {
            self.lose(common, conn, Complaint::Refused, "has lost a piece that is to be had");
        }
    }

    /// The piece is held or lost: takes back what other parents were asked.
    pub fn piece_settled(&mut self, common: &mut Common, piece: u32) {
        for conn in self.scheduler.settle(piece) {
            if let Some(link) = self.parents.link(conn) {
                link.forget(&mut common.server.outbox, piece);
            }
        }
    }

    /// A parent sent corrupt bytes: it is banned, unless it is the master.
    /// Then gives the stripes that it was the parent of.
    #[inline(never)]
    pub fn sent_corrupt(
        &mut self,
        common: &mut Common,
        conn: ConnId,
        piece: u32,
        why: &str,
    ) -> Option<Vec<usize>> {
        let stripes = self.parents.stripes_of(conn);
        let parent = self.parents.addr(conn)?;
        self.parents.ban(parent, piece);
        self.lose(common, conn, Complaint::Corrupt, why);
        (parent == ParentAddr::Master).then_some(stripes)
    }

    /// Nobody can replace the master: it is asked again, on a new connection.
    pub fn ask_master_again(&mut self, common: &mut Common, stripes: Vec<usize>) {
        for stripe in stripes {
            self.set_parent(common, stripe, ParentAddr::Master);
        }
    }

    /// Asks for more, if requests became free that other parents can answer.
    pub fn fill_freed(&mut self, common: &mut Common) {
        if self.scheduler.take_freed() {
            self.fill_all(common);
        }
    }

    pub fn fill_all(&mut self, common: &mut Common) {
        self.filled_ms = common.now_ms;
        let mut last = None;
        while let Some(conn) = self.parents.next_conn(last) {
            self.fill(common, conn);
            last = Some(conn);
        }
    }

    /// Keeps a link's window of requests full.
    pub fn fill(&mut self, common: &mut Common, conn: ConnId) {
        let Some(generation) = common.server.space.generation(self.generation) else { return };
        let (count, stride) =
            (generation.manifest_pieces.count(), generation.manifest_pieces.stride());
        let list_len = if generation.list_known() { 0 } else { count * 32 };
        let Some(link) = self.parents.link(conn) else { return };
        if list_len > 0 {
            link.ask_list(list_len);
        }
        let asks = link.is_open() && self.asking == Asking::Yes;
        while asks
            && let Some(view) = view(&self.parents, common, self.generation)
            && let Some(request) = self.scheduler.next_request(view, conn, common.now_ms)
            && let Some(link) = self.parents.link(conn)
        {
            link.ask_piece(common.now_ms, request, stride, self.pace == Pace::Behind);
        }
        if let Some(link) = self.parents.link(conn) {
            link.flush(&mut common.server.outbox);
        }
    }

    /// When to call `timeout`: in the past, until that is done.
    pub fn deadline_ms(&self, common: &Common) -> Option<u64> {
        if self.asking == Asking::Over {
            return None;
        }
        let stall_ms = self.liveness.local_stall_ms();
        let of_link = |(conn, link): (ConnId, &ParentLink)| {
            link.deadline_ms(self.scheduler.awaits(conn), stall_ms)
        };
        let view = view(&self.parents, common, self.generation);
        let asking = view.filter(|_| self.asking == Asking::Yes);
        let refill = asking.and_then(|view| self.scheduler.deadline_ms(view, self.filled_ms));
        let times = self.parents.links().filter_map(of_link);
        times.chain(refill).chain([self.liveness.sample_ms()]).min()
    }

    /// Does what is due. True after [`DROUGHT_MS`] in which nobody sent what is right.
    #[inline(never)]
    pub fn timeout(&mut self, common: &mut Common) -> bool {
        if self.asking == Asking::Over {
            return false;
        }
        let is_sampled = common.now_ms >= self.liveness.sample_ms();
        if is_sampled {
            let answers_ms = self.parents.links_mut().map(|(_, link)| link.take_answer_ms());
            self.liveness.sample(common.now_ms, answers_ms.max().unwrap_or(0));
        }
        for (conn, timeout) in self.link_timeouts(common) {
            match timeout {
                LinkTimeout::Unanswered => self.reconnect(common, conn),
                LinkTimeout::Lost(why, complaint) => self.lose(common, conn, complaint, &why),
            }
        }
        if self.asking == Asking::Paused {
            self.liveness.data_came(common.now_ms);
            self.liveness.right_came(common.now_ms);
            return false;
        }
        let generation = common.generation(self.generation);
        if generation.is_some_and(|known| known.holdings.has_more() && known.holdings.is_filled()) {
            // Our reader is waited for, and nobody is asked for anything.
            self.liveness.data_came(common.now_ms);
            self.liveness.right_came(common.now_ms);
        }
        if is_sampled {
            self.look_for_slow(common);
            self.call_master(common);
            self.close_idle(common);
        }
        self.fill_all(common);
        self.liveness.barren_ms(common.now_ms) > DROUGHT_MS
    }

    #[inline(never)]
    fn link_timeouts(&mut self, common: &mut Common) -> Vec<(ConnId, LinkTimeout)> {
        let stall_ms = self.liveness.local_stall_ms();
        let mut passed = Vec::new();
        let mut last = None;
        while let Some(conn) = self.parents.next_conn(last) {
            last = Some(conn);
            let (awaits, sample) = (self.scheduler.awaits(conn), self.sample(common, conn));
            let (outbox, now_ms) = (&mut common.server.outbox, common.now_ms);
            let Some(link) = self.parents.link(conn) else { continue };
            let timeout = link.timeout(outbox, now_ms, awaits, stall_ms, sample);
            passed.extend(timeout.map(|timeout| (conn, timeout)));
        }
        passed
    }
}

fn address(master: SocketAddr, parent: ParentAddr) -> SocketAddr {
    match parent {
        ParentAddr::Master => master,
        ParentAddr::Peer(addr) => addr,
    }
}
