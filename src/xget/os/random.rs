//! Randomness that is there at once, getrandom(2) with GRND_INSECURE.
//!
//! To spread retries, never for secrets: at the start of a machine reading
//! /dev/urandom takes a second while the kernel gathers entropy.

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

#[cfg(test)]
mod tests {
    #[test]
    fn two_numbers_differ() {
        assert_ne!(super::quick(), super::quick());
    }
}
