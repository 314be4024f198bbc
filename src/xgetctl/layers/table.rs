//! What `nodes.tab` says of nodes, for who asks at the head.

use super::template::Variables;
use crate::failure::{Failure, Outcome};
use crate::head::Head;
use nodes::{Key, Kind, Table};
use std::path::{Path, PathBuf};

/// A node with all that is said of it.
#[derive(Debug)]
pub struct Node {
    pub name: String,
    /// Below the served directory, as the master tells it.
    pub image: Option<PathBuf>,
    /// In the order of application, its own last; without what was rendered for it.
    pub layers: Vec<PathBuf>,
    pub variables: Variables,
}

pub fn node(head: &Head, table: &Table, name: &str) -> Outcome<Node> {
    let key = Key::new(Kind::Name, name);
    let found = key.as_ref().and_then(|key| table.named(key).map(|found| (key, found)));
    let (key, found) = found.ok_or_else(|| {
        Failure::source(format!("no line of {} has the name {name}", head.nodes_tab().display()))
    })?;
    let mut layers = Vec::new();
    for layer in &found.layers {
        layers.push(directory(head, "layers", layer, name)?);
    }
    let own = Path::new("layers").join(name);
    if head.dir.join(&own).is_dir() {
        layers.push(own);
    }
    let image = found.image.map(|image| directory(head, "images", image, name)).transpose()?;
    let mut variables = Variables::new();
    let mut say = |name: &str, value: String| variables.insert(name.into(), value);
    say("name", name.into());
    if let Some(address) = table.address(key) {
        say("address", address.to_string());
    }
    if let Some(image) = found.image {
        say("image", image.into());
    }
    for key in table.keys(key) {
        say(key.word().unwrap_or_default(), key.text.clone());
    }
    say("words", found.words.join(" "));
    for word in &found.words {
        // Of several the last one counts, as for the kernel.
        let (word, value) = word.split_once('=').unwrap_or((word, ""));
        say(&format!("words.{word}"), value.into());
    }
    Ok(Node { name: name.into(), image, layers, variables })
}

/// `x` is `layers/x` where that is a directory, else `x`, as for the master.
fn directory(head: &Head, above: &str, name: &str, node: &str) -> Outcome<PathBuf> {
    let near = Path::new(above).join(name);
    let found = [near, PathBuf::from(name)].into_iter().find(|path| head.dir.join(path).is_dir());
    found.ok_or_else(|| {
        Failure::source(format!(
            "{node} is to have {name}, and neither {above}/{name} nor {name} is a directory of {}",
            head.dir.display()
        ))
    })
}
