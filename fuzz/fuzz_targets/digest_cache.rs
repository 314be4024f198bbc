//! The file of digests that a master keeps between runs.
//!
//! The checks are in `xget::fuzzing`, because the parser is private to the program.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| xget::fuzzing::digest_cache(bytes));
