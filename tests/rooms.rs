//! The rooms of the house: who may use whom, read from the source itself.
//!
//! Dependencies point downward only, and the pure rooms know no socket, file,
//! clock or libc. A new room has to be put into the table first.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Each room, and the rooms that it may use.
const ROOMS: &[(&str, &[&str])] = &[
    ("table", &[]),
    ("wire", &[]),
    ("spread", &["table"]),
    ("client", &["table", "wire"]),
    ("serve", &["wire"]),
    ("tree", &["table", "wire", "spread", "serve"]),
    ("node", &["table", "wire", "spread", "client", "serve", "tree"]),
    ("os", &[]),
    ("store", &["table", "os", "spread"]),
    ("drive", &["table", "wire", "spread", "client", "serve", "tree", "node", "os", "store"]),
    ("boot", &["os", "spread", "node", "drive"]),
    ("cli", &["spread", "node", "drive"]),
    ("console", &["node", "drive", "os"]),
    ("logger", &["console"]),
];

/// Rooms without sockets, files, clocks and the operating system.
const PURE: &[&str] = &["table", "wire", "spread", "client", "serve", "tree", "node"];

const IMPURE_WORDS: &[&str] = &[
    "std::fs",
    "std::io",
    "std::time",
    "std::os",
    "std::process",
    "std::thread",
    "std::env",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "libc::",
    "nix::",
    "Instant",
    "SystemTime",
    "println!",
    "eprintln!",
];

fn sources(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

/// The code of each room, without comments and without what only tests see.
fn rooms() -> BTreeMap<String, Vec<(PathBuf, String)>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut rooms: BTreeMap<String, Vec<(PathBuf, String)>> = BTreeMap::new();
    for file in files {
        let below = file.strip_prefix(&root).unwrap();
        let room = below.iter().next().unwrap().to_string_lossy().replace(".rs", "");
        let is_test = below.iter().any(|part| {
            let part = part.to_string_lossy();
            part == "tests" || part == "tests.rs" || part == "testing.rs"
        });
        if is_test || room == "lib" || room == "main" {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let code: String = text
            .split("#[cfg(test)]\nmod tests {")
            .next()
            .unwrap()
            .split("#[cfg(test)]\npub mod tests {")
            .next()
            .unwrap()
            .lines()
            .map(|line| line.split("//").next().unwrap_or(""))
            .collect::<Vec<_>>()
            .join("\n");
        rooms.entry(room).or_default().push((file, code));
    }
    rooms
}

#[test]
fn every_room_is_known_and_uses_only_those_below_it() {
    let rooms = rooms();
    let mut wrong = Vec::new();
    for (room, files) in &rooms {
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| name == room) else {
            wrong.push(format!("src/{room} is not in the table of rooms"));
            continue;
        };
        for (file, code) in files {
            for (at, _) in code.match_indices("crate::") {
                let used: String = code[at + "crate::".len()..]
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect();
                if used != *room && !used.is_empty() && !allowed.contains(&used.as_str()) {
                    wrong.push(format!("{} uses {used}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (room, _) in ROOMS {
        assert!(rooms.contains_key(*room), "the table names src/{room}, which is not there");
    }
}

#[test]
fn the_table_itself_points_downward() {
    let place = |name: &str| ROOMS.iter().position(|(room, _)| *room == name).unwrap();
    for (room, allowed) in ROOMS {
        for used in *allowed {
            assert!(place(used) < place(room), "{room} stands above {used}");
        }
    }
}

#[test]
fn pure_rooms_know_no_socket_file_clock_or_system() {
    let mut wrong = Vec::new();
    for (room, files) in rooms() {
        if !PURE.contains(&room.as_str()) {
            continue;
        }
        for (file, code) in files {
            for word in IMPURE_WORDS {
                if code.contains(word) {
                    wrong.push(format!("{} says {word}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn unsafe_code_lives_in_os_alone() {
    for (room, files) in rooms() {
        for (file, code) in files {
            assert!(room == "os" || !code.contains("unsafe "), "{}", file.display());
        }
    }
}
