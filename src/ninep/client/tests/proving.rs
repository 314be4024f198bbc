//! Who has to prove who he is, before anything is asked.

use super::*;

const AUTH: Reply = Reply::Auth { qid: QID };
const ATTACH: Reply = Reply::Attach { qid: QID };

fn begun() -> Client {
    let mut client = Client::proving(MSIZE, b"cluster", b"hello", 99, T1);
    client.open(&[b"a"], OpenMode::Read, T2);
    client
}

fn told(client: &mut Client, tag: u16, answer: &Reply) -> Result<Option<Event<'static>>, Broken> {
    let frame = reply(tag, answer);
    client.handle_frame(Frame::whole(&frame)).map(|event| match event {
        Some(Event::Read { token, len, .. }) => Some(Event::Read { token, len, data: None }),
        Some(Event::Opened { token, fid, iounit }) => Some(Event::Opened { token, fid, iounit }),
        Some(Event::Failed { token, error }) => Some(Event::Failed { token, error }),
        other => {
            assert!(other.is_none(), "{other:?}");
            None
        }
    })
}

fn words(client: &mut Client) -> Vec<String> {
    let first = |text: String| text.split([' ', '{']).next().map(ToString::to_string);
    sent(client).into_iter().filter_map(|(_, text)| first(text)).collect()
}

#[test]
fn all_else_is_held_back_until_it_is_proved() {
    let mut client = begun();
    assert_eq!(words(&mut client), ["Version", "Auth", "Write", "Read"]);
    let frame = rversion(MSIZE, Some(Dialect::Unix));
    assert_eq!(client.handle_frame(Frame::whole(&frame)), Ok(None));
    assert_eq!(told(&mut client, 0, &AUTH), Ok(None));
    assert_eq!(told(&mut client, 1, &Reply::Write { count: 5 }), Ok(None));
    let answer = told(&mut client, 2, &data(b"me"));
    assert_eq!(answer, Ok(Some(Event::Read { token: T1, len: 2, data: None })));
    assert!(words(&mut client).is_empty(), "it has not been said yet");
    client.prove(b"here", b"");
    assert_eq!(words(&mut client), ["Write", "Attach", "Clunk", "Walk", "Open"]);
    client.ping(T3);
    assert_eq!(words(&mut client), ["Flush"]);
    client.prove(b"here", b"");
    assert!(words(&mut client).is_empty(), "once");
}

#[test]
fn who_is_refused_says_why() {
    for (number, reason) in [(0, "takes no proof"), (1, "refuses who asks")] {
        let mut client = begun();
        let frame = rversion(MSIZE, Some(Dialect::Unix));
        client.handle_frame(Frame::whole(&frame)).unwrap();
        if number > 0 {
            assert_eq!(told(&mut client, 0, &AUTH), Ok(None));
        }
        let broken = told(&mut client, number, &error("no")).unwrap_err();
        assert!(broken.reason.contains(reason), "{broken}");
    }
    // What it answers may be missing, too, and the attach is refused as any.
    let mut client = begun();
    let frame = rversion(MSIZE, Some(Dialect::Unix));
    client.handle_frame(Frame::whole(&frame)).unwrap();
    for (tag, answer) in [(0, AUTH), (1, Reply::Write { count: 5 })] {
        assert_eq!(told(&mut client, tag, &answer), Ok(None));
    }
    assert_eq!(told(&mut client, 2, &error("no")), failed(T1, "no"));
    client.take_output();
    client.prove(b"here", b"");
    let tags: Vec<u16> = sent(&mut client).into_iter().map(|(tag, _)| tag).collect();
    assert_eq!(told(&mut client, tags[0], &Reply::Write { count: 4 }), Ok(None));
    assert!(told(&mut client, tags[1], &error("no")).unwrap_err().reason.contains("attach"));
}

#[test]
fn no_answer_of_another_kind_is_taken() {
    for (tag, answer) in [(0, ATTACH), (0, OPEN), (1, AUTH), (1, Reply::Write { count: 6 })] {
        let mut client = begun();
        let frame = rversion(MSIZE, Some(Dialect::Unix));
        client.handle_frame(Frame::whole(&frame)).unwrap();
        if tag > 0 {
            told(&mut client, 0, &AUTH).unwrap();
        }
        assert!(told(&mut client, tag, &answer).is_err(), "{answer:?}");
    }
}

#[test]
fn what_is_held_back_is_answered_by_nobody() {
    let walk = Reply::Walk { qids: vec![QID] };
    for (tag, answer) in [(3, walk), (4, OPEN), (3, error("no")), (4, error("no"))] {
        let mut client = begun();
        let frame = rversion(MSIZE, Some(Dialect::Unix));
        client.handle_frame(Frame::whole(&frame)).unwrap();
        told(&mut client, 0, &AUTH).unwrap();
        let broken = told(&mut client, tag, &answer).unwrap_err();
        assert!(broken.reason.contains("not asked yet"), "{broken}");
    }
}
