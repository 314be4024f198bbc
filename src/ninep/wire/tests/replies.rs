//! Every reply of every dialect is laid out as the manual says, and what our
//! client hears is what a server said.

use super::layout::{Value, split};
use super::records::link;
use super::*;
use crate::Dialect::{Linux, Plan9, Unix};
use crate::wire::frame_len;
use crate::wire::reader::SHORT;
use crate::wire::reply::{self, BadReply, ERROR_TEXT_KEPT_MAX, Rmessage};
use crate::{
    Attr, Dialect, ENOTDIR, ERROR_TEXT_MAX, Error, HEADER_LEN, MessageType as M, QTDIR, QTFILE,
    QTSYMLINK, Qid, Reply,
};
use alloc::string::String;
use alloc::vec;
use proptest::collection::vec as vec_of;
use proptest::sample::select;

const TAG: u16 = 0x0102;
const ALL: [Dialect; 3] = [Plan9, Unix, Linux];

/// Type and layout of a reply (section 5 of the manual, the 9P2000.u draft,
/// diod's protocol.md).
fn layout(dialect: Dialect, reply: &Reply) -> (MessageType, &'static str) {
    match (reply, dialect) {
        (Reply::Version { .. }, _) => (M::RVERSION, "msize[4] version[s]"),
        (Reply::Auth { .. }, _) => (M::RAUTH, "qid[13]"),
        (Reply::Attach { .. }, _) => (M::RATTACH, "qid[13]"),
        (Reply::Flush, _) => (M::RFLUSH, ""),
        // The qids are looked at one by one.
        (Reply::Walk { qids }, _) => (M::RWALK, WALKED[qids.len()]),
        (Reply::Open { .. }, Linux) => (M::RLOPEN, "qid[13] iounit[4]"),
        (Reply::Open { .. }, _) => (M::ROPEN, "qid[13] iounit[4]"),
        (Reply::Read { .. }, _) => (M::RREAD, "data[d]"),
        (Reply::Write { .. }, _) => (M::RWRITE, "count[4]"),
        (Reply::Clunk, _) => (M::RCLUNK, ""),
        (Reply::Stat { .. }, Unix) => (
            M::RSTAT,
            "nstat[n] size[n] type[2] dev[4] qid[13] mode[4] atime[4] mtime[4] length[8] \
             name[s] uid[s] gid[s] muid[s] extension[s] n_uid[4] n_gid[4] n_muid[4]",
        ),
        (Reply::Stat { .. }, _) => (
            M::RSTAT,
            "nstat[n] size[n] type[2] dev[4] qid[13] mode[4] atime[4] mtime[4] length[8] \
             name[s] uid[s] gid[s] muid[s]",
        ),
        (Reply::Wstat, _) => (M::RWSTAT, ""),
        (Reply::Statfs { .. }, _) => (
            M::RSTATFS,
            "type[4] bsize[4] blocks[8] bfree[8] bavail[8] files[8] ffree[8] fsid[8] namelen[4]",
        ),
        (Reply::Getattr { .. }, _) => (
            M::RGETATTR,
            "valid[8] qid[13] mode[4] uid[4] gid[4] nlink[8] rdev[8] size[8] blksize[8] \
             blocks[8] atime_sec[8] atime_nsec[8] mtime_sec[8] mtime_nsec[8] ctime_sec[8] \
             ctime_nsec[8] btime_sec[8] btime_nsec[8] gen[8] data_version[8]",
        ),
        (Reply::Setattr, _) => (M::RSETATTR, ""),
        (Reply::Readlink { .. }, _) => (M::RREADLINK, "target[s]"),
        (Reply::Readdir { .. }, _) => (M::RREADDIR, "data[d]"),
        (Reply::Fsync, _) => (M::RFSYNC, ""),
        (Reply::Lock, _) => (M::RLOCK, "status[1]"),
        (Reply::Getlock, _) => (M::RGETLOCK, "type[1] start[8] length[8] proc_id[4] client_id[s]"),
        (Reply::Error(_), Plan9) => (M::RERROR, "ename[s]"),
        (Reply::Error(_), Unix) => (M::RERROR, "ename[s] errno[4]"),
        (Reply::Error(_), Linux) => (M::RLERROR, "ecode[4]"),
    }
}

const WALKED: [&str; 4] = [
    "nwqid[2]",
    "nwqid[2] qid[13]",
    "nwqid[2] qid[13] qid[13]",
    "nwqid[2] qid[13] qid[13] qid[13]",
];

fn qid_bytes(dialect: Dialect, qid: &Qid) -> Value {
    let is_plain_link = dialect == Plan9 && qid.file_type == QTSYMLINK;
    let file_type = if is_plain_link { QTFILE } else { qid.file_type };
    let (version, path) = (qid.version.to_le_bytes(), qid.path.to_le_bytes());
    Value::Bytes([&[file_type][..], &version, &path].concat())
}

/// Values that a reply's body has to have, under the names of the layouts.
fn expected(dialect: Dialect, reply: &Reply) -> Vec<(&'static str, Value)> {
    use Value::{Bytes, Number};
    let qid = |qid: &Qid| ("qid", qid_bytes(dialect, qid));
    match reply {
        Reply::Version { msize, dialect } => {
            let version = dialect.map_or(&b"unknown"[..], Dialect::version);
            vec![("msize", Number(u64::from(*msize))), ("version", Value::text(version))]
        }
        Reply::Auth { qid: root } | Reply::Attach { qid: root } => vec![qid(root)],
        Reply::Walk { qids } => {
            let count = ("nwqid", Number(qids.len() as u64));
            [count].into_iter().chain(qids.iter().map(qid)).collect()
        }
        Reply::Open { qid: file, iounit } => {
            vec![qid(file), ("iounit", Number(u64::from(*iounit)))]
        }
        Reply::Read { data } | Reply::Readdir { data } => vec![("data", Bytes(data.clone()))],
        Reply::Write { count } => vec![("count", Number(u64::from(*count)))],
        Reply::Stat { attr } => vec![
            qid(&attr.qid),
            ("mtime", Number(attr.mtime_s.clamp(0, u32::MAX.into()) as u64)),
            ("name", Bytes(attr.name.clone())),
        ],
        // There is no Rgetattr but in 9P2000.L.
        Reply::Getattr { attr } => vec![
            ("qid", qid_bytes(Linux, &attr.qid)),
            ("mode", Number(attr.mode.into())),
            ("uid", Number(attr.uid.into())),
            ("gid", Number(attr.gid.into())),
            ("nlink", Number(attr.nlink.max(1))),
            ("size", Number(attr.size)),
            ("mtime_sec", Number(attr.mtime_s as u64)),
            ("mtime_nsec", Number(attr.mtime_ns.into())),
        ],
        Reply::Statfs { files, blocks, block_len } => vec![
            ("bsize", Number(u64::from(*block_len))),
            ("blocks", Number(*blocks)),
            ("files", Number(*files)),
        ],
        Reply::Readlink { target } => vec![("target", Bytes(target.clone()))],
        Reply::Lock => vec![("status", Number(0))],
        Reply::Getlock => vec![("type", Number(2))],
        Reply::Error(Error { errno, text }) => match dialect {
            Plan9 => vec![(
                "ename",
                Value::text(Error::with(*errno, text.to_string()).known_text().as_bytes()),
            )],
            Unix => {
                vec![("ename", Value::text(text.as_bytes())), ("errno", Number(u64::from(*errno)))]
            }
            Linux => vec![("ecode", Number(u64::from(*errno)))],
        },
        Reply::Flush | Reply::Clunk | Reply::Wstat | Reply::Setattr | Reply::Fsync => vec![],
    }
}

fn qid() -> impl Strategy<Value = Qid> {
    (select(&[QTDIR, QTSYMLINK, QTFILE]), any::<u32>(), any::<u64>())
        .prop_map(|(file_type, version, path)| Qid { file_type, version, path })
}

fn attr() -> impl Strategy<Value = Attr> {
    let numbers = (any::<u32>(), any::<u32>(), any::<u32>(), any::<u64>(), any::<u64>());
    let times = (any::<i64>(), 0..1_000_000_000_u32);
    let names = (vec_of(any::<u8>(), 0..=255), vec_of(any::<u8>(), 0..300));
    (qid(), numbers, times, names).prop_map(
        |(qid, (mode, uid, gid, nlink, size), (mtime_s, mtime_ns), (name, link))| Attr {
            qid,
            mode,
            uid,
            gid,
            nlink,
            size,
            mtime_s,
            mtime_ns,
            name,
            link,
        },
    )
}

fn reply() -> impl Strategy<Value = Reply> {
    let dialect = prop::option::of(select(&ALL[..]));
    let data = || vec_of(any::<u8>(), 0..300);
    prop_oneof![
        (any::<u32>(), dialect).prop_map(|(msize, dialect)| Reply::Version { msize, dialect }),
        qid().prop_map(|qid| Reply::Auth { qid }),
        qid().prop_map(|qid| Reply::Attach { qid }),
        vec_of(qid(), 0..WALKED.len()).prop_map(|qids| Reply::Walk { qids }),
        (qid(), any::<u32>()).prop_map(|(qid, iounit)| Reply::Open { qid, iounit }),
        data().prop_map(|data| Reply::Read { data }),
        data().prop_map(|data| Reply::Readdir { data }),
        data().prop_map(|target| Reply::Readlink { target }),
        any::<u32>().prop_map(|count| Reply::Write { count }),
        attr().prop_map(|attr| Reply::Stat { attr }),
        attr().prop_map(|attr| Reply::Getattr { attr }),
        (any::<u64>(), any::<u64>(), any::<u32>())
            .prop_map(|(files, blocks, block_len)| Reply::Statfs { files, blocks, block_len }),
        (1..4096_u16, "[ -~]{0,100}")
            .prop_map(|(errno, text)| Reply::Error(Error::with(errno, text))),
        Just(Reply::Flush),
        Just(Reply::Clunk),
        Just(Reply::Wstat),
        Just(Reply::Setattr),
        Just(Reply::Fsync),
        Just(Reply::Lock),
        Just(Reply::Getlock),
    ]
}

/// What a 9P2000.u client hears, or `None` if it never asks for that.
fn heard(reply: &Reply) -> Option<Rmessage<'_>> {
    Some(match reply {
        Reply::Version { msize, dialect } => {
            let version = dialect.map_or(&b"unknown"[..], Dialect::version);
            Rmessage::Version { msize: *msize, version }
        }
        Reply::Auth { qid } => Rmessage::Auth { qid: *qid },
        Reply::Attach { qid } => Rmessage::Attach { qid: *qid },
        Reply::Flush => Rmessage::Flush,
        Reply::Walk { qids } => Rmessage::Walk { names: qids.len() },
        Reply::Open { qid, iounit } => Rmessage::Open { qid: *qid, iounit: *iounit },
        Reply::Read { data } => Rmessage::Read { count: data.len() as u32, data: Some(data) },
        Reply::Write { count } => Rmessage::Write { count: *count },
        Reply::Clunk => Rmessage::Clunk,
        Reply::Error(error) => Rmessage::Error(error.clone()),
        _ => return None,
    })
}

fn bytes(dialect: Dialect, value: &Reply) -> Vec<u8> {
    let mut out = vec![0xee]; // encoding appends
    reply::encode(dialect, TAG, value, &mut out);
    assert_eq!(out.remove(0), 0xee);
    assert_eq!(frame_len(&out), Some(out.len() as u32));
    assert_eq!(out[5..7], TAG.to_le_bytes());
    out
}

fn whole(frame: &[u8]) -> Result<(u16, Rmessage<'_>), BadReply> {
    reply::decode(frame, frame.len() as u32)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_reply_is_laid_out_as_the_manual_says(reply in reply(), dialect in select(&ALL[..])) {
        let frame = bytes(dialect, &reply);
        let (message_type, layout) = layout(dialect, &reply);
        prop_assert_eq!(frame[4], message_type.0);
        let mut fields = split(layout, &frame[HEADER_LEN..]).into_iter();
        for (name, value) in expected(dialect, &reply) {
            // In the same order: a name may come more than once.
            let sent = fields.find(|(field, _)| *field == name);
            prop_assert_eq!(sent.map(|(_, sent)| sent), Some(value), "{} of {:?}", name, &reply);
        }
    }

    #[test]
    fn a_client_hears_what_the_server_said(reply in reply()) {
        let frame = bytes(Unix, &reply);
        match heard(&reply) {
            Some(message) => prop_assert_eq!(whole(&frame), Ok((TAG, message))),
            None => prop_assert_eq!(whole(&frame), Err(BadReply::Type(MessageType(frame[4])))),
        }
    }

    #[test]
    fn a_client_hears_no_cut_or_padded_reply(
        reply in reply(),
        at in any::<prop::sample::Index>(),
    ) {
        let (message_type, body) = (layout(Unix, &reply).0, bytes(Unix, &reply).split_off(7));
        let padded = [&body[..], &[0]].concat();
        prop_assert!(whole(&frame(message_type, TAG, &padded)).is_err());
        if !body.is_empty() {
            let cut = &body[..at.index(body.len())];
            // An Rerror without errno is 9P2000's own.
            let is_plain_error = message_type == M::RERROR && cut.len() + 4 == body.len();
            prop_assert!(is_plain_error || whole(&frame(message_type, TAG, cut)).is_err());
        }
    }
}

#[test]
fn replies_byte_for_byte() {
    let qid = Qid { file_type: QTDIR, version: 3, path: 0x0504 };
    let qid_bytes = [0x80, 3, 0, 0, 0, 4, 5, 0, 0, 0, 0, 0, 0];
    let version = Reply::Version { msize: 0x2_0000, dialect: Some(Plan9) };
    let walk = [&[35, 0, 0, 0, 111, 2, 1, 2, 0][..], &qid_bytes, &qid_bytes].concat();
    for dialect in ALL {
        assert_eq!(bytes(dialect, &version), b"\x13\0\0\0\x65\x02\x01\0\0\x02\0\x06\09P2000");
        assert_eq!(bytes(dialect, &Reply::Flush), [7, 0, 0, 0, 109, 2, 1]);
        assert_eq!(bytes(dialect, &Reply::Walk { qids: vec![qid, qid] }), walk);
    }
    assert_eq!(reply::rread_header(TAG, 0x1_0000), [11, 0, 1, 0, 117, 2, 1, 0, 0, 1, 0]);
}

#[test]
fn an_error_has_three_forms() {
    let error = Reply::Error(ENOTDIR);
    assert_eq!(bytes(Plan9, &error), b"\x18\0\0\0\x6b\x02\x01\x0f\0Not a directory");
    assert_eq!(bytes(Unix, &error), b"\x1c\0\0\0\x6b\x02\x01\x0f\0Not a directory\x14\0\0\0");
    assert_eq!(bytes(Linux, &error), [11, 0, 0, 0, 7, 2, 1, 20, 0, 0, 0]);
    // An errno that Linux would misread becomes EIO.
    for errno in [0, 4096, u16::MAX] {
        let odd = Reply::Error(Error::new(errno, ""));
        assert_eq!(bytes(Linux, &odd)[7..], [5, 0, 0, 0]);
    }
}

#[test]
fn a_long_error_is_cut_between_characters() {
    let text = ["x".repeat(99), "é".into(), "y".repeat(50)].concat();
    let frame = bytes(Unix, &Reply::Error(Error::with(5, text)));
    assert_eq!(frame[7..9], [99, 0]);
    assert_eq!(frame[9..], [&[b'x'; 99][..], &[5, 0, 0, 0]].concat());
    let frame = bytes(Unix, &Reply::Error(Error::with(5, "z".repeat(200))));
    assert_eq!(frame.len(), HEADER_LEN + 2 + ERROR_TEXT_MAX + 4);
}

#[test]
fn the_largest_small_replies_fit_the_buffers_of_linux() {
    let (name, target) = (vec![b'n'; 70_000], vec![b'l'; 70_000]);
    let attr = Attr { name, link: target.clone(), uid: u32::MAX, ..link() };
    assert!(bytes(Unix, &Reply::Stat { attr }).len() <= 8192);
    assert!(bytes(Linux, &Reply::Readlink { target }).len() <= 8192);
    assert!(bytes(Unix, &Reply::Walk { qids: vec![link().qid; 16] }).len() <= 4096);
}

#[test]
fn statfs_shows_a_full_file_system() {
    let frame = bytes(Linux, &Reply::Statfs { files: 5, blocks: 9, block_len: 4096 });
    let fields = [9u64, 0, 0, 5, 0, 0].map(u64::to_le_bytes).concat();
    let expected = [
        &[67, 0, 0, 0, 9, 2, 1, 0x97, 0x19, 0x02, 0x01, 0, 16, 0, 0][..],
        &fields,
        &[255, 0, 0, 0],
    ];
    assert_eq!(frame, expected.concat());
}

#[test]
fn rread_is_decoded_from_its_header_alone() {
    let header = [11, 0, 1, 0, M::RREAD.0, 2, 1, 0, 0, 1, 0];
    let message = Rmessage::Read { count: 0x1_0000, data: None };
    assert_eq!(reply::decode(&header, 0x1_000b), Ok((TAG, message.clone())));
    assert_eq!(reply::decode(&[&header[..], &[1, 2]].concat(), 0x1_000b), Ok((TAG, message)));
    assert!(matches!(reply::decode(&header, 0x1_000c), Err(BadReply::Fatal(_))));
    assert!(matches!(reply::decode(&header[..10], 0x1_000b), Err(BadReply::Body(_))));
    let mut lying = header;
    lying[7] = 1;
    assert_eq!(reply::decode(&lying, 0x1_000b), Err(BadReply::Body(SHORT)));
    // Any other reply has to be there whole.
    let rwalk = frame(M::RWALK, TAG, &[&[1, 0][..], &[0; 13]].concat());
    assert!(reply::decode(&rwalk[..11], rwalk.len() as u32).is_err());
}

#[test]
fn odd_errors_still_say_something() {
    let text = |frame: &[u8]| match whole(frame) {
        Ok((_, Rmessage::Error(error))) => (error.errno, error.text.into_owned()),
        other => panic!("{other:?}"),
    };
    let said = |errno, text: &str| (errno, String::from(text));
    assert_eq!(text(&frame(M::RERROR, TAG, b"\x02\0ab")), said(5, "ab"));
    assert_eq!(text(&frame(M::RERROR, TAG, b"\x02\0ab\0\0\0\0")), said(5, "ab"));
    assert_eq!(text(&frame(M::RLERROR, TAG, &[9, 0, 0, 0])), said(9, "errno 9"));
    let long = [&[0x2c, 1][..], &[0xc3; 300], &[9, 0, 0, 0]].concat();
    assert_eq!(text(&frame(M::RERROR, TAG, &long)).1.chars().count(), ERROR_TEXT_KEPT_MAX);
}
