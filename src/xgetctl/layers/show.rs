//! `layers list` and `layers show`.

use super::plan::plan;
use super::table;
use crate::failure::Outcome;
use crate::head::Head;
use crate::listing::Listing;
use crate::out::{self, Table};
use crate::tab;
use clap::Args;
use serde::Serialize;
use std::path::Path;

#[derive(Args, Clone, Debug)]
pub struct Show {
    /// The node, by its name in nodes.tab
    node: String,
    #[command(flatten)]
    listing: Listing,
}

#[derive(Debug, Serialize)]
struct Layer {
    name: String,
    files: usize,
    templates: usize,
    /// Nodes whose line names it, or whose own it is.
    nodes: usize,
}

#[derive(Debug, Serialize)]
struct Line {
    path: String,
    layer: String,
    /// The file that it is, or is made of.
    file: String,
    template: bool,
    /// Whether the image has something there, too.
    over_image: bool,
    /// Layers whose file is not seen.
    hides: Vec<String>,
}

pub fn list(head: &Head, listing: &Listing) -> Outcome {
    head.check()?;
    let table = tab::read(head)?;
    let mut nodes = Vec::new();
    for name in table.names() {
        nodes.push(table::node(head, &table, name)?);
    }
    let mut layers = Vec::new();
    for name in head.layer_names()? {
        let path = Path::new("layers").join(&name);
        let alone = table::Node {
            name: name.clone(),
            image: None,
            layers: vec![path.clone()],
            variables: Default::default(),
        };
        let plan = plan(head, &alone)?;
        let files = plan.values().filter(|origin| !origin.is_dir).count();
        let templates = plan.values().filter(|origin| origin.is_template).count();
        let nodes = nodes.iter().filter(|node| node.layers.contains(&path)).count();
        layers.push(Layer { name, files, templates, nodes });
    }
    if listing.json {
        return out::json(&layers);
    }
    let mut shown =
        Table::new(&[false, true, true, true], &["NAME", "FILES", "TEMPLATES", "NODES"]);
    for layer in layers {
        let figures = [layer.files, layer.templates, layer.nodes].map(|figure| figure.to_string());
        shown.row([vec![layer.name], figures.to_vec()].concat());
    }
    shown.print()
}

impl Show {
    pub fn run(&self, head: &Head) -> Outcome {
        let table = tab::read(head)?;
        let node = table::node(head, &table, &self.node)?;
        let root = node.image.as_ref().map(|image| head.dir.join(image).join("root"));
        let mut lines = Vec::new();
        for (path, origin) in plan(head, &node)? {
            if origin.is_dir {
                continue;
            }
            let over =
                root.as_ref().is_some_and(|root| root.join(&path).symlink_metadata().is_ok());
            let shown = |path: &Path| path.display().to_string();
            lines.push(Line {
                path: format!("/{}", path.display()),
                layer: shown(&origin.layer),
                file: shown(&origin.file),
                template: origin.is_template,
                over_image: over,
                hides: origin.hides.iter().map(|layer| shown(layer)).collect(),
            });
        }
        if self.listing.json {
            return out::json(&lines);
        }
        let mut shown = Table::new(&[], &["PATH", "FROM", "OVER"]);
        for line in lines {
            let mut over: Vec<String> = Vec::new();
            over.extend(line.over_image.then(|| "the image".to_string()));
            over.extend(line.hides);
            shown.row(vec![line.path, line.file, over.join(", ")]);
        }
        shown.print()
    }
}
