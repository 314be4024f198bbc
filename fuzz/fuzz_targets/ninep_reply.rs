//! The decoder of replies, and the encoder of those that our server sends.
//!
//! The first byte says how much of the frame is there: of an Rread the header
//! is enough, and says the same as the whole.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ninep::wire::frame_len;
use ninep::wire::reply::{self, Rmessage};
use ninep::{Dialect, RREAD_HEADER_LEN, Reply};

fuzz_target!(|input: &[u8]| {
    let Some((&part, frame)) = input.split_first() else { return };
    let len = frame.len() as u32;
    let Ok((tag, message)) = reply::decode(frame, len) else { return };
    assert_eq!(frame_len(frame), Some(len));
    match message {
        Rmessage::Read { count, data } => {
            assert_eq!(data.map(<[u8]>::len), Some(count as usize));
            let there = RREAD_HEADER_LEN + usize::from(part);
            if there < frame.len() {
                let cut = reply::decode(&frame[..there], len);
                assert_eq!(cut, Ok((tag, Rmessage::Read { count, data: None })));
            }
            assert_eq!(reply::rread_header(tag, count), frame[..RREAD_HEADER_LEN]);
        }
        message => reencode(tag, &message),
    }
});

/// What was understood, encoded by us, is understood as the same.
fn reencode(tag: u16, message: &Rmessage<'_>) {
    let same = match message {
        Rmessage::Version { msize, version } => {
            let dialects = [Dialect::Plan9, Dialect::Unix, Dialect::Linux];
            let spoken = dialects.into_iter().find(|dialect| dialect.version() == *version);
            // What is none of them is not sent as it came.
            let Some(dialect) = spoken else { return };
            Reply::Version { msize: *msize, dialect: Some(dialect) }
        }
        Rmessage::Auth { qid } => Reply::Auth { qid: *qid },
        Rmessage::Attach { qid } => Reply::Attach { qid: *qid },
        Rmessage::Flush => Reply::Flush,
        Rmessage::Walk { names } => Reply::Walk { qids: vec![ninep::Qid::default(); *names] },
        Rmessage::Open { qid, iounit } => Reply::Open { qid: *qid, iounit: *iounit },
        Rmessage::Write { count } => Reply::Write { count: *count },
        Rmessage::Clunk => Reply::Clunk,
        // Texts are cut on their way out.
        Rmessage::Error(error) if error.text.len() > ninep::ERROR_TEXT_MAX => return,
        Rmessage::Error(error) => Reply::Error(error.clone()),
        Rmessage::Read { .. } => return,
    };
    let mut again = Vec::new();
    reply::encode(Dialect::Unix, tag, &same, &mut again);
    assert_eq!(reply::decode(&again, again.len() as u32), Ok((tag, message.clone())));
}
