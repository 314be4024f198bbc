//! What `nodes.tab` says of nodes, for who asks at the head.

use super::template::Variables;
use crate::failure::{Doing, Failure, Outcome};
use crate::head::Head;
use crate::rooted::Rooted;
use nodes::{IMAGES, Key, Kind, LAYERS, Layers, Table};
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
    // As the master sees the tree: no link in it leads out.
    let tree = Rooted::open(&head.dir.canonicalize().doing("open the directory", &head.dir)?)?;
    let is_dir = |path: &str| tree.dir(Path::new(path)).is_ok();
    let lack = |above: &str, what: &str| {
        Failure::source(format!(
            "{name} is to have {what}, and neither {above}/{what} nor {what} is a directory of {}",
            head.dir.display()
        ))
    };
    let image = found
        .image
        .map(|image| nodes::directory(IMAGES, image, &is_dir).ok_or_else(|| lack(IMAGES, image)));
    let image = image.transpose()?.map(PathBuf::from);
    let layers = Layers::of(&found.layers, found.name, &is_dir);
    let layers = layers.map_err(|layer| lack(LAYERS, layer))?.plain;
    let layers = layers.into_iter().map(PathBuf::from).collect();
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
