//! What leaves in which order, and the answers to it.

use super::*;
use crate::NOFID;
use crate::wire::reply::rread_header;
use std::collections::HashSet;

#[test]
fn the_first_flight_byte_for_byte() {
    let mut client = Client::new(MSIZE);
    let fid = client.open(&[b"f", b"data"], OpenMode::Read, T1);
    client.read(fid, 5, 16, T2);
    client.clunk(fid);
    let expected = [
        &b"\x15\0\0\0\x64\xff\xff\0\0\x01\0\x08\09P2000.u"[..],
        b"\x1d\0\0\0\x68\0\0\0\0\0\0\xff\xff\xff\xff\x06\0nobody\0\0\xff\xff\xff\xff",
        b"\x1a\0\0\0\x6e\x01\0\0\0\0\0\x01\0\0\0\x02\0\x01\0f\x04\0data",
        b"\x0c\0\0\0\x70\x02\0\x01\0\0\0\0",
        b"\x17\0\0\0\x74\x03\0\x01\0\0\0\x05\0\0\0\0\0\0\0\x10\0\0\0",
        b"\x0b\0\0\0\x78\x04\0\x01\0\0\0",
    ];
    assert_eq!(client.take_output(), expected.concat());
    assert_eq!(client.outstanding(), 6);
}

#[test]
fn the_answers_byte_for_byte() {
    let mut client = Client::new(MSIZE);
    let fid = client.open(&[b"f"], OpenMode::Read, T1);
    client.read(fid, 0, 16, T2);
    client.write(fid, 0, b"hello", T3);
    client.clunk(fid);
    let qid = [0, 1, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0];
    let opened = [&[24, 0, 0, 0, 113, 2, 0][..], &qid, &[0x18, 0, 0, 0]].concat();
    let read = [13, 0, 0, 0, 117, 3, 0, 2, 0, 0, 0, b'h', b'i'];
    let steps: [(&[u8], Option<Event<'_>>); 7] = [
        (b"\x15\0\0\0\x65\xff\xff\0\0\x01\0\x08\09P2000.u", None),
        (&[&[20, 0, 0, 0, 105, 0, 0], &qid[..]].concat(), None),
        (&[&[22, 0, 0, 0, 111, 1, 0, 1, 0], &qid[..]].concat(), None),
        (&opened, Some(Event::Opened { token: T1, fid, iounit: 24 })),
        (&read, Some(Event::Read { token: T2, len: 2, data: Some(b"hi") })),
        (&[11, 0, 0, 0, 119, 4, 0, 5, 0, 0, 0], Some(Event::Written { token: T3, count: 5 })),
        (&[7, 0, 0, 0, 121, 5, 0], None),
    ];
    for (frame, event) in steps {
        assert_eq!(take(&mut client, frame), Ok(event), "{frame:?}");
    }
    assert_eq!((client.outstanding(), client.data_len_max()), (0, MSIZE - 24));
    assert!(client.fids.len() == 0);
}

#[test]
fn a_read_is_known_by_its_header() {
    let (mut client, fid) = opened();
    client.read(fid, 0, 4096, T2);
    let header = rread_header(1, 4096);
    let event = client.handle_frame(Frame { prefix: &header, len: 4096 + 11 });
    assert_eq!(event, Ok(Some(Event::Read { token: T2, len: 4096, data: None })));
}

#[test]
fn answers_come_in_any_order_and_tags_are_used_again() {
    let (mut client, fid) = opened();
    for round in 0..3 {
        for token in [T1, T2, T3] {
            client.read(fid, round, 8, token);
        }
        let tags: Vec<u16> = sent(&mut client).iter().map(|(tag, _)| *tag).collect();
        assert_eq!(tags.iter().copied().collect::<HashSet<_>>(), HashSet::from([0, 1, 2]));
        for (tag, token) in [(tags[2], T3), (tags[0], T1), (tags[1], T2)] {
            let frame = reply(tag, &data(b""));
            let expected = Event::Read { token, len: 0, data: Some(b"") };
            assert_eq!(take(&mut client, &frame), Ok(Some(expected)));
        }
    }
}

#[test]
fn a_long_path_is_walked_in_steps() {
    let mut client = attached();
    let path: Vec<&[u8]> = vec![b"d"; 40];
    client.open(&path, OpenMode::Read, T1);
    let sent = sent(&mut client);
    assert!(sent[0].1.starts_with("Walk { fid: 0, newfid: 1, "));
    assert!(sent[1].1.starts_with("Walk { fid: 1, newfid: 1, "));
    assert!(sent[2].1.starts_with("Walk { fid: 1, newfid: 1, "));
    assert_eq!(sent[3].1, "Open { fid: 1, mode: 0 }");
    for (tag, names) in [(0, 16), (1, 16), (2, 8)] {
        quiet(&mut client, tag, &walk(names));
    }
    assert!(matches!(take(&mut client, &reply(3, &OPEN)), Ok(Some(Event::Opened { .. }))));
}

#[test]
fn the_root_is_opened_by_a_walk_of_no_names() {
    let mut client = attached();
    client.open(&[], OpenMode::Read, T1);
    assert_eq!(sent(&mut client)[0].1, "Walk { fid: 0, newfid: 1, names: [] }");
    quiet(&mut client, 0, &walk(0));
    assert!(matches!(take(&mut client, &reply(1, &OPEN)), Ok(Some(Event::Opened { .. }))));
}

#[test]
fn fid_numbers_skip_those_in_use() {
    let (mut client, fid) = opened();
    client.fids.next = NOFID - 1;
    assert_eq!(client.fids.unused(), NOFID - 1);
    assert_eq!((fid.0, client.fids.unused()), (1, 2));
}
