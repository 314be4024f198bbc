//! What follows nodes.tab while `netboot --run` serves: names, and what is lent all the same.
//!
//! Nothing that is wrong with the table, or in the way of the files, is an end: names stay as
//! they are, which is said once, and it is tried again.

use super::log::Log;
use super::place::{Made, write};
use super::{Netboot, names};
use crate::failure::Outcome;
use crate::head::Head;
use crate::staging::Staging;
use crate::tab;
use nodes::Table;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

/// How often nodes.tab is looked at.
const EVERY: Duration = Duration::from_secs(2);

type State = Option<(u64, u64, SystemTime)>;

/// What nodes.tab was when it was last looked at.
pub struct Names {
    state: State,
    at: Instant,
    /// The files could not be written.
    is_due: bool,
    /// What was in the way, which is said once.
    said: String,
}

impl Names {
    pub fn new(head: &Head) -> Names {
        let state = state_of(&head.nodes_tab());
        Names { state, at: Instant::now(), is_due: false, said: String::new() }
    }

    /// Whether the files are others now.
    pub fn follow(&mut self, head: &Head, made: &Netboot, log: &Log) -> bool {
        if self.at.elapsed() < EVERY {
            return false;
        }
        self.at = Instant::now();
        let state = state_of(&head.nodes_tab());
        if state == self.state && !self.is_due {
            return false;
        }
        self.state = state;
        // What is wrong in it is there until it changes again.
        let table = tab::read(head).inspect_err(|_| self.is_due = false);
        let done = table.and_then(|table| {
            self.is_due = true;
            rewrite(&table, made).map(|()| table)
        });
        match done {
            Ok(table) => {
                self.is_due = false;
                self.said.clear();
                log.line("netboot: nodes.tab has changed; dnsmasq has its names");
                say_what_is_lent(&table, &made.lent, log);
                true
            }
            Err(failure) => {
                if self.said != failure.text {
                    log.line(&format!("netboot: {}; names stay", failure.text));
                    self.said = failure.text;
                }
                false
            }
        }
    }
}

fn state_of(path: &Path) -> State {
    let status = fs::metadata(path).ok()?;
    Some((status.ino(), status.len(), status.modified().ok()?))
}

fn rewrite(table: &Table, made: &Netboot) -> Outcome {
    let staging = Staging::below(&made.dir)?;
    for (name, text) in names(table) {
        let (path, name): Made = write(&staging, &text, name)?;
        staging.put(&path, &made.dir.join(name), true)?;
    }
    Ok(())
}

/// dnsmasq does not read again what it lends.
fn say_what_is_lent(table: &Table, lent: &[(IpAddr, IpAddr)], log: &Log) {
    for (from, to) in both(table, lent) {
        log.line(&format!(
            "netboot: nodes.tab knows nodes by addresses from {from} to {to}, which are lent to \
             others until this is started again"
        ));
    }
}

/// What nodes are known by and is lent to others, too.
fn both(table: &Table, lent: &[(IpAddr, IpAddr)]) -> Vec<(IpAddr, IpAddr)> {
    let mut both = Vec::new();
    for (first, last) in table.ranges() {
        let lent = lent.iter().filter(|(from, _)| from.is_ipv4() == first.is_ipv4());
        let cut = lent.map(|(from, to)| (first.max(*from), last.min(*to)));
        both.extend(cut.filter(|(from, to)| from <= to));
    }
    both
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lent_although_a_node_is_known_by_it_is_found() {
        let table = Table::parse(b"10.0.0.100-10.0.0.130 n[100-130]\n10.1.0.0/24\n").unwrap();
        let ip = |last: u8| IpAddr::from([10, 0, 0, last]);
        let six = |text: &str| text.parse::<IpAddr>().unwrap();
        let lent6 = (six("fd00::1:0"), six("fd00::1:ffff"));
        let lent = [(ip(128), ip(129)), (ip(130), ip(254)), lent6];
        assert_eq!(both(&table, &lent), [(ip(128), ip(129)), (ip(130), ip(130))]);
        assert!(both(&Table::default(), &lent).is_empty());
        let table = Table::parse(b"fd00::1:5\nfd01::1:5\n").unwrap();
        assert_eq!(both(&table, &lent), [(six("fd00::1:5"), six("fd00::1:5"))]);
    }
}
