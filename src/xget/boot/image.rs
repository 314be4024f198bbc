//! What an image directory must hold, and whether this kernel can start it.
//!
//! Pure: names, sizes and first bytes in, values or an error out. The checks
//! are those that the kernel makes itself (arch/x86/kernel/kexec-bzimage64.c,
//! bzImage64_probe and bzImage64_load; kernel/kexec_core.c,
//! sanity_check_segment_list), made early so that the reason can still be
//! reported. The format of the header is Documentation/arch/x86/boot.rst.

use super::fields::{array, le16, le32};
use std::fmt;

/// Enough of the kernel file for every check.
pub const HEADER_LEN: usize = 1024;
/// More initrds than this in one image are a mistake.
const INITRDS_MAX: usize = 64;
/// A command line longer than this no kernel takes.
pub const CMDLINE_LEN_MAX: u64 = 4096;

/// Why an image cannot be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageError {
    /// With some of the names that are there.
    NoKernelFile(Vec<String>),
    InitrdCount(usize),
    Foreign(ForeignFormat),
    KernelTooShort(usize),
    NoSetupHeader,
    NoBootFlag,
    OldBootProtocol,
    ZImage,
    Not64Bit,
    NotAbove4G,
    NotFiveLevel,
    CutOff,
    NoArm64Image,
    FileTooLarge {
        what: &'static str,
        bytes: u64,
    },
    OverHalfOfMemory {
        bytes: u64,
        memory_bytes: u64,
    },
    OverAvailable {
        bytes: u64,
        available_bytes: u64,
    },
}

/// Formats that people put in a kernel's place by mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForeignFormat {
    Empty,
    Gzip,
    Zstd,
    Xz,
    Elf,
    EfiZboot,
}

impl fmt::Display for ForeignFormat {
    #[inline(never)]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ForeignFormat::Empty => "empty",
            ForeignFormat::Gzip => "compressed by gzip: unpack it on the master",
            ForeignFormat::Zstd => "compressed by zstd: unpack it on the master",
            ForeignFormat::Xz => "compressed by xz: unpack it on the master",
            ForeignFormat::Elf => "an ELF file (vmlinux): kexec wants the bzImage",
            ForeignFormat::EfiZboot => "an EFI zboot image: put the Image inside it on the master",
        })
    }
}

impl fmt::Display for ImageError {
    #[inline(never)]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: &u64| bytes.div_ceil(1 << 20);
        match self {
            ImageError::NoKernelFile(seen) => {
                write!(f, "the image has no file 'kernel' (it has: {})", seen.join(", "))
            }
            ImageError::InitrdCount(count) => {
                write!(f, "{count} initrds are more than {INITRDS_MAX}")
            }
            ImageError::Foreign(format) => write!(f, "the kernel file is {format}"),
            ImageError::KernelTooShort(len) => write!(f, "the kernel has only {len} bytes"),
            ImageError::NoSetupHeader => {
                f.write_str("the kernel has no setup header (HdrS): it is no bzImage")
            }
            ImageError::NoBootFlag => f.write_str("the kernel has no boot flag (0xAA55)"),
            ImageError::OldBootProtocol => f.write_str(
                "the kernel speaks a boot protocol older than 2.12: it cannot be started by kexec_file_load",
            ),
            ImageError::ZImage => f.write_str("the kernel is a zImage, not a bzImage"),
            ImageError::Not64Bit => f.write_str("the kernel is no 64-bit kernel"),
            ImageError::NotAbove4G => f.write_str(
                "the kernel cannot be loaded above 4 GiB (XLF_CAN_BE_LOADED_ABOVE_4G)",
            ),
            ImageError::NotFiveLevel => f.write_str(
                "the kernel cannot be entered with five-level page tables, which are in use here (boot with no5lvl)",
            ),
            ImageError::CutOff => f.write_str("the kernel is cut off after its setup code"),
            ImageError::NoArm64Image => f.write_str("the kernel is no arm64 Image"),
            ImageError::FileTooLarge { what, bytes } => write!(
                f,
                "the {what}: {} MiB are more than the 4095 MiB that kexec_file_load takes",
                mib(bytes)
            ),
            ImageError::OverHalfOfMemory { bytes, memory_bytes } => write!(
                f,
                "kernel and initrd take {} MiB, and kexec allows half of the {} MiB of memory",
                mib(bytes),
                mib(memory_bytes)
            ),
            ImageError::OverAvailable { bytes, available_bytes } => write!(
                f,
                "loading takes another {} MiB of memory and {} MiB are available",
                mib(bytes),
                mib(available_bytes)
            ),
        }
    }
}

/// The files of an image, by role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageFiles {
    /// In the order in which they are joined.
    pub initrds: Vec<String>,
    pub has_cmdline: bool,
}

/// Sorts the names of an image directory into roles.
#[inline(never)]
pub fn roles(names: &[String]) -> Result<ImageFiles, ImageError> {
    let has = |wanted: &str| names.iter().any(|name| name == wanted);
    if !has("kernel") {
        return Err(ImageError::NoKernelFile(names.iter().take(8).cloned().collect()));
    }
    let mut initrds: Vec<String> =
        names.iter().filter(|name| name.starts_with("initrd")).cloned().collect();
    sorted::sort(&mut initrds);
    if initrds.len() > INITRDS_MAX {
        return Err(ImageError::InitrdCount(initrds.len()));
    }
    Ok(ImageFiles { initrds, has_cmdline: has("cmdline") })
}

/// What the kernel says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelLimits {
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

const SETUP_SECTS: usize = 0x1f1;
const BOOT_FLAG: usize = 0x1fe;
const HEADER_MAGIC: usize = 0x202;
const VERSION: usize = 0x206;
const LOADFLAGS: usize = 0x211;
const XLOADFLAGS: usize = 0x236;
const CMDLINE_SIZE: usize = 0x238;
const INIT_SIZE: usize = 0x260;

const LOADED_HIGH: u8 = 1;
const XLF_KERNEL_64: u16 = 1;
const XLF_ABOVE_4G: u16 = 1 << 1;
const XLF_5LEVEL: u16 = 1 << 5;
/// The kernel keeps this much for an `elfcorehdr=` even when it needs none
/// (kexec-bzimage64.c, MAX_ELFCOREHDR_STR_LEN).
const ELFCOREHDR_LEN: u64 = 30;

/// Checks the kernel file of this machine's architecture: its first bytes, and
/// how long it is.
pub fn check_kernel(
    header: &[u8],
    len: u64,
    machine: &Machine,
) -> Result<KernelLimits, ImageError> {
    if let Some(format) = foreign_format(header) {
        return Err(ImageError::Foreign(format));
    }
    if cfg!(target_arch = "x86_64") {
        check_bzimage(header, len, machine)
    } else {
        check_arm64(header, len)
    }
}

fn foreign_format(header: &[u8]) -> Option<ForeignFormat> {
    match header {
        [] => Some(ForeignFormat::Empty),
        [0x1f, 0x8b, ..] => Some(ForeignFormat::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(ForeignFormat::Zstd),
        [0xfd, b'7', b'z', ..] => Some(ForeignFormat::Xz),
        [0x7f, b'E', b'L', b'F', ..] => Some(ForeignFormat::Elf),
        [b'M', b'Z', _, _, b'z', b'i', b'm', b'g', ..] => Some(ForeignFormat::EfiZboot),
        _ => None,
    }
}

fn check_bzimage(header: &[u8], len: u64, machine: &Machine) -> Result<KernelLimits, ImageError> {
    let short = || ImageError::KernelTooShort(header.len());
    let header: &[u8; HEADER_LEN] = header.first_chunk().ok_or_else(short)?;
    let version = le16(header, VERSION).unwrap_or(0);
    let flags = le16(header, XLOADFLAGS).unwrap_or(0);
    // Zero is four, for reasons of history; and the boot sector is one more.
    let setup_sectors = u64::from(match header[SETUP_SECTS] {
        0 => 4,
        sectors => sectors,
    }) + 1;
    if array(header, HEADER_MAGIC) != Some(*b"HdrS") {
        Err(ImageError::NoSetupHeader)
    } else if le16(header, BOOT_FLAG) != Some(0xaa55) {
        Err(ImageError::NoBootFlag)
    } else if version < 0x20c {
        Err(ImageError::OldBootProtocol)
    } else if header[LOADFLAGS] & LOADED_HIGH == 0 {
        Err(ImageError::ZImage)
    } else if flags & XLF_KERNEL_64 == 0 {
        Err(ImageError::Not64Bit)
    } else if flags & XLF_ABOVE_4G == 0 {
        Err(ImageError::NotAbove4G)
    } else if machine.la57 && flags & XLF_5LEVEL == 0 {
        Err(ImageError::NotFiveLevel)
    } else if len <= setup_sectors * 512 {
        Err(ImageError::CutOff)
    } else {
        let word = |at: usize| u64::from(le32(header, at).unwrap_or(0));
        Ok(KernelLimits {
            cmdline_len_max: word(CMDLINE_SIZE).saturating_sub(ELFCOREHDR_LEN + 1),
            init_bytes: word(INIT_SIZE),
        })
    }
}

/// Documentation/arch/arm64/booting.rst: magic at 56, image_size at 16.
fn check_arm64(header: &[u8], len: u64) -> Result<KernelLimits, ImageError> {
    let magic = array(header, 56) == Some(*b"ARM\x64");
    let image_size = array(header, 16).map(u64::from_le_bytes);
    match image_size.filter(|_| magic && len >= HEADER_LEN as u64) {
        Some(init_bytes) => Ok(KernelLimits { cmdline_len_max: 2047, init_bytes }),
        None => Err(ImageError::NoArm64Image),
    }
}

/// The most that any kernel's kexec_file_load takes; older ones stop at 2 GiB
/// and say EFBIG.
const FILE_BYTES_MAX: u64 = u32::MAX as u64;
/// Left alone for everything else.
const SPARE_BYTES: u64 = 96 << 20;

/// Checks the sizes against the memory that loading takes: the sealed file,
/// the kernel's reading buffer, and the pages that stay.
pub fn check_memory(
    kernel: &KernelLimits,
    kernel_bytes: u64,
    initrd_bytes: u64,
    machine: &Machine,
) -> Result<(), ImageError> {
    for (what, bytes) in [("kernel", kernel_bytes), ("initrds together", initrd_bytes)] {
        if bytes > FILE_BYTES_MAX {
            return Err(ImageError::FileTooLarge { what, bytes });
        }
    }
    let Machine { memory_bytes, available_bytes, .. } = *machine;
    let loaded_bytes = kernel.init_bytes.max(kernel_bytes) + initrd_bytes;
    if loaded_bytes > memory_bytes / 2 {
        return Err(ImageError::OverHalfOfMemory { bytes: loaded_bytes, memory_bytes });
    }
    // The sealed files are there already. The kernel reads them into a buffer
    // and copies the buffer into the pages that stay.
    let more_bytes = kernel_bytes + initrd_bytes + loaded_bytes;
    if more_bytes > available_bytes {
        return Err(ImageError::OverAvailable { bytes: more_bytes, available_bytes });
    }
    Ok(())
}

/// The most that an image may weigh, so that it can also be loaded: it is in
/// memory three times at the worst moment of kexec_file_load.
pub fn room_bytes(machine: &Machine) -> u64 {
    machine.available_bytes.saturating_sub(SPARE_BYTES) / 3
}

/// How many zeroes go between two joined initrds: a cpio archive starts at a
/// multiple of four (Documentation/driver-api/early-userspace/buffer-format.rst), and what is
/// compressed by LZ4 has no end of its own but four zeroes (lib/decompress_unlz4.c), which the
/// kernel skips behind all else.
pub fn padding(len: u64) -> usize {
    ((4 - len % 4) % 4) as usize + LZ4_END
}

const LZ4_END: usize = 4;
/// The most that [`padding`] gives.
pub const PADDING_MAX: usize = 3 + LZ4_END;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const MACHINE: Machine =
        Machine { memory_bytes: 4 << 30, available_bytes: 3 << 30, la57: false };

    fn bzimage() -> Vec<u8> {
        let mut header = vec![0; HEADER_LEN];
        header[SETUP_SECTS] = 27;
        header[BOOT_FLAG..0x200].copy_from_slice(&[0x55, 0xaa]);
        header[HEADER_MAGIC..VERSION].copy_from_slice(b"HdrS");
        header[VERSION..0x208].copy_from_slice(&[0x0f, 2]);
        header[LOADFLAGS] = LOADED_HIGH;
        header[XLOADFLAGS..CMDLINE_SIZE].copy_from_slice(&[0x3f, 0]);
        header[CMDLINE_SIZE..0x23c].copy_from_slice(&2047u32.to_le_bytes());
        header[INIT_SIZE..0x264].copy_from_slice(&(32u32 << 20).to_le_bytes());
        header
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn an_image_is_a_kernel_and_sorted_initrds() {
        let files =
            roles(&names(&["initrd.9-node", "cmdline", "initrd", "kernel", "README", "initrd.1"]));
        let initrds = names(&["initrd", "initrd.1", "initrd.9-node"]);
        assert_eq!(files, Ok(ImageFiles { initrds, has_cmdline: true }));
        assert_eq!(roles(&names(&["kernel"])), Ok(ImageFiles::default()));
        let seen = names(&["vmlinuz", "initrd"]);
        let error = roles(&seen).unwrap_err();
        assert_eq!(error, ImageError::NoKernelFile(seen));
        assert!(error.to_string().contains("vmlinuz"), "{error}");
        let many: Vec<String> = (0..=INITRDS_MAX).map(|n| format!("initrd.{n}")).collect();
        let many = [names(&["kernel"]), many].concat();
        assert_eq!(roles(&many), Err(ImageError::InitrdCount(INITRDS_MAX + 1)));
    }

    #[test]
    fn a_good_header() {
        let expected = KernelLimits { cmdline_len_max: 2016, init_bytes: 32 << 20 };
        assert_eq!(check_bzimage(&bzimage(), 8 << 20, &MACHINE), Ok(expected));
    }

    #[test]
    fn every_bad_header_has_its_reason() {
        let machine = Machine { la57: true, ..MACHINE };
        for (at, byte, error) in [
            (HEADER_MAGIC, b'x', ImageError::NoSetupHeader),
            (BOOT_FLAG, 0, ImageError::NoBootFlag),
            (VERSION, 0x0b, ImageError::OldBootProtocol),
            (LOADFLAGS, 0, ImageError::ZImage),
            (XLOADFLAGS, 0x3e, ImageError::Not64Bit),
            (XLOADFLAGS, 0x3d, ImageError::NotAbove4G),
            (XLOADFLAGS, 0x1f, ImageError::NotFiveLevel),
        ] {
            let mut header = bzimage();
            header[at] = byte;
            assert_eq!(check_bzimage(&header, 8 << 20, &machine), Err(error));
        }
        assert_eq!(check_bzimage(&bzimage(), 28 * 512, &MACHINE), Err(ImageError::CutOff));
        let short = Err(ImageError::KernelTooShort(1000));
        assert_eq!(check_bzimage(&bzimage()[..1000], 1000, &MACHINE), short);
        let mut header = bzimage();
        header[SETUP_SECTS] = 0;
        assert!(check_bzimage(&header, 5 * 512, &MACHINE).is_err());
        assert!(check_bzimage(&header, 5 * 512 + 1, &MACHINE).is_ok());
    }

    #[test]
    fn foreign_formats_are_named() {
        for (header, format) in [
            (&b""[..], ForeignFormat::Empty),
            (&[0x1f, 0x8b, 8], ForeignFormat::Gzip),
            (&[0x28, 0xb5, 0x2f, 0xfd], ForeignFormat::Zstd),
            (b"\xfd7zXZ", ForeignFormat::Xz),
            (b"\x7fELF\x02", ForeignFormat::Elf),
            (b"MZ\0\0zimg", ForeignFormat::EfiZboot),
        ] {
            let error = check_kernel(header, 1 << 20, &MACHINE).unwrap_err();
            assert_eq!(error, ImageError::Foreign(format));
        }
    }

    #[test]
    fn an_arm64_image_has_its_magic() {
        assert_eq!(check_arm64(&[0; 64], 1 << 20), Err(ImageError::NoArm64Image));
        let mut header = vec![0; 64];
        header[56..60].copy_from_slice(b"ARM\x64");
        header[16..24].copy_from_slice(&77u64.to_le_bytes());
        assert_eq!(check_arm64(&header, 1 << 20).map(|kernel| kernel.init_bytes), Ok(77));
        assert!(check_arm64(&header[..20], 1 << 20).is_err());
    }

    #[test]
    fn sizes_against_memory() {
        let kernel = KernelLimits { cmdline_len_max: 2016, init_bytes: 32 << 20 };
        let check = |kernel_mib: u64, initrd_mib: u64, machine: &Machine| {
            check_memory(&kernel, kernel_mib << 20, initrd_mib << 20, machine)
        };
        assert_eq!(check(8, 900, &MACHINE), Ok(()));
        let too_large = ImageError::FileTooLarge { what: "initrds together", bytes: 4 << 30 };
        assert_eq!(check(8, 4096, &MACHINE), Err(too_large));
        let half =
            ImageError::OverHalfOfMemory { bytes: 2052 << 20, memory_bytes: MACHINE.memory_bytes };
        assert_eq!(check(8, 2020, &MACHINE), Err(half));
        let low = Machine { available_bytes: 1 << 30, ..MACHINE };
        assert_eq!(check(8, 400, &low), Ok(()));
        let over = ImageError::OverAvailable { bytes: 1240 << 20, available_bytes: 1 << 30 };
        assert_eq!(check(8, 600, &low), Err(over));
    }

    proptest! {
        #[test]
        fn any_header_is_survived(header in vec(any::<u8>(), 0..1200), len in any::<u64>()) {
            let _ = check_kernel(&header, len, &MACHINE);
            let _ = check_arm64(&header, len);
        }

        /// The checks one by one against hostile values in a header that is
        /// right otherwise.
        #[test]
        fn a_kernel_that_passes_is_one_that_can_be_started(
            spoilt in vec((SETUP_SECTS..INIT_SIZE + 4, any::<u8>()), 0..6),
            len in 0u64..64 << 10,
            la57 in any::<bool>(),
        ) {
            let mut header = bzimage();
            spoilt.iter().for_each(|(at, byte)| header[*at] = *byte);
            if check_kernel(&header, len, &Machine { la57, ..MACHINE }).is_ok() {
                prop_assert_eq!(&header[HEADER_MAGIC..VERSION], b"HdrS");
                prop_assert!(header[XLOADFLAGS] & 3 == 3 && header[LOADFLAGS] & 1 == 1);
                prop_assert!(!la57 || header[XLOADFLAGS] & 32 != 0);
                prop_assert!(len > 512 * (1 + u64::from(header[SETUP_SECTS])));
            }
        }
    }

    #[test]
    fn joined_archives_are_aligned() {
        assert_eq!([0u64, 1, 2, 3, 4, 5].map(padding), [4, 7, 6, 5, 4, 7]);
    }
}
