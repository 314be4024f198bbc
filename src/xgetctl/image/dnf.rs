//! A root of Fedora and its kin by dnf's `--installroot`.
//!
//! Knows what of this machine's rpm must not be the root's. Refuses to know which packages.

use crate::failure::{Doing, Failure, Outcome};
use crate::program;
use crate::rooted::Rooted;
use std::fs;
use std::path::Path;
use std::process::Command;

const REPOSITORIES: &str = "/etc/yum.repos.d";
/// What rpm reads below its HOME.
const MACROS: &str = "root/.rpmmacros";
/// Lists of packages, 200 MB of them; they are fetched anew when they are wanted.
const CACHES: [&str; 2] = ["var/cache/dnf", "var/cache/libdnf5"];

/// What is installed, and where from.
pub struct Source<'a> {
    /// `fedora`, and `42`.
    pub name: &'a str,
    pub release: &'a str,
    pub mirror: Option<&'a str>,
    pub keyring: Option<&'a Path>,
}

impl Source<'_> {
    /// Where its rpm has its database. This machine's may have it elsewhere: Debian's below HOME.
    fn database(&self) -> &'static str {
        let release = self.release.split('.').next().and_then(|number| number.parse::<u32>().ok());
        match (self.name, release) {
            ("fedora", _) => "/usr/lib/sysimage/rpm",
            (_, Some(release)) if release >= 10 => "/usr/lib/sysimage/rpm",
            _ => "/var/lib/rpm",
        }
    }

    /// What installs these packages.
    pub fn command(&self, root: &Path, packages: &[String]) -> Outcome<Command> {
        let program = program::need("dnf", "dnf", &format!("an image of {}", self.name))?;
        let mut command = program::isolated(&program)?;
        command.arg("-y").arg(format!("--installroot={}", root.display()));
        command.arg(format!("--releasever={}", self.release));
        command.args(["--setopt=install_weak_deps=False", "--setopt=tsflags=nodocs"]);
        let is_dnf5 = program.canonicalize().is_ok_and(|program| program.ends_with("dnf5"));
        if is_dnf5 {
            command.arg("--use-host-config");
        }
        command.args(self.repository()?);
        command.arg("install").args(packages);
        fs::create_dir_all(root.join("root")).doing("make the directory", root)?;
        let macros = root.join(MACROS);
        let text = format!("%_dbpath {}\n", self.database());
        fs::write(&macros, text).doing("write", &macros)?;
        command.env("HOME", root.join("root"));
        Ok(command)
    }

    /// This machine's repositories, or one alone, whose packages are verified, too.
    fn repository(&self) -> Outcome<Vec<String>> {
        let name = self.name;
        let Some(mirror) = self.mirror else {
            if fs::read_dir(REPOSITORIES).map_or(0, Iterator::count) == 0 {
                return Err(Failure::usage(format!(
                    "dnf knows no repositories here ({REPOSITORIES}): put {name}'s there, with its \
                     keys, or name one with --mirror and --keyring"
                )));
            }
            if self.keyring.is_some() {
                let text =
                    format!("--keyring goes with --mirror: {REPOSITORIES} names keys itself");
                return Err(Failure::usage(text));
            }
            return Ok(Vec::new());
        };
        let Some(keyring) = self.keyring else {
            return Err(Failure::usage(format!(
                "which key are {name}'s packages at {mirror} signed with? Name its file with \
                 --keyring"
            )));
        };
        let keyring = keyring.canonicalize().doing("look up", keyring)?;
        Ok(vec![
            format!("--repofrompath={name},{mirror}"),
            format!("--repo={name}"),
            format!("--setopt={name}.gpgcheck=1"),
            format!("--setopt={name}.gpgkey=file://{}", keyring.display()),
        ])
    }
}

/// Removes what the making alone wanted.
pub fn finish(root: &Rooted) -> Outcome {
    root.remove(MACROS)?;
    for cache in CACHES {
        if let Some(cache) = root.real(cache)? {
            fs::remove_dir_all(&cache).doing("remove", &cache)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source<'a>(name: &'a str, release: &'a str) -> Source<'a> {
        Source { name, release, mirror: None, keyring: None }
    }

    #[test]
    fn a_database_is_where_its_own_rpm_has_it() {
        for (name, release, end) in [
            ("fedora", "42", "sysimage/rpm"),
            ("fedora", "rawhide", "sysimage/rpm"),
            ("rocky", "9", "/var/lib/rpm"),
            ("rocky", "9.4", "/var/lib/rpm"),
            ("almalinux", "10.0", "sysimage/rpm"),
        ] {
            assert!(source(name, release).database().ends_with(end), "{name} {release}");
        }
    }

    #[test]
    fn a_mirror_wants_the_key_of_its_packages() {
        let mut one = source("rocky", "9");
        one.mirror = Some("file:///srv/rocky");
        assert!(one.repository().unwrap_err().text.ends_with("with --keyring"));
        one.keyring = Some(Path::new("/dev/null"));
        let options = one.repository().unwrap();
        assert!(options.contains(&"--setopt=rocky.gpgkey=file:///dev/null".to_string()));
    }
}
