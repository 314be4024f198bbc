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

/// Where a master is looked for that nobody named.
const NEAR: &str = "127.0.0.1";

/// Of commands that ask a master.
#[derive(Args, Clone, Debug)]
pub struct Asking {
    /// The master, HOST or HOST:PORT; this machine if none is named
    #[arg(short = 'n', long = "master", value_name = "HEAD")]
    master: Option<String>,
}

impl Asking {
    pub fn master(&self) -> &str {
        self.master.as_deref().unwrap_or(NEAR)
    }
    pub fn is_named(&self) -> bool {
        self.master.is_some()
    }
}
