//! `nodes list`: the table, with what a master heard of each node.

use super::row::{IMAGE, KEY, LAYERS, NAME, Row, WORDS};
use crate::failure::Outcome;
use crate::head::Head;
use crate::heard::{Heard, Roll, roll};
use crate::listing::{Asking, Listing};
use crate::out;
use crate::tab;
use nodes::{Key, Kind, Table};
use serde::Serialize;
use std::collections::BTreeSet;

#[derive(clap::Args, Clone, Debug)]
pub struct List {
    #[command(flatten)]
    asking: Asking,
    #[command(flatten)]
    listing: Listing,
}

impl List {
    pub fn run(&self, head: &Head) -> Outcome {
        list(head, &self.asking, &self.listing)
    }
}

/// A node, or a line for nodes without names.
#[derive(Debug, Default, Serialize)]
struct Node {
    name: Option<String>,
    keys: Vec<String>,
    image: Option<String>,
    layers: Vec<String>,
    words: String,
    /// `None` where no master answers, or it has not heard of it.
    state: Option<String>,
    /// Since it is so.
    seconds: Option<u64>,
    /// Where it asked from.
    address: Option<String>,
}

pub fn list(head: &Head, asking: &Asking, listing: &Listing) -> Outcome {
    let (table, text) = tab::read_with_text(head)?;
    let path = head.nodes_tab();
    if !path.exists() {
        out::note(&format!("there is no {}: nodes get what they ask for", path.display()));
    }
    let roll = roll(asking)?;
    let mut nodes: Vec<Node> = table.names().map(|name| named(&table, name, &roll)).collect();
    nodes.extend(nameless(&text));
    let known: BTreeSet<&str> = table.names().collect();
    let others = roll.nodes.iter().filter(|heard| !known.contains(&*heard.name));
    nodes.extend(others.map(stranger));
    if listing.json { out::json(&nodes) } else { print(&nodes) }
}

fn named(table: &Table, name: &str, roll: &Roll) -> Node {
    let mut node = Node { name: Some(name.into()), ..Node::default() };
    if let Some(key) = Key::new(Kind::Name, name) {
        let word = |key: &Key| format!("{}={}", key.word().unwrap_or_default(), key.text);
        node.keys = table.keys(&key).map(word).collect();
        node.keys.extend(table.address(&key).map(|address| address.to_string()));
        if let Some(found) = table.named(&key) {
            node.image = found.image.map(String::from);
            node.layers = found.layers.into_iter().map(String::from).collect();
            node.words = found.words.join(" ");
        }
    }
    if let Some(heard) = roll.named(name) {
        node.hear(heard);
    }
    node
}

/// Lines of nodes without names, as they are written: what is theirs is said of none alone.
fn nameless(text: &str) -> impl Iterator<Item = Node> {
    let rows = text.lines().filter_map(Row::parse).filter(|row| {
        let is_host = |key: &str| {
            let address = key.split(['-', '/']).next().unwrap_or_default();
            let is_other = key.contains('=') || key == "*" || key.starts_with('@');
            let is_address = address.parse::<std::net::IpAddr>().is_ok();
            let kinds = [Kind::Mac, Kind::Uuid];
            !is_other && !is_address && !kinds.iter().any(|kind| Key::new(*kind, key).is_some())
        };
        let key = row.column(KEY);
        // A host name is the name, too.
        row.column(NAME) == "-" && !key.starts_with('@') && !key.split(',').any(is_host)
    });
    rows.map(|row| {
        let said = |column| Some(row.column(column)).filter(|text| *text != "-");
        Node {
            keys: vec![row.column(KEY).into()],
            image: said(IMAGE).map(String::from),
            layers: said(LAYERS).iter().flat_map(|l| l.split(',')).map(String::from).collect(),
            words: said(WORDS).unwrap_or_default().into(),
            ..Node::default()
        }
    })
}

/// Who asked, and has no name in the table as it is here.
fn stranger(heard: &Heard) -> Node {
    let mut node = Node { keys: heard.keys.clone(), ..Node::default() };
    node.name = (!heard.name.is_empty()).then(|| heard.name.clone());
    node.image = (!heard.image.is_empty()).then(|| heard.image.clone());
    node.hear(heard);
    node
}

impl Node {
    fn hear(&mut self, heard: &Heard) {
        self.state = Some(heard.state.clone());
        self.seconds = Some(heard.seconds);
        self.address = Some(heard.address.clone());
    }
}

fn print(nodes: &[Node]) -> Outcome {
    let heads = ["NAME", "KEY", "IMAGE", "LAYERS", "STATE", "SECONDS", "ADDRESS", "WORDS"];
    let right = &[false, false, false, false, false, true];
    let mut table = out::Table::new(right, &heads);
    let or_none = |text: Option<String>| {
        text.filter(|text| !text.is_empty()).unwrap_or_else(|| "-".to_string())
    };
    for node in nodes {
        table.row(vec![
            or_none(node.name.clone()),
            or_none(Some(node.keys.join(","))),
            or_none(node.image.clone()),
            or_none(Some(node.layers.join(","))),
            or_none(node.state.clone()),
            or_none(node.seconds.map(|seconds| seconds.to_string())),
            or_none(node.address.clone()),
            node.words.clone(),
        ]);
    }
    table.print()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_without_names_are_shown_and_groups_and_host_names_are_not_among_them() {
        let text = "@g - a\n# b\nio[1-4],k - a\n10.0.0.0/24 - @g # c\n* - rescue\nserial=X - -\n\
                    52:54:00:00:00:01 n1 a\n52-54-00-00-00-02 - a l,m w x\n10.0.0.1-10.0.0.9\n";
        let keys: Vec<_> = nameless(text).map(|node| node.keys.join(" ")).collect();
        let expected = ["10.0.0.0/24", "*", "serial=X", "52-54-00-00-00-02", "10.0.0.1-10.0.0.9"];
        assert_eq!(keys, expected);
        let last = nameless(text).nth(3).unwrap();
        assert_eq!((last.layers.len(), &*last.words), (2, "w x"));
    }

    #[test]
    fn a_node_is_joined_with_what_was_heard_of_it() {
        let table = Table::parse(b"52:54:00:00:00:01,10.0.0.7 n[1-2] debian a,b quiet\n").unwrap();
        let heard = Heard { name: "n2".into(), state: "up".into(), ..Heard::default() };
        let roll = Roll::of(None, vec![heard]);
        let one = named(&table, "n1", &roll);
        assert_eq!((one.keys.join(" "), one.state), ("mac=52:54:00:00:00:01".into(), None));
        let two = named(&table, "n2", &roll);
        assert_eq!((two.keys.join(" "), two.state), ("10.0.0.7".into(), Some("up".into())));
        assert_eq!((two.layers.join(","), &*two.words), ("a,b".into(), "quiet"));
    }
}
