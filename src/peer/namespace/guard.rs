//! Who is let in: those who have proved that they have the key, where there is one
//! (docs/protocol.md, "Keys").
//!
//! Knows how far each connection is, for how long it may be on its way, and how often an address
//! may ask for what costs time. Refuses to know what is behind it, and what a key is for.

use super::unproved::{Unanswered, Unproved};
use crate::auth::{self, Greeting, Key, Random, Session};
use crate::caller::{BUSY, CLUSTER};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;
use ninep::server::{ConnId, OpenId};
use ninep::{EINVAL, ENOENT, Error, NO_AUTH};
use sorted::SortedMap;

/// EACCES, the same for whatever is wrong: a stranger learns nothing by it.
pub(super) const DENIED: Error = Error::new(13, "authentication failed");
/// EACCES.
pub(super) const WANTS_KEY: Error =
    Error::new(13, "only who has the key of this cluster is let in");
/// Names of the plain tree.
pub(super) const PLAIN: [&[u8]; 2] = [b"files", b"/files"];
/// EAGAIN.
const LATER: Error = Error::new(11, BUSY);

/// Who is not let in by then is not waited for: as long as a client waits for its master.
const ADMIT_MS: u64 = 15_000;
/// Those of whom that is remembered: more than there can be at a time (docs/protocol.md, "Limits").
const AWAITED_MAX: usize = 65_536;

/// What the operator is told of who is not let in.
const NO_KEY: &str = "it shows no key (--key, xget.key= or /etc/xget/key is missing there)";
const OTHER_KEY: &str =
    "it has another key than this side, which has the wrong one if all are refused";
const NO_PROOF: &str = "it repeats what another has said, or somebody is between";

/// Who is on the other side of each connection, as far as that is known.
#[derive(Default)]
pub(crate) struct Guard {
    lock: Option<Lock>,
    callers: SortedMap<ConnId, Caller>,
    /// Those who are to be let in, and until when: in the order in which they came.
    awaited: VecDeque<(ConnId, u64)>,
    now_ms: u64,
    /// Why somebody was refused just now.
    denied: Option<&'static str>,
    denied_count: u64,
}

/// Who may be let in by the key of one node: a master alone knows of that.
pub(super) trait NodeKeys {
    /// The node whose key is to be shown for a tree of this name. Whether there is such a node
    /// shows as little as whether its key is right.
    fn name(&self, aname: &[u8]) -> Option<String>;
    /// Its key, or what the operator is to hear.
    fn key(&self, node: &str) -> Result<Key, &'static str>;
}

struct Lock {
    key: Key,
    /// Those of the nodes, where there is a root from which they follow.
    nodes: Option<Box<dyn NodeKeys>>,
    random: Random,
    /// The plain tree is for everybody.
    is_plain_free: bool,
    /// Of those who say what who has the key once said, and have not proved that it is theirs.
    unproved: Unproved,
}

/// Whose key is shown: the cluster's, or that of the node with this name.
type Who = Option<String>;

enum Caller {
    Asked(OpenId, Who),
    Answered(OpenId, Who, Session, [u8; auth::MESSAGE_LEN]),
    Proved(OpenId, Who, Session),
    /// It is let in without a key.
    Free,
    /// Its handshake came to nothing, and it has no other.
    Failed,
}

/// What somebody wants to be let in to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    All,
    Plain,
    /// What is for one node alone.
    Alone,
}

impl fmt::Debug for Guard {
    /// No secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Guard({}, {})", self.lock.is_some(), self.callers.len())
    }
}

impl Guard {
    /// From now on who comes has to have the key of the cluster that follows from this one.
    pub fn lock(&mut self, key: &Key, random: Random, is_plain_free: bool) {
        let Some(cluster) = key.cluster() else { return };
        let unproved = Unproved::default();
        self.lock = Some(Lock { key: cluster, nodes: None, random, is_plain_free, unproved });
    }

    /// And for what is for a node alone that of the node.
    pub(super) fn know_nodes(&mut self, nodes: Box<dyn NodeKeys>) {
        if let Some(lock) = &mut self.lock {
            lock.nodes = Some(nodes);
        }
    }

    pub fn is_locked(&self) -> bool {
        self.lock.is_some()
    }

    /// Before anything else is asked at that time.
    pub fn set_now(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
    }

    /// A connection begins.
    pub fn begin(&mut self, conn: ConnId) {
        if !self.is_locked() {
            return;
        }
        // Of so many all but the last are gone already.
        if self.awaited.len() >= AWAITED_MAX {
            self.awaited.pop_front();
        }
        self.awaited.push_back((conn, self.now_ms + ADMIT_MS));
    }

    /// Whether this connection asks, from now on, for what is behind the door.
    pub fn is_admitted(&self, conn: ConnId) -> bool {
        !self.is_locked()
            || matches!(self.callers.get(&conn), Some(Caller::Proved(..) | Caller::Free))
    }

    /// When to call `poll_late`.
    pub fn late_ms(&self) -> Option<u64> {
        self.awaited.front().map(|(_, at_ms)| *at_ms)
    }

    /// Of whom it is known by now whether it is let in, if it is still there.
    pub fn poll_late(&mut self, now_ms: u64) -> Option<ConnId> {
        let (conn, _) = self.awaited.pop_front_if(|(_, at_ms)| *at_ms <= now_ms)?;
        Some(conn)
    }

    /// One that was not let in did not even ask.
    pub fn count_late(&mut self) {
        self.denied_count += 1;
    }

    /// An address of which handshakes were refused for their number, and how many: to be asked
    /// with `poll_late`, since each of theirs began a connection.
    pub fn poll_unanswered(&mut self, now_ms: u64) -> Option<(Option<IpAddr>, u64)> {
        self.lock.as_mut()?.unproved.poll_unsaid(now_ms)
    }

    /// How often somebody was not let in.
    pub fn denied_count(&self) -> u64 {
        self.denied_count
    }

    /// Why somebody was refused since this was asked last: for the operator alone.
    pub fn take_denied(&mut self) -> Option<&'static str> {
        self.denied.take()
    }

    fn deny(&mut self, why: &'static str, error: Error) -> Error {
        self.denied_count += 1;
        self.denied = Some(why);
        error
    }

    /// Somebody wants to prove it: once, so that a connection has one handshake, and what
    /// that makes us hold.
    pub fn ask(&mut self, open_id: OpenId, aname: &[u8]) -> Result<(), Error> {
        let lock = self.lock.as_ref().ok_or(NO_AUTH)?;
        // Clients that ask first (diod's) attach without, once they hear that.
        if lock.is_plain_free && PLAIN.contains(&aname) {
            return Err(NO_AUTH);
        }
        let node = lock.nodes.as_ref().and_then(|nodes| nodes.name(aname));
        let is_right = node.is_some() || aname == CLUSTER;
        if !is_right || self.callers.contains_key(&open_id.conn) {
            return Err(self.deny(OTHER_KEY, DENIED));
        }
        self.callers.insert(open_id.conn, Caller::Asked(open_id, node));
        Ok(())
    }

    /// The words of a handshake, from this address: the first is answered, the second proves it.
    #[inline(never)]
    pub fn say(&mut self, open_id: OpenId, ip: Option<IpAddr>, said: &[u8]) -> Result<(), Error> {
        let conn = open_id.conn;
        // Whoever adds words to a handshake that is over, a relay, takes nothing from it.
        if self.is_admitted(conn) {
            return Err(EINVAL);
        }
        let caller = self.callers.insert(conn, Caller::Failed);
        let next = match caller {
            Some(Caller::Asked(asked, who)) if asked == open_id => {
                self.answered(open_id, who, ip, said)
            }
            Some(Caller::Answered(asked, who, session, _)) if asked == open_id => {
                let session = self.proved(ip, session, said);
                session.map(|session| Caller::Proved(open_id, who, session))
            }
            _ => Err(EINVAL),
        };
        self.callers.insert(conn, next?);
        Ok(())
    }

    #[inline(never)]
    fn answered(
        &mut self,
        open_id: OpenId,
        who: Who,
        ip: Option<IpAddr>,
        said: &[u8],
    ) -> Result<Caller, Error> {
        let lock = self.lock.as_mut().ok_or(NO_AUTH)?;
        let key = match (&who, &lock.nodes) {
            (None, _) => Ok(lock.key.clone()),
            (Some(node), Some(nodes)) => nodes.key(node),
            (Some(_), None) => Err(OTHER_KEY),
        };
        let key = match key {
            Ok(key) => key,
            Err(why) => return Err(self.deny(why, DENIED)),
        };
        let Ok(greeting) = Greeting::open(&key, &mut lock.random, said) else {
            return Err(self.deny(OTHER_KEY, DENIED));
        };
        // It may be a copy, and from here on it costs us time.
        let (Some(ip), Some(beginning)) = (ip, said.first_chunk()) else { return Err(DENIED) };
        match lock.unproved.hear(self.now_ms, ip, beginning) {
            Ok(()) => {}
            Err(Unanswered::Copy) => return Err(self.deny(NO_PROOF, DENIED)),
            Err(Unanswered::Busy) => {
                self.denied_count += 1;
                return Err(LATER);
            }
        }
        let answered = greeting.answer();
        let (session, answer) = answered.map_err(|_| self.deny(NO_PROOF, DENIED))?;
        Ok(Caller::Answered(open_id, who, session, answer))
    }

    fn proved(
        &mut self,
        ip: Option<IpAddr>,
        mut session: Session,
        said: &[u8],
    ) -> Result<Session, Error> {
        if !session.is_proved_by(said) {
            return Err(self.deny(NO_PROOF, DENIED));
        }
        if let (Some(lock), Some(ip)) = (&mut self.lock, ip) {
            lock.unproved.forgive(ip);
        }
        Ok(session)
    }

    /// What is to be answered to the first.
    pub fn answer(&self, open_id: OpenId) -> Result<Vec<u8>, Error> {
        match self.callers.get(&open_id.conn) {
            Some(Caller::Answered(asked, _, _, answer)) if *asked == open_id => Ok(answer.to_vec()),
            _ => Err(EINVAL),
        }
    }

    /// Whether who asks is let in: by the key of the cluster to all but what is for a node alone,
    /// by that of a node to this and nothing else.
    pub(super) fn admit(
        &mut self,
        conn: ConnId,
        proof: Option<OpenId>,
        wanted: Wanted,
    ) -> Result<(), Error> {
        let is_alone = wanted == Wanted::Alone;
        match (&self.lock, proof) {
            (None, None) if is_alone => Err(ENOENT),
            (None, None) => Ok(()),
            (None, Some(_)) => Err(NO_AUTH),
            (Some(lock), None) if wanted == Wanted::Plain && lock.is_plain_free => {
                // Who has proved more has done so.
                if !matches!(self.callers.get(&conn), Some(Caller::Proved(..))) {
                    self.callers.insert(conn, Caller::Free);
                }
                Ok(())
            }
            (Some(_), None) => Err(self.deny(NO_KEY, WANTS_KEY)),
            (Some(_), Some(proof)) => match self.callers.get(&conn) {
                Some(Caller::Proved(proved, who, _))
                    if *proved == proof && who.is_some() == is_alone =>
                {
                    Ok(())
                }
                _ => Err(DENIED),
            },
        }
    }

    /// The node that has shown its own key on this connection.
    pub fn node(&self, conn: ConnId) -> Option<&str> {
        match self.callers.get(&conn) {
            Some(Caller::Proved(_, who, _)) => who.as_deref(),
            _ => None,
        }
    }

    /// The connection is gone.
    pub fn forget(&mut self, conn: ConnId) {
        self.callers.remove(&conn);
    }

    /// What somebody wrote, as it was meant.
    ///
    /// # Errors
    /// It is not of who was let in.
    pub fn open(&mut self, conn: ConnId, said: &[u8]) -> Result<Vec<u8>, Error> {
        match self.callers.get_mut(&conn) {
            _ if self.lock.is_none() => Ok(said.to_vec()),
            Some(Caller::Proved(_, _, session)) => session.open(said).map_err(|_| DENIED),
            _ => Err(WANTS_KEY),
        }
    }

    /// What is to be said in a conversation, as it goes; nothing, where it has to be sealed and
    /// cannot be.
    pub fn seal(&mut self, conn: ConnId, line: &[u8]) -> Vec<u8> {
        match self.callers.get_mut(&conn) {
            _ if self.lock.is_none() => line.to_vec(),
            Some(Caller::Proved(_, _, session)) => session.record(line),
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
