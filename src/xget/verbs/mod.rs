//! What people ask of masters and heads by a verb: `xget ls`.
//!
//! A verb is a module: its help, its own arguments, what it does, and its line in [`VERBS`].
//! None of them is in the initramfs: they are reached from `xget::main` alone.

mod add;
mod find;
mod get;
mod json;
mod ls;
mod master;
mod names;
mod network;
mod run;
mod status;
mod url;

use crate::console::answer;
use crate::failed::Failed;
use std::ffi::OsString;

struct Verb {
    name: &'static str,
    help: &'static str,
    /// Takes what stands behind the verb.
    run: fn(Vec<OsString>) -> Result<(), Failed>,
}

/// `crate::cli::VERBS` names the same.
const VERBS: &[Verb] = &[
    Verb { name: "ls", help: ls::HELP, run: ls::run },
    Verb { name: "status", help: status::HELP, run: status::run },
    Verb { name: "add", help: add::HELP, run: add::run },
    Verb { name: "run", help: run::HELP, run: run::run },
    Verb { name: "get", help: get::HELP, run: get::run },
    Verb { name: "find", help: find::HELP, run: find::run },
];

/// Does what a verb says; help is what each of them gives.
pub fn run(name: &str, args: Vec<OsString>) -> Result<(), Failed> {
    let Some(verb) = VERBS.iter().find(|verb| verb.name == name) else {
        return Err(Failed::unexpected(format!("{name} is no verb")));
    };
    let mut options = args.iter().take_while(|arg| *arg != "--");
    // Behind others it is one of ls(1)'s own.
    let is_short = name != "ls" || args.len() == 1;
    if options.any(|arg| arg == "--help" || arg == "-h" && is_short) {
        return answer(verb.help);
    }
    (verb.run)(args)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;

    #[test]
    fn the_verbs_are_those_of_the_command_line_and_have_help() {
        let names: Vec<&str> = VERBS.iter().map(|verb| verb.name).collect();
        assert_eq!(names, cli::VERBS);
        for verb in VERBS {
            assert!(verb.help.contains(&format!("usage: xget {}", verb.name)), "{}", verb.name);
            assert!(cli::HELP.contains(&format!("xget {}", verb.name)), "{}", verb.name);
        }
    }
}
