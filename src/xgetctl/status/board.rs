//! Every node and how far it is: `nodes.tab`, what the master heard, and what fetches there,
//! made one.
//!
//! Refuses to know where these come from.

use super::clients::Fetches;
use crate::failure::{Failure, Outcome};
use crate::heard::{Heard, Roll};
use crate::out;
use nodes::{Key, Kind, Table};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

const FETCHING: &str = "fetching";
const LOST: &str = "lost";
const UP: &str = "up";
/// Of a name that no master heard of.
const NOT_HEARD: &str = "not heard";
/// Those of docs/protocol.md, in the order in which they are counted.
const STATES: [&str; 8] = [UP, "starting", FETCHING, "asked", "missing", "unknown", "failed", LOST];
/// Between the fetches of a node there may be so long.
const BETWEEN_SECONDS: u64 = 15;

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Node {
    /// None of who has none.
    pub name: Option<String>,
    /// What it can be known by, if no name.
    pub key: Option<String>,
    /// None where the master has not heard of it.
    pub state: Option<String>,
    /// Since it is so.
    pub seconds: Option<u64>,
    /// Since its last word.
    pub heard_seconds: Option<u64>,
    pub image: Option<String>,
    pub address: Option<String>,
    /// Of what it fetches now.
    pub have_bytes: Option<u64>,
    pub total_bytes: Option<u64>,
    /// Its last words.
    pub said: String,
}

/// All of them.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Board {
    /// What is wrong with a table.
    pub fault: Option<String>,
    pub nodes: Vec<Node>,
    /// How many are in each state.
    pub counts: BTreeMap<String, usize>,
    /// Whether these were named, or have a name in the table.
    #[serde(skip)]
    wanted: BTreeSet<String>,
}

impl Board {
    pub fn of(table: &Table, roll: &Roll, clients: &BTreeMap<IpAddr, Fetches>) -> Board {
        let wanted: BTreeSet<String> = table.names().map(String::from).collect();
        let mut at_address: BTreeMap<&str, u32> = BTreeMap::new();
        roll.nodes.iter().for_each(|heard| *at_address.entry(&heard.address).or_default() += 1);
        let join = |mut node: Node, heard: &Heard| {
            node.hear(heard);
            // Of several that share an address nobody knows whose fetch it is.
            let ip = heard.address.parse::<IpAddr>().ok().map(|ip| ip.to_canonical());
            let fetches = ip.and_then(|ip| clients.get(&ip));
            if let (Some(fetches), Some(1)) = (fetches, at_address.get(&*heard.address)) {
                node.fetch(fetches);
            }
            node
        };
        let named = table.names().map(|name| match roll.named(name) {
            Some(heard) => join(Node::of(table, name), heard),
            None => Node::of(table, name),
        });
        let others = roll.nodes.iter().filter(|heard| !wanted.contains(&heard.name));
        let nodes = named.chain(others.map(|heard| join(Node::default(), heard))).collect();
        let mut board = Board { nodes, wanted, ..Board::default() };
        board.count();
        board
    }

    fn count(&mut self) {
        self.counts.clear();
        for node in &self.nodes {
            *self.counts.entry(node.state().into()).or_default() += 1;
        }
    }

    /// Leaves those with these names, if any is named.
    pub fn choose(&mut self, names: &[String]) -> Outcome {
        if names.is_empty() {
            return Ok(());
        }
        let there: BTreeSet<&String> = self.nodes.iter().filter_map(|n| n.name.as_ref()).collect();
        if let Some(name) = names.iter().find(|name| !there.contains(name)) {
            let why = self.fault.as_ref().map(|fault| format!(" ({fault})")).unwrap_or_default();
            return Err(Failure::source(format!(
                "no line of nodes.tab has the name {name}, and no node says that it is it{why}"
            )));
        }
        self.wanted = names.iter().cloned().collect();
        let wanted = &self.wanted;
        self.nodes.retain(|node| node.name.as_ref().is_some_and(|name| wanted.contains(name)));
        self.count();
        Ok(())
    }

    /// Whether no node was named, and none has a name in the table.
    pub fn waits_for_nobody(&self) -> bool {
        self.wanted.is_empty()
    }

    /// Whether all that are waited for are up; of nobody that is not said.
    pub fn is_all_up(&self) -> bool {
        // Each of them is among the nodes.
        let is_wanted = |node: &&Node| node.name.as_ref().is_some_and(|n| self.wanted.contains(n));
        !self.waits_for_nobody()
            && self.nodes.iter().filter(is_wanted).all(|node| node.state() == UP)
    }

    /// `31 up, 1 lost, 4 not heard`
    pub fn summary(&self) -> String {
        let known = STATES.iter().chain([&NOT_HEARD]).copied();
        let others = self.counts.keys().map(String::as_str);
        let others = others.filter(|state| *state != NOT_HEARD && !STATES.contains(state));
        let counts = known.chain(others).filter_map(|state| {
            let count = self.counts.get(state)?;
            Some(format!("{count} {}", out::printable(state).replace('\n', " ")))
        });
        match counts.collect::<Vec<_>>().join(", ") {
            text if text.is_empty() => "no node".into(),
            text => text,
        }
    }

    /// For people: a table and the summary.
    pub fn text(&self) -> String {
        let table = if self.nodes.is_empty() { String::new() } else { table(&self.nodes) };
        table + &self.summary() + "\n"
    }
}

/// With the names of the columns above.
pub fn table(nodes: &[Node]) -> String {
    let mut table =
        out::Table::new(&[], &["NODE", "STATE", "SINCE", "IMAGE", "ADDRESS", "LAST WORDS"]);
    nodes.iter().for_each(|node| table.row(node.cells()));
    table.text()
}

impl Node {
    /// What the table says of a name.
    fn of(table: &Table, name: &str) -> Node {
        let mut node = Node { name: Some(name.into()), ..Node::default() };
        if let Some(key) = Key::new(Kind::Name, name) {
            let image = table.named(&key).and_then(|found| found.image.map(short));
            node.image = image;
            node.address = table.address(&key).map(|address| address.to_string());
        }
        node
    }

    fn hear(&mut self, heard: &Heard) {
        let said = |text: &String| (!text.is_empty()).then(|| text.clone());
        if self.name.is_none() {
            (self.name, self.key) = (said(&heard.name), heard.key());
        }
        self.state = Some(heard.state.clone());
        self.seconds = Some(heard.seconds);
        self.heard_seconds = heard.heard;
        self.image = said(&heard.image).map(|image| short(&image)).or(self.image.take());
        self.address = said(&heard.address).or(self.address.take());
        self.said = heard.said.clone();
    }

    /// How far it is, if it fetches; that it is not, if its fetch broke off.
    fn fetch(&mut self, fetches: &Fetches) {
        if self.state() != FETCHING {
            return;
        }
        if fetches.is_lost && self.seconds >= Some(BETWEEN_SECONDS) {
            self.state = Some(LOST.into());
        } else if fetches.total_bytes > 0 {
            self.have_bytes = Some(fetches.have_bytes);
            self.total_bytes = Some(fetches.total_bytes);
        }
    }

    pub fn state(&self) -> &str {
        self.state.as_deref().unwrap_or(NOT_HEARD)
    }

    /// What it is called: a node without a name is what it can be known by.
    pub fn label(&self) -> &str {
        let label = self.name.as_deref().or(self.key.as_deref()).or(self.address.as_deref());
        label.unwrap_or("-")
    }

    fn percent(&self) -> Option<u64> {
        self.have_bytes?.saturating_mul(100).checked_div(self.total_bytes?)
    }

    /// For people.
    pub fn cells(&self) -> Vec<String> {
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
        let state = match self.percent() {
            Some(percent) => format!("{} {percent} %", self.state()),
            None => self.state().into(),
        };
        // Of who is up they are its kernel and image.
        let said = if self.state() == UP { "" } else { &*self.said };
        let cells = [
            self.label().into(),
            state,
            self.seconds.map_or("-".into(), since),
            or_none(&self.image),
            or_none(&self.address),
            said.into(),
        ];
        cells.map(|cell| cell.replace('\n', " ")).into()
    }
}

/// As `nodes.tab` writes it.
fn short(image: &str) -> String {
    image.strip_prefix("images/").unwrap_or(image).into()
}

/// `7s`, `3m07s`, `2h03m`, `4d02h`
fn since(seconds: u64) -> String {
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m{:02}s", seconds % 60),
        3600..86400 => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{}d{:02}h", hours / 24, hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::super::clients;
    use super::*;

    const ROLL: &str = "table=good nodes=5\n\
        state=up seconds=100 address=10.0.0.1 name=n1 image=images/debian said=kernel%3D6 mac=x\n\
        state=fetching seconds=20 address=10.0.0.2 name=n2 image=images/tiny\n\
        state=fetching seconds=20 address=10.0.0.3 name=n3 image=images/tiny\n\
        state=unknown seconds=9 address=10.0.0.9 mac=52:54:00:00:00:09\n\
        state=failed seconds=5 address=10.0.0.8 name=old said=no%20%1b%5broom\n";
    const CLIENTS: &str = "10.0.0.2!7 fetching 43 100 0 0 0 -\n10.0.0.3!7 lost 9 100 0 0 0 -\n";

    fn board(tab: &str, roll: &str) -> Board {
        let table = Table::parse(tab.as_bytes()).unwrap();
        Board::of(&table, &Roll::parse(roll), &clients::parse(CLIENTS))
    }

    #[test]
    fn nodes_of_the_table_and_those_that_asked_are_one_list() {
        let board = board("n[1-3] - debian\n10.0.0.4 n4 tiny\n", ROLL);
        assert_eq!(
            board.text(),
            "NODE               STATE          SINCE  IMAGE   ADDRESS   LAST WORDS\n\
             n1                 up             1m40s  debian  10.0.0.1\n\
             n2                 fetching 43 %  20s    tiny    10.0.0.2\n\
             n3                 lost           20s    tiny    10.0.0.3\n\
             n4                 not heard      -      tiny    10.0.0.4\n\
             52:54:00:00:00:09  unknown        9s     -       10.0.0.9\n\
             old                failed         5s     -       10.0.0.8  no ?[room\n\
             1 up, 1 fetching, 1 unknown, 1 failed, 1 lost, 1 not heard\n"
        );
        assert!(!board.is_all_up());
    }

    #[test]
    fn of_who_shares_an_address_it_is_not_known_how_far() {
        let two = ROLL.replace("10.0.0.3", "10.0.0.2");
        let board = board("n[1-3] - debian\n", &two);
        let far: Vec<_> = board.nodes.iter().map(|node| node.have_bytes).collect();
        assert_eq!(far, [None; 5]);
    }

    #[test]
    fn a_break_between_two_fetches_is_no_loss() {
        let young = ROLL.replace("seconds=20", "seconds=14");
        assert_eq!(board("n3 - debian\n", &young).nodes[0].state(), FETCHING);
    }

    #[test]
    fn those_that_are_named_are_left_and_waited_for() {
        let mut one = board("n[1-3] - debian\n", ROLL);
        one.choose(&["n1".into()]).unwrap();
        assert_eq!((one.summary(), one.is_all_up()), ("1 up".into(), true));
        let refused = board("", ROLL).choose(&["n9".into()]).unwrap_err();
        assert!(refused.text.contains("has the name n9"), "{refused:?}");
        let none = board("", "");
        assert_eq!((none.text(), none.is_all_up()), ("no node\n".into(), false));
        let strangers = board("", ROLL);
        assert!(strangers.waits_for_nobody() && !strangers.is_all_up());
        assert_eq!(board("", "state=la%1b%0ater\n").summary(), "1 la? ter");
        assert_eq!(board("", "state=a%0ab name=c%0ad\n").text().lines().count(), 3);
    }

    #[test]
    fn how_long_is_short() {
        let of = [0, 59, 60, 187, 3599, 7380, 86_400 * 4 + 7200].map(since);
        assert_eq!(of, ["0s", "59s", "1m00s", "3m07s", "59m59s", "2h03m", "4d02h"]);
    }
}
