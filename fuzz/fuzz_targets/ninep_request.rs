//! The decoder of requests, in all dialects and before one is agreed on.
//!
//! A frame is refused as a whole only when its size field is wrong; else it
//! has a tag and is a request or an error that can be sent back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ninep::wire::{frame_len, request};
use ninep::{Dialect, HEADER_LEN, Request, WALK_NAMES_MAX};

const DIALECTS: [Option<Dialect>; 4] =
    [None, Some(Dialect::Plan9), Some(Dialect::Unix), Some(Dialect::Linux)];

fuzz_target!(|frame: &[u8]| {
    let is_framed = frame.len() >= HEADER_LEN && frame_len(frame) == Some(frame.len() as u32);
    for dialect in DIALECTS {
        let decoded = request::decode(dialect, frame);
        assert_eq!(decoded.is_ok(), is_framed);
        let Ok((tag, request)) = decoded else { continue };
        assert_eq!(tag.to_le_bytes(), frame[5..7]);
        match request {
            Ok(request) => check(dialect, &request, frame.len()),
            Err(error) => assert!((1..4096).contains(&error.errno)),
        }
    }
});

fn check(dialect: Option<Dialect>, request: &Request<'_>, frame_len: usize) {
    match request {
        Request::Version { .. } => {}
        _ if dialect.is_none() => panic!("{request:?} before a version"),
        Request::Walk { names, .. } => {
            assert!(names.len() <= WALK_NAMES_MAX);
            let is_sound = |name: &&[u8]| !name.is_empty() && !name.contains(&b'/');
            assert!(names.iter().all(is_sound));
        }
        Request::Write { data, .. } => assert!(data.len() < frame_len),
        _ => {}
    }
}
