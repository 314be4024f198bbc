//! Options that more than one command has.

use clap::Args;

/// Of commands that list.
#[derive(Args, Clone, Debug)]
pub struct Listing {
    /// Print one JSON document in place of a table
    #[arg(long)]
    pub json: bool,
}

/// Of commands that change something.
#[derive(Args, Clone, Debug)]
pub struct Change {
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}
