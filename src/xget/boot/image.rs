//! What an image directory must hold, and whether this kernel can start it.
//!
//! Pure: names, sizes and first bytes in, a plan or a reason out. The checks
//! are those that the kernel makes itself (arch/x86/kernel/kexec-bzimage64.c,
//! bzImage64_probe and bzImage64_load; kernel/kexec_core.c,
//! sanity_check_segment_list), made early so that the reason can still be
//! reported. The format of the header is Documentation/arch/x86/boot.rst.

use std::collections::BinaryHeap;

/// Enough of the kernel file for every check.
pub const HEAD_LEN: usize = 1024;
/// More initrds than this in one image are a mistake.
pub const INITRDS_MAX: usize = 64;
/// A command line longer than this no kernel takes.
pub const CMDLINE_LEN_MAX: u64 = 4096;

/// The files of an image, by role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// In the order in which they are joined.
    pub initrds: Vec<String>,
    pub has_cmdline: bool,
}

/// Sorts the names of an image directory into roles.
pub fn roles(names: &[String]) -> Result<Files, String> {
    if !names.iter().any(|name| name == "kernel") {
        let seen: Vec<&str> = names.iter().take(8).map(String::as_str).collect();
        return Err(format!("the image has no file 'kernel' (it has: {})", seen.join(", ")));
    }
    let initrds: BinaryHeap<String> =
        names.iter().filter(|name| name.starts_with("initrd")).cloned().collect();
    if initrds.len() > INITRDS_MAX {
        return Err(format!("{} initrds are more than {INITRDS_MAX}", initrds.len()));
    }
    Ok(Files {
        initrds: initrds.into_sorted_vec(),
        has_cmdline: names.iter().any(|name| name == "cmdline"),
    })
}

/// What the kernel says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// The longest command line, without the zero at its end.
    pub cmdline_len_max: u64,
    /// Memory that it needs to unpack itself.
    pub init_bytes: u64,
}

/// What a running system brings to the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    pub memory_bytes: u64,
    pub available_bytes: u64,
    /// Five-level page tables are in use.
    pub la57: bool,
}

const LOADED_HIGH: u8 = 1;
const XLF_KERNEL_64: u16 = 1;
const XLF_ABOVE_4G: u16 = 1 << 1;
const XLF_5LEVEL: u16 = 1 << 5;
/// The kernel keeps this much for an `elfcorehdr=` even when it needs none
/// (kexec-bzimage64.c, MAX_ELFCOREHDR_STR_LEN).
const ELFCOREHDR_LEN: u64 = 30;

/// Checks the kernel file of this machine's architecture.
pub fn check_kernel(head: &[u8], len: u64, machine: &Machine) -> Result<Kernel, String> {
    if let Some(reason) = stranger(head) {
        return Err(format!("the kernel file is {reason}"));
    }
    if cfg!(target_arch = "x86_64") {
        check_bzimage(head, len, machine)
    } else {
        check_arm64(head, len)
    }
}

/// Formats that people put there by mistake.
fn stranger(head: &[u8]) -> Option<&'static str> {
    match head {
        [] => Some("empty"),
        [0x1f, 0x8b, ..] => Some("compressed by gzip: unpack it on the master"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("compressed by zstd: unpack it on the master"),
        [0xfd, b'7', b'z', ..] => Some("compressed by xz: unpack it on the master"),
        [0x7f, b'E', b'L', b'F', ..] => Some("an ELF file (vmlinux): kexec wants the bzImage"),
        [b'M', b'Z', _, _, b'z', b'i', b'm', b'g', ..] => {
            Some("an EFI zboot image: put the Image inside it on the master")
        }
        _ => None,
    }
}

fn check_bzimage(head: &[u8], len: u64, machine: &Machine) -> Result<Kernel, String> {
    if head.len() < HEAD_LEN {
        return Err(format!("the kernel has only {} bytes", head.len()));
    }
    let short = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let version = short(0x206);
    let flags = short(0x236);
    let setup_bytes = (u64::from(match head[0x1f1] {
        0 => 4,
        sects => sects,
    }) + 1)
        * 512;
    let wrong = if head[0x202..0x206] != *b"HdrS" {
        Some("has no setup header (HdrS): it is no bzImage")
    } else if short(0x1fe) != 0xaa55 {
        Some("has no boot flag (0xAA55)")
    } else if version < 0x20c {
        Some("speaks a boot protocol older than 2.12: it cannot be started by kexec_file_load")
    } else if head[0x211] & LOADED_HIGH == 0 {
        Some("is a zImage, not a bzImage")
    } else if flags & XLF_KERNEL_64 == 0 {
        Some("is no 64-bit kernel")
    } else if flags & XLF_ABOVE_4G == 0 {
        Some("cannot be loaded above 4 GiB (XLF_CAN_BE_LOADED_ABOVE_4G)")
    } else if machine.la57 && flags & XLF_5LEVEL == 0 {
        Some(
            "cannot be entered with five-level page tables, which are in use here (boot with no5lvl)",
        )
    } else if len <= setup_bytes {
        Some("is cut off after its setup code")
    } else {
        None
    };
    match wrong {
        Some(reason) => Err(format!("the kernel {reason}")),
        None => Ok(Kernel {
            cmdline_len_max: u64::from(word(0x238)).saturating_sub(ELFCOREHDR_LEN + 1),
            init_bytes: u64::from(word(0x260)),
        }),
    }
}

/// Documentation/arch/arm64/booting.rst: magic at 56, image_size at 16.
fn check_arm64(head: &[u8], len: u64) -> Result<Kernel, String> {
    let magic = head.get(56..60).is_some_and(|magic| magic == b"ARM\x64");
    if !magic || len < HEAD_LEN as u64 {
        return Err("the kernel is no arm64 Image".into());
    }
    let init_bytes = head[16..24].try_into().map_or(0, u64::from_le_bytes);
    Ok(Kernel { cmdline_len_max: 2047, init_bytes })
}

/// The most that any kernel's kexec_file_load takes; older ones stop at 2 GiB
/// and say EFBIG.
const FILE_BYTES_MAX: u64 = u32::MAX as u64;
/// Left alone for everything else.
const SPARE_BYTES: u64 = 96 << 20;

/// Checks the sizes against the memory that loading takes: the sealed file,
/// the kernel's reading buffer, and the pages that stay.
pub fn check_memory(
    kernel: &Kernel,
    kernel_bytes: u64,
    initrd_bytes: u64,
    machine: &Machine,
) -> Result<(), String> {
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    for (what, bytes) in [("kernel", kernel_bytes), ("initrds together", initrd_bytes)] {
        if bytes > FILE_BYTES_MAX {
            return Err(format!(
                "the {what}: {} MiB are more than the 4095 MiB that kexec_file_load takes",
                mib(bytes)
            ));
        }
    }
    let loaded_bytes = kernel.init_bytes.max(kernel_bytes) + initrd_bytes;
    if loaded_bytes > machine.memory_bytes / 2 {
        return Err(format!(
            "kernel and initrd take {} MiB, and kexec allows half of the {} MiB of memory",
            mib(loaded_bytes),
            mib(machine.memory_bytes)
        ));
    }
    // The sealed files are there already. The kernel reads them into a buffer
    // and copies the buffer into the pages that stay.
    let more_bytes = kernel_bytes + initrd_bytes + loaded_bytes;
    if more_bytes > machine.available_bytes {
        return Err(format!(
            "loading takes another {} MiB of memory and {} MiB are available",
            mib(more_bytes),
            mib(machine.available_bytes)
        ));
    }
    Ok(())
}

/// The most that an image may weigh, so that it can also be loaded: it is in
/// memory three times at the worst moment of kexec_file_load.
pub fn room_bytes(machine: &Machine) -> u64 {
    machine.available_bytes.saturating_sub(SPARE_BYTES) / 3
}

/// How many zeroes go between two joined initrds: a cpio archive starts at a
/// multiple of four (Documentation/driver-api/early-userspace/buffer-format.rst).
pub fn padding(len: u64) -> usize {
    ((4 - len % 4) % 4) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE: Machine =
        Machine { memory_bytes: 4 << 30, available_bytes: 3 << 30, la57: false };

    fn bzimage() -> Vec<u8> {
        let mut head = vec![0; HEAD_LEN];
        head[0x1f1] = 27;
        head[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
        head[0x202..0x206].copy_from_slice(b"HdrS");
        head[0x206..0x208].copy_from_slice(&[0x0f, 2]);
        head[0x211] = LOADED_HIGH;
        head[0x236..0x238].copy_from_slice(&[0x3f, 0]);
        head[0x238..0x23c].copy_from_slice(&2047u32.to_le_bytes());
        head[0x260..0x264].copy_from_slice(&(32u32 << 20).to_le_bytes());
        head
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn an_image_is_a_kernel_and_sorted_initrds() {
        let files =
            roles(&names(&["initrd.9-node", "cmdline", "initrd", "kernel", "README", "initrd.1"]));
        let expected =
            Files { initrds: names(&["initrd", "initrd.1", "initrd.9-node"]), has_cmdline: true };
        assert_eq!(files, Ok(expected));
        assert_eq!(roles(&names(&["kernel"])), Ok(Files::default()));
        let reason = roles(&names(&["vmlinuz", "initrd"])).unwrap_err();
        assert!(reason.contains("vmlinuz"), "{reason}");
    }

    #[test]
    fn a_good_header() {
        let expected = Kernel { cmdline_len_max: 2016, init_bytes: 32 << 20 };
        assert_eq!(check_bzimage(&bzimage(), 8 << 20, &MACHINE), Ok(expected));
    }

    #[test]
    fn every_bad_header_has_its_reason() {
        let spoilt: [(usize, u8, &str); 7] = [
            (0x202, b'x', "HdrS"),
            (0x1fe, 0, "boot flag"),
            (0x206, 0x0b, "2.12"),
            (0x211, 0, "zImage"),
            (0x236, 0x3e, "64-bit"),
            (0x236, 0x3d, "4 GiB"),
            (0x236, 0x1f, "five-level"),
        ];
        let machine = Machine { la57: true, ..MACHINE };
        for (at, byte, word) in spoilt {
            let mut head = bzimage();
            head[at] = byte;
            let reason = check_bzimage(&head, 8 << 20, &machine).unwrap_err();
            assert!(reason.contains(word), "{reason}");
        }
        assert!(check_bzimage(&bzimage(), 28 * 512, &MACHINE).unwrap_err().contains("cut off"));
        assert!(check_bzimage(&bzimage()[..1000], 1000, &MACHINE).is_err());
        let mut head = bzimage();
        head[0x1f1] = 0;
        assert!(check_bzimage(&head, 5 * 512, &MACHINE).is_err());
        assert!(check_bzimage(&head, 5 * 512 + 1, &MACHINE).is_ok());
    }

    #[test]
    fn strangers_are_named() {
        for (head, word) in [
            (&b""[..], "empty"),
            (&[0x1f, 0x8b, 8], "gzip"),
            (&[0x28, 0xb5, 0x2f, 0xfd], "zstd"),
            (b"\xfd7zXZ", "xz"),
            (b"\x7fELF\x02", "vmlinux"),
            (b"MZ\0\0zimg", "zboot"),
        ] {
            let reason = check_kernel(head, 1 << 20, &MACHINE).unwrap_err();
            assert!(reason.contains(word), "{reason}");
        }
        assert!(check_arm64(&[0; 64], 1 << 20).is_err());
        let mut arm = vec![0; 64];
        arm[56..60].copy_from_slice(b"ARM\x64");
        arm[16..24].copy_from_slice(&77u64.to_le_bytes());
        assert_eq!(check_arm64(&arm, 1 << 20).map(|kernel| kernel.init_bytes), Ok(77));
    }

    #[test]
    fn sizes_against_memory() {
        let kernel = Kernel { cmdline_len_max: 2016, init_bytes: 32 << 20 };
        let check = |kernel_mib: u64, initrd_mib: u64, machine: &Machine| {
            check_memory(&kernel, kernel_mib << 20, initrd_mib << 20, machine)
        };
        assert_eq!(check(8, 900, &MACHINE), Ok(()));
        assert!(check(8, 4096, &MACHINE).unwrap_err().contains("4095"));
        assert!(check(8, 2020, &MACHINE).unwrap_err().contains("half"));
        let low = Machine { available_bytes: 1 << 30, ..MACHINE };
        assert_eq!(check(8, 400, &low), Ok(()));
        assert!(check(8, 600, &low).unwrap_err().contains("another"));
    }

    #[test]
    fn joined_archives_are_aligned() {
        assert_eq!([0u64, 1, 2, 3, 4, 5].map(padding), [0, 3, 2, 1, 0, 3]);
    }
}
