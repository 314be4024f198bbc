//! `xgetctl layers`: plain files that go over a root, and what a node gets of them.

mod alone;
mod placed;
mod plan;
mod render;
mod show;
mod table;
mod template;

use crate::failure::Outcome;
use crate::head::Head;
use crate::listing::Listing;
use clap::Subcommand;
pub use render::Rendered;

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, Subcommand)]
enum Action {
    /// List the layers: how many files and templates, and how many nodes have them
    List(Listing),
    /// Show what a node gets, file by file, and from which layer
    Show(show::Show),
    /// List what one node alone gets (.xget/alone), or make a directory for it
    Alone(alone::Alone),
    /// Make what comes of templates (FILE.tmpl with {{name}}, {{address}}, {{words.console}})
    Render(render::Render),
}

impl Args {
    pub fn run(&self, head: &Head) -> Outcome {
        match &self.action {
            Action::List(listing) => show::list(head, listing),
            Action::Show(args) => args.run(head),
            Action::Alone(args) => args.run(head),
            Action::Render(args) => args.run(head),
        }
    }
}
