//! A search of the network for masters, run for real: asked on the links, answers taken.
//!
//! Blocks until it is over, and lets who began it look on. Refuses to know what is made of
//! what was heard.

use crate::os::link_socket::{Link, LinkSocket};
use crate::os::poll::{Poll, READABLE};
use peer::content::digest::Digest;
use peer::control::ANSWER_LEN_MAX;
use peer::discovery::{Found, GROUP, PORT, Patience, Search};
use std::ops::ControlFlow;
use std::time::Instant;

/// Who looks on does so that often.
const LOOK_MS: u64 = 100;
/// Datagrams that are read in one turn.
const READS_MAX: usize = 256;

/// This machine was asked.
const ALONE: &str = "nobody answers on this machine, and there is ";

/// What is looked for, and where.
pub struct Sought {
    /// Drawn by lot (`os::random`).
    pub id: u64,
    /// As it is sent.
    pub question: Vec<u8>,
    /// What is said to be that counts before all else.
    pub pin: Option<Digest>,
    pub patience: Patience,
    pub links: Vec<Link>,
}

/// Why there is nothing to be made of a search.
#[derive(Debug)]
pub enum SearchEnd {
    /// Who looked on ended it, and said why.
    Interrupted(String),
    /// It could not be asked.
    Unable(String),
}

/// Called in every turn with the number of the question that is about to be asked, if one is.
pub type Onlooker<'a> = dyn FnMut(Option<u64>) -> ControlFlow<String> + 'a;

/// Asks until somebody has answered and the others had their time, or the time is over.
#[inline(never)]
pub fn search(sought: Sought, look_on: &mut Onlooker) -> Result<Found, SearchEnd> {
    let Sought { id, question, pin, patience, links } = sought;
    let sockets = open().map_err(SearchEnd::Unable)?;
    let began = Instant::now();
    let mut search = Search::new(0, id, question, pin, patience);
    let (mut poll, mut unsent) = (Poll::default(), String::new());
    loop {
        let now_ms = began.elapsed().as_millis() as u64;
        if search.is_over(now_ms) {
            break;
        }
        let question = search.poll_question(now_ms);
        if let ControlFlow::Break(why) = look_on(question.map(|(_, nth)| nth)) {
            return Err(SearchEnd::Interrupted(why));
        }
        if let Some((bytes, _)) = question {
            match ask(&sockets, &links, bytes) {
                Ok(()) => unsent.clear(),
                Err(why) => unsent = why,
            }
        }
        let due_ms = search.deadline_ms().saturating_sub(now_ms);
        let _ = wait(&mut poll, &sockets, due_ms.min(LOOK_MS));
        let now_ms = began.elapsed().as_millis() as u64;
        take(&sockets, &mut search, now_ms);
    }
    match search.end() {
        found if found.is_empty() && !unsent.is_empty() => Err(SearchEnd::Unable(unsent)),
        found => Ok(found),
    }
}

/// Of each family that the kernel has.
fn open() -> Result<Vec<LinkSocket>, String> {
    let (mut sockets, mut wrong) = (Vec::new(), String::new());
    for is_ipv6 in [false, true] {
        match LinkSocket::open(is_ipv6, 0) {
            Ok(socket) => sockets.push(socket),
            Err(error) => wrong = error.to_string(),
        }
    }
    if sockets.is_empty() {
        Err(["cannot ask the network: ", &wrong].concat())
    } else {
        Ok(sockets)
    }
}

/// On each link; many are down, or have no address of a family. An error where it left by none.
fn ask(sockets: &[LinkSocket], links: &[Link], bytes: &[u8]) -> Result<(), String> {
    let (mut has_left, mut wrong) = (false, String::from("there is none"));
    for link in links {
        for socket in sockets {
            match socket.say(*link, GROUP, PORT, bytes) {
                // Nobody else hears what this machine says to itself.
                Ok(()) => has_left |= !link.is_loopback,
                Err(error) => wrong = error.to_string(),
            }
        }
    }
    if has_left {
        return Ok(());
    }
    let has_asked = if links.iter().any(|link| link.is_loopback) { ALONE } else { "" };
    Err([has_asked, "no network to ask on: ", &wrong].concat())
}

fn wait(poll: &mut Poll, sockets: &[LinkSocket], most_ms: u64) -> std::io::Result<bool> {
    poll.clear();
    sockets.iter().for_each(|socket| poll.add(socket, READABLE));
    poll.wait(most_ms)
}

fn take(sockets: &[LinkSocket], search: &mut Search, now_ms: u64) {
    // One byte more than there may be.
    let mut buffer = [0; ANSWER_LEN_MAX + 1];
    for socket in sockets {
        for _ in 0..READS_MAX {
            let Some((len, from)) = socket.receive(&mut buffer) else { break };
            search.heard(now_ms, from, &buffer[..len]);
        }
    }
}
