//! The sockets by which a master is asked whether it has something, on every link.
//!
//! Knows ports and groups, and joins these on links that come later. Refuses to know what is
//! asked (`peer::discovery`, the master) and who is near enough (`os::link_socket`).

use crate::os::link_socket::{LinkSocket, links};
use crate::os::random;
use peer::control::{Answer, QUESTION_LEN_MAX, Speaker};
use peer::discovery::{GROUP, PORT};
use std::net::SocketAddr;

/// How often is looked for links that have come.
const LOOK_MS: u64 = 10_000;
/// Datagrams that are read in one turn.
const READS_MAX: usize = 64;

/// None of them where a master is not to be found.
pub struct Ears {
    sockets: Vec<LinkSocket>,
    speaker: Speaker,
    look_ms: u64,
}

impl Ears {
    pub fn closed() -> Ears {
        Ears { sockets: Vec::new(), speaker: Speaker { master: 0, port: 0 }, look_ms: 0 }
    }

    /// Of a master at this port. With what is wrong, if something is.
    pub fn open(port: u16) -> (Ears, Option<String>) {
        let speaker = Speaker { master: random::quick(), port };
        let (mut ears, mut wrong) = (Ears { speaker, ..Ears::closed() }, None);
        for is_ipv6 in [false, true] {
            match LinkSocket::open(is_ipv6, PORT) {
                Ok(socket) => ears.sockets.push(socket),
                // A kernel without IPv6 is none to complain of.
                Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => {}
                Err(error) => {
                    wrong = Some(format!(
                        "nobody finds this master by `xget get` or `find`, and who names it does: UDP port {PORT}: {error}"
                    ));
                }
            }
        }
        (ears, wrong)
    }

    pub fn sockets(&self) -> &[LinkSocket] {
        &self.sockets
    }

    /// Joins the group on links that have come, now and then.
    pub fn look(&mut self, now_ms: u64) {
        if now_ms < self.look_ms || self.sockets.is_empty() {
            return;
        }
        self.look_ms = now_ms + LOOK_MS;
        for link in links() {
            for socket in &self.sockets {
                if let Err(error) = socket.join(GROUP, link.index) {
                    log::debug!(target: "server", "no group on link {}: {error}", link.index);
                }
            }
        }
    }

    /// Hands on what came, as much as is read in one turn.
    pub fn take(&self, ear: usize, mut heard: impl FnMut(SocketAddr, &[u8])) {
        // One byte more than there may be.
        let mut buffer = [0; QUESTION_LEN_MAX + 1];
        for _ in 0..READS_MAX {
            let Some((len, from)) = self.sockets[ear].receive(&mut buffer) else { return };
            heard(from, &buffer[..len]);
        }
    }

    /// Answers who asked; who is not reached asks again.
    pub fn answer(&self, to: SocketAddr, id: u64, answer: Answer) {
        let datagram = answer.datagram(id, self.speaker);
        for socket in &self.sockets {
            if let Err(error) = socket.answer(to, &datagram) {
                log::debug!(target: "server", "cannot answer {to}: {error}");
            }
        }
    }
}
