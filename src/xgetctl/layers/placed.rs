//! Trees that take their places together: all of them, or each place is as it was.
//!
//! What is taken back is what was there, whatever that was. Knows no templates.

use crate::failure::Outcome;
use crate::staging::Staging;
use crate::{interrupt, out};
use std::path::{Path, PathBuf};

/// Trees in their places, which are taken out again with this value unless they are kept.
#[derive(Default)]
pub struct Placed {
    /// None where nothing had to be made.
    staging: Option<Staging>,
    /// What was made, and has since what was in the place; and the place.
    pairs: Vec<(PathBuf, PathBuf)>,
}

impl Placed {
    /// Puts what was made in the staging directory in its place, each with the name of where it
    /// goes in this directory; where nothing was made the place is empty then.
    pub fn below(dir: &Path, staging: Staging, names: &[&String]) -> Outcome<Placed> {
        staging.sync()?;
        let mut placed = Placed { staging: Some(staging), pairs: Vec::new() };
        for name in names {
            interrupt::check()?;
            placed.put(name, dir)?;
        }
        Ok(placed)
    }

    fn put(&mut self, name: &str, dir: &Path) -> Outcome {
        if let Some(staging) = &self.staging {
            let pair = (staging.join(name), dir.join(name));
            staging.swap(&pair.0, &pair.1)?;
            self.pairs.push(pair);
        }
        Ok(())
    }

    /// They are there to stay; returns how many.
    pub fn keep(mut self) -> usize {
        std::mem::take(&mut self.pairs).len()
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        let Some(staging) = &self.staging else { return };
        for (made, place) in self.pairs.drain(..).rev() {
            if let Err(failure) = staging.swap(&made, &place) {
                out::note(&format!(
                    "{}; it was to be as before: run `xgetctl layers render`",
                    failure.text
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;
    use std::fs;

    /// `n1` is there and made anew, `n2` is there and not made, `n3` is made.
    fn begin(dir: &Path) -> Staging {
        for name in ["n1", "n2"] {
            fs::create_dir_all(dir.join(name)).unwrap();
            fs::write(dir.join(name).join("file"), "old").unwrap();
        }
        let staging = Staging::below(dir).unwrap();
        for name in ["n1", "n3"] {
            fs::create_dir(staging.join(name)).unwrap();
            fs::write(staging.join(name).join("file"), "new").unwrap();
        }
        staging
    }

    #[test]
    fn what_is_kept_stays_and_what_had_its_place_is_gone() {
        let dir = Scratch::new();
        let all = ["n1", "n2", "n3"].map(String::from);
        Placed::below(&dir, begin(&dir), &all.each_ref()).unwrap().keep();
        assert_eq!(dir.names(), ["n1", "n3"]);
        assert_eq!(fs::read_to_string(dir.join("n1/file")).unwrap(), "new");
    }

    #[test]
    fn what_is_not_kept_was_never_there_nor_is_what_could_not_all_be_placed() {
        let dir = Scratch::new();
        // The last of them has no directory to be in.
        let last = String::from("none/n4");
        for (all, is_placed) in [(vec![], true), (vec![&last], false)] {
            let first = ["n1", "n2", "n3"].map(String::from);
            let staging = begin(&dir);
            fs::create_dir_all(staging.join("none/n4")).unwrap();
            let all: Vec<&String> = first.iter().chain(all).collect();
            let placed = Placed::below(&dir, staging, &all);
            assert_eq!(placed.is_ok(), is_placed);
            drop(placed);
            assert_eq!(dir.names(), ["n1", "n2"]);
            for name in ["n1/file", "n2/file"] {
                assert_eq!(fs::read_to_string(dir.join(name)).unwrap(), "old", "{name}");
            }
        }
    }
}
