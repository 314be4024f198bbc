//! Directories in both forms, with replies of every awkward size.

use super::tree::MANY;
use super::*;
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
        let mut peer = Peer::attached_with(dialect, 256);
        peer.opened(1, "many", 0);
        let got = match dialect {
            "9P2000.L" => peer.ask(treaddir(1, 1, 0, u32::MAX)),
            _ => peer.read(1, 0, u32::MAX),
        };
        assert!((100..=232).contains(&got.data().len()), "{dialect}: {got:?}");
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
