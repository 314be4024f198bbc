//! What `/.xget/status` says of members (docs/protocol.md).
//!
//! Knows its columns. Refuses to know what follows from them.

use super::{Member, Members};
use crate::control::{escaped, format_addr};
use crate::overlay::Parent;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write;
use ninep::server::OpenId;

/// Bytes that are said of what somebody asked for: there are many of them.
const SOURCES_LEN_MAX: usize = 256;
/// In place of what is left out.
const MORE: &str = " ...";

impl Members {
    /// What a member asked for.
    pub fn set_sources(&mut self, open_id: OpenId, sources: &[Vec<u8>]) {
        if let Some(member) = self.list.get_mut(&open_id) {
            member.sources = sources_text(sources);
        }
    }

    /// One record a line: address, state, bytes held and in all, from the
    /// master, from peers, milliseconds, parents by stripe, sources. And how many there are.
    pub fn status_text(&self) -> (String, u64) {
        let mut text = String::from(
            "# address state have_bytes total_bytes from_master_bytes from_peers_bytes elapsed_ms parents sources\n",
        );
        for member in self.list.values() {
            let state = if member.done { "serving" } else { "fetching" };
            text.push_str(&line(member, state, &self.parents_text(member)));
        }
        text.extend(self.departed.iter().map(String::as_str));
        (text, (self.list.len() + self.departed.len()) as u64)
    }

    /// The parents of a member, by stripe.
    pub(super) fn parents_text(&self, member: &Member) -> String {
        let Some(group) = self.groups.get(&member.generation) else {
            return member.last_parents.clone();
        };
        let mut text = String::new();
        for parent in group.forest(member.node).parents(member.node) {
            let name = match parent {
                Parent::Master => "me".to_string(),
                Parent::Node(node) => {
                    self.member_of(group, node).map_or("-".into(), |m| format_addr(m.addr))
                }
            };
            let comma = if text.is_empty() { "" } else { "," };
            let _ = write!(text, "{comma}{name}");
        }
        if text.is_empty() { member.last_parents.clone() } else { text }
    }
}

pub(super) fn line(member: &Member, state: &str, parents: &str) -> String {
    let stats = &member.stats;
    format!(
        "{} {state} {} {} {} {} {} {}{}\n",
        format_addr(member.addr),
        stats.have_bytes,
        stats.total_bytes,
        stats.from_master_bytes,
        stats.from_peers_bytes,
        stats.elapsed_ms,
        if parents.is_empty() { "-" } else { parents },
        member.sources
    )
}

/// Each source as one word behind a space; all of the tree is `.`.
fn sources_text(sources: &[Vec<u8>]) -> Box<str> {
    let mut text = String::new();
    for source in sources {
        let word = escaped(&source[..source.len().min(SOURCES_LEN_MAX)]);
        if text.len() + 1 + word.len() > SOURCES_LEN_MAX - MORE.len() {
            text.push_str(MORE);
            break;
        }
        text.push(' ');
        text.push_str(&word);
    }
    if text.is_empty() { " .".into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn what_was_asked_for_is_a_bounded_number_of_words() {
        let text = |sources: &[&[u8]]| {
            sources_text(&sources.iter().map(|s| s.to_vec()).collect::<Vec<_>>()).to_string()
        };
        assert_eq!(text(&[]), " .");
        assert_eq!(text(&[b"a b", b"images/*"]), " a%20b images/%2a");
        let long = vec![b'x'; 5_000];
        assert_eq!(text(&[b"a", &long, b"b"]), " a ...");
        let many: Vec<&[u8]> = vec![b"\n\n\n\n\n\n"; 500];
        assert!(text(&many).len() <= SOURCES_LEN_MAX && text(&many).ends_with("%0a ..."));
    }
}
