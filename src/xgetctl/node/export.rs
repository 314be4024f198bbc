//! `nodes export`: the nodes with a name, as other programs want them.
//!
//! Names are those of nodes.tab, addresses those of its lines, else where a node asked a
//! master from. Groups are the images.

use crate::failure::Outcome;
use crate::head::Head;
use crate::heard::{Roll, roll};
use crate::listing::Asking;
use crate::{out, tab};
use nodes::{Key, Kind, Table};
use std::collections::BTreeMap;
use std::net::IpAddr;

#[derive(clap::Args, Clone, Debug)]
#[group(id = "form", required = true, multiple = false, args = ["pdsh", "clush", "ansible", "hosts"])]
pub struct Export {
    /// A name a line, for pdsh's WCOLL
    #[arg(long)]
    pdsh: bool,
    /// Groups for clush and nodeset: `all`, and one for each image
    #[arg(long)]
    clush: bool,
    /// An inventory in INI form, with a group for each image
    #[arg(long)]
    ansible: bool,
    /// Lines for /etc/hosts, of the nodes whose address is known
    #[arg(long)]
    hosts: bool,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Debug, PartialEq, Eq)]
struct Node {
    name: String,
    address: Option<IpAddr>,
    group: Option<String>,
}

impl Export {
    pub fn run(&self, head: &Head) -> Outcome {
        let table = tab::read(head)?;
        let has_addresses = self.hosts || self.ansible;
        let roll = if has_addresses { roll(&self.asking)? } else { Roll::default() };
        let nodes = nodes(&table, &roll);
        let without = nodes.iter().filter(|node| node.address.is_none()).count();
        if self.hosts && without > 0 {
            out::note(&format!(
                "{without} of {} nodes are left out: no line of nodes.tab has their address, and \
                 no master heard of them",
                nodes.len()
            ));
        }
        out::print(&match (self.pdsh, self.clush, self.ansible) {
            (true, ..) => nodes.iter().map(|node| format!("{}\n", node.name)).collect(),
            (_, true, _) => clush(&nodes),
            (.., true) => ansible(&nodes),
            _ => hosts(&nodes),
        })
    }
}

fn nodes(table: &Table, roll: &Roll) -> Vec<Node> {
    let keys = table.names().filter_map(|name| Key::new(Kind::Name, name));
    let node = |key: Key| {
        let heard = || roll.named(&key.text)?.address.parse::<IpAddr>().ok();
        let address = table.address(&key).or_else(heard);
        let image = table.named(&key).and_then(|found| found.image.map(group));
        Node { address, group: image, name: key.text }
    };
    keys.map(node).collect()
}

/// An image as a word that all of these programs take for a group.
fn group(image: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    format!("image_{}", image.chars().map(plain).collect::<String>())
}

fn groups(nodes: &[Node]) -> BTreeMap<&str, Vec<&Node>> {
    let mut groups: BTreeMap<&str, Vec<&Node>> = BTreeMap::new();
    for node in nodes {
        if let Some(group) = &node.group {
            groups.entry(group).or_default().push(node);
        }
    }
    groups
}

fn clush(nodes: &[Node]) -> String {
    let line = |group: &str, nodes: &[&Node]| {
        let names: Vec<&str> = nodes.iter().map(|node| &*node.name).collect();
        format!("{group}: {}\n", names.join(","))
    };
    let all: Vec<&Node> = nodes.iter().collect();
    let groups = groups(nodes);
    line("all", &all) + &groups.iter().map(|(group, nodes)| line(group, nodes)).collect::<String>()
}

fn ansible(nodes: &[Node]) -> String {
    let mut text = String::new();
    for node in nodes {
        text += &node.name;
        if let Some(address) = node.address {
            text += &format!(" ansible_host={address}");
        }
        text.push('\n');
    }
    for (group, nodes) in groups(nodes) {
        text += &format!("\n[{group}]\n");
        text.extend(nodes.iter().map(|node| format!("{}\n", node.name)));
    }
    text
}

fn hosts(nodes: &[Node]) -> String {
    let lines = nodes.iter().filter_map(|node| Some(format!("{}\t{}\n", node.address?, node.name)));
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heard::Heard;

    #[test]
    fn nodes_are_written_as_others_read_them() {
        let text = "10.0.0.11-10.0.0.12 n[1-2] debian\n52:54:00:00:00:01 n3 images/a-b\nio1\nio2\n";
        let table = Table::parse(text.as_bytes()).unwrap();
        let heard = |name: &str, address: &str| Heard {
            name: name.into(),
            address: address.into(),
            ..Heard::default()
        };
        let heard = vec![heard("n3", "fd00::3"), heard("io1", "rubbish"), heard("x", "::1")];
        let nodes = nodes(&table, &Roll::of(None, heard));
        assert_eq!(hosts(&nodes), "10.0.0.11\tn1\n10.0.0.12\tn2\nfd00::3\tn3\n");
        assert_eq!(
            clush(&nodes),
            "all: io1,io2,n1,n2,n3\nimage_debian: n1,n2\nimage_images_a_b: n3\n"
        );
        assert_eq!(
            ansible(&nodes),
            "io1\nio2\nn1 ansible_host=10.0.0.11\nn2 ansible_host=10.0.0.12\n\
             n3 ansible_host=fd00::3\n\n[image_debian]\nn1\nn2\n\n[image_images_a_b]\nn3\n"
        );
    }
}
