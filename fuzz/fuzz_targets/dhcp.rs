//! DHCP replies, which anybody on the wire can send. The checks are in `xget::fuzzing`,
//! because the parser is private to the program.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| xget::fuzzing::dhcp(bytes));
