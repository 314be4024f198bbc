//! What a running system knows of how it was booted: who it is, its master, its image.
//!
//! Reads what the agent left in /run and the kernel command line. Refuses to know what is
//! done with it.

use super::cmdline::Cmdline;
use super::identity::Firmware;
use super::links;
use super::settings::Settings;
use crate::driver::{Host, MASTER_PORT, parse_host};
use crate::os::module;
use peer::control::{NodeMessage, NodeStage};
use std::fs;

/// What the agent leaves for the system that it starts: the master's answer, and a line
/// `master IP:PORT`.
pub const NODE_FILE: &str = "/run/xget/node";

/// How this system came to be.
pub struct Booted {
    /// Where it came from: as the agent knew it, else as the command line has it.
    pub masters: Vec<Host>,
    /// For `/.xget/node`: who this is, and that it is up.
    pub lines: String,
}

/// As far as it can be found out.
pub fn booted() -> Booted {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let release = module::kernel_release().map(|(release, _)| release).unwrap_or_default();
    let (masters, image) = origin(&read(NODE_FILE), &read("/proc/cmdline"));
    let mut question = Firmware::read().question(&links::list());
    question.add_host(read("/proc/sys/kernel/hostname").trim());
    Booted { masters, lines: question.line() + &up_line(&release, &image) }
}

fn up_line(release: &str, image: &str) -> String {
    NodeMessage::State(NodeStage::Up, format!("kernel={release} image={image}")).line()
}

/// Masters and image: of what the agent left, else of the command line.
#[inline(never)]
fn origin(left: &str, line: &str) -> (Vec<Host>, String) {
    let line = Cmdline::parse(line);
    let mut masters = Settings::of(&line).image.masters;
    let mut image = line.last("xget.image").unwrap_or("-");
    for line in left.lines() {
        match line.split_once(' ') {
            Some(("image", path)) => image = path,
            Some(("master", host)) => masters = parse_host(host, MASTER_PORT).into_iter().collect(),
            _ => {}
        }
    }
    (masters, image.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use peer::control::NodeQuestion;

    #[test]
    fn what_the_agent_left_goes_before_the_command_line() {
        let line = "quiet xget.master=10.0.0.1,10.0.0.2:7 xget.image=a";
        let left = "name n1\nimage images/b\nmaster 10.0.0.9:5\n";
        let (masters, image) = origin(left, line);
        assert_eq!((masters, &*image), (vec![parse_host("10.0.0.9", 5).unwrap()], "images/b"));
        let (masters, image) = origin("", line);
        let both = [parse_host("10.0.0.1", MASTER_PORT), parse_host("10.0.0.2", 7)];
        assert_eq!((masters, &*image), (both.map(Result::unwrap).to_vec(), "a"));
        assert_eq!(origin("master \nimage", ""), (vec![], "-".into()));
    }

    #[test]
    fn it_says_who_it_is_and_that_it_is_up() {
        let mut question = NodeQuestion::default();
        question.add_host("n1");
        assert_eq!(
            question.line() + &up_line("6.1.0", "images/a"),
            "host=n1\nstate up kernel=6.1.0 image=images/a\n"
        );
    }
}
