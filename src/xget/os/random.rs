//! Randomness, getrandom(2): some that is there at once, to spread retries, and some that
//! nobody can guess, for which the kernel may have to gather entropy for a second at the start
//! of a machine.

#![allow(unsafe_code)]

const GRND_INSECURE: libc::c_uint = 4;

/// Zero on a kernel that does not know the flag (before 5.6). By number: the
/// standard library declares `getrandom` as weak, and a static link would
/// leave it without an address.
pub fn quick() -> u64 {
    let mut bytes = [0; 8];
    // SAFETY: the buffer lives here and has the given length.
    unsafe { libc::syscall(libc::SYS_getrandom, bytes.as_mut_ptr(), bytes.len(), GRND_INSECURE) };
    u64::from_ne_bytes(bytes)
}

/// Bytes that nobody can guess; waits until there are such.
pub fn secret() -> std::io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    // SAFETY: the buffer lives here and has the given length. Up to 256 bytes come whole, or not
    // at all (getrandom(2)).
    let got = unsafe { libc::syscall(libc::SYS_getrandom, bytes.as_mut_ptr(), bytes.len(), 0) };
    match usize::try_from(got) {
        Ok(len) if len == bytes.len() => Ok(bytes),
        _ => Err(std::io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn two_numbers_differ() {
        assert_ne!(super::quick(), super::quick());
    }
}
