//! `nodes export`: the nodes with a name, as other programs want them.
//!
//! Names are those of nodes.tab, addresses those of its lines, else of leases of their MAC
//! addresses. Where a node asked a master from counts only for who says so: anybody can say that
//! he is a node, and be logged in to. Groups are the images.

use crate::failure::{Doing, Failure, Outcome};
use crate::head::Head;
use crate::heard::{Roll, roll};
use crate::listing::Asking;
use crate::{out, tab};
use nodes::{Key, Kind, Table};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

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
    /// Addresses that dnsmasq lent, too: its lease file
    #[arg(long, value_name = "FILE")]
    leases: Option<PathBuf>,
    /// Addresses from which nodes asked the master, too; whoever reaches its port can say that he
    /// is a node
    #[arg(long)]
    heard: bool,
    #[command(flatten)]
    asking: Asking,
}

/// Longest file of leases.
const LEASES_LEN_MAX: u64 = 64 << 20;

#[derive(Debug, PartialEq, Eq)]
struct Node {
    name: String,
    address: Option<IpAddr>,
    /// It was a node that said so, or somebody else.
    is_heard: bool,
    group: Option<String>,
}

impl Export {
    pub fn run(&self, head: &Head) -> Outcome {
        if self.asking.is_named() && !self.heard {
            return Err(Failure::usage("a master is asked for addresses with --heard alone"));
        }
        let table = tab::read(head)?;
        let leases = match &self.leases {
            Some(file) => leases(&table, &read(file)?, now()),
            None => BTreeMap::new(),
        };
        let roll = if self.heard { roll(&self.asking)? } else { Roll::default() };
        let nodes = nodes(&table, &leases, &roll);
        let without = nodes.iter().filter(|node| node.address.is_none()).count();
        if self.hosts && without > 0 {
            out::note(&format!(
                "{without} of {} nodes are left out: their address is not known here (of a line of \
                 nodes.tab, or of --leases FILE)",
                nodes.len()
            ));
        }
        let believed = nodes.iter().filter(|node| node.is_heard).count();
        if believed > 0 {
            out::note(&format!(
                "the addresses of {believed} nodes are what somebody said who reached the master"
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

fn read(file: &Path) -> Outcome<String> {
    let mut bytes = Vec::new();
    let opened = File::open(file).doing("open", file)?;
    opened.take(LEASES_LEN_MAX + 1).read_to_end(&mut bytes).doing("read", file)?;
    if bytes.len() as u64 > LEASES_LEN_MAX {
        let text = format!("{} is longer than {} MiB", file.display(), LEASES_LEN_MAX >> 20);
        return Err(Failure::wrong(text));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Addresses by name: lines of an expiry (0: never), a MAC address, an IP address, and what the
/// client says it is called, which is not looked at. The last line of a node counts.
fn leases(table: &Table, text: &str, now: u64) -> BTreeMap<String, IpAddr> {
    let lease = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        words.next()?.parse().ok().filter(|end: &u64| *end == 0 || *end > now)?;
        let key = Key::new(Kind::Mac, words.next()?)?;
        let address = words.next()?.parse::<IpAddr>().ok()?;
        let name = table.find(&[key], address)?.name?.to_string();
        Some((name, address))
    };
    text.lines().filter_map(lease).collect()
}

fn nodes(table: &Table, leases: &BTreeMap<String, IpAddr>, roll: &Roll) -> Vec<Node> {
    let keys = table.names().filter_map(|name| Key::new(Kind::Name, name));
    let node = |key: Key| {
        let heard = || roll.named(&key.text)?.address.parse::<IpAddr>().ok();
        let known = table.address(&key).or_else(|| leases.get(&key.text).copied());
        let address = known.or_else(heard);
        let image = table.named(&key).and_then(|found| found.image.map(group));
        let is_heard = known.is_none() && address.is_some();
        Node { address, is_heard, group: image, name: key.text }
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
        let leases = leases(
            &table,
            "1763 52:54:00:00:00:01 10.0.0.99 liar *\n1763 52:54:00:00:00:09 10.0.0.8 n1 *\n\
             duid 00\n1763 7 fd00::9 n1 00:01\n0 52:54:00:00:00:01 10.0.0.7 * *\n1763 x\n\
             1700 52:54:00:00:00:01 10.0.0.98 * *\n",
            1762,
        );
        let lent = nodes(&table, &leases, &Roll::default());
        assert_eq!(hosts(&lent), "10.0.0.11\tn1\n10.0.0.12\tn2\n10.0.0.7\tn3\n");
        let nodes = nodes(&table, &BTreeMap::new(), &Roll::of(None, heard));
        assert_eq!(nodes.iter().filter(|node| node.is_heard).count(), 1);
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
