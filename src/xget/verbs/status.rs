//! `xget status`: who fetches what of a master, how far, and from whom.
//!
//! Knows when the master is asked. `status::board` knows what it says, `status::screen` how
//! that is shown again and again.

mod board;
mod screen;

use super::master::{Master, Named};
use crate::console::print_bytes;
use crate::failed::{Failed, USAGE};
use crate::os::poll::Poll;
use board::Board;
use lexopt::{Arg, Parser};
use screen::Screen;
use std::ffi::OsString;
use std::io::stdout;
use std::time::{Duration, Instant};

pub const HELP: &str = "\
xget status: who fetches what, how far, from whom

usage: xget status [-n MASTER[:PORT]] [-p PORT] [--json] [--follow]

A line for each client of a master: its address, whether it fetches, serves others
(it has all), is done (gone with all) or lost (gone without), how much of how many
bytes it has, its rate, what of it came from the master, how long it takes, its
parents and its sources. Clients report every 2 s.

  -n MASTER[:PORT]   the master, or several, parted by commas: the first that answers.
                     Without it XGET_MASTER, that which this system was booted from,
                     this machine, or whoever answers on the network
  -p PORT            its port (20004)
  --follow           go on until ^C. On a terminal the table is drawn anew every second,
                     those that fetch first; elsewhere a line is printed for who comes, is
                     another 10 % further or in another state. A master that is away
                     is waited for
  --json             one list of objects: address, state, have_bytes, total_bytes,
                     from_master_bytes, from_peers_bytes, elapsed_ms, bytes_per_second,
                     parents (by stripe), sources (percent encoded; where they are
                     long the last ends in `...`); with --follow one object a line for
                     each change, and its time in seconds since 1970

exit status: 0; 1 nobody reads what is printed; 2 usage; 3 no master answers; 4 it has
no status: it is a client
";

/// How often a master is asked.
const PERIOD: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Asked {
    named: Named,
    is_json: bool,
    follows: bool,
}

impl Asked {
    fn parse(args: Vec<OsString>) -> Result<Asked, String> {
        let mut asked = Asked::default();
        let mut parser = Parser::from_args(args);
        while let Some(arg) = parser.next().map_err(|error| error.to_string())? {
            match arg {
                Arg::Long("json") => asked.is_json = true,
                Arg::Long("follow") | Arg::Short('f') => asked.follows = true,
                Arg::Short(letter) => {
                    if !asked.named.take(letter, &mut parser)? {
                        return Err(format!("unknown option -{letter}; see xget status --help"));
                    }
                }
                Arg::Long(name) => {
                    return Err(format!("unknown option --{name}; see xget status --help"));
                }
                Arg::Value(_) => return Err("xget status takes no path".into()),
            }
        }
        Ok(asked)
    }
}

pub fn run(args: Vec<OsString>) -> Result<(), Failed> {
    let asked = Asked::parse(args).map_err(|why| Failed::new(why, USAGE))?;
    let (board, master) = asked.named.ask_any(look)?;
    if asked.follows {
        return follow(&asked, master, board);
    }
    let text = if asked.is_json { board.json() } else { board.text() };
    print_bytes(text.as_bytes())
}

fn look(master: &mut Master) -> Result<Board, Failed> {
    Ok(Board::parse(&master.report("status")?))
}

/// Until a signal ends the process, or nobody reads any more.
fn follow(asked: &Asked, master: Master, first: Board) -> Result<(), Failed> {
    let mut screen = Screen::new(asked.is_json);
    let mut master = Some(master);
    let mut board = first;
    let mut trouble = None;
    loop {
        screen.show(&board, trouble.as_deref())?;
        wait_for_reader()?;
        // Who was lost is called anew, with what is known of its address.
        let seen = match &mut master {
            Some(known) => look(known),
            None => asked.named.ask(look).map(|(board, known)| {
                master = Some(known);
                board
            }),
        };
        match seen {
            Ok(mut next) => {
                next.take_rates(&board);
                (board, trouble) = (next, None);
            }
            Err(failed) => {
                master = None;
                trouble = Some(failed.reasons.join("; "));
            }
        }
    }
}

/// Until it is time to ask again; the error is that nobody reads what is printed, which is
/// found out even where nothing is to be printed.
fn wait_for_reader() -> Result<(), Failed> {
    let mut poll = Poll::default();
    poll.add(&stdout(), 0);
    let end = Instant::now() + PERIOD;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let is_gone = poll.wait(left.as_millis() as u64);
        if is_gone.map_err(|error| Failed::unexpected(format!("cannot wait: {error}")))? {
            return Err(Failed::silent());
        }
        if Instant::now() >= end {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_said() {
        let parsed =
            |line: &str| Asked::parse(line.split_whitespace().map(OsString::from).collect());
        assert!(parsed("--follow --json -n a,b -p 7").is_ok());
        for line in ["path", "-x", "--wait", "-p 70000", "-n"] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
