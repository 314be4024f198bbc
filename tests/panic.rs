//! A panic as the release binary has it; scripts/check-release looks at what it
//! says.
//!
//! An example and not a test: built with the profile, the flags and the linker
//! script of the release binary, and linked with the same library, it has what
//! that has in place of an unwinder (src/xget/os/unwind.rs). A test would
//! unwind.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    // Too many arguments, so that the library is needed and the index unknown.
    if arguments.len() > 100 {
        return xget::main();
    }
    assert!(arguments[arguments.len()].is_empty());
    ExitCode::SUCCESS
}
