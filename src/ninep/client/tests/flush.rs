//! Requests that are given up, and pings.

use super::*;

#[test]
fn a_flushed_read_is_silent_and_keeps_its_tag_until_rflush() {
    for answered in [false, true] {
        let (mut client, fid) = opened();
        client.read(fid, 0, 8, T2);
        client.flush(T2);
        client.flush(T2);
        assert_eq!(sent(&mut client)[1..], [(0, "Flush { oldtag: 1 }".to_string())]);
        if answered {
            quiet(&mut client, 1, &data(b"late"));
        }
        client.read(fid, 0, 8, T3);
        assert_eq!(sent(&mut client)[0].0, 2);
        quiet(&mut client, 0, &Reply::Flush);
        assert_eq!(client.outstanding(), 1);
        // Behind its Rflush the tag is nobody's.
        let frame = reply(1, &data(b"later"));
        assert!(reason(&mut client, &frame).contains("tag 1"));
    }
}

#[test]
fn a_given_up_tag_is_answered_once_at_most() {
    let (mut client, fid) = opened();
    client.read(fid, 0, 8, T2);
    client.flush(T2);
    quiet(&mut client, 1, &error("interrupted"));
    assert!(reason(&mut client, &reply(1, &data(b""))).contains("tag 1"));
}

#[test]
fn a_given_up_open_is_clunked_in_silence() {
    for message in [walk(1), error("gone")] {
        let mut client = attached();
        let fid = client.open(&[b"f"], OpenMode::Read, T1);
        client.flush(T1);
        client.flush(T1);
        let sent = sent(&mut client);
        assert_eq!(sent[2..], [(2, format!("Clunk {{ fid: {} }}", fid.0))]);
        quiet(&mut client, 0, &message);
        quiet(&mut client, 1, if message == walk(1) { &OPEN } else { &message });
        quiet(&mut client, 2, &Reply::Clunk);
        assert!(client.fids.len() == 0);
    }
}

#[test]
fn a_ping_is_answered_past_parked_reads() {
    let (mut client, fid) = opened();
    client.read(fid, 0, 8, T1);
    client.ping(T2);
    assert_eq!(sent(&mut client)[1], (0, "Flush { oldtag: 65534 }".to_string()));
    assert_eq!(take(&mut client, &[7, 0, 0, 0, 109, 0, 0]), Ok(Some(Event::Pong { token: T2 })));
    client.ping(T3);
    client.flush(T3);
    quiet(&mut client, 0, &Reply::Flush);
    assert_eq!(client.outstanding(), 1);
}
