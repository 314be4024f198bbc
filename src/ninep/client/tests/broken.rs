//! Answers that no server can have meant, and limits of our own.

use super::*;
use crate::wire::reply::rread_header;

#[test]
fn a_server_that_does_not_agree_breaks_the_session() {
    let case = |frame: &[u8]| reason(&mut Client::new(MSIZE), frame);
    assert!(case(&rversion(MSIZE, None)).contains("\"unknown\""));
    assert!(case(&rversion(MSIZE, Some(Dialect::Plan9))).contains("not 9P2000.u"));
    assert!(case(&rversion(MSIZE + 1, Some(Dialect::Unix))).contains("raises"));
    assert!(case(&rversion(4096, Some(Dialect::Unix))).contains("4096 is below 8192"));
    assert!(case(&reply(NOTAG, &error("go away"))).contains("go away"));
    assert!(case(&reply(NOTAG, &Reply::Flush)).contains("Rversion"));
    assert!(case(&reply(0, &Reply::Attach { qid: QID })).contains("before Rversion"));
    let mut client = Client::new(MSIZE);
    quiet(&mut client, NOTAG, &Reply::Version { msize: MSIZE, dialect: Some(Dialect::Unix) });
    assert!(reason(&mut client, &reply(0, &error("not you"))).contains("not you"));
}

#[test]
fn a_lower_msize_shortens_reads() {
    let mut client = Client::new(1 << 20);
    let fid = client.open(&[b"f"], OpenMode::Read, T1);
    client.read(fid, 0, u32::MAX, T2);
    assert!(sent(&mut client)[4].1.contains("count: 1048552"));
    quiet(&mut client, NOTAG, &Reply::Version { msize: MSIZE, dialect: Some(Dialect::Unix) });
    assert_eq!(client.data_len_max(), MSIZE - 24);
    client.read(fid, 0, u32::MAX, T3);
    client.write(fid, 0, &[0; 70_000], T3);
    let sent = sent(&mut client);
    assert!(sent[0].1.contains("count: 65512"));
    quiet(&mut client, 0, &Reply::Attach { qid: QID });
    quiet(&mut client, 1, &walk(1));
    assert!(take(&mut client, &reply(2, &OPEN)).is_ok());
    // The read that was too large comes back short.
    let header = rread_header(3, MSIZE - 24);
    let event = client.handle_frame(Frame { prefix: &header, len: MSIZE - 13 });
    assert_eq!(event, Ok(Some(Event::Read { token: T2, len: MSIZE - 24, data: None })));
    let written = reply(5, &Reply::Write { count: 65512 });
    assert_eq!(take(&mut client, &written), Ok(Some(Event::Written { token: T3, count: 65512 })));
}

#[test]
fn a_write_that_left_too_large_breaks_the_session() {
    let mut client = Client::new(1 << 20);
    let fid = client.open(&[b"f"], OpenMode::Write, T1);
    client.write(fid, 0, &[0; 70_000], T2);
    assert!(reason(&mut client, &rversion(MSIZE, Some(Dialect::Unix))).contains("is below 70023"));
}

#[test]
fn answers_that_cannot_be_meant_break_the_session() {
    let case = |frame: &[u8]| {
        let (mut client, fid) = opened();
        client.read(fid, 0, 8, T2); // tag 1
        client.write(fid, 0, b"ab", T3); // tag 0
        client.open(&[b"g"], OpenMode::Read, T1); // tags 2, 3
        client.ping(Token(9)); // tag 4
        reason(&mut client, frame)
    };
    assert!(case(&reply(1, &data(b"123456789"))).contains("9 where 8"));
    assert!(case(&reply(0, &Reply::Write { count: 3 })).contains("3 where 2"));
    assert!(case(&reply(2, &walk(2))).contains("2 where 1"));
    assert!(case(&reply(3, &OPEN)).contains("before its Rwalk"));
    assert!(case(&reply(1, &Reply::Write { count: 3 })).contains("type"));
    assert!(case(&reply(2, &Reply::Clunk)).contains("type"));
    assert!(case(&reply(4, &error("what?"))).contains("type"));
    assert!(case(&reply(5, &data(b""))).contains("tag 5"));
    assert!(case(&rversion(MSIZE, Some(Dialect::Unix))).contains("tag 65535"));
    assert!(case(&reply(1, &Reply::Stat { attr: Default::default() })).contains("125"));
    assert!(case(&[8, 0, 0, 0, 117, 1, 0]).contains("size is 8"));
    assert!(case(&[7, 0, 0, 0, 117, 1, 0]).contains("ends within"));
}

#[test]
fn data_before_its_open_and_frames_above_msize_break_the_session() {
    let (mut client, _) = flight(false);
    assert!(reason(&mut client, &reply(2, &data(b"x"))).contains("before its Ropen"));
    let (mut client, fid) = opened();
    client.read(fid, 0, 8, T2);
    let header = rread_header(1, MSIZE);
    let frame = Frame { prefix: &header, len: MSIZE + 11 };
    assert!(client.handle_frame(frame).unwrap_err().reason.contains("above msize"));
}

#[test]
fn limits_break_the_session_aloud() {
    let (mut client, fid) = opened();
    while client.room() > 0 {
        client.read(fid, 0, 8, T2);
    }
    assert_eq!(client.outstanding(), OUTSTANDING_MAX);
    // These are always possible.
    client.flush(T2);
    client.clunk(fid);
    assert_eq!(client.outstanding(), 2 * OUTSTANDING_MAX + 1);
    assert_eq!(client.broken(), None);
    let before = client.output().len();
    client.read(fid, 0, 8, T3);
    assert!(client.broken().unwrap().reason.contains("4096 requests"));
    assert_eq!(client.output().len(), before);

    let mut client = attached();
    for round in 0..FIDS_MAX {
        // The tag that is given back last is given out first.
        let (walk_tag, open_tag) = if round % 2 == 0 { (0, 1) } else { (1, 0) };
        client.open(&[b"f"], OpenMode::Read, T1);
        quiet(&mut client, walk_tag, &walk(1));
        assert!(take(&mut client, &reply(open_tag, &OPEN)).is_ok());
    }
    client.open(&[b"f"], OpenMode::Read, T1);
    assert!(client.broken().unwrap().reason.contains("4096 fids"));
}
