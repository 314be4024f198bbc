//! Who waits for a line, and what they are to be called.

use crate::failure::{Failure, Outcome};
use crate::heard::{Heard, Roll};
use crate::listing::{Asking, Listing};
use crate::out::{self, Table};
use nodes::{NODES_MAX, expand};

pub fn list(asking: &Asking, listing: &Listing) -> Outcome {
    let roll = Roll::ask(asking)?;
    roll.warn();
    let waiting = roll.unknown();
    if listing.json {
        return out::json(&waiting);
    }
    let mut table = Table::new(&[false, false, true], &["KEY", "ADDRESS", "SECONDS", "ALSO"]);
    for node in &waiting {
        let key = node.key().unwrap_or_else(|| "-".into());
        let also = node.keys.join(" ");
        table.row(vec![key, node.address.clone(), node.seconds.to_string(), also]);
    }
    table.print()
}

/// Keys of all who wait, with a name for each.
pub fn take(asking: &Asking, names: &str) -> Outcome<Vec<(String, String)>> {
    let waiting = Roll::ask(asking)?.unknown();
    let names = expand(names, NODES_MAX).map_err(|what| {
        Failure::usage(format!("{names:?} is no name and no range of names: {what}"))
    })?;
    pair(&waiting, names)
}

fn pair(waiting: &[Heard], names: Vec<String>) -> Outcome<Vec<(String, String)>> {
    let keys: Vec<Option<String>> = waiting.iter().map(Heard::key).collect();
    if waiting.len() != names.len() {
        let lines = waiting.iter().zip(&keys).map(|(node, key)| {
            format!("\n  {} from {}", key.as_deref().unwrap_or("without a key"), node.address)
        });
        return Err(Failure::source(format!(
            "{} wait, and there are names for {}; take one in with `xgetctl nodes add KEY NAME`{}",
            waiting.len(),
            names.len(),
            lines.collect::<String>()
        )));
    }
    let pairs = waiting.iter().zip(keys).zip(names);
    pairs
        .map(|((node, key), name)| {
            let key = key.ok_or_else(|| {
                Failure::source(format!(
                    "the node at {} says nothing that it can be told by: give its address or a \
                     host name a line",
                    node.address
                ))
            })?;
            Ok((key, name))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(key: &str) -> Heard {
        Heard { keys: vec![key.into()], address: "10.0.0.9".into(), ..Heard::default() }
    }

    #[test]
    fn as_many_are_taken_in_as_there_are_names() {
        let waiting = [node("mac=52:54:00:00:00:02"), node("serial=X")];
        let names = |text| expand(text, 9).unwrap();
        let pairs = pair(&waiting, names("n[1-2]")).unwrap();
        assert_eq!(pairs[0], ("52:54:00:00:00:02".into(), "n1".into()));
        assert_eq!(pairs[1], ("serial=X".into(), "n2".into()));
        let refused = pair(&waiting, names("n1")).unwrap_err().text;
        assert!(refused.starts_with("2 wait, and there are names for 1;"), "{refused}");
        assert!(refused.ends_with("serial=X from 10.0.0.9"), "{refused}");
        assert!(pair(&[node("mac=rubbish")], names("n1")).is_err());
    }
}
