//! The program: Linux, disks, sockets, the loop, PID 1, the command line.
//! What is decided is decided in `peer`.

mod actions;
mod boot;
mod cli;
mod command;
mod console;
mod driver;
mod failed;
mod key_file;
mod logger;
mod os;
mod store;
mod verbs;

pub use command::{init_main, main};
// For tests that fetch within their own process.
pub use boot::fetch_alone;
pub use driver::{FetchObserver, FetchTask, Fetching, Limits, Observer, Turn};

/// Decoders of what comes from outside, as plain functions for fuzz targets.
#[cfg(feature = "fuzzing")]
pub mod fuzzing {
    use crate::store::cache::format;
    use peer::content::manifest::PIECE_LEN;

    /// A DHCP message, alone and in its packet.
    pub fn dhcp(bytes: &[u8]) {
        crate::boot::fuzz_dhcp(bytes);
    }

    /// Options of DHCPv6, as a server might send them.
    pub fn dhcp6(bytes: &[u8]) {
        crate::boot::fuzz_dhcp6(bytes);
    }

    /// A digest cache, as it is read from disk. Since hardly any bytes have the
    /// right check sum by chance, they are also taken as records with one.
    ///
    /// # Panics
    /// What is decoded is not the same when it is encoded and decoded again.
    pub fn digest_cache(bytes: &[u8]) {
        let with_check = format::seal([&*format::header(PIECE_LEN), bytes].concat());
        for bytes in [bytes, &with_check] {
            let Some(mut known) = format::decode(bytes, PIECE_LEN) else { continue };
            known.iter_mut().for_each(|(_, file)| file.used = true);
            let mut again = format::decode(&format::encode(&known, PIECE_LEN), PIECE_LEN);
            let files = again.iter_mut().flat_map(|known| known.iter_mut());
            files.for_each(|(_, file)| file.used = true);
            assert_eq!(again, Some(known));
        }
    }
}
