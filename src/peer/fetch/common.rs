//! What the parts of a fetch share: the time, what is served, the master link,
//! the effects, the report.
//!
//! Knows how to say something to the master and to the operator. Refuses to know
//! when that is done.

use super::io::FetchEffect;
use super::master_link::MasterLink;
use super::report::FetchReport;
use crate::control::ClientMessage;
use crate::namespace::{Generation, GenerationId};
use crate::server::Server;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use ninep::server::Ticket;

pub(super) struct Common {
    /// The time of the input that is being handled.
    pub now_ms: u64,
    pub server: Server,
    pub master_link: MasterLink,
    /// Of the conversation: the newest, or the oldest where the master is older.
    pub version: u32,
    /// What each master is asked in first: the lowest that can say what is wanted, or ours.
    pub version_newest: u32,
    pub effects: VecDeque<FetchEffect>,
    pub report: FetchReport,
}

impl Common {
    pub fn generation(&self, id: GenerationId) -> Option<&Generation> {
        self.server.space.generation(id)
    }

    pub fn wake(&mut self, tickets: Vec<Ticket>) {
        self.server.wake(tickets);
    }

    /// A line for the operator.
    pub fn warn(&mut self, text: String) {
        self.effects.push_back(FetchEffect::Warn(text));
    }

    /// Something for the master.
    pub fn tell(&mut self, message: &ClientMessage) {
        self.master_link.tell(&mut self.server.outbox, message);
    }

    /// A line for the master's log.
    pub fn log(&mut self, text: &str) {
        self.master_link.log(&mut self.server.outbox, text);
    }

    /// Tells the master, once, that we are to have no children any more: pieces
    /// are lost here, so that they would wait for us in vain.
    pub fn leave_once(&mut self) {
        if !core::mem::replace(&mut self.report.has_left, true) {
            self.tell(&ClientMessage::Leave);
        }
    }
}
