//! What a master heard of nodes: `/.xget/nodes`, as docs/protocol.md has it.
//!
//! All of it is what nodes say of themselves: it is shown, and of it a key is taken only in
//! its one form.

use crate::failure::Outcome;
use crate::listing::Asking;
use crate::master;
use crate::{interrupt, out};
use nodes::{Key, Kind};
use serde::Serialize;
use std::collections::BTreeMap;

/// A node that asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Heard {
    pub state: String,
    /// Since it is so.
    pub seconds: u64,
    /// Since its last word; masters of before do not say it.
    pub heard: Option<u64>,
    pub address: String,
    pub name: String,
    pub image: String,
    pub said: String,
    /// What it says it is known by, as `mac=…`.
    pub keys: Vec<String>,
}

/// What a master says.
#[derive(Debug, Default)]
pub struct Roll {
    /// What is wrong with the table that it has.
    pub fault: Option<String>,
    pub nodes: Vec<Heard>,
    /// Of each name the one that was heard of last.
    by_name: BTreeMap<String, usize>,
}

impl Roll {
    /// Nothing is begun yet, so a signal ends the program at once.
    pub fn ask(asking: &Asking) -> Outcome<Roll> {
        let _ends = interrupt::ends_at_once()?;
        Ok(Roll::parse(&asking.session()?.control("nodes")?))
    }

    /// Of the text of `/.xget/nodes`.
    pub fn parse(text: &str) -> Roll {
        let (mut nodes, mut fault) = (Vec::new(), None);
        for line in text.lines() {
            let mut heard = Heard::default();
            for (name, value) in master::words(line) {
                match name {
                    "why" => fault = Some(value),
                    "state" => heard.state = value,
                    "seconds" => heard.seconds = value.parse().unwrap_or_default(),
                    "heard" => heard.heard = value.parse().ok(),
                    "address" => heard.address = value,
                    "name" => heard.name = value,
                    "image" => heard.image = value,
                    "said" => heard.said = value,
                    _ if Key::kind_of(name).is_some() => {
                        heard.keys.push(format!("{name}={value}"));
                    }
                    _ => {}
                }
            }
            if !heard.state.is_empty() {
                nodes.push(heard);
            }
        }
        Roll::of(fault, nodes)
    }

    pub fn of(fault: Option<String>, nodes: Vec<Heard>) -> Roll {
        let mut by_name: BTreeMap<String, usize> = BTreeMap::new();
        for (at, node) in nodes.iter().enumerate().filter(|(_, node)| !node.name.is_empty()) {
            let last = by_name.entry(node.name.clone()).or_insert(at);
            let ago = |node: &Heard| node.heard.unwrap_or(node.seconds);
            if ago(&nodes[*last]) > ago(node) {
                *last = at;
            }
        }
        Roll { fault, nodes, by_name }
    }

    /// What is wrong with the table that the master has.
    pub fn warn(&self) {
        if let Some(text) = self.warning() {
            out::note(&text);
        }
    }

    pub fn warning(&self) -> Option<String> {
        let fault = self.fault.as_ref()?;
        Some(format!("the master cannot read nodes.tab and goes by an older one: {fault}"))
    }

    /// Who waits for a line, the longest first.
    pub fn unknown(mut self) -> Vec<Heard> {
        self.nodes.retain(|node| node.state == "unknown");
        self.nodes.sort_by_key(|node| std::cmp::Reverse(node.seconds));
        self.nodes
    }

    /// The last that was heard of who has this name.
    pub fn named(&self, name: &str) -> Option<&Heard> {
        self.by_name.get(name).map(|at| &self.nodes[*at])
    }
}

/// What a master heard; nothing where none was named and none answers.
pub fn roll(asking: &Asking) -> Outcome<Roll> {
    match Roll::ask(asking) {
        Err(failure) if !asking.is_named() => {
            out::note(&format!("how far they are is not known: {}", failure.text));
            Ok(Roll::default())
        }
        roll => roll.inspect(Roll::warn),
    }
}

impl Heard {
    /// What it can be known by in `nodes.tab`, the best first: what hardware says, then the
    /// host name that DHCP gives.
    pub fn key(&self) -> Option<String> {
        let words = ["mac", "uuid", "serial", "asset", "host"];
        words.iter().find_map(|word| {
            let mut values = self.keys.iter().filter_map(|key| key.strip_prefix(word));
            values.find_map(|value| key_of(word, value.strip_prefix('=')?))
        })
    }
}

/// A key as it is written. What would be read as something else (a comma, a bracket) is none.
pub fn key_of(word: &str, value: &str) -> Option<String> {
    let kind = Key::kind_of(word)?;
    let key = Key::new(kind, value)?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/+".contains(&byte);
    key.text.bytes().all(is_plain).then(|| match kind {
        Kind::Mac => key.text,
        _ => format!("{word}={}", key.text),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_master_says_is_read_and_more_is_passed_over() {
        let roll = Roll::parse(
            "table=wrong nodes=2 why=line%203\n\
             state=up seconds=7 address=10.0.0.1 name=n1 image=images/a said=kernel%3D6 mac=x\n\
             state=unknown seconds=3 address=10.0.0.2 uuid=u later=1\n\
             state=unknown seconds=9 address=10.0.0.3\nrubbish\n\
             state=up seconds=2 heard=8 address=10.0.0.9 name=n1\n",
        );
        assert_eq!(roll.fault.as_deref(), Some("line 3"));
        assert_eq!(roll.named("n1").unwrap().said, "kernel=6");
        assert_eq!(roll.named("n2"), None);
        assert_eq!((roll.nodes.len(), roll.nodes[3].heard), (4, Some(8)));
        let waiting = roll.unknown();
        assert_eq!([&*waiting[0].address, &*waiting[1].address], ["10.0.0.3", "10.0.0.2"]);
    }

    #[test]
    fn a_key_is_taken_in_its_form_or_not_at_all() {
        let key = |keys: &[&str]| {
            Heard { keys: keys.iter().map(|key| key.to_string()).collect(), ..Heard::default() }
                .key()
        };
        assert_eq!(key(&["host=a", "mac=AA-bb-00-00-00-01"]).as_deref(), Some("aa:bb:00:00:00:01"));
        let refused = ["mac=x", "serial=a,*", "asset=a\nb * -", "host=n[1-9]"];
        assert_eq!(key(&refused), None);
        assert_eq!(key(&["serial=a#b", "asset=Rack 3"]).as_deref(), Some("asset=Rack_3"));
        assert_eq!(key(&["host=io1"]).as_deref(), Some("host=io1"));
    }
}
