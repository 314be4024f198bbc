//! What is for one node alone, as a file of the name space: only who has shown that node's key can
//! attach it (`guard`).
//!
//! Refuses to know what it is and how it is handed over (`handovers`).

use super::bulk::Bulk;
use super::handovers::Handovers;
use super::node_keys::OfRoot;
use super::space::{NameSpace, Notice, Wait};
use crate::auth::Key;
use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec::Vec;
use ninep::server::{Answer, ConnId, OpenId, Ticket};
use ninep::{EACCES, Error};
use zeroize::Zeroizing;

impl NameSpace {
    /// Nodes whose keys follow from this one get from now on what is for them alone.
    pub(crate) fn serve_alone(&mut self, key: &Key) {
        self.guard.know_nodes(Box::new(OfRoot::new(key)));
        self.alone = Some(Box::new(Handovers::default()));
    }

    /// Who is let in has shown which node it is.
    #[inline(never)]
    pub(super) fn open_alone(&mut self, opener: OpenId) -> Result<(), Error> {
        let node = self.guard.node(opener.conn);
        let (Some(desk), Some(node)) = (&mut self.alone, node) else { return Err(EACCES) };
        let (before, node) = (desk.open(opener, node)?, node.to_string());
        if let Some(before) = before {
            self.notify(Notice::AloneClosed(before));
        }
        self.notify(Notice::AloneWanted(opener, node));
        Ok(())
    }

    pub(super) fn close_alone(&mut self, opener: OpenId) {
        if self.alone.as_mut().is_some_and(|desk| desk.close(opener)) {
            self.forget_answers(opener);
            self.notify(Notice::AloneClosed(opener));
        }
    }

    /// No offsets.
    #[inline(never)]
    pub(super) fn read_alone(
        &mut self,
        opener: OpenId,
        count: u32,
        ticket: Ticket,
    ) -> Result<Answer<Bulk>, Error> {
        let (desk, guard) = (self.alone.as_mut().ok_or(EACCES)?, &mut self.guard);
        match desk.read(opener, count, &mut |conn, plain| guard.seal(conn, plain))? {
            Some(bytes) => Ok(Answer::Bytes(bytes)),
            None => Ok(self.park(Wait::Answer(opener), ticket)),
        }
    }

    /// What was found for who opened it; gives the read that waits for it.
    pub(crate) fn give_alone(&mut self, opener: OpenId, plain: Zeroizing<Vec<u8>>) -> Vec<Ticket> {
        if let Some(desk) = &mut self.alone {
            desk.give(opener, plain);
        }
        self.parked.wake(Wait::Answer(opener))
    }

    /// It is given up; gives the read that waits for it, which fails.
    pub(crate) fn end_alone(&mut self, opener: OpenId) -> Vec<Ticket> {
        if let Some(desk) = &mut self.alone {
            desk.close(opener);
        }
        self.parked.wake(Wait::Answer(opener))
    }

    /// Bytes that are kept for the node at the other end of a connection, or for all.
    pub(crate) fn bytes_alone(&self, conn: Option<ConnId>) -> usize {
        self.alone.as_ref().map_or(0, |desk| desk.bytes(conn))
    }
}
