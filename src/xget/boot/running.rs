//! Whether the kernel that runs is the image's, so that no other has to be started.
//!
//! Pure. A kernel that an agent started knows it by `xget.kernel=`; another one is
//! compared by the version in its header (Documentation/arch/x86/boot.rst,
//! kernel_version), which uname(2) gives too.

use super::cmdline::{Cmdline, words};
use super::fields::{array, le16};
use super::next_cmdline::KERNEL_DIGITS;
use peer::content::digest::Digest;

/// Enough of a kernel file for its version: the setup code is at most 32 KiB.
pub const SETUP_LEN_MAX: usize = 64 << 10;
const MAGIC: usize = 0x202;
const VERSION_POINTER: usize = 0x20e;
/// The pointer counts from here.
const SETUP_HEADER: usize = 0x200;

/// Whether `xget.kernel=` on the own line names this digest.
pub fn was_started_from(own: &Cmdline, digest: &str) -> bool {
    own.last("xget.kernel").is_some_and(|digits| {
        let whole = digest.strip_prefix("blake3:").unwrap_or(digest);
        digits.len() == KERNEL_DIGITS && whole.starts_with(digits)
    })
}

/// The first digits of the generation by which this system was started: as the agent said that
/// fetched it, whatever comes of it now. Who was started by none has the kernel of what it has
/// looked at, or none of an image's.
pub fn started(own: &Cmdline, looked_at: Option<Digest>) -> String {
    match own.has("xget.kernel") {
        true => own.last("xget.booted").unwrap_or_default().into(),
        false => looked_at.map(|digest| digest.to_string()).unwrap_or_default(),
    }
}

/// What a bzImage says of itself: `RELEASE (WHO@WHERE) VERSION`.
pub fn version_of(setup: &[u8]) -> Option<&str> {
    if array(setup, MAGIC) != Some(*b"HdrS") {
        return None;
    }
    let at = SETUP_HEADER + usize::from(le16(setup, VERSION_POINTER).filter(|at| *at > 0)?);
    let text = setup.get(at..)?;
    let end = text.iter().position(|byte| *byte == 0)?;
    std::str::from_utf8(&text[..end]).ok()
}

/// Whether a kernel that says so is the one with this release and version.
pub fn is_same(said: &str, release: &str, version: &str) -> bool {
    let rest = said.strip_prefix(release).and_then(|rest| rest.strip_prefix(' '));
    rest.is_some_and(|rest| rest.ends_with(version)) && !version.is_empty()
}

/// Words of `wanted` that the running kernel was not given: with those of ours, where
/// nobody else obeys them. Those of boot loaders are for nobody.
pub fn missing_words<'a>(own: &Cmdline, wanted: &'a str, with_ours: bool) -> Vec<&'a str> {
    let has = |word: &str| own.params.iter().any(|param| param.raw == word);
    let counts = |word: &str| {
        let is_foreign = ["BOOT_IMAGE=", "initrd="].iter().any(|name| word.starts_with(name));
        !is_foreign && (with_ours || !word.starts_with("xget."))
    };
    words(wanted).into_iter().filter(|word| counts(word) && !has(word)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELEASE: &str = "6.1.0-28-amd64";
    const VERSION: &str = "#1 SMP PREEMPT_DYNAMIC Debian 6.1.119-1 (2024-11-22)";

    fn setup(said: &str) -> Vec<u8> {
        let mut bytes = vec![0; 0x3000];
        bytes[MAGIC..MAGIC + 4].copy_from_slice(b"HdrS");
        bytes[VERSION_POINTER..VERSION_POINTER + 2].copy_from_slice(&0x2000u16.to_le_bytes());
        bytes[0x2200..0x2200 + said.len()].copy_from_slice(said.as_bytes());
        bytes
    }

    #[test]
    fn a_kernel_file_is_known_by_its_version() {
        let said = format!("{RELEASE} (debian-kernel@lists.debian.org) {VERSION}");
        let bytes = setup(&said);
        assert_eq!(version_of(&bytes), Some(said.as_str()));
        assert!(is_same(&said, RELEASE, VERSION));
        assert!(!is_same(&said, "6.1.0-28", VERSION) && !is_same(&said, RELEASE, ""));
        assert!(!is_same(&said, RELEASE, "#2 SMP PREEMPT_DYNAMIC Debian 6.1.119-2"));
    }

    #[test]
    fn what_an_agent_started_is_of_the_generation_that_it_fetched() {
        let (digest, text) = (Digest([0xab; 32]), "ab".repeat(32));
        let of = |line: &str, looked_at| started(&Cmdline::parse(line), looked_at);
        let by_agent = "xget.kernel=0123456789abcdef xget.booted=fedcba9876543210";
        assert_eq!(of(by_agent, Some(digest)), "fedcba9876543210", "not what is served by now");
        assert_eq!(of(by_agent, None), "fedcba9876543210", "the image has lost its kernel");
        assert_eq!(of("xget.kernel=0123456789abcdef", Some(digest)), "");
        // It stands there, too, after an image without a root.
        assert_eq!(of("xget.booted=fedcba9876543210", Some(digest)), text);
        assert_eq!(of("quiet", Some(digest)), text);
        assert_eq!(of("quiet", None), "");
    }

    #[test]
    fn headers_that_say_nothing() {
        let mut bytes = setup("x");
        assert_eq!(version_of(&bytes[..0x2100]), None, "cut off");
        bytes[VERSION_POINTER..VERSION_POINTER + 2].copy_from_slice(&[0, 0]);
        assert_eq!(version_of(&bytes), None);
        assert_eq!(version_of(b""), None);
        assert_eq!(version_of(&[0xff; 0x3000]), None);
    }

    #[test]
    fn the_mark_of_who_started_it() {
        let own = Cmdline::parse("xget.kernel=0123456789abcdef");
        assert!(was_started_from(&own, "blake3:0123456789abcdef0123"));
        assert!(!was_started_from(&own, "blake3:1123456789abcdef0123"));
        assert!(!was_started_from(&Cmdline::parse("xget.kernel="), "blake3:01"));
        assert!(!was_started_from(&Cmdline::default(), "blake3:01"));
    }

    #[test]
    fn words_that_only_another_start_can_give() {
        let own = Cmdline::parse("console=ttyS0 panic=-1 a=\"b c\" xget.debug");
        let wanted = "quiet a=\"b c\" console=ttyS0 xget.debug xget.shell initrd=x ro";
        assert_eq!(missing_words(&own, wanted, false), ["quiet", "ro"]);
        // What the image says of us nobody else reads.
        assert_eq!(missing_words(&own, wanted, true), ["quiet", "xget.shell", "ro"]);
    }
}
