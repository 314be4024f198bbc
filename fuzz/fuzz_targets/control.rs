//! The lines of the conversation on `/.xget/route`, both ways.
//!
//! A line that is understood has one plain form, which is understood as well
//! and comes out as itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use peer::control::{ClientMessage, MasterMessage};

fuzz_target!(|line: &[u8]| {
    if let Some(message) = ClientMessage::parse(line) {
        let plain = message.line();
        let again = ClientMessage::parse(plain.as_bytes()).expect("its own line");
        assert_eq!(again.line(), plain);
    }
    if let Some(message) = MasterMessage::parse(line) {
        let plain = message.line();
        let again = MasterMessage::parse(plain.as_bytes()).expect("its own line");
        assert_eq!(again.line(), plain);
    }
});
