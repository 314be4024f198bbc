//! What the parts of a fetch share: what is served, the link to the master, what
//! is to be done, what there is to say at the end.

use super::io::FetchEffect;
use super::master_link::MasterLink;
use super::report::FetchReport;
use crate::control::ClientMessage;
use crate::namespace::Generation;
use crate::namespace::GenerationId;
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

    /// Tells the master that others cannot have from us what we cannot have.
    pub fn leave_once(&mut self) {
        if !core::mem::replace(&mut self.report.has_left, true) {
            self.tell(&ClientMessage::Leave);
        }
    }
}
