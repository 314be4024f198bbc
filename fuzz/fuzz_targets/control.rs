//! The lines of the conversation on `/.xget/route`, and on `/.xget/node`, both ways.
//!
//! A line that is understood has one plain form, which is understood as well
//! and comes out as itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use peer::control::{ClientMessage, MasterMessage, NodeAnswer, NodeMessage};

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
    if let Some(message) = NodeMessage::parse(line) {
        let plain = message.line();
        // Of what a node says nothing may be left, which is no line.
        if let Some(again) = NodeMessage::parse(plain.as_bytes()) {
            assert_eq!(again.line(), plain);
        }
    }
    if let Ok(text) = std::str::from_utf8(line)
        && let Some(answer) = NodeAnswer::parse(text)
    {
        assert_eq!(NodeAnswer::parse(&answer.text), Some(answer));
    }
});
