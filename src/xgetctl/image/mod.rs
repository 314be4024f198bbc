//! `xgetctl image`: images are directories, `images/NAME/{kernel,cmdline,initrd,root/}`.
//!
//! Every change of one is made beside it and put in place as a whole (`staging`).

mod build;
mod check;
mod dnf;
mod finding;
mod fit;
mod initrd;
mod kernel;
mod list;
mod make;
mod manage;
mod secrets;
mod shell;
mod show;
mod suite;
mod tally;
pub mod tools;

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
    /// Make an image of a distribution
    Create(make::Create),
    /// Make an image of a directory, a tar archive, an OCI image or a docker archive
    Import(make::Import),
    /// Run a command or a shell in an image
    Shell(shell::Shell),
    /// Make an image's initrd, and its compressed root, of its root
    Build(build::Build),
    /// List the images: what root, which kernel, how large, what a node needs
    List(Listing),
    /// Show all that is known of an image, digests too
    Show(show::Show),
    /// Look for what keeps nodes from coming up, and for secrets in what is served
    Check(check::Check),
    /// Copy an image under another name
    Clone(manage::Clone),
    /// Remove images
    Rm(manage::Rm),
}

impl Args {
    pub fn run(&self, head: &Head) -> Outcome {
        match &self.action {
            Action::Create(args) => args.run(head),
            Action::Import(args) => args.run(head),
            Action::Shell(args) => args.run(head),
            Action::Build(args) => args.run(head),
            Action::List(listing) => list::run(head, listing),
            Action::Show(args) => args.run(head),
            Action::Check(args) => args.run(head),
            Action::Clone(args) => args.run(head),
            Action::Rm(args) => args.run(head),
        }
    }
}
