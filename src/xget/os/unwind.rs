//! What is left of the unwinder in a program that aborts on panic: nothing.
//!
//! The standard library's panic message can end in a stack trace, and for
//! that it brings libunwind, a reader of DWARF and a demangler, which could
//! only print addresses of a stripped binary (docs/architecture.md, Size, has
//! the figures). These functions take the place of libunwind's, as the C++ ABI
//! for exceptions (level I) names them. A stack trace is then always empty, the
//! optimiser sees it, and the reader and the demangler go as well. The message,
//! file and line remain: scripts/check-release.
//!
//! Only in the static release binary: elsewhere a panic unwinds, in tests
//! above all.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};

/// `_URC_END_OF_STACK`
const END_OF_STACK: c_int = 5;

// SAFETY, here and below: these are the names that the standard library links
// to and the signatures that it declares them with (library/unwind); nothing
// else in the program defines or calls them.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Backtrace(_visit: *const c_void, _argument: *mut c_void) -> c_int {
    END_OF_STACK
}

/// The end of a clean-up that only an unwinding panic would begin.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume(_exception: *mut c_void) -> ! {
    std::process::abort()
}

// What the standard library's `rust_eh_personality` asks for. It is linked,
// never called: no frame has a table that would name it.

#[unsafe(no_mangle)]
extern "C" fn _Unwind_GetLanguageSpecificData(_context: *mut c_void) -> usize {
    0
}

#[unsafe(no_mangle)]
extern "C" fn _Unwind_GetRegionStart(_context: *mut c_void) -> usize {
    0
}

#[unsafe(no_mangle)]
extern "C" fn _Unwind_GetTextRelBase(_context: *mut c_void) -> usize {
    0
}

#[unsafe(no_mangle)]
extern "C" fn _Unwind_GetDataRelBase(_context: *mut c_void) -> usize {
    0
}

#[unsafe(no_mangle)]
extern "C" fn _Unwind_GetIP(_context: *mut c_void) -> usize {
    0
}

#[unsafe(no_mangle)]
extern "C" fn _Unwind_GetIPInfo(_context: *mut c_void, _before: *mut c_int) -> usize {
    0
}

#[unsafe(no_mangle)]
extern "C" fn _Unwind_SetGR(_context: *mut c_void, _register: c_int, _value: usize) {}

#[unsafe(no_mangle)]
extern "C" fn _Unwind_SetIP(_context: *mut c_void, _value: usize) {}
