//! Whether a file can be run as init: its first bytes, and what they need.
//!
//! Pure. What execve(2) would refuse is found before anything is removed: a
//! program for another machine, one whose interpreter is not there.

use super::fields::{array, le16};

/// Enough of a file for its header and the table behind it.
pub const HEAD_LEN: usize = 4096;
/// Of execve(2): BINPRM_BUF_SIZE.
const SCRIPT_LEN_MAX: usize = 256;

const CLASS: usize = 4;
const MACHINE: usize = 18;
const CLASS_64: u8 = 2;
#[cfg(target_arch = "x86_64")]
const THIS_MACHINE: u16 = 62;
#[cfg(target_arch = "aarch64")]
const THIS_MACHINE: u16 = 183;
const PT_INTERP: u16 = 3;

/// Gives the interpreter that the program needs, if it needs one.
pub fn interpreter(head: &[u8]) -> Result<Option<String>, String> {
    match head {
        [b'#', b'!', line @ ..] => {
            let line = &line[..line.len().min(SCRIPT_LEN_MAX)];
            let line = line.split(|byte| *byte == b'\n').next().unwrap_or(line);
            let text = String::from_utf8_lossy(line);
            Ok(text.split_ascii_whitespace().next().map(str::to_string))
        }
        [0x7f, b'E', b'L', b'F', ..] => elf_interpreter(head),
        [] => Err("is empty".into()),
        _ => Err("is neither an ELF program nor a script".into()),
    }
}

#[inline(never)]
fn elf_interpreter(head: &[u8]) -> Result<Option<String>, String> {
    let machine = le16(head, MACHINE).unwrap_or(0);
    if head.get(CLASS) != Some(&CLASS_64) || machine != THIS_MACHINE {
        let class = if head.get(CLASS) == Some(&CLASS_64) { 64 } else { 32 };
        return Err(format!(
            "is a program of {class} bits for machine {machine} (ELF), and this is {THIS_MACHINE}: an image for another architecture?"
        ));
    }
    // elf(5): e_phoff, e_phentsize, e_phnum; p_type, p_offset, p_filesz.
    let word = |at: usize| array(head, at).map(u64::from_le_bytes).map(|value| value as usize);
    let (Some(table), Some(len), Some(count)) = (word(32), le16(head, 54), le16(head, 56)) else {
        return Err("is cut off".into());
    };
    for number in 0..usize::from(count) {
        let at = table.saturating_add(number * usize::from(len));
        if le16(head, at) == Some(PT_INTERP) {
            let from = word(at + 8).unwrap_or(usize::MAX);
            let name = head.get(from..).unwrap_or_default();
            let end = name.iter().position(|byte| *byte == 0).unwrap_or(0);
            let name = String::from_utf8_lossy(&name[..end]).into_owned();
            return Ok((!name.is_empty()).then_some(name));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn program() -> Vec<u8> {
        let mut head = vec![0; 512];
        head[..6].copy_from_slice(b"\x7fELF\x02\x01");
        head[MACHINE..MACHINE + 2].copy_from_slice(&THIS_MACHINE.to_le_bytes());
        head[32] = 64;
        head[54] = 56;
        head[56] = 2;
        head[64 + 56] = 3;
        head[64 + 56 + 8..64 + 56 + 10].copy_from_slice(&300u16.to_le_bytes());
        head[300..310].copy_from_slice(b"/lib64/ld\0");
        head
    }

    #[test]
    fn a_program_names_its_interpreter() {
        assert_eq!(interpreter(&program()), Ok(Some("/lib64/ld".into())));
        let mut alone = program();
        alone[64 + 56] = 1;
        assert_eq!(interpreter(&alone), Ok(None));
        assert_eq!(interpreter(b"#! /bin/sh -e\nx"), Ok(Some("/bin/sh".into())));
        // As a real one has it.
        let own = fs::read("/proc/self/exe").unwrap();
        assert!(interpreter(&own[..HEAD_LEN]).is_ok());
        let shell = fs::read("/bin/sh").unwrap();
        let found = interpreter(&shell[..HEAD_LEN]).unwrap().unwrap();
        assert!(fs::metadata(&found).is_ok(), "{found}");
    }

    #[test]
    fn what_cannot_run_says_why() {
        let mut other = program();
        other[MACHINE] = 40;
        assert!(interpreter(&other).unwrap_err().contains("machine 40"));
        let mut small = program();
        small[CLASS] = 1;
        assert!(interpreter(&small).unwrap_err().contains("32 bits"));
        assert!(interpreter(b"").unwrap_err().contains("empty"));
        assert!(interpreter(b"hello").unwrap_err().contains("neither"));
        assert!(interpreter(&program()[..40]).unwrap_err().contains("cut off"));
    }

    #[test]
    fn hostile_tables_end() {
        let mut head = program();
        head[32..40].fill(0xff);
        head[54..58].fill(0xff);
        assert_eq!(interpreter(&head), Ok(None));
        let mut head = program();
        head[64 + 56 + 8..64 + 56 + 16].fill(0xff);
        assert_eq!(interpreter(&head), Ok(None));
    }
}
