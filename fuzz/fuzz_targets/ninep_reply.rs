//! The decoder of replies, and the encoder of those that our server sends.
//!
//! The first byte says how much of the frame is there: of an Rread the header
//! is enough, and says the same as the whole.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ninep::decode::{self, Rmessage};
use ninep::{Dialect, RREAD_HEADER_LEN, Reply, encode};

fuzz_target!(|input: &[u8]| {
    let Some((&part, frame)) = input.split_first() else { return };
    let len = frame.len() as u32;
    let Ok((tag, message)) = decode::reply(frame, len) else { return };
    assert_eq!(decode::frame_len(frame), Some(len));
    match message {
        Rmessage::Read { count, data } => {
            assert_eq!(data.map(<[u8]>::len), Some(count as usize));
            let there = RREAD_HEADER_LEN + usize::from(part);
            if there < frame.len() {
                let cut = decode::reply(&frame[..there], len);
                assert_eq!(cut, Ok((tag, Rmessage::Read { count, data: None })));
            }
            assert_eq!(encode::rread_header(tag, count), frame[..RREAD_HEADER_LEN]);
        }
        message => reencode(tag, &message),
    }
});

/// What was understood, encoded by us, is understood as the same.
fn reencode(tag: u16, message: &Rmessage<'_>) {
    let qids = [ninep::Qid::default(); ninep::WALK_NAMES_MAX];
    let reply = match message {
        Rmessage::Version { version, .. } if version.len() > 255 => return,
        Rmessage::Version { msize, version } => Reply::Version { msize: *msize, version },
        Rmessage::Attach { qid } => Reply::Attach { qid: *qid },
        Rmessage::Flush => Reply::Flush,
        Rmessage::Walk { names } => Reply::Walk { qids: &qids[..*names] },
        Rmessage::Open { qid, iounit } => Reply::Open { qid: *qid, iounit: *iounit },
        Rmessage::Write { count } => Reply::Write { count: *count },
        Rmessage::Clunk => Reply::Clunk,
        // Texts are cut on their way out.
        Rmessage::Error(error) if error.text.len() > ninep::ERROR_TEXT_MAX => return,
        Rmessage::Error(error) => Reply::Error(error.clone()),
        Rmessage::Read { .. } => return,
    };
    let mut again = Vec::new();
    encode::reply(Dialect::Unix, tag, &reply, &mut again);
    assert_eq!(decode::reply(&again, again.len() as u32), Ok((tag, message.clone())));
}
