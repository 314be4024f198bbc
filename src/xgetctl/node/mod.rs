//! `xgetctl nodes`: what nodes.tab says of nodes, how far they are, and changes of it.

mod edit;
mod export;
mod import;
mod list;
mod row;
mod unknown;

use crate::failure::{Failure, Outcome};
use crate::head::Head;
use crate::layers::Rendered;
use crate::listing::{Asking, Change, Listing};
use crate::out;
use crate::tab::Locked;
use clap::Subcommand;
use edit::Edit;
use nodes::{Key, Kind, Table};
use row::{IMAGE, LAYERS, NAME, WORDS};
use std::collections::BTreeSet;

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// List who waits: nodes that asked the master, and that no line fits
    #[arg(long)]
    unknown: bool,
    /// Give all who wait, the longest first, these names: n007, or n[007-010] for four
    #[arg(long, value_name = "NAMES", requires = "unknown")]
    take: Option<String>,
    #[command(flatten)]
    columns: Columns,
    #[command(flatten)]
    change: Change,
    #[command(flatten)]
    asking: Asking,
    #[command(flatten)]
    listing: Listing,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Clone, Debug, Subcommand)]
enum Action {
    /// List the nodes of nodes.tab, and how far they are where a master answers
    List(list::List),
    /// Add a line for a node, for many, or for a group
    Add(Add),
    /// Change lines; what is not said stays
    Set(Set),
    /// Remove lines
    Rm(Rm),
    /// Add lines for the nodes of a CSV or genders file
    Import(import::Import),
    /// Print the nodes as other programs want them
    Export(export::Export),
}

/// What a line says.
#[derive(clap::Args, Clone, Debug)]
struct Columns {
    /// The image, or @GROUP
    #[arg(long)]
    image: Option<String>,
    /// Layers, parted by commas, in the order in which they go over the root
    #[arg(long)]
    layers: Option<String>,
    /// Words for the kernel; in one argument, @GROUP for those of a group
    #[arg(long)]
    words: Option<String>,
}

#[derive(clap::Args, Clone, Debug)]
struct Add {
    /// What the node is known by: MAC address, UUID, serial=, asset=, IP address (10.0.0.11-10.0.0.50),
    /// host name (io[1-4]), or a list of these; * for all others; @NAME of a group
    key: String,
    /// Its name; as many as there are keys: n001, or n[011-050]
    name: Option<String>,
    #[command(flatten)]
    columns: Columns,
    #[command(flatten)]
    change: Change,
}

#[derive(clap::Args, Clone, Debug)]
struct Set {
    /// Nodes, by name or key; of a line of many the whole range as it is written
    #[arg(required = true)]
    nodes: Vec<String>,
    /// Another name
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    columns: Columns,
    #[command(flatten)]
    change: Change,
}

#[derive(clap::Args, Clone, Debug)]
struct Rm {
    /// Nodes, by name or key; of a line of many the whole range as it is written
    #[arg(required = true)]
    nodes: Vec<String>,
    #[command(flatten)]
    change: Change,
}

impl Args {
    pub fn run(&self, head: &Head) -> Outcome {
        if self.action.is_some() && self.has_options() {
            return Err(Failure::usage(
                "what is said before `list`, `add`, `set`, `rm`, `import` or `export` goes behind it",
            ));
        }
        match &self.action {
            Some(Action::List(args)) => args.run(head),
            Some(Action::Add(args)) => args.run(head),
            Some(Action::Set(args)) => args.run(head),
            Some(Action::Rm(args)) => args.run(head),
            Some(Action::Import(args)) => args.run(head),
            Some(Action::Export(args)) => args.run(head),
            None => self.run_without(head),
        }
    }

    /// Options of it alone, without a command.
    fn has_options(&self) -> bool {
        let is_asking = self.unknown || self.take.is_some() || self.asking.is_named();
        is_asking || self.listing.json || self.change.dry_run || self.columns.is_any()
    }

    fn run_without(&self, head: &Head) -> Outcome {
        let is_change = self.change.dry_run || self.columns.is_any();
        match &self.take {
            Some(names) => self.take(head, names),
            None if is_change => Err(Failure::usage(
                "which nodes are meant? `nodes add KEY`, `nodes set NODE` or `nodes --unknown \
                 --take NAMES`",
            )),
            None if self.unknown => unknown::list(&self.asking, &self.listing),
            None => list::list(head, &self.asking, &self.listing),
        }
    }

    /// Takes in all who wait.
    fn take(&self, head: &Head, names: &str) -> Outcome {
        let pairs = unknown::take(&self.asking, names)?;
        edit(head, &self.change, |edit| {
            for (key, name) in &pairs {
                edit.add(self.columns.with(key, name))?;
            }
            Ok(())
        })?;
        let done = if self.change.dry_run { "would be" } else { "is" };
        pairs.iter().for_each(|(key, name)| out::note(&format!("{key} {done} {name}")));
        self.columns.warn(head);
        Ok(())
    }
}

impl Columns {
    fn is_any(&self) -> bool {
        self.image.is_some() || self.layers.is_some() || self.words.is_some()
    }

    fn with<'a>(&'a self, key: &'a str, name: &'a str) -> [&'a str; 5] {
        let [image, layers, words] =
            [&self.image, &self.layers, &self.words].map(|text| text.as_deref().unwrap_or("-"));
        [key, name, image, layers, words]
    }

    /// What is not there yet is no error: it may come.
    fn warn(&self, head: &Head) {
        let images = self.image.iter().map(|image| ("images", &**image));
        let layers = self.layers.iter().flat_map(|layers| layers.split(','));
        for (above, name) in images.chain(layers.map(|layer| ("layers", layer))) {
            let is_path = !name.starts_with('@') && !matches!(name, "" | "-");
            let places = [head.dir.join(above).join(name), head.dir.join(name)];
            if is_path && !places.iter().any(|place| place.is_dir()) {
                out::note(&format!(
                    "{} is not there: nodes that are to have it wait until it is",
                    places[0].display()
                ));
            }
        }
    }
}

impl Add {
    fn run(&self, head: &Head) -> Outcome {
        let name = self.name.as_deref().unwrap_or("-");
        edit(head, &self.change, |edit| edit.add(self.columns.with(&self.key, name)))?;
        self.columns.warn(head);
        Ok(())
    }
}

impl Set {
    fn run(&self, head: &Head) -> Outcome {
        let columns = [
            (NAME, &self.name),
            (IMAGE, &self.columns.image),
            (LAYERS, &self.columns.layers),
            (WORDS, &self.columns.words),
        ];
        let changes: Vec<row::Change> =
            columns.iter().filter_map(|(at, text)| Some((*at, text.as_deref()?))).collect();
        if changes.is_empty() {
            let text = "nothing is to be changed: say --name, --image, --layers or --words";
            return Err(Failure::usage(text));
        }
        edit(head, &self.change, |edit| {
            self.nodes.iter().try_for_each(|node| edit.set(node, &changes))
        })?;
        self.columns.warn(head);
        Ok(())
    }
}

impl Rm {
    fn run(&self, head: &Head) -> Outcome {
        edit(head, &self.change, |edit| self.nodes.iter().try_for_each(|node| edit.remove(node)))
    }
}

/// All of a change or none of it. What comes of templates is in place before the line is
/// (who waits for it boots at once), and is as before where the line does not come.
fn edit(head: &Head, change: &Change, make: impl FnOnce(&mut Edit) -> Outcome) -> Outcome {
    let tab = Locked::open(head)?;
    let before = tab.check(tab.text()?)?;
    let mut edit = Edit::of(tab.text()?);
    make(&mut edit)?;
    let text = edit.text();
    let table = tab.check(&text)?;
    let changed = changed(&before, &table, &edit);
    let rendered = Rendered::of(head, &table, &changed).map_err(|failure| {
        Failure::new(failure.status, format!("nothing is changed; {}", failure.text))
    })?;
    if change.dry_run {
        out::print(&out::printable(&edit.diff()))?;
        return rendered.say(head).map(drop);
    }
    let placed = rendered.put(head)?;
    let replaced = tab.replace(&text);
    // It may be there and not be known to be on the disk.
    if replaced.is_ok() || tab.is_now(&text) {
        placed.keep();
    }
    replaced
}

/// The names of which something is other, their keys too; those that are gone.
fn changed(before: &Table, after: &Table, edit: &Edit) -> BTreeSet<String> {
    let of_lines: BTreeSet<String> = edit.names().collect();
    let is_other = |name: &&str| {
        let key = Key::new(Kind::Name, name);
        of_lines.contains(*name) || key.is_some_and(|key| before.named(&key) != after.named(&key))
    };
    let there: BTreeSet<&str> = after.names().collect();
    let gone = before.names().filter(|name| !there.contains(name));
    after.names().filter(is_other).chain(gone).map(String::from).collect()
}
