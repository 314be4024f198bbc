//! Writes the seeds of all targets, each a small input that is right, made by
//! the encoders of the program itself.
//!
//!     cargo run --manifest-path fuzz/Cargo.toml --example seeds -- DIR
//!
//! The same program gives the same bytes, so that `scripts/fuzz` can tell
//! whether those that are stored still are what the encoders write.

use ninep::wire::{self, request};
use ninep::{Dialect, ENOENT, MessageType, NOTAG, Qid, Reply};
use peer::auth::{self, Hello};
use peer::content::digest::{self, Digest};
use peer::content::manifest::Selector;
use peer::content::manifest::{self, Entry, EntryKind, Manifest, XattrSet};
use peer::control::{
    Answer, ClientMessage, Complaint, JoinOptions, MasterMessage, ParentAddr, Question, Speaker,
    TransferStats, Wanted,
};
use peer::signature::{SecretKey, Statement};
use std::path::PathBuf;
use std::{env, fs, io};
use xget_fuzz::{key, random, steps};

const MSIZE: u32 = 8192;
const PIECE_LEN: u32 = 4096;

/// Where seeds go: one directory for each target.
struct Seeds {
    root: PathBuf,
}

fn main() -> io::Result<()> {
    let root = env::args_os().nth(1).ok_or(io::Error::other("usage: seeds DIR"))?;
    let seeds = Seeds { root: root.into() };
    requests(&seeds)?;
    replies(&seeds)?;
    server_sessions(&seeds)?;
    client_sessions(&seeds)?;
    manifests(&seeds)?;
    lines(&seeds)?;
    datagrams(&seeds)?;
    handshakes(&seeds)?;
    tables(&seeds)?;
    leases(&seeds)?;
    leases6(&seeds)?;
    caches(&seeds)
}

impl Seeds {
    fn write(&self, target: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
        let dir = self.root.join(target);
        fs::create_dir_all(&dir)?;
        fs::write(dir.join(name), bytes)
    }
}

fn frame(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

/// Both messages, a record, a key and a signed statement.
fn handshakes(seeds: &Seeds) -> io::Result<()> {
    let denied = |_| io::Error::from(io::ErrorKind::PermissionDenied);
    let (hello, message) = Hello::new(&key(), &mut random(1));
    let (mut server, answer) = auth::Greeting::open(&key(), &mut random(2), &message)
        .and_then(auth::Greeting::answer)
        .map_err(denied)?;
    let (_, proof) = hello.finish(&answer).map_err(denied)?;
    let statement = Statement {
        selector: Selector::of_paths(&["tiny"]).plain(),
        generation: Digest([7; 32]),
        beside: Some(Digest([8; 32])),
        date_s: 1_795_000_000,
    };
    let signed = SecretKey::of([7; 8], [7; 32]).sign(&statement);
    for (name, bytes) in [
        ("hello", &message[..]),
        ("answer", &answer),
        ("proof", &proof),
        ("record", &server.record(b"wait 1 2\n")),
        ("key", key().text().as_bytes()),
        ("signed", signed.as_bytes()),
    ] {
        seeds.write("handshake", name, bytes)?;
    }
    Ok(())
}

/// Of discovery, both ways; the id is the one of the target.
fn datagrams(seeds: &Seeds) -> io::Result<()> {
    const ID: u64 = 0x0123_4567_89ab_cdef;
    let part = Selector {
        sources: vec![b"*".to_vec()],
        are_patterns: true,
        excludes: vec![b"*.o".to_vec()],
    };
    let node = Wanted::Node("debian".into());
    for (name, wanted) in [
        ("find-path", Wanted::Part(Selector::of_paths(&["a b/."]))),
        ("find-pattern", Wanted::Part(part)),
        ("find-node", node),
    ] {
        let bytes = Question { id: ID, wanted }.bytes().ok_or(io::ErrorKind::InvalidData)?;
        seeds.write("discovery", name, &bytes)?;
    }
    let speaker = Speaker { master: 7, port: 20_004 };
    let have = Answer::Have { bytes: 1_234, digest: Digest([7; 32]) };
    seeds.write("discovery", "have", &have.datagram(ID, speaker))?;
    seeds.write("discovery", "hashing", &Answer::Hashing.datagram(ID, speaker))
}

/// A frame of a message that our client never sends: fields in hand.
fn raw(kind: MessageType, tag: u16, fields: &[&[u8]]) -> Vec<u8> {
    let body = fields.concat();
    let size = 7 + body.len() as u32;
    [&size.to_le_bytes()[..], &[kind.0], &tag.to_le_bytes(), &body].concat()
}

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_le_bytes()[..], text.as_bytes()].concat()
}

fn tversion(dialect: Dialect) -> Vec<u8> {
    frame(|out| request::tversion(MSIZE, dialect, out))
}

fn requests(seeds: &Seeds) -> io::Result<()> {
    let fid = 1u32.to_le_bytes();
    let (word, long) = ([0; 4], [0; 8]);
    let list = [
        ("version", tversion(Dialect::Linux)),
        ("attach", frame(|out| request::tattach(0, 0, b"nobody", b"", out))),
        ("walk", frame(|out| request::twalk(1, 0, 1, &[b"dir", b"inner"], out))),
        ("open", frame(|out| request::topen(2, 1, 0, out))),
        ("read", frame(|out| request::tread(3, 1, 0, 4096, out))),
        ("write", frame(|out| request::twrite(4, 1, 0, b"join 2 20004 .\n", out))),
        ("clunk", frame(|out| request::tclunk(5, 1, out))),
        ("flush", frame(|out| request::tflush(6, 3, out))),
        ("lopen", raw(MessageType::TLOPEN, 7, &[&fid, &word])),
        ("readdir", raw(MessageType::TREADDIR, 8, &[&fid, &long, &word])),
        ("getattr", raw(MessageType::TGETATTR, 9, &[&fid, &[0xff; 8]])),
        ("setattr", raw(MessageType::TSETATTR, 9, &[&fid, &[8, 0, 0, 0], &[0; 12], &[0; 40]])),
        ("mkdir", raw(MessageType::TMKDIR, 10, &[&fid, &string("new"), &word, &word])),
        (
            "lock",
            raw(MessageType::TLOCK, 10, &[&fid, &[1], &word, &long, &long, &word, &string("me")]),
        ),
        ("wstat", wstat()),
    ];
    list.iter().try_for_each(|(name, frame)| seeds.write("ninep_request", name, frame))
}

/// A Twstat that changes the length and nothing else (9P2000.u).
fn wstat() -> Vec<u8> {
    let mut stat = vec![0xff; 2 + 4 + 13 + 4 + 8];
    stat.extend([0; 8]);
    (0..5).for_each(|_| stat.extend(string("")));
    stat.extend([0xff; 12]);
    let stat = [&(stat.len() as u16).to_le_bytes()[..], &stat].concat();
    let record = [&(stat.len() as u16).to_le_bytes()[..], &stat].concat();
    raw(MessageType::TWSTAT, 11, &[&1u32.to_le_bytes(), &record])
}

fn reply(tag: u16, reply: &Reply) -> Vec<u8> {
    frame(|out| wire::reply::encode(Dialect::Unix, tag, reply, out))
}

const QID: Qid = Qid { file_type: 0, version: 1, path: 5 };

fn replies(seeds: &Seeds) -> io::Result<()> {
    let list = [
        ("version", reply(NOTAG, &Reply::Version { msize: MSIZE, dialect: Some(Dialect::Unix) })),
        ("attach", reply(0, &Reply::Attach { qid: QID })),
        ("walk", reply(1, &Reply::Walk { qids: vec![QID, QID] })),
        ("open", reply(2, &Reply::Open { qid: QID, iounit: 0 })),
        ("read", reply(3, &Reply::Read { data: b"verified bytes".to_vec() })),
        ("write", reply(4, &Reply::Write { count: 15 })),
        ("error", reply(5, &Reply::Error(ENOENT))),
        ("flush", reply(6, &Reply::Flush)),
        ("lerror", frame(|out| wire::reply::encode(Dialect::Linux, 7, &Reply::Error(ENOENT), out))),
    ];
    list.iter().try_for_each(|(name, frame)| {
        seeds.write("ninep_reply", name, &[&[3], &frame[..]].concat())
    })
}

/// Steps of a session, from its version and attach on.
fn session(dialect: Dialect, frames: &[Vec<u8>]) -> Vec<u8> {
    let mut attach = frame(|out| request::tattach(0, 0, b"nobody", b"", out));
    if dialect == Dialect::Plan9 {
        // No number of the user there.
        attach.truncate(attach.len() - 4);
    }
    let mut input = Vec::new();
    for frame in [tversion(dialect), attach].iter().chain(frames) {
        steps::put_frame(frame, &mut input);
    }
    input
}

fn walk(fid: u32, names: &[&[u8]]) -> Vec<u8> {
    frame(|out| request::twalk(1, 0, fid, names, out))
}

fn open(fid: u32, mode: u8) -> Vec<u8> {
    frame(|out| request::topen(2, fid, mode, out))
}

fn read(tag: u16, fid: u32, offset: u64) -> Vec<u8> {
    frame(|out| request::tread(tag, fid, offset, 4096, out))
}

fn server_sessions(seeds: &Seeds) -> io::Result<()> {
    let target = "server_session";
    let clunk = frame(|out| request::tclunk(4, 1, out));
    let stat = raw(MessageType::TSTAT, 5, &[&1u32.to_le_bytes()]);
    let files = [walk(1, &[b"dir", b"inner"]), stat, open(1, 0), read(3, 1, 9_000), clunk];
    seeds.write(target, "file-plan9", &session(Dialect::Plan9, &files))?;
    seeds.write(
        target,
        "dir-unix",
        &session(Dialect::Unix, &[walk(1, &[]), open(1, 0), read(3, 1, 0)]),
    )?;
    let write = frame(|out| request::twrite(3, 1, 0, b"done", out));
    let ctl = [walk(1, &[b"ctl"]), open(1, 0x12), write, read(4, 1, 0)];
    seeds.write(target, "control-unix", &session(Dialect::Unix, &ctl))?;
    let fid = 1u32.to_le_bytes();
    let linux = [
        walk(1, &[]),
        raw(MessageType::TLOPEN, 2, &[&fid, &[0; 4]]),
        raw(MessageType::TREADDIR, 3, &[&fid, &[0; 8], &4096u32.to_le_bytes()]),
        raw(MessageType::TGETATTR, 4, &[&fid, &[0xff; 8]]),
    ];
    seeds.write(target, "dir-linux", &session(Dialect::Linux, &linux))?;
    let mut late =
        session(Dialect::Unix, &[walk(1, &[b"late"]), open(1, 0), read(3, 1, 0), read(4, 1, 1)]);
    steps::put_frame(&frame(|out| request::tflush(5, 3, out)), &mut late);
    steps::put(steps::EVENT, &[1], &mut late); // the bytes are there
    steps::put(steps::EVENT + 1, &[], &mut late); // and waiting reads are resumed
    seeds.write(target, "parked-unix", &late)
}

fn client_sessions(seeds: &Seeds) -> io::Result<()> {
    let target = "client_session";
    // A greeting is made; an open of one name, a read, and their answers.
    let mut good = vec![1];
    steps::put(steps::EVENT, &[1], &mut good);
    steps::put(steps::EVENT + 1, &[0, 1], &mut good);
    for frame in [
        reply(0, &Reply::Walk { qids: vec![QID] }),
        reply(1, &Reply::Open { qid: QID, iounit: 0 }),
        reply(2, &Reply::Read { data: Vec::new() }),
    ] {
        steps::put_frame(&frame, &mut good);
    }
    steps::put(steps::EVENT + 3, &[0], &mut good);
    seeds.write(target, "read", &good)?;
    let mut failed = vec![1];
    steps::put(steps::EVENT, &[20], &mut failed);
    steps::put(steps::EVENT + 5, &[0], &mut failed);
    steps::put_frame(&reply(0, &Reply::Error(ENOENT)), &mut failed);
    steps::put(steps::EVENT + 4, &[1], &mut failed);
    seeds.write(target, "failed-open", &failed)?;
    let mut cold = vec![0];
    let version = Reply::Version { msize: MSIZE, dialect: Some(Dialect::Unix) };
    steps::put_frame(&reply(NOTAG, &version), &mut cold);
    seeds.write(target, "greeting", &cold)
}

fn entry(parent: u32, name: &str, kind: EntryKind) -> Entry {
    Entry { parent, name: name.as_bytes().into(), kind, mode: 0o644, ..Entry::bare_root() }
}

/// Contents of more than one piece, and their list.
fn large(piece_len: u32) -> (Vec<u8>, Vec<Digest>) {
    let contents = vec![7; 2 * piece_len as usize + 1];
    let list = digest::list_of(&contents, piece_len);
    (contents, list)
}

fn manifests(seeds: &Seeds) -> io::Result<()> {
    let file = |parent, name, contents: &[u8]| Entry {
        size: contents.len() as u64,
        digest: Digest::of(contents),
        ..entry(parent, name, EntryKind::File)
    };
    let (contents, lists) = large(PIECE_LEN);
    let link = Entry { link: (*b"../b").into(), ..entry(1, "y", EntryKind::Symlink) };
    let entries = vec![
        Entry::bare_root(),
        entry(0, "a", EntryKind::Dir),
        file(0, "b", &contents),
        entry(0, "fifo", EntryKind::Special),
        file(1, "x", b"small"),
        link,
        entry(1, "z", EntryKind::Hardlink(4)),
    ];
    let manifest =
        Manifest { piece_len: PIECE_LEN, root_described: true, entries, lists, xattrs: Vec::new() };
    seeds.write("manifest", "tree", &manifest.encode())?;
    let mut set = XattrSet::default();
    assert!(
        set.push(b"security.capability", &[1, 0, 0, 2, 0, 4, 0, 0]) && set.push(b"user.a", b"")
    );
    let mut extended = Manifest { xattrs: vec![set], ..manifest.clone() };
    (extended.entries[2].xattrs, extended.entries[5].xattrs) = (1, 1);
    extended.entries[3] =
        Entry { mode: 0o020_666, ..entry(0, "null", EntryKind::Device(1 << 20 | 3)) };
    seeds.write("manifest", "extended", &extended.encode())?;
    let empty = Manifest {
        entries: vec![Entry::bare_root()],
        lists: Vec::new(),
        root_described: false,
        ..manifest
    };
    seeds.write("manifest", "empty", &empty.encode())
}

fn lines(seeds: &Seeds) -> io::Result<()> {
    let sources = vec![b".".to_vec(), b"a b\n\xff%".to_vec()];
    let peer = |text: &str| text.parse().map(ParentAddr::Peer).map_err(io::Error::other);
    let (parent, complaint) = (peer("[fe80::1]:20004")?, Complaint::SlowUplink);
    let stats = TransferStats { have_bytes: 1, total_bytes: 2, ..TransferStats::default() };
    let digest = Digest::of(b"");
    let again = JoinOptions { generation: Some(digest), ..JoinOptions::default() };
    let excludes = vec![b"*.o".to_vec(), b"/a=b/**".to_vec()];
    let join = |version, options| {
        let sources = sources.clone();
        ClientMessage::Join { version, port: 20004, sources, options }.line()
    };
    let error = MasterMessage::Error { errno: 2, text: "no such source: a b".into() };
    let list = [
        ("join", join(2, JoinOptions::default())),
        ("join-again", join(3, again.clone())),
        ("join-options", join(4, JoinOptions { excludes, window_bytes: Some(1 << 26), ..again })),
        ("replace", ClientMessage::Replace { stripe: 3, parent, complaint, piece: Some(9) }.line()),
        ("done", ClientMessage::Done(stats).line()),
        ("leave", ClientMessage::Leave.line()),
        ("wait", MasterMessage::Wait { done_bytes: 1, total_bytes: 2 }.line()),
        (
            "generation",
            MasterMessage::Generation { digest, manifest_len: 5, piece_len: PIECE_LEN, stripes: 4 }
                .line(),
        ),
        ("parent", MasterMessage::Parent { stripe: 1, parent: peer("10.0.0.1:20004")? }.line()),
        ("error", error.line()),
        (
            "node",
            "mac=52:54:00:00:00:01 uuid=4c4c4544-0050-3610-8058-b4c04f4e4b31 image=a%20b\n".into(),
        ),
        ("state", "state up kernel=6.1 image=images/a\n".into()),
        (
            "answer",
            "name n1\nimage images/a\npart kernel\nroot dir\nlayer layers/all\nwords quiet\n"
                .into(),
        ),
    ];
    list.iter().try_for_each(|(name, line)| seeds.write("control", name, line.as_bytes()))
}

/// Tables of nodes, with each kind of key.
fn tables(seeds: &Seeds) -> io::Result<()> {
    let usual = "# key name image layers words\n@base - debian all console=ttyS0\n\
                 52:54:00:00:00:01 n001 @base\nn[002-004,9]-ib - @base - quiet # odd\n* - rescue\n";
    let keys = "uuid=4c4c4544-0050-3610-8058-b4c04f4e4b31 a\nserial=X7,asset=R_1 b,c\n\
                10.0.0.0/30 d[0-3]\n10.0.1.1-10.0.1.9\nfd00::/64 - net6\nfd00::1\n";
    let groups = "@a - i x y\n@b - @a @a,z @a y\nn1 - @b\nn2 - other @b,@a\n";
    for (name, text) in [("usual", usual), ("keys", keys), ("groups", groups)] {
        seeds.write("nodes_tab", name, text.as_bytes())?;
    }
    Ok(())
}

/// A DHCP message of a server with these options. The program has no encoder
/// of replies: this is RFC 2131, figure 1.
fn dhcp_reply(kind: u8, options: &[&[u8]]) -> Vec<u8> {
    let mut out = vec![0; 236];
    out[..3].copy_from_slice(&[2, 1, 6]);
    out[16..20].copy_from_slice(&[10, 0, 0, 9]);
    out[28..34].copy_from_slice(&[0x52, 0x54, 0, 0x12, 0x34, 0x56]);
    out.extend([99, 130, 83, 99, 53, 1, kind]);
    out.extend(options.concat());
    out.push(255);
    out
}

/// The same as it comes from the wire: RFC 791 and 768, without UDP's check sum.
fn datagram(payload: &[u8]) -> Vec<u8> {
    let udp_len = (8 + payload.len() as u16).to_be_bytes();
    let ip_len = (28 + payload.len() as u16).to_be_bytes();
    let mut out = vec![0x45, 0, ip_len[0], ip_len[1], 0, 0, 0, 0, 64, 17, 0, 0];
    out.extend([10, 0, 0, 1, 255, 255, 255, 255]);
    let pairs = out.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let sum: u32 = pairs.sum();
    let check = !((sum & 0xffff) + (sum >> 16)) as u16;
    out[10..12].copy_from_slice(&check.to_be_bytes());
    out.extend([0, 67, 0, 68, udp_len[0], udp_len[1], 0, 0]);
    out.extend(payload);
    out
}

fn leases(seeds: &Seeds) -> io::Result<()> {
    const OFFER: u8 = 2;
    const ACK: u8 = 5;
    const NAK: u8 = 6;
    let server: &[u8] = &[54, 4, 10, 0, 0, 1];
    let time: &[u8] = &[51, 4, 0, 0, 0, 120];
    let full: [&[u8]; 8] = [
        server,
        time,
        &[1, 4, 255, 255, 255, 0],
        &[121, 13, 0, 10, 0, 0, 1, 24, 10, 1, 2, 10, 0, 0, 2],
        &[6, 4, 10, 0, 0, 53],
        &[26, 2, 5, 220],
        &[43, 6, 224, 4, b'h', b'e', b'a', b'd'],
        &[12, 2, b'n', b'1'],
    ];
    seeds.write("dhcp", "ack", &dhcp_reply(ACK, &full))?;
    seeds.write("dhcp", "offer-datagram", &datagram(&dhcp_reply(OFFER, &[server])))?;
    seeds.write("dhcp", "nak", &dhcp_reply(NAK, &[server, &[56, 2, b'n', b'o']]))
}

/// Options of DHCPv6 after the kind of the message; the client's interface is that
/// of `xget::fuzzing`.
fn leases6(seeds: &Seeds) -> io::Result<()> {
    const ADVERTISE: u8 = 2;
    const REPLY: u8 = 7;
    let association = [0, 0x12, 0x34, 0x56, 0, 0, 0, 60, 0, 0, 0, 96];
    let address = [&[0xfd, 0][..], &[0; 13], &[9, 0, 0, 0, 120, 0, 0, 0, 120]].concat();
    let granted = [&[0, 3, 0, 40][..], &association, &[0, 5, 0, 24], &address].concat();
    let servers = [&[0, 23, 0, 16][..], &[0xfd; 16]].concat();
    let url = b"\0\x3b\0\x10xget://[fd00::1]";
    let refused = [&[0, 3, 0, 22][..], &association, b"\0\x0d\0\x06\0\x02none"].concat();
    seeds.write(
        "dhcp6",
        "advertise",
        &[&[ADVERTISE], &granted[..], &[0, 7, 0, 1, 255]].concat(),
    )?;
    seeds.write("dhcp6", "reply", &[&[REPLY], &granted[..], &servers, url].concat())?;
    seeds.write("dhcp6", "refusal", &[&[REPLY], &refused[..]].concat())
}

/// Records of a digest cache, and a whole one: with header and check sum.
fn caches(seeds: &Seeds) -> io::Result<()> {
    let (contents, list) = large(manifest::PIECE_LEN);
    let record = |size: u64, digest: Digest, list: &[Digest]| {
        let mut out = Vec::new();
        [1, 2, size, 100, 100].iter().for_each(|number: &u64| out.extend(number.to_le_bytes()));
        out.extend([0; 8]); // nanoseconds
        out.push(1); // sparse
        out.extend(digest.0);
        out.extend((list.len() as u32).to_le_bytes());
        list.iter().for_each(|digest| out.extend(digest.0));
        out
    };
    let large = record(contents.len() as u64, Digest::of(&contents), &list);
    let records = [large, record(1, Digest::of(b"x"), &[])].concat();
    let header = [&b"xget\0dc2"[..], &manifest::PIECE_LEN.to_le_bytes()].concat();
    let whole = [header, records.clone()].concat();
    let check = Digest::of(&whole).0;
    seeds.write("digest_cache", "records", &records)?;
    seeds.write("digest_cache", "whole", &[&whole[..], &check].concat())
}
