//! Our own client on the other end: everything of a file in one flight, then
//! parked reads, probes and flushes.

use super::Peer;
use crate::client::{Client, Event, Fid, Frame, OpenMode, Token};
use crate::server::Output;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Carries requests over and answers back; data of stored bytes stay behind.
fn exchange(client: &mut Client, peer: &mut Peer) -> Vec<String> {
    let out = client.take_output();
    let (mut rest, mut events) = (&out[..], Vec::new());
    while let Some(len) = crate::decode::frame_len(rest) {
        let (frame, behind) = rest.split_at(len as usize);
        peer.session.handle_frame(&mut peer.garden, frame).unwrap();
        rest = behind;
        hear(client, peer, &mut events);
    }
    assert_eq!(client.broken(), None);
    events
}

fn hear(client: &mut Client, peer: &mut Peer, events: &mut Vec<String>) {
    while let Some(output) = peer.session.poll_output() {
        let event = match &output {
            Output::Frame(frame) => client.handle_frame(Frame::whole(frame)),
            Output::Bulk { head, len, .. } => {
                client.handle_frame(Frame { head, len: head.len() as u32 + len })
            }
        };
        events.extend(event.unwrap().map(|event| match event {
            Event::Opened { token, .. } => format!("{} opened", token.0),
            Event::Read { token, len, data } => {
                format!("{} read {len}{}", token.0, if data.is_some() { "" } else { " bare" })
            }
            Event::Written { token, count } => format!("{} wrote {count}", token.0),
            Event::Pong { token } => format!("{} pong", token.0),
            Event::Failed { token, error } => format!("{} {}", token.0, error.text),
        }));
    }
}

fn open(client: &mut Client, path: &str, mode: OpenMode, token: u64) -> Fid {
    let names: Vec<&[u8]> = path.split('/').map(str::as_bytes).collect();
    client.open(&names, mode, Token(token))
}

#[test]
fn our_client_gets_files_in_one_flight() {
    let (mut client, mut peer) = (Client::new(1 << 20), Peer::new());
    for (at, path) in ["file", "dir/inner", "bulk", "dir/nothing", "secret"].iter().enumerate() {
        let token = at as u64 * 10;
        let fid = open(&mut client, path, OpenMode::Read, token);
        client.read(fid, 0, 9000, Token(token + 1));
        client.clunk(fid);
    }
    let ctl = open(&mut client, "ctl", OpenMode::ReadWrite, 50);
    client.write(ctl, 0, b"hello", Token(51));
    client.read(ctl, 0, 100, Token(52));
    client.clunk(ctl);
    let none = "No such file or directory";
    let events = exchange(&mut client, &mut peer);
    let (files, rest) = events.split_at(6);
    assert_eq!(
        files,
        ["0 opened", "1 read 9000", "10 opened", "11 read 9000", "20 opened", "21 read 9000 bare"]
    );
    let refused = [30, 31].map(|token| format!("{token} {none}"));
    assert_eq!(rest[..2], refused);
    assert_eq!(rest[2..4], ["40 Permission denied", "41 Permission denied"]);
    assert_eq!(rest[4..], ["50 opened", "51 wrote 5", "52 read 5"]);
    // What the client clunked by itself after the refusals fails, unheard.
    assert!(exchange(&mut client, &mut peer).is_empty());
    assert_eq!((client.outstanding(), client.msize()), (0, Some(super::MSIZE_MAX)));
    peer.close();
}

#[test]
fn our_client_probes_and_gives_up_parked_reads() {
    let (mut client, mut peer) = (Client::new(65536), Peer::new());
    let fid = open(&mut client, "parked", OpenMode::Read, 1);
    client.read(fid, 0, 100, Token(2));
    client.ping(Token(3));
    assert_eq!(exchange(&mut client, &mut peer), ["1 opened", "3 pong"]);
    assert_eq!(client.outstanding(), 1);
    client.flush(Token(2));
    assert!(exchange(&mut client, &mut peer).is_empty());
    assert_eq!(client.outstanding(), 0);
    // Given up too late: the answer is on its way already.
    client.read(fid, 0, 100, Token(4));
    assert!(exchange(&mut client, &mut peer).is_empty());
    client.flush(Token(4));
    peer.garden.arrived = true;
    let ticket = peer.garden.the_ticket();
    peer.session.resume(&mut peer.garden, ticket);
    assert!(exchange(&mut client, &mut peer).is_empty());
    client.read(fid, 0, 100, Token(5));
    client.clunk(fid);
    assert_eq!(exchange(&mut client, &mut peer), ["5 read 100"]);
    assert_eq!(client.outstanding(), 0);
    peer.close();
}
