//! Options that more than one command has.

use crate::failure::Outcome;
use crate::key;
use crate::master::Session;
use clap::Args;
use std::path::PathBuf;

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
    /// The key of the cluster, where the master wants one; /etc/xget/key if it is there
    #[arg(long, value_name = "FILE", env = "XGET_KEY")]
    key: Option<PathBuf>,
}

impl Asking {
    pub fn master(&self) -> &str {
        self.master.as_deref().unwrap_or(NEAR)
    }
    /// A session with it, as who has the key, if there is one.
    pub fn session(&self) -> Outcome<Session> {
        Session::open(self.master(), key::of_cluster(self.key.as_deref())?)
    }
    pub fn is_named(&self) -> bool {
        self.master.is_some()
    }
}
