//! `xgetctl image`: images are directories, `images/NAME/{kernel,cmdline,initrd,root/}`.
//!
//! Every change of one is made beside it and put in place as a whole (`staging`).

mod kernel;
mod list;
mod manage;
mod tally;

use crate::failure::Outcome;
use crate::head::Head;
use crate::listing::Listing;
use clap::Subcommand;

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, Subcommand)]
enum Action {
    /// List the images: what root, which kernel, how large, what a node needs
    List(Listing),
    /// Copy an image under another name
    Clone(manage::Clone),
    /// Remove images
    Rm(manage::Rm),
}

impl Args {
    pub fn run(&self, head: &Head) -> Outcome {
        match &self.action {
            Action::List(listing) => list::run(head, listing),
            Action::Clone(args) => args.run(head),
            Action::Rm(args) => args.run(head),
        }
    }
}
