//! Options of DHCPv6 messages, which anybody on the link can send.
//!
//! The checks are in `xget::fuzzing`, because the parser is private to the program.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| xget::fuzzing::dhcp6(bytes));
