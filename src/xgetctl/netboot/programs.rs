//! The programs that firmware starts: copied from where Debian's packages have them, or made.
//!
//! Knows packages and which firmware takes which program. Refuses to know what they are told.

use super::place::{GRUB_DIR, Made, copy, open_up};
use crate::failure::Outcome;
use crate::program;
use crate::staging::Staging;
use std::path::Path;

/// All are copied that are there.
const INSTALLED: [(&str, &str); 5] = [
    ("/usr/lib/ipxe", "undionly.kpxe"),
    ("/usr/lib/ipxe", "snponly.efi"),
    ("/usr/lib/ipxe", "ipxe.efi"),
    ("/usr/lib/PXELINUX", "pxelinux.0"),
    ("/usr/lib/syslinux/modules/bios", "ldlinux.c32"),
];
/// What GRUB needs: a shell, the network by way of the firmware, Linux.
const GRUB_MODULES: [&str; 10] =
    ["normal", "echo", "test", "sleep", "configfile", "linux", "net", "tftp", "minicmd", "boot"];

/// Of GRUB: the file, the format, what has the firmware's network, the package.
const GRUBS: [(&str, &str, &str, &str); 2] = [
    (GRUB_BIOS, "i386-pc-pxe", "pxe", "grub-pc-bin"),
    (GRUB_UEFI, "x86_64-efi", "efinet", "grub-efi-amd64-bin"),
];
const GRUB_BIOS: &str = "grub.0";
const GRUB_UEFI: &str = "grubx64.efi";
const GRUB_PLACES: [&str; 2] = ["/usr/lib/grub/i386-pc", "/usr/lib/grub/x86_64-efi"];

/// What firmware is to start.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loader {
    /// undionly.kpxe, or pxelinux.0 where there is none; snponly.efi or ipxe.efi
    Ipxe,
    /// pxelinux.0 for BIOS; UEFI as with ipxe
    Pxelinux,
    /// grub.0 and grubx64.efi, made of what Debian's packages of GRUB have
    Grub,
}

impl Loader {
    pub fn bios(self, made: &[Made]) -> Option<&'static str> {
        let has_menus = has(made, "ldlinux.c32");
        let order = match self {
            Loader::Ipxe => ["undionly.kpxe", "pxelinux.0"],
            Loader::Pxelinux => ["pxelinux.0", "undionly.kpxe"],
            Loader::Grub => [GRUB_BIOS, GRUB_BIOS],
        };
        let fits = |name: &&str| has(made, name) && (*name != "pxelinux.0" || has_menus);
        order.into_iter().find(fits)
    }

    pub fn uefi(self, made: &[Made]) -> Option<&'static str> {
        let order = match self {
            Loader::Ipxe | Loader::Pxelinux => ["snponly.efi", "ipxe.efi"],
            Loader::Grub => [GRUB_UEFI, GRUB_UEFI],
        };
        order.into_iter().find(|name| has(made, name))
    }
}

fn has(made: &[Made], wanted: &str) -> bool {
    made.iter().any(|(_, name)| name == wanted)
}

pub fn copy_or_make(staging: &Staging, loader: Loader) -> Outcome<Vec<Made>> {
    let places = INSTALLED.iter().map(|(place, name)| (Path::new(place).join(name), *name));
    let there = places.filter(|(path, _)| path.is_file());
    let mut made: Vec<Made> =
        there.map(|(path, name)| copy(staging, &path, name)).collect::<Outcome<_>>()?;
    if loader == Loader::Grub {
        for (grub, place) in GRUBS.into_iter().zip(GRUB_PLACES) {
            made.push(make_grub(staging, grub, place)?);
        }
    }
    Ok(made)
}

/// One file with all in it: beside its configuration GRUB fetches nothing of its own.
fn make_grub(
    staging: &Staging,
    (name, format, network, package): (&str, &str, &str, &str),
    place: &str,
) -> Outcome<Made> {
    let doing = "--loader grub";
    let mkimage = program::need("grub-mkimage", "grub-common", doing)?;
    program::need_file(&Path::new(place).join(format!("{network}.mod")), package, doing)?;
    let to = staging.join(name);
    let mut command = program::command(&mkimage)?;
    command.args(["-O", format, "-d", place, "-p", &format!("/{GRUB_DIR}"), "-o"]).arg(&to);
    program::run(command.args(GRUB_MODULES).arg(network), &format!("make {name}"))?;
    open_up(&to, 0o644)?;
    Ok((to, name.into()))
}
