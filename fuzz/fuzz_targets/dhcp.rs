//! DHCP messages, which anybody on the wire can send, alone and in their packets.
//!
//! The checks are in `xget::fuzzing`, because the parser is private to the program.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| xget::fuzzing::dhcp(bytes));
