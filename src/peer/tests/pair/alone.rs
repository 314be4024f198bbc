//! docs/protocol.md, "What is for one node alone": who has the node's key gets it, sealed, and
//! nobody else gets anything by that key.

use ninep::client::{Event, Fid, Frame, OpenMode, Token};
use ninep::server::ConnId;
use ninep::wire::frame_len;
use ninep::wire::request;
use peer::alone::{BYTES_MAX, Head};
use peer::auth::{Key, Random};
use peer::caller::{ALONE, Caller, Credentials};
use peer::conn::{ConnEffect, ConnEvent};
use peer::master::{Master, MasterEffect, MasterInput, MasterOptions, Packed};

const SECRET: &[u8] = b"-----BEGIN OPENSSH PRIVATE KEY-----";

fn root() -> Key {
    Key::root([7; 32])
}

fn node(name: &str) -> Key {
    root().node(name).expect("a name")
}

/// A master, what it has for nodes, and what it said.
struct Served {
    master: Master,
    now_ms: u64,
    packed: Vec<String>,
    said: Vec<String>,
    secret: Vec<u8>,
}

impl Served {
    fn new(key: &Key) -> Served {
        let options = MasterOptions { fan_out: 4, head_copies: 1, selection_bytes: 1 << 20 };
        let mut master = Master::new(options, "test".into());
        master.lock(key, [3; 32], false);
        let secret =
            [&Head::layer(1, SECRET.len()).expect("it is there").encode()[..], b"m", SECRET]
                .concat();
        Served { master, now_ms: 0, packed: Vec::new(), said: Vec::new(), secret }
    }

    fn input(&mut self, input: MasterInput) {
        self.master.handle(self.now_ms, input);
        while let Some(effect) = self.master.poll_effect() {
            match effect {
                // It takes its time.
                MasterEffect::PackAlone { node } if node == "slow" => self.packed.push(node),
                MasterEffect::PackAlone { node } => {
                    let packed = match &*node {
                        "none" => Packed::None,
                        "wrong" => Packed::Wrong,
                        _ => Packed::Layer(self.secret.clone().into(), 1),
                    };
                    self.packed.push(node);
                    self.master.handle(self.now_ms, MasterInput::Alone(packed));
                }
                MasterEffect::Say(text) | MasterEffect::Warn(text) => self.said.push(text),
                _ => {}
            }
        }
    }

    /// It answers whom it has nothing to ask; gives what it says there.
    fn answers(&mut self) -> Vec<(ConnId, Vec<u8>)> {
        let mut out = Vec::new();
        while let Some(effect) = self.master.poll_conn_effect() {
            match effect {
                ConnEffect::Send { conn, bytes } => out.push((conn, bytes)),
                ConnEffect::Replies { conn } => {
                    while let Some(reply) = self.master.poll_reply(conn) {
                        let ConnEffect::Send { bytes, .. } = reply else { panic!("{reply:?}") };
                        out.push((conn, bytes));
                    }
                }
                _ => {}
            }
        }
        out
    }
}

/// A node that has called, or who is taken for one.
struct Node {
    conn: ConnId,
    caller: Caller,
    fid: Fid,
    sealed: Vec<u8>,
    plain: Vec<u8>,
    failed: Option<String>,
    /// All that its master said, as it went.
    wire: Vec<u8>,
    is_over: bool,
}

fn call(head: &mut Served, key: Option<&Key>, aname: &'static [u8], seed: u8) -> Node {
    // Each call is another: a copy is not answered.
    let conn = head.master.next_conn();
    let mut seed = [seed; 32];
    seed[..4].copy_from_slice(&conn.0.to_le_bytes());
    let mut credentials = key.map(|key| Credentials::new(key.clone(), Random::new(seed)));
    let mut caller = Caller::attached(65_536, aname, credentials.as_mut());
    let fid = caller.client.open(&[], OpenMode::Read, Token(0));
    caller.client.read(fid, 0, 40_000, Token(1));
    let peer = std::net::SocketAddr::from(([10, 0, 0, 1], 5));
    head.input(MasterInput::Conn(ConnEvent::Accepted { conn, peer }));
    let (sealed, plain, wire) = Default::default();
    Node { conn, caller, fid, sealed, plain, failed: None, wire, is_over: false }
}

impl Node {
    fn say(&mut self, head: &mut Served) -> Vec<u8> {
        let said = self.caller.client.take_output();
        let mut rest = &said[..];
        while let Some(len) = frame_len(rest) {
            let (frame, after) = rest.split_at(len as usize);
            let event = ConnEvent::Frame { conn: self.conn, frame: Frame::whole(frame) };
            head.input(MasterInput::Conn(event));
            rest = after;
        }
        said
    }

    fn hear(&mut self, frame: &[u8]) {
        self.wire.extend_from_slice(frame);
        match self.caller.handle_frame(Frame::whole(frame)) {
            Ok(Some(Event::Read { data, .. })) => {
                let data = data.unwrap_or_default();
                self.is_over = data.is_empty();
                self.sealed.extend_from_slice(data);
                if let Err(why) = self.caller.open(&mut self.sealed, &mut self.plain) {
                    self.failed.get_or_insert(why);
                }
                self.caller.client.read(self.fid, 0, 40_000, Token(1));
            }
            Ok(Some(Event::Failed { error, .. })) => {
                self.failed.get_or_insert(error.text.into_owned());
            }
            Ok(_) => {}
            Err(why) => {
                self.failed.get_or_insert(why);
            }
        }
    }

    /// Until nobody says anything, it is through, or it failed; `between` may change a frame.
    fn talk(&mut self, head: &mut Served, between: &mut dyn FnMut(&mut Vec<u8>)) {
        for _ in 0..10_000 {
            self.say(head);
            let answers = head.answers();
            if answers.is_empty() || self.is_over || self.failed.is_some() {
                return;
            }
            for (conn, mut frame) in answers {
                if conn == self.conn && self.failed.is_none() {
                    between(&mut frame);
                    self.hear(&frame);
                }
            }
        }
        panic!("it never ends");
    }
}

fn ask(head: &mut Served, key: Option<&Key>, aname: &'static [u8]) -> Node {
    let mut node = call(head, key, aname, 9);
    node.talk(head, &mut |_| {});
    node
}

#[test]
fn a_node_gets_what_is_for_it_and_a_listener_sees_nothing_of_it() {
    let mut head = Served::new(&root());
    let mut one = call(&mut head, Some(&node("n1")), ALONE, 9);
    one.talk(&mut head, &mut |_| {});
    assert_eq!((one.failed, one.is_over, &one.plain), (None, true, &head.secret));
    assert_eq!(head.packed, ["n1"]);
    let seen = |needle: &[u8]| one.wire.windows(needle.len()).any(|part| part == needle);
    assert!(!seen(&SECRET[..8]) && !seen(b"xget\0al1"));
    // Of 70,000 bytes, too.
    let more = vec![b'a'; 70_000];
    head.secret =
        [&Head::layer(1, more.len()).expect("it is there").encode()[..], b"m", &more].concat();
    let many = ask(&mut head, Some(&node("n2")), ALONE);
    assert_eq!((many.failed, many.plain == head.secret), (None, true));
    assert!(!many.wire.windows(8).any(|part| part == [b'a'; 8]));
    assert!(head.said.iter().any(|said| said == "n2: a layer for it alone, 1 files"));
}

#[test]
fn that_there_is_none_or_that_it_cannot_be_given_is_sealed() {
    let mut head = Served::new(&root());
    for (name, said) in [("none", Head::None), ("wrong", Head::Wrong)] {
        let asked = ask(&mut head, Some(&node(name)), ALONE);
        assert_eq!((asked.failed, asked.plain), (None, said.encode().to_vec()));
    }
}

#[test]
fn strangers_hear_the_same_whatever_is_wrong() {
    let cluster = root().cluster().expect("it is there");
    let mut of_root = Served::new(&root());
    let mut of_cluster = Served::new(&cluster);
    let other = Key::root([8; 32]);
    let mut heard = Vec::new();
    for key in [node("n1"), other.node("n1").expect("it is there"), node("nobody")] {
        let head = match key == node("n1") || key == node("nobody") {
            true => &mut of_cluster,
            false => &mut of_root,
        };
        let asked = ask(head, Some(&key), ALONE);
        assert!(asked.plain.is_empty());
        heard.push(asked.failed.expect("it is there"));
    }
    assert!(heard.iter().all(|why| *why == heard[0]), "{heard:?}");
    assert!(of_cluster.said[0].contains("follows from the root key"), "{:?}", of_cluster.said);
    assert_eq!((of_root.packed.len(), of_cluster.packed.len()), (0, 0));
}

#[test]
fn each_key_opens_its_own_and_nothing_else() {
    let mut head = Served::new(&root());
    let cluster = root().cluster().expect("it is there");
    for (key, aname) in [(Some(&cluster), ALONE), (None, ALONE)] {
        let asked = ask(&mut head, key, aname);
        assert!(asked.failed.is_some() && asked.plain.is_empty());
    }
    for aname in [&b""[..], b"files"] {
        let asked = ask(&mut head, Some(&node("n1")), aname);
        assert!(asked.failed.expect("it is there").contains("authentication failed"));
    }
    assert_eq!(head.packed, [""; 0]);
    // What names are there, it does not see: it has one file, with no way up.
    let mut up = call(&mut head, Some(&node("n1")), ALONE, 9);
    let names: &[&[u8]] = &[b"..", b".xget"];
    up.caller.client.open(names, OpenMode::Read, Token(3));
    up.talk(&mut head, &mut |_| {});
    assert_eq!(up.failed.as_deref(), Some("Not a directory"));
}

#[test]
fn a_session_that_was_recorded_gives_nothing_to_who_plays_it_again() {
    let mut head = Served::new(&root());
    let mut one = call(&mut head, Some(&node("n1")), ALONE, 9);
    let mut said = Vec::new();
    while !one.is_over {
        said.push(one.say(&mut head));
        for (_, frame) in head.answers() {
            one.hear(&frame);
        }
    }
    let packed = head.packed.len();
    let conn = head.master.next_conn();
    let peer = std::net::SocketAddr::from(([10, 0, 0, 2], 5));
    head.input(MasterInput::Conn(ConnEvent::Accepted { conn, peer }));
    let mut heard = Vec::new();
    for said in said {
        let mut rest = &said[..];
        while let Some(len) = frame_len(rest) {
            let frame = Frame::whole(&rest[..len as usize]);
            head.input(MasterInput::Conn(ConnEvent::Frame { conn, frame }));
            rest = &rest[len as usize..];
        }
        heard.extend(head.answers());
    }
    assert_eq!(head.packed.len(), packed, "its proof is not for this session");
    assert!(heard.iter().all(|(_, frame)| frame.len() < 120), "no record is in it");
}

#[test]
fn who_is_between_can_only_make_it_fail() {
    let rlerror = |frame: &mut Vec<u8>| {
        // Rerror ENOENT in place of any Rread, in 9P2000.u.
        if frame[4] == 117 {
            let tag = [frame[5], frame[6]];
            let text = b"No such file or directory";
            let len = (7 + 2 + text.len() + 4) as u32;
            *frame = [&len.to_le_bytes()[..], &[107], &tag].concat();
            frame.extend((text.len() as u16).to_le_bytes());
            frame.extend(text);
            frame.extend(2_u32.to_le_bytes());
        }
    };
    let cut = |frame: &mut Vec<u8>| {
        if frame[4] == 117 && frame.len() > 100 {
            let tag = [frame[5], frame[6]];
            *frame = [&11_u32.to_le_bytes()[..], &[117], &tag, &[0; 4]].concat();
        }
    };
    let flip = |frame: &mut Vec<u8>| {
        if frame[4] == 117 && frame.len() > 100 {
            *frame.last_mut().expect("it is there") ^= 1;
        }
    };
    type Change<'a> = &'a dyn Fn(&mut Vec<u8>);
    for (number, change) in [&rlerror as Change, &cut, &flip].iter().enumerate() {
        let mut head = Served::new(&root());
        head.secret = Head::layer(1, 70_000).expect("it is there").encode().to_vec();
        head.secret.resize(head.secret.len() + 70_001, 0);
        let mut one = call(&mut head, Some(&node("n1")), ALONE, 9);
        one.talk(&mut head, &mut |frame| change(frame));
        assert_eq!(Head::whole(&one.plain), None, "{number}: what is not all is no answer");
    }
}

#[test]
fn one_node_gets_it_so_often_and_the_last_who_asks_has_it() {
    let mut head = Served::new(&root());
    let mut first = call(&mut head, Some(&node("n1")), ALONE, 9);
    // It has opened it, and reads nothing.
    first.say(&mut head);
    for (_, frame) in head.answers() {
        first.hear(&frame);
    }
    first.say(&mut head);
    let second = ask(&mut head, Some(&node("n1")), ALONE);
    assert_eq!((second.failed, second.plain == head.secret), (None, true));
    first.talk(&mut head, &mut |_| {});
    assert!(first.plain.is_empty() || first.failed.is_some() || first.is_over);
    for _ in 0..2 {
        assert_eq!(ask(&mut head, Some(&node("n1")), ALONE).plain, head.secret);
    }
    let fifth = ask(&mut head, Some(&node("n1")), ALONE);
    assert_eq!(fifth.plain, Head::Busy.encode());
    assert_eq!(ask(&mut head, Some(&node("n2")), ALONE).plain, head.secret, "another node does");
    head.now_ms += 2_000;
    assert_eq!(ask(&mut head, Some(&node("n1")), ALONE).plain, head.secret);
}

#[test]
fn who_goes_while_it_is_read_gets_nothing_and_the_next_has_its_turn() {
    let mut head = Served::new(&root());
    let slow = ask(&mut head, Some(&node("slow")), ALONE);
    let mut next = ask(&mut head, Some(&node("n2")), ALONE);
    assert!(!slow.is_over && !next.is_over && next.failed.is_none());
    assert_eq!(head.packed, ["slow"], "one at a time");
    let gone = ConnEvent::Closed { conn: slow.conn, reason: "gone".into() };
    head.input(MasterInput::Conn(gone));
    head.input(MasterInput::Alone(Packed::Layer(head.secret.clone().into(), 1)));
    assert_eq!(head.packed, ["slow", "n2"]);
    next.talk(&mut head, &mut |_| {});
    assert_eq!(next.plain, head.secret);
    assert!(!head.said.iter().any(|said| said.starts_with("slow: ")), "{:?}", head.said);
}

#[test]
fn so_much_is_in_memory_and_who_reads_nothing_is_ended() {
    let mut head = Served::new(&root());
    let len = BYTES_MAX - 1;
    head.secret = Head::layer(1, len).expect("it is there").encode().to_vec();
    head.secret.resize(head.secret.len() + BYTES_MAX, 0);
    let begin = |head: &mut Served, name: &str| {
        let mut node = call(head, Some(&node(name)), ALONE, 9);
        for _ in 0..2 {
            node.say(head);
            for (_, frame) in head.answers() {
                node.hear(&frame);
            }
        }
        node
    };
    let names = ["a", "b", "c", "d", "e"];
    let mut nodes: Vec<Node> = names.iter().map(|name| begin(&mut head, name)).collect();
    assert!(head.packed.len() < 5, "{:?}", head.packed);
    let before = head.packed.len();
    // Who waited for too long comes again.
    head.now_ms += 5_000;
    head.input(MasterInput::Timeout);
    let last = nodes.last_mut().expect("it is there");
    last.talk(&mut head, &mut |_| {});
    assert_eq!(last.plain, Head::Busy.encode());
    assert_eq!(head.packed.len(), before);
    // Those who have it and do not read lose it.
    head.now_ms += 60_000;
    head.input(MasterInput::Timeout);
    nodes[0].talk(&mut head, &mut |_| {});
    assert!(nodes[0].failed.is_some() && nodes[0].plain.len() < head.secret.len());
    head.secret.truncate(100);
    ask(&mut head, Some(&node("f")), ALONE);
    assert_eq!(head.packed.last().map(String::as_str), Some("f"), "there is room again");
}

#[test]
fn words_that_a_relay_adds_to_a_handshake_that_is_over_open_nothing() {
    let mut head = Served::new(&root());
    let mut one = call(&mut head, Some(&node("n1")), ALONE, 9);
    let (mut afid, mut heard, mut added) = (0, Vec::new(), 0);
    for _ in 0..100 {
        let said = one.caller.client.take_output();
        let mut rest = &said[..];
        while let Some(len) = frame_len(rest) {
            let (frame, after) = rest.split_at(len as usize);
            rest = after;
            let fid = u32::from_le_bytes(frame[7..11].try_into().unwrap());
            match frame[4] {
                TAUTH => afid = fid,
                // It is kept open.
                TCLUNK if fid == afid => continue,
                // Before the file is read.
                TREAD if fid != afid => {
                    let mut junk = Vec::new();
                    request::twrite(ADDED_TAG, afid, 0, b"x", &mut junk);
                    head.input(MasterInput::Conn(ConnEvent::Frame {
                        conn: one.conn,
                        frame: Frame::whole(&junk),
                    }));
                    added += 1;
                }
                _ => {}
            }
            let event = ConnEvent::Frame { conn: one.conn, frame: Frame::whole(frame) };
            head.input(MasterInput::Conn(event));
        }
        for (_, frame) in head.answers() {
            heard.extend_from_slice(&frame);
            if u16::from_le_bytes(frame[5..7].try_into().unwrap()) != ADDED_TAG {
                one.hear(&frame);
            }
        }
    }
    assert!(added > 0 && one.failed.is_none(), "{:?}", one.failed);
    assert!(!heard.windows(SECRET.len()).any(|part| part == SECRET), "it went in the clear");
}

/// 9P message types (intro(5)).
const TAUTH: u8 = 102;
const TREAD: u8 = 116;
const TCLUNK: u8 = 120;
/// No request of the client has it.
const ADDED_TAG: u16 = 999;
