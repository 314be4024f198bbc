//! Completions of shells and man pages, made from the command line's definition.

use crate::failure::{Doing, Outcome};
use crate::out;
use clap::{Args, Command};
use std::fs;
use std::path::{Path, PathBuf};

#[derive(Args, Clone, Debug)]
pub struct Completion {
    /// The shell to complete in
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

#[derive(Args, Clone, Debug)]
pub struct Man {
    /// Write one page for each command into this directory, in place of the main
    /// page to standard output
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Completion {
    pub fn run(&self, mut command: Command) -> Outcome {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut command, "xgetctl", &mut text);
        out::print(&String::from_utf8_lossy(&text))
    }
}

impl Man {
    pub fn run(&self, mut command: Command) -> Outcome {
        match &self.dir {
            None => {
                command.build();
                let mut page = Vec::new();
                let made = clap_mangen::Man::new(command).render(&mut page);
                made.doing("make the page of", Path::new("xgetctl"))?;
                out::print(&String::from_utf8_lossy(&page))
            }
            Some(dir) => {
                fs::create_dir_all(dir).doing("make the directory", dir)?;
                clap_mangen::generate_to(command, dir).doing("write the pages into", dir)
            }
        }
    }
}
