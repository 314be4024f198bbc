//! `--up`: a node's system says that it has booted.

use crate::boot::{self, Booted, NODE_FILE};
use crate::driver::{self, Host};
use crate::failed::{Failed, USAGE, exit_code};
use crate::key_file;
use peer::auth::Key;
use peer::failure::Status;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// How often `--up` tries each master, how long, and what is between two tries.
const UP_TRIES: u32 = 5;
const UP_MOST: Duration = Duration::from_secs(8);
const UP_LEAST: Duration = Duration::from_millis(10);
const UP_PAUSE: Duration = Duration::from_secs(10);
/// And how long all of that takes, however many masters there are.
const UP_WITHIN: Duration = Duration::from_secs(60);

/// Says it until a master has heard it: within a minute, for a unit has a limit, too.
#[inline(never)]
pub fn up(named: Vec<Host>, key: Option<&Path>) -> Result<(), Failed> {
    let key = key_file::read(key).map_err(|why| Failed::new(why, USAGE))?;
    let Booted { mut masters, lines } = boot::booted();
    if !named.is_empty() {
        masters = named;
    }
    let end = Instant::now() + UP_WITHIN;
    let mut why = format!("no master is known: neither -n, nor {NODE_FILE}, nor xget.master=");
    for nth in 0..UP_TRIES {
        if masters.is_empty() || Instant::now() + UP_PAUSE >= end {
            break;
        }
        if nth > 0 {
            thread::sleep(UP_PAUSE);
        }
        for host in &masters {
            match tell_up(host, key.as_ref(), &lines, end) {
                Ok(()) => return Ok(()),
                Err(failed) => why = failed,
            }
        }
    }
    Err(Failed::new(why, if masters.is_empty() { USAGE } else { exit_code(Status::Connection) }))
}

/// Any of the addresses of a master will do.
#[inline(never)]
fn tell_up(host: &Host, key: Option<&Key>, lines: &str, end: Instant) -> Result<(), String> {
    let mut why = String::new();
    for addr in driver::resolve(host)? {
        // Not nothing: that would be no limit.
        let left = end.saturating_duration_since(Instant::now()).max(UP_LEAST);
        match driver::ask_node(addr, key, lines, left.min(UP_MOST)) {
            Ok(_) => return Ok(()),
            Err(error) => {
                why = format!("master {addr} does not hear that this node is up: {error}")
            }
        }
    }
    Err(why)
}
