//! Directories in both forms, with replies of every awkward size.

use super::tree::MANY;
use super::*;
use crate::server::MSIZE_MIN;
use crate::{HEADER_LEN, IO_HEADER_LEN};
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// The names in a run of whole stat records.
fn stat_names(mut data: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    while !data.is_empty() {
        let len = usize::from(u16_at(data, 0)) + 2;
        let name_len = usize::from(u16_at(data, 41));
        names.push(String::from_utf8(data[43..43 + name_len].to_vec()).unwrap());
        data = &data[len..];
    }
    names
}

/// Name, cursor and DT_* of each entry.
fn entries(mut data: &[u8]) -> Vec<(String, u64, u8)> {
    let mut entries = Vec::new();
    while !data.is_empty() {
        let len = usize::from(u16_at(data, 22));
        let name = String::from_utf8(data[24..24 + len].to_vec()).unwrap();
        assert_eq!(data[0] == 0x80, data[21] == 4, "qid and DT_* of {name}");
        entries.push((name, u64_at(data, 13), data[21]));
        data = &data[24 + len..];
    }
    entries
}

fn names(entries: &[(String, u64, u8)]) -> Vec<&str> {
    entries.iter().map(|(name, _, _)| name.as_str()).collect()
}

fn many_names() -> Vec<String> {
    (0..MANY).map(|number| format!("entry-{number:03}")).collect()
}

#[test]
fn stat_records_come_whole_in_replies_of_any_size() {
    for dialect in TWO_DIALECTS {
        for count in [100, 128, 256, 512, 8192] {
            let mut peer = Peer::attached(dialect);
            peer.opened(1, "many", 0);
            let (mut offset, mut listed) = (0, Vec::new());
            loop {
                let got = peer.read(1, offset, count);
                assert!(got.data().len() <= count as usize);
                if got.data().is_empty() {
                    break;
                }
                listed.extend(stat_names(got.data()));
                offset += got.data().len() as u64;
            }
            assert_eq!(listed, many_names(), "{dialect}, {count} bytes a read");
        }
    }
}

#[test]
fn stat_reads_go_on_or_start_over_and_nothing_else() {
    for dialect in TWO_DIALECTS {
        let mut peer = Peer::attached(dialect);
        peer.opened(1, "many", 0);
        let first = peer.read(1, 0, 512);
        let next = first.data().len() as u64;
        for wrong in [1, next - 1, next + 1, u64::MAX - 5000] {
            assert_eq!(peer.read(1, wrong, 512).ename(), "bad offset in directory read");
        }
        let second = peer.read(1, next, 512);
        assert_ne!(stat_names(first.data()), stat_names(second.data()));
        assert!(peer.read(1, next, 512).is_error(), "only the last position counts");
        assert_eq!(peer.read(1, 0, 512), first, "0 rewinds");
        assert_eq!(peer.read(1, next, 512), second);
    }
}

#[test]
fn a_record_that_does_not_fit_is_no_error() {
    for dialect in TWO_DIALECTS {
        let mut peer = Peer::attached(dialect);
        peer.opened(1, "many", 0);
        let first = peer.read(1, 0, 200);
        let next = first.data().len() as u64;
        assert_eq!(peer.read(1, next, 20).data(), [], "the remainder that Linux asks for");
        assert_eq!(peer.read(1, next, 0).data(), []);
        let second = peer.read(1, next, 200);
        assert_eq!(stat_names(second.data())[0], many_names()[stat_names(first.data()).len()]);
    }
}

#[test]
fn an_empty_directory_ends_at_once() {
    for dialect in TWO_DIALECTS {
        let mut peer = Peer::attached(dialect);
        peer.opened(1, "empty", 0);
        assert_eq!(peer.read(1, 0, 8192).data(), []);
        assert_eq!(peer.read(1, 0, 8192).data(), []);
    }
    let mut peer = Peer::attached("9P2000.L");
    peer.opened(1, "empty", 0);
    let got = peer.ask(treaddir(1, 1, 0, 8192));
    assert_eq!(names(&entries(got.data())), [".", ".."]);
    assert_eq!(peer.ask(treaddir(1, 1, 2, 8192)).data(), []);
}

#[test]
fn readdir_goes_on_from_any_cursor() {
    let mut expected = vec![".".to_owned(), "..".to_owned()];
    expected.extend(many_names());
    for count in [36, 128, 256, 512, 8192] {
        let mut peer = Peer::attached("9P2000.L");
        peer.opened(1, "many", 0);
        let (mut cursor, mut listed) = (0, Vec::new());
        loop {
            let got = peer.ask(treaddir(1, 1, cursor, count));
            assert!(got.data().len() <= count as usize);
            let Some(last) = entries(got.data()).last().map(|entry| entry.1) else {
                break;
            };
            listed.extend(entries(got.data()).into_iter().map(|(name, _, _)| name));
            cursor = last;
        }
        assert_eq!(listed, expected, "{count} bytes a read");
    }
}

#[test]
fn cursors_outlive_what_they_stood_at() {
    let mut peer = Peer::attached("9P2000.L");
    peer.opened(1, "many", 0);
    let first = entries(peer.ask(treaddir(1, 1, 0, 256)).data());
    let (last_name, cursor, _) = first.last().unwrap();
    peer.tree.unlist(last_name);
    let number = first.len() - 2;
    peer.tree.unlist(&many_names()[number]);
    let second = entries(peer.ask(treaddir(1, 1, *cursor, 256)).data());
    assert_eq!(second[0].0, many_names()[number + 1]);
    // An earlier cursor is as good, in any order.
    let again = entries(peer.ask(treaddir(1, 1, first[1].1, 256)).data());
    assert_eq!(again[0].0, "entry-000");
}

#[test]
fn readdir_types_are_those_of_readdir() {
    let mut peer = Peer::attached("9P2000.L");
    peer.opened(1, "", 0);
    let got = entries(peer.ask(treaddir(1, 1, 0, 8192)).data());
    for (name, dtype) in [(".", 4), ("..", 4), ("dir", 4), ("file", 8), ("link", 10)] {
        assert!(got.iter().any(|entry| entry.0 == name && entry.2 == dtype), "{name}");
    }
}

#[test]
fn readdir_with_no_room_for_one_entry_is_an_error() {
    let mut peer = Peer::attached("9P2000.L");
    peer.opened(1, "names", 0);
    assert_eq!(peer.ask(treaddir(1, 1, 0, 24)).errno(), 22);
    assert_eq!(peer.ask(treaddir(1, 1, 0, 0)).errno(), 22);
    assert_eq!(names(&entries(peer.ask(treaddir(1, 1, 0, 128)).data())), [".", ".."]);
    assert_eq!(peer.ask(treaddir(1, 1, 2, 278)).errno(), 22);
    assert_eq!(peer.ask(treaddir(1, 1, 2, 279)).data().len(), 24 + 255);
    assert_eq!(peer.ask(treaddir(1, 1, u64::MAX, u32::MAX)).data(), [], "past every entry");
}

#[test]
fn listings_fit_msize_with_room_for_headers() {
    for dialect in DIALECTS {
        let mut peer = Peer::attached_with(dialect, MSIZE_MIN);
        peer.opened(1, "many", 0);
        let got = match dialect {
            "9P2000.L" => peer.ask(treaddir(1, 1, 0, u32::MAX)),
            _ => peer.read(1, 0, u32::MAX),
        };
        assert!((380..=488).contains(&got.data().len()), "{dialect}: {got:?}");
    }
}

#[test]
fn each_form_belongs_to_its_dialect_and_to_open_directories() {
    let mut peer = Peer::attached("9P2000.L");
    peer.opened(1, "dir", 0);
    peer.opened(2, "file", 0);
    peer.walk(0, 3, "dir");
    assert_eq!(peer.read(1, 0, 100).errno(), 21);
    assert_eq!(peer.ask(treaddir(1, 2, 0, 100)).errno(), 20);
    assert_eq!(peer.ask(treaddir(1, 3, 0, 100)).errno(), 9);
    assert_eq!(peer.ask(treaddir(1, 9, 0, 100)).errno(), 9);
    for dialect in TWO_DIALECTS {
        let mut peer = Peer::attached(dialect);
        peer.opened(1, "dir", 0);
        assert_eq!(peer.ask(treaddir(1, 1, 0, 100)).ename(), "Operation not supported");
        peer.walk(0, 2, "dir");
        assert_eq!(peer.read(2, 0, 100).ename(), "bad use of fid");
    }
}

/// All of a directory, by whole replies: as many bytes asked for as may be.
fn listing(peer: &mut Peer, dir: &str) -> Vec<String> {
    peer.opened(1, dir, 0);
    let (mut listed, mut cursor) = (Vec::new(), 0);
    loop {
        let linux = peer.dialect_is_linux();
        let got = match linux {
            true => peer.ask(treaddir(1, 1, cursor, u32::MAX)),
            false => peer.read(1, cursor, u32::MAX),
        };
        assert!(HEADER_LEN + got.body.len() <= peer.session.frame_len_max() as usize);
        if got.data().is_empty() {
            assert!(!peer.clunk(1).is_error());
            return listed;
        }
        if linux {
            let found = entries(got.data());
            cursor = found.last().unwrap().1;
            listed.extend(found.into_iter().map(|(name, _, _)| name));
        } else {
            cursor += got.data().len() as u64;
            listed.extend(stat_names(got.data()));
        }
    }
}

/// Names, owners, counts of links and targets, each as long as can be.
#[test]
fn every_directory_can_be_listed_at_every_msize_that_is_accepted() {
    let near_a_record = (MSIZE_MIN..MSIZE_MIN + 300).chain(4400..4500);
    for msize in near_a_record.chain([4096, 8192, MSIZE_MAX]) {
        for dialect in DIALECTS {
            let mut peer = Peer::attached_with(dialect, msize);
            let mut listed = listing(&mut peer, "worst");
            listed.retain(|name| name != "." && name != "..");
            let wanted: &[u8] = if dialect == "9P2000" { b"ac" } else { b"abc" };
            let wanted: Vec<_> =
                wanted.iter().map(|first| String::from(*first as char).repeat(255)).collect();
            assert_eq!(listed, wanted, "{dialect}, msize {msize}");
        }
    }
}

/// The target of the link among the worst, as its directory says it, or `None`.
fn listed_target(msize: u32) -> usize {
    let mut peer = Peer::attached_with("9P2000.u", msize);
    peer.opened(1, "worst", 0);
    let first = peer.read(1, 0, msize);
    let skip = usize::from(u16_at(first.data(), 0)) + 2;
    let second = match first.data().len() {
        len if len == skip => peer.read(1, len as u64, msize).data().to_vec(),
        _ => first.data()[skip..].to_vec(),
    };
    let owners = 43 + 255 + 3 * 12;
    u16_at(&second, owners).into()
}

#[test]
fn a_target_too_long_for_the_msize_is_left_out_of_its_directory_alone() {
    let whole = IO_HEADER_LEN + 43 + 255 + 3 * 12 + 2 + 4095 + 12;
    assert_eq!(listed_target(whole), 4095);
    assert_eq!(listed_target(whole - 1), 0);
}

#[test]
fn a_symbolic_link_is_not_there_in_plain_9p2000() {
    let mut peer = Peer::attached("9P2000");
    assert!(!listing(&mut peer, "").contains(&"link".to_owned()));
    assert_eq!(peer.walk(0, 1, "link").ename(), "No such file or directory");
    assert_eq!(peer.walk(0, 1, "link/x").ename(), "No such file or directory");
    assert_eq!(peer.walk(0, 1, "dir/../link").walked(), 2);
    for dialect in &DIALECTS[1..] {
        let mut peer = Peer::attached(dialect);
        assert!(listing(&mut peer, "").contains(&"link".to_owned()));
        assert_eq!(peer.walk(0, 1, "link").walked(), 1);
    }
}
