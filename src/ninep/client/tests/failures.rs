//! What fails, and what fails because of it.

use super::*;

#[test]
fn a_failed_walk_fails_everything_once() {
    for first in [error("gone"), walk(1)] {
        let words = if first == walk(1) { "No such file or directory" } else { "gone" };
        for clunk in [false, true] {
            let (mut client, fid) = flight(clunk);
            assert_eq!(take(&mut client, &reply(0, &first)), failed(T1, words));
            // Clunked in any case, and never twice.
            client.clunk(fid);
            assert_eq!(sent(&mut client).len(), usize::from(!clunk));
            quiet(&mut client, 1, &error("fid unknown"));
            for (tag, token) in [(2, T2), (3, T3)] {
                let frame = reply(tag, &error("fid unknown"));
                assert_eq!(take(&mut client, &frame), failed(token, words));
            }
            quiet(&mut client, 4, &error("fid unknown"));
            assert_eq!((client.outstanding(), client.fids.len()), (0, 0));
            assert_ne!(client.open(&[], OpenMode::Read, T1), fid);
        }
    }
}

#[test]
fn success_behind_a_short_walk_is_not_believed() {
    // Some servers make the fid after a partial walk.
    let (mut client, fid) = flight(false);
    assert_eq!(take(&mut client, &reply(0, &walk(1))), failed(T1, "No such file or directory"));
    quiet(&mut client, 1, &OPEN);
    let wrong = reply(2, &data(b"of the directory"));
    assert_eq!(take(&mut client, &wrong), failed(T2, "No such file or directory"));
    let wrong = reply(3, &Reply::Write { count: 1 });
    assert_eq!(take(&mut client, &wrong), failed(T3, "No such file or directory"));
    assert_eq!(sent(&mut client), [(4, format!("Clunk {{ fid: {} }}", fid.0))]);
    quiet(&mut client, 4, &Reply::Clunk);
    assert!(client.fids.len() == 0);
}

#[test]
fn a_refused_open_gives_its_fid_back() {
    let (mut client, _) = flight(false);
    quiet(&mut client, 0, &walk(2));
    assert_eq!(take(&mut client, &reply(1, &error("no"))), failed(T1, "no"));
    assert_eq!(sent(&mut client).len(), 1);
    assert_eq!(take(&mut client, &reply(2, &error("bad use"))), failed(T2, "no"));
    // The clunk took the tag that the walk had left.
    quiet(&mut client, 0, &Reply::Clunk);
    // The last answer may come behind the clunk's.
    assert_eq!(take(&mut client, &reply(3, &error("bad use"))), failed(T3, "no"));
    assert!(client.fids.len() == 0);
}

#[test]
fn a_failed_read_leaves_the_fid_open() {
    let (mut client, fid) = opened();
    client.read(fid, 0, 8, T2);
    assert_eq!(take(&mut client, &reply(1, &error("stale"))), failed(T2, "stale"));
    client.read(fid, 0, 8, T3);
    let frame = reply(1, &data(b"ok"));
    let expected = Event::Read { token: T3, len: 2, data: Some(b"ok") };
    assert_eq!(take(&mut client, &frame), Ok(Some(expected)));
}

#[test]
fn a_read_on_a_clunked_fid_fails_once() {
    let (mut client, fid) = opened();
    client.clunk(fid);
    quiet(&mut client, 1, &Reply::Clunk);
    client.read(fid, 0, 8, T2);
    assert_eq!(take(&mut client, &reply(1, &error("fid?"))), failed(T2, "fid?"));
    assert_eq!(client.outstanding(), 0);
}
