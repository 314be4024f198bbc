//! The table of the nodes that is in force, and who waits for an answer.
//!
//! Refuses to know the file, and what is served.

use super::roll::Roll;
use crate::control::{NodeQuestion, add_word};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;
use ninep::server::OpenId;
use nodes::Table;

/// The file is looked at when somebody asks so long after the last look.
pub(super) const LOOK_MS: u64 = 1_000;
/// Who asks waits so long for the served tree to be looked at.
const ANSWER_MS: u64 = 5_000;
/// Questions that wait at a time, and those of one IP address.
const QUESTIONS_MAX: usize = 4_096;
const QUESTIONS_PER_IP_MAX: usize = 256;

pub(super) struct Pending {
    pub open_id: OpenId,
    pub ip: IpAddr,
    pub since_ms: u64,
    pub question: NodeQuestion,
}

#[derive(Default)]
pub(super) struct Nodes {
    pub table: Option<Table>,
    /// What is wrong with the file as it is now.
    pub fault: Option<String>,
    /// When it was looked at last.
    pub looked_ms: Option<u64>,
    /// It was being changed then.
    pub is_changing: bool,
    pub pending: Vec<Pending>,
    pub roll: Roll,
}

impl Nodes {
    /// The text of `/.xget/nodes`, and how many are in it; how often somebody was not let in.
    pub fn text(&self, now_ms: u64, denied_count: u64) -> (String, u64) {
        let mut text = String::from("table=");
        text.push_str(match (&self.table, &self.fault) {
            (_, Some(_)) => "wrong",
            (Some(_), None) => "good",
            (None, None) => "none",
        });
        if let Some(table) = &self.table {
            add_word(&mut text, "nodes", &table.nodes_count().to_string());
        }
        if let Some(fault) = &self.fault {
            add_word(&mut text, "why", fault);
        }
        if denied_count > 0 {
            add_word(&mut text, "denied", &denied_count.to_string());
        }
        text.push('\n');
        let count = self.roll.text(now_ms, &mut text);
        (text, count)
    }

    /// When the file is to be looked at again, whether somebody asks or not.
    pub fn look_ms(&self) -> Option<u64> {
        self.looked_ms.filter(|_| self.is_changing).map(|looked_ms| looked_ms + LOOK_MS)
    }

    /// When who waits is to be told that it takes longer.
    pub fn deadline_ms(&self) -> Option<u64> {
        self.pending.first().map(|pending| pending.since_ms + ANSWER_MS)
    }

    /// It waits for an answer, if there is a place: in that of what it asked before.
    pub fn wait(
        &mut self,
        now_ms: u64,
        open_id: OpenId,
        ip: IpAddr,
        question: NodeQuestion,
    ) -> bool {
        self.forget(open_id);
        let of_ip = self.pending.iter().filter(|pending| pending.ip == ip).count();
        let has_place = self.pending.len() < QUESTIONS_MAX && of_ip < QUESTIONS_PER_IP_MAX;
        if has_place {
            self.pending.push(Pending { open_id, ip, since_ms: now_ms, question });
        }
        has_place
    }

    /// Nobody waits on this opening any more.
    pub fn forget(&mut self, open_id: OpenId) {
        self.pending.retain(|pending| pending.open_id != open_id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ninep::server::ConnId;

    #[test]
    fn so_many_questions_wait_and_one_of_each() {
        let mut nodes = Nodes::default();
        let asks = |conn| OpenId { conn: ConnId(conn), serial: 1 };
        let count = QUESTIONS_MAX as u32;
        let from = |conn: u32| IpAddr::from((conn / QUESTIONS_PER_IP_MAX as u32).to_be_bytes());
        let mut waits =
            |now_ms, conn, ip| nodes.wait(now_ms, asks(conn), ip, NodeQuestion::default());
        for conn in 0..QUESTIONS_PER_IP_MAX as u32 {
            assert!(waits(7, conn, from(conn)));
        }
        assert!(!waits(7, count, from(0)), "one address has so many");
        assert!((QUESTIONS_PER_IP_MAX as u32..count).all(|conn| waits(7, conn, from(conn))));
        assert!(!waits(8, count, from(count)));
        assert!(waits(9, 3, from(3)), "in its own place");
        nodes.forget(asks(4));
        assert!(nodes.wait(9, asks(count), from(count), NodeQuestion::default()));
        assert_eq!(nodes.deadline_ms(), Some(7_u64 + ANSWER_MS));
    }
}
