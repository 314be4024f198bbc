//! Every request of every dialect decodes, and nothing else does.

use super::layout::{Value, join, names, values};
use super::*;
use crate::Dialect::{Linux, Plan9, Unix};
use crate::wire::reader::{NUL, SHORT, TRAILING};
use crate::wire::request::{self, BAD_NAME, NO_VERSION, TOO_MANY_NAMES, WALK_NAME_LEN_MAX};
use crate::wire::{Fatal, frame_len};
use crate::{
    AttrChange, Dialect, EOPNOTSUPP, Error, HEADER_LEN, MessageType as M, NOFID, NONUNAME, NOTAG,
    Request,
};
use alloc::vec;
use proptest::sample::select;

const TAG: u16 = 0x0102;
const ALL: &[Dialect] = &[Plan9, Unix, Linux];
const U_AND_L: &[Dialect] = &[Unix, Linux];

type Row = (&'static [Dialect], MessageType, &'static str);

/// Section 5 of the manual, the 9P2000.u draft, diod's protocol.md.
#[rustfmt::skip]
const LAYOUTS: &[Row] = &[
    (ALL, M::TVERSION, "msize[4] version[s]"),
    (&[Plan9], M::TAUTH, "afid[4] uname[s] aname[s]"),
    (U_AND_L, M::TAUTH, "afid[4] uname[s] aname[s] n_uname[4]"),
    (&[Plan9], M::TATTACH, "fid[4] afid[4] uname[s] aname[s]"),
    (U_AND_L, M::TATTACH, "fid[4] afid[4] uname[s] aname[s] n_uname[4]"),
    (ALL, M::TFLUSH, "oldtag[2]"),
    (ALL, M::TWALK, "fid[4] newfid[4] wname[w]"),
    (ALL, M::TREAD, "fid[4] offset[8] count[4]"),
    (ALL, M::TWRITE, "fid[4] offset[8] data[d]"),
    (ALL, M::TCLUNK, "fid[4]"),
    (ALL, M::TREMOVE, "fid[4]"),
    (&[Plan9, Unix], M::TOPEN, "fid[4] mode[1]"),
    (&[Plan9], M::TCREATE, "fid[4] name[s] perm[4] mode[1]"),
    (&[Unix], M::TCREATE, "fid[4] name[s] perm[4] mode[1] extension[s]"),
    (&[Plan9, Unix], M::TSTAT, "fid[4]"),
    (&[Plan9], M::TWSTAT, "fid[4] nstat[n] size[n] type[2] dev[4] qid[13] mode[4] atime[4] \
        mtime[4] length[8] name[s] uid[s] gid[s] muid[s]"),
    (&[Unix], M::TWSTAT, "fid[4] nstat[n] size[n] type[2] dev[4] qid[13] mode[4] atime[4] \
        mtime[4] length[8] name[s] uid[s] gid[s] muid[s] extension[s] n_uid[4] n_gid[4] n_muid[4]"),
    (&[Linux], M::TSTATFS, "fid[4]"),
    (&[Linux], M::TLOPEN, "fid[4] flags[4]"),
    (&[Linux], M::TLCREATE, "fid[4] name[s] flags[4] mode[4] gid[4]"),
    (&[Linux], M::TSYMLINK, "fid[4] name[s] symtgt[s] gid[4]"),
    (&[Linux], M::TMKNOD, "fid[4] name[s] mode[4] major[4] minor[4] gid[4]"),
    (&[Linux], M::TRENAME, "fid[4] dfid[4] name[s]"),
    (&[Linux], M::TREADLINK, "fid[4]"),
    (&[Linux], M::TGETATTR, "fid[4] request_mask[8]"),
    (&[Linux], M::TSETATTR, "fid[4] valid[4] mode[4] uid[4] gid[4] size[8] atime_sec[8] \
        atime_nsec[8] mtime_sec[8] mtime_nsec[8]"),
    (&[Linux], M::TXATTRWALK, "fid[4] newfid[4] name[s]"),
    (&[Linux], M::TXATTRCREATE, "fid[4] name[s] attr_size[8] flags[4]"),
    (&[Linux], M::TREADDIR, "fid[4] offset[8] count[4]"),
    (&[Linux], M::TFSYNC, "fid[4]"),
    (&[Linux], M::TFSYNC, "fid[4] datasync[4]"),
    (&[Linux], M::TLOCK, "fid[4] type[1] flags[4] start[8] length[8] proc_id[4] client_id[s]"),
    (&[Linux], M::TGETLOCK, "fid[4] type[1] start[8] length[8] proc_id[4] client_id[s]"),
    (&[Linux], M::TLINK, "dfid[4] fid[4] name[s]"),
    (&[Linux], M::TMKDIR, "dfid[4] name[s] mode[4] gid[4]"),
    (&[Linux], M::TRENAMEAT, "olddirfid[4] oldname[s] newdirfid[4] newname[s]"),
    (&[Linux], M::TUNLINKAT, "dirfid[4] name[s] flags[4]"),
];

/// What of a request is kept, under the names of the layouts.
fn kept(request: &Request<'_>) -> Vec<(&'static str, Value)> {
    use Value::{List, Number};
    let number = |value: u32| Number(value.into());
    match request {
        Request::Version { msize, version } => {
            vec![("msize", number(*msize)), ("version", Value::text(version))]
        }
        Request::Auth { afid, uname, aname } => vec![
            ("afid", number(*afid)),
            ("uname", Value::text(uname)),
            ("aname", Value::text(aname)),
        ],
        Request::Attach { fid, afid, uname, aname, n_uname } => vec![
            ("fid", number(*fid)),
            ("afid", number(*afid)),
            ("uname", Value::text(uname)),
            ("aname", Value::text(aname)),
            ("n_uname", number(*n_uname)),
        ],
        Request::Flush { oldtag } => vec![("oldtag", Number(u64::from(*oldtag)))],
        Request::Walk { fid, newfid, names } => vec![
            ("fid", number(*fid)),
            ("newfid", number(*newfid)),
            ("wname", List(names.iter().map(|name| name.to_vec()).collect())),
        ],
        Request::Open { fid, mode } => {
            vec![("fid", number(*fid)), ("mode", Number(u64::from(*mode)))]
        }
        Request::Lopen { fid, flags } => vec![("fid", number(*fid)), ("flags", number(*flags))],
        Request::Read { fid, offset, count } | Request::Readdir { fid, offset, count } => {
            vec![("fid", number(*fid)), ("offset", Number(*offset)), ("count", number(*count))]
        }
        Request::Write { fid, offset, data } => {
            vec![("fid", number(*fid)), ("offset", Number(*offset)), ("data", Value::text(data))]
        }
        Request::Getattr { fid, mask } => {
            vec![("fid", number(*fid)), ("request_mask", Number(*mask))]
        }
        Request::Xattrwalk { fid, newfid } => {
            vec![("fid", number(*fid)), ("newfid", number(*newfid))]
        }
        Request::Wstat { fid, change } => {
            vec![("fid", number(*fid)), ("length", Number(change.size.unwrap_or(u64::MAX)))]
        }
        Request::Setattr { fid, change: AttrChange { size: Some(size), .. } } => {
            vec![("fid", number(*fid)), ("size", Number(*size))]
        }
        Request::Clunk { fid }
        | Request::Remove { fid }
        | Request::Stat { fid }
        | Request::Setattr { fid, .. }
        | Request::Statfs { fid }
        | Request::Readlink { fid }
        | Request::Fsync { fid }
        | Request::Lock { fid }
        | Request::Getlock { fid } => vec![("fid", number(*fid))],
        // The fid that comes first is the one that it is about, whatever its name.
        Request::ChangeTree { fid } => vec![("", number(*fid))],
    }
}

#[derive(Clone, Debug)]
pub struct Sample {
    pub dialect: Dialect,
    message_type: MessageType,
    layout: &'static str,
    values: Vec<Value>,
}

impl Sample {
    fn body(&self) -> Vec<u8> {
        join(self.layout, &self.values)
    }

    pub fn frame(&self) -> Vec<u8> {
        frame(self.message_type, TAG, &self.body())
    }
}

/// Any request of any dialect.
pub fn sample() -> impl Strategy<Value = Sample> {
    select(LAYOUTS).prop_flat_map(|(dialects, message_type, layout)| {
        (select(dialects), values(layout)).prop_map(move |(dialect, values)| Sample {
            dialect,
            message_type,
            layout,
            values,
        })
    })
}

fn one(dialect: Dialect, frame: &[u8]) -> Result<Request<'_>, Error> {
    let (tag, request) = request::decode(Some(dialect), frame).unwrap();
    assert_eq!(tag, TAG);
    request
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_request_decodes_to_what_its_layout_says(sample in sample()) {
        let frame = sample.frame();
        let fields: Vec<_> = names(sample.layout).zip(&sample.values).collect();
        for (name, value) in kept(&one(sample.dialect, &frame).unwrap()) {
            let sent = match name {
                "" => fields[0].1.clone(),
                _ => fields.iter().find(|(field, _)| *field == name)
                    .map_or(Value::Number(NONUNAME.into()), |(_, value)| (*value).clone()),
            };
            prop_assert_eq!(value, sent, "{} of {:?}", name, sample);
        }
    }

    #[test]
    fn cut_and_padded_requests_are_errors_that_keep_their_tag(
        sample in sample(),
        at in any::<prop::sample::Index>(),
        padding in 1..5_usize,
    ) {
        let body = sample.body();
        let cut = &body[..at.index(body.len())];
        // The last field of a Tfsync may be missing.
        if sample.message_type != M::TFSYNC || cut.len() < 4 {
            prop_assert!(one(sample.dialect, &frame(sample.message_type, TAG, cut)).is_err());
        }
        let padded = [&body[..], &[0; 4][..padding]].concat();
        if sample.message_type != M::TFSYNC || padded.len() != 8 {
            let error = one(sample.dialect, &frame(sample.message_type, TAG, &padded)).unwrap_err();
            prop_assert!(error == TRAILING || sample.message_type == M::TFSYNC && error == SHORT);
        }
    }

    #[test]
    fn a_dialect_has_its_own_requests_and_no_others(
        dialect in select(ALL),
        number in any::<u8>(),
    ) {
        let message_type = MessageType(number);
        let known = LAYOUTS.iter().any(|(dialects, theirs, _)| {
            dialects.contains(&dialect) && *theirs == message_type
        });
        let answer = one(dialect, &frame(message_type, TAG, &[])).unwrap_err();
        prop_assert_eq!(answer == EOPNOTSUPP, !known, "{:?}", message_type);
        let before = frame(message_type, TAG, &[]);
        let answer = request::decode(None, &before).unwrap().1.unwrap_err();
        prop_assert_eq!(answer == NO_VERSION, message_type != M::TVERSION);
    }

    #[test]
    fn what_our_client_sends_decodes_to_what_was_meant(
        tag in any::<u16>(),
        fid in any::<u32>(),
        newfid in any::<u32>(),
        offset in any::<u64>(),
        count in any::<u32>(),
        mode in any::<u8>(),
        names in prop::collection::vec("[a-zä]{1,12}", 0..=16),
        data in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let names: Vec<&[u8]> = names.iter().map(|name| name.as_bytes()).collect();
        let check = |encode: &dyn Fn(&mut Vec<u8>), tag: u16, expected: Request<'_>| {
            let mut out = Vec::new();
            encode(&mut out);
            assert_eq!(request::decode(Some(Unix), &out), Ok((tag, Ok(expected))));
        };
        let (msize, version) = (count, Unix.version());
        check(&|out| request::tversion(msize, Unix, out), NOTAG, Request::Version { msize, version });
        let (uname, aname) = (&b"me"[..], &b"files"[..]);
        let attach = Request::Attach { fid, afid: NOFID, uname, aname, n_uname: NONUNAME };
        check(&|out| request::tattach(tag, fid, uname, aname, out), tag, attach);
        let by = Request::Attach { fid, afid: newfid, uname, aname, n_uname: NONUNAME };
        check(&|out| request::tattach_by(tag, fid, newfid, uname, aname, out), tag, by);
        let auth = Request::Auth { afid: fid, uname, aname };
        check(&|out| request::tauth(tag, fid, uname, aname, out), tag, auth);
        let walk = Request::Walk { fid, newfid, names: names.clone() };
        check(&|out| request::twalk(tag, fid, newfid, &names, out), tag, walk);
        check(&|out| request::topen(tag, fid, mode, out), tag, Request::Open { fid, mode });
        let read = Request::Read { fid, offset, count };
        check(&|out| request::tread(tag, fid, offset, count, out), tag, read);
        let write = Request::Write { fid, offset, data: &data };
        check(&|out| request::twrite(tag, fid, offset, &data, out), tag, write);
        check(&|out| request::tclunk(tag, fid, out), tag, Request::Clunk { fid });
        check(&|out| request::tflush(tag, 6, out), tag, Request::Flush { oldtag: 6 });
    }
}

/// As a Linux mount of version 9p2000.L begins, with msize 128 KiB.
#[test]
fn a_whole_tversion_and_twalk() {
    let version = b"\x15\0\0\0\x64\xff\xff\0\0\x02\0\x08\09P2000.L";
    assert_eq!(
        request::decode(None, version),
        Ok((NOTAG, Ok(Request::Version { msize: 0x2_0000, version: b"9P2000.L" })))
    );
    let walk = b"\x17\0\0\0\x6e\x01\0\0\0\0\0\x01\0\0\0\x01\0\x04\0data";
    let names = vec![&b"data"[..]];
    let expected = Request::Walk { fid: 0, newfid: 1, names };
    assert_eq!(request::decode(Some(Linux), walk), Ok((1, Ok(expected))));
}

#[test]
fn a_request_byte_for_byte() {
    let mut out = Vec::new();
    request::tversion(8192, Unix, &mut out);
    request::tread(4, 3, 1, 2, &mut out);
    let version = b"\x15\0\0\0\x64\xff\xff\0\x20\0\0\x08\09P2000.u";
    let read = [23, 0, 0, 0, 116, 4, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0];
    assert_eq!(out, [&version[..], &read].concat());
}

#[test]
fn a_frame_of_the_wrong_length_is_fatal() {
    for size in [0u32, 6, 7, 12, 1 << 31, u32::MAX] {
        let mut bytes = frame(M::TCLUNK, TAG, &[7, 0, 0, 0]);
        bytes[..4].copy_from_slice(&size.to_le_bytes());
        assert_eq!(frame_len(&bytes), Some(size));
        assert_eq!(request::decode(Some(Unix), &bytes), Err(Fatal { size, len: 11 }));
    }
    for len in 0..HEADER_LEN {
        let short = &[len as u8, 0, 0, 0, M::TCLUNK.0, 0, 0][..len];
        assert!(request::decode(Some(Unix), short).is_err());
    }
    assert_eq!(frame_len(&[1, 0, 0]), None);
}

#[test]
fn any_version_is_the_sessions_to_judge() {
    let odd = frame(M::TVERSION, TAG, &[9, 0, 0, 0, 2, 0, 0, 0xff]);
    assert!(request::decode(None, &odd).unwrap().1.is_ok());
}

#[test]
fn names_are_bounded_and_clean() {
    let walk = |count: u16, names: &[u8]| {
        frame(M::TWALK, TAG, &[&[0; 8][..], &count.to_le_bytes(), names].concat())
    };
    let ab = [2, 0, b'a', b'b'];
    assert!(one(Linux, &walk(16, &ab.repeat(16))).is_ok());
    assert_eq!(one(Linux, &walk(17, &ab.repeat(17))), Err(TOO_MANY_NAMES));
    assert_eq!(one(Linux, &walk(0xffff, &ab.repeat(16))), Err(TOO_MANY_NAMES));
    assert_eq!(one(Linux, &walk(1, &[3, 0, b'a', b'/', b'b'])), Err(BAD_NAME));
    assert_eq!(one(Linux, &walk(1, &[0, 0])), Err(BAD_NAME));
    assert_eq!(one(Linux, &walk(1, &[2, 0, b'a', 0])), Err(NUL));
    assert_eq!(one(Linux, &walk(1, &[0xff, 0xff, b'a'])), Err(SHORT));
    let write = [&[0; 12][..], &[0xff; 4], &ab].concat();
    assert_eq!(one(Unix, &frame(M::TWRITE, TAG, &write)), Err(SHORT));
}

#[test]
fn a_name_that_cannot_exist_stays_one_that_cannot() {
    let mut out = Vec::new();
    request::twalk(TAG, 1, 2, &[&[b'n'; 300]], &mut out);
    let names = vec![&[b'n'; WALK_NAME_LEN_MAX][..]];
    assert_eq!(one(Unix, &out), Ok(Request::Walk { fid: 1, newfid: 2, names }));
}
