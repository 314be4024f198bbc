//! A master that `netboot --run` found here, and which others started.
//!
//! That it ends is said, again and again, and is no end of ours: whoever started it may be
//! starting it again. Refuses to start one.

use super::log::Log;
use crate::failure::Outcome;
use crate::head::Head;
use crate::master::Session;
use crate::{key, tab};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// For a connection to a master of this machine.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often it is looked at.
const EVERY: Duration = Duration::from_secs(10);

pub struct Taken {
    address: SocketAddr,
    at: Instant,
    /// Since when it does not answer.
    gone: Option<Instant>,
}

pub fn answers(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, PATIENCE).is_ok()
}

impl Taken {
    /// What is no master is told apart.
    pub fn new(head: &Head, address: SocketAddr, log: &Log) -> Outcome<Taken> {
        compare(head, address, log)?;
        log.line(&format!("netboot: a master answers on {address}, and is taken"));
        Ok(Taken { address, at: Instant::now(), gone: None })
    }

    pub fn look(&mut self, head: &Head, log: &Log) {
        if self.at.elapsed() < EVERY {
            return;
        }
        self.at = Instant::now();
        let address = self.address;
        if !answers(address) {
            let gone = self.gone.get_or_insert(self.at).elapsed().as_secs();
            log.line(&format!(
                "netboot: the master on {address} does not answer any more ({gone} s): machines \
                 that boot wait for it; start it again, or netboot, which starts one"
            ));
        } else if self.gone.take().is_some() {
            log.line(&format!("netboot: the master on {address} answers again"));
            if let Err(failure) = compare(head, address, log) {
                log.line(&format!("netboot: {}", failure.text));
            }
        }
    }
}

/// Says so where it serves another table.
fn compare(head: &Head, address: SocketAddr, log: &Log) -> Outcome {
    let key = key::of_cluster(None)?;
    let theirs = Session::open(&address.to_string(), key)?.served(nodes::TAB_NAME)?;
    let ours = tab::read_bytes(&head.nodes_tab())?;
    if theirs.unwrap_or_default() != ours.unwrap_or_default() {
        let served = head.dir.display();
        log.line(&format!(
            "netboot: that master has another nodes.tab: it does not serve {served}"
        ));
    }
    Ok(())
}
