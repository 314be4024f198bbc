//! A genders(5) file as rows: nodes, ranges of them, and attributes.
//!
//! An attribute without a value is a group: its line is for the administrator to fill, and
//! layers and words of each node that has it name it. With a value it is a column or the key, if
//! it is called so. Refuses to know nodes.tab.

use super::super::row::{IMAGE, KEY, LAYERS, NAME, WORDS};
use super::sheet::key;
use super::{Rows, Wanted, Wrong};
use nodes::{Key, Kind, NODES_MAX, expand};
use std::collections::{BTreeMap, BTreeSet};

/// Attributes whose values are the key of a node, the first first.
const KEYS: [&str; 5] = ["mac", "uuid", "serial", "asset", "address"];

/// What the file says of a node.
#[derive(Debug, Default)]
struct Node {
    /// Where it is named first.
    line: u64,
    /// In the order in which they are written, without values.
    groups: Vec<String>,
    values: BTreeMap<String, String>,
}

pub(super) fn parse(text: &str) -> Result<Rows, Wrong> {
    let mut nodes: BTreeMap<String, Node> = BTreeMap::new();
    let mut order = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        let text = text.split('#').next().unwrap_or_default();
        let mut words = text.split_whitespace();
        let Some(names) = words.next() else { continue };
        let attributes = words.next().unwrap_or_default();
        if let Some(more) = words.next() {
            return Err(Wrong::at(
                line,
                format!("{more:?}: attributes are parted by commas alone"),
            ));
        }
        let names = expand(names, NODES_MAX)
            .map_err(|what| Wrong::at(line, format!("{names:?}: {what}")))?;
        for name in names {
            if !nodes.contains_key(&name) {
                order.push(name.clone());
            }
            let node = nodes.entry(name.clone()).or_insert(Node { line, ..Node::default() });
            for attribute in attributes.split(',').filter(|attribute| !attribute.is_empty()) {
                node.add(line, &name, attribute)?;
            }
        }
    }
    rows(&order, &nodes)
}

impl Node {
    fn add(&mut self, line: u64, name: &str, attribute: &str) -> Result<(), Wrong> {
        let Some((word, value)) = attribute.split_once('=') else {
            if Key::new(Kind::Group, attribute).is_none() {
                return Err(Wrong::at(line, format!("{attribute:?} is no name for a group")));
            }
            if !self.groups.iter().any(|group| group == attribute) {
                self.groups.push(attribute.into());
            }
            return Ok(());
        };
        // As genders(5) has it; a lone % stays.
        let parts: Vec<String> = value.split("%%").map(|part| part.replace("%n", name)).collect();
        let value = parts.join("%");
        match self.values.insert(word.into(), value.clone()) {
            Some(before) if before != value => {
                let text = format!("{name} has {word} twice: {before:?} and {value:?}");
                Err(Wrong::at(line, text))
            }
            _ => Ok(()),
        }
    }

    fn columns(&self, name: &str) -> Result<[String; 5], Wrong> {
        let or_none = |text: String| if text.is_empty() { "-".to_string() } else { text };
        let mut columns = ["-"; 5].map(String::from);
        columns[KEY] = name.into();
        let found = KEYS.into_iter().find_map(|word| Some((word, self.values.get(word)?)));
        if let Some((word, value)) = found {
            columns[NAME] = name.into();
            columns[KEY] = key(word, value)
                .ok_or_else(|| Wrong::at(self.line, format!("{value:?} is no {word}")))?;
        }
        if let Some(image) = self.values.get("image") {
            columns[IMAGE] = image.clone();
        }
        let groups: Vec<String> = self.groups.iter().map(|group| format!("@{group}")).collect();
        let mut layers = groups.clone();
        let own = self.values.get("layers").into_iter().flat_map(|layers| layers.split(':'));
        layers.extend(own.filter(|layer| !layer.is_empty()).map(String::from));
        columns[LAYERS] = or_none(layers.join(","));
        columns[WORDS] = or_none(groups.join(" "));
        Ok(columns)
    }
}

fn rows(order: &[String], nodes: &BTreeMap<String, Node>) -> Result<Rows, Wrong> {
    let mut rows = Rows::default();
    let (mut groups, mut unused) = (BTreeSet::new(), BTreeSet::new());
    for name in order {
        let node = &nodes[name];
        for group in &node.groups {
            if groups.insert(group) {
                let mut columns = ["-"; 5].map(String::from);
                columns[KEY] = format!("@{group}");
                rows.groups.push(Wanted { line: node.line, columns });
            }
        }
        let is_used =
            |word: &&String| KEYS.contains(&&***word) || ["image", "layers"].contains(&&***word);
        unused.extend(node.values.keys().filter(|word| !is_used(word)).cloned());
        rows.nodes.push(Wanted { line: node.line, columns: node.columns(name)? });
    }
    if !unused.is_empty() {
        let names: Vec<String> = unused.into_iter().collect();
        rows.remarks
            .push(format!("attributes with values that are not taken: {}", names.join(", ")));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_groups_and_some_values_are_columns() {
        let rows = parse(
            "# the cluster\n\
             n[1-2],head  all\n\
             n1           gpu,rack=7,image=debian   # the first\n\
             n2           mac=52-54-00-00-00-0A,layers=a:b-%n,all\n\
             head         image=X%%n\n\
             lonely\n",
        );
        let rows = rows.unwrap();
        let texts = |rows: &[Wanted]| {
            let text = |row: &Wanted| format!("{}: {}", row.line, row.columns.join(" "));
            rows.iter().map(text).collect::<Vec<_>>()
        };
        assert_eq!(texts(&rows.groups), ["2: @all - - - -", "2: @gpu - - - -"]);
        assert_eq!(
            texts(&rows.nodes)[..2],
            ["2: n1 - debian @all,@gpu @all @gpu", "2: 52:54:00:00:00:0a n2 - @all,a,b-n2 @all",]
        );
        assert_eq!(texts(&rows.nodes)[2], "2: head - X%n @all @all");
        assert_eq!(texts(&rows.nodes)[3], "6: lonely - - - -");
        assert_eq!(rows.remarks, ["attributes with values that are not taken: rack"]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, line, what) in [
            ("\nn1 a, b\n", 2, "\"b\": attributes are parted by commas alone"),
            ("n[1 a\n", 1, "\"n[1\": ] is expected"),
            ("n1 a!\n", 1, "\"a!\" is no name for a group"),
            ("n1 image=a\nn[1-2] image=b\n", 2, "n1 has image twice: \"a\" and \"b\""),
            ("n1 mac=x\n", 1, "\"x\" is no mac"),
        ] {
            let wrong = parse(text).unwrap_err();
            assert_eq!((wrong.line, &*wrong.what), (line, what), "{text:?}");
        }
    }
}
