//! `nodes.tab`, and what nodes say of themselves.
//!
//! A fault has a place in the text; a table answers whoever asks, within its limits, and
//! soon.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nodes::{COLUMN_LEN_MAX, Key, Kind, Layers, NODES_MAX, Table};
use std::net::IpAddr;

fuzz_target!(|text: &[u8]| {
    let table = match Table::parse(text) {
        Ok(table) => table,
        Err(fault) => {
            let lines = text.split(|byte| *byte == b'\n').count();
            assert!((1..=lines).contains(&(fault.line as usize)), "{fault}");
            assert!(fault.column >= 1 && (fault.other_line as usize) <= lines, "{fault}");
            assert!(!fault.to_string().contains('\n'), "{fault}");
            return;
        }
    };
    assert!(table.nodes_count() <= NODES_MAX);
    // Each word of the text as what a node may say it is known by.
    let text = String::from_utf8_lossy(text);
    for word in text.split([' ', '\n', ',']).take(64) {
        for kind in [Kind::Mac, Kind::Uuid, Kind::Serial, Kind::Asset, Kind::Host] {
            let Some(key) = Key::new(kind, word) else { continue };
            assert_eq!(Key::new(kind, &key.text), Some(key.clone()), "it is in its one form");
            for ip in ["10.0.0.1", "::ffff:10.0.0.1", "fd00::1"] {
                let ip: IpAddr = ip.parse().expect("an address");
                let Some(found) = table.find(std::slice::from_ref(&key), ip) else { continue };
                let len = |words: &[&str]| words.iter().map(|word| word.len() + 1).sum::<usize>();
                assert!(len(&found.layers).max(len(&found.words)) <= COLUMN_LEN_MAX);
                assert!(found.name.is_none_or(|name| !name.is_empty()));
                let is_dir = |path: &str| path.len().is_multiple_of(2);
                let Ok(layers) = Layers::of(&found.layers, found.name, &is_dir) else { continue };
                let is_plain = |path: &str| path.split('/').all(|name| !matches!(name, "" | ".."));
                assert!(layers.plain.iter().all(|path| is_plain(path) && is_dir(path)));
                let own = found.name.map(|name| format!("layers/{name}"));
                let owns = layers.plain.iter().filter(|path| Some(*path) == own.as_ref()).count();
                assert!(owns <= 1 && (owns == 0 || layers.plain.last() == own.as_ref()));
            }
        }
    }
});
