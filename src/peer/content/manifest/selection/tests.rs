//! What sources and patterns select, and what they must not.

use super::*;
use crate::content::digest;
use crate::content::samples::trees;
use crate::testing::{entry, file, small};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::BTreeSet;

/// Paths of some entries, of directories perhaps their contents. None of
/// them leads through a symlink.
fn sources(manifest: &Manifest, picks: &[(Index, bool)]) -> Vec<Vec<u8>> {
    let path = |(pick, contents): &(Index, bool)| {
        let number = pick.index(manifest.entries.len());
        let is_dir = manifest.entries[number].kind == EntryKind::Dir;
        let mut path = manifest.path(number as u32);
        path.extend_from_slice(if is_dir && *contents { b"/." } else { b"" });
        path
    };
    picks.iter().map(path).collect()
}

/// What lands at the top, by what the sources say.
fn expected_tops(manifest: &Manifest, sources: &[Vec<u8>]) -> BTreeSet<(Vec<u8>, u32)> {
    let parent_of = |path: &[u8]| match path.iter().rposition(|&b| b == b'/') {
        Some(at) => path[..at].to_vec(),
        None => Vec::new(),
    };
    let mut tops = BTreeSet::new();
    for number in 1..manifest.entries.len() as u32 {
        let path = manifest.path(number);
        let lands = |s: &Vec<u8>| match s.strip_suffix(b"/.") {
            Some(dir) => parent_of(&path) == dir,
            None if s.is_empty() => parent_of(&path).is_empty(),
            None => path == *s,
        };
        if sources.iter().any(lands) {
            tops.insert((manifest.entries[number as usize].name.to_vec(), number));
        }
    }
    tops
}

/// The file that an entry is a name of, or the entry.
fn named(manifest: &Manifest, entry: u32) -> &Entry {
    match manifest.entries[entry as usize].kind {
        EntryKind::Hardlink(file) => &manifest.entries[file as usize],
        _ => &manifest.entries[entry as usize],
    }
}

fn assert_same_thing(copy: &Entry, was: &Entry) {
    let what = |e: &Entry| (e.kind, e.size, e.digest, e.sparse, e.link.clone());
    assert_eq!(what(copy), what(was));
}

proptest! {
    #[test]
    fn sources_of_a_tree_give_a_valid_part_of_it(
        sample in trees(30),
        picks in vec((any::<Index>(), any::<bool>()), 1..5),
    ) {
        let whole = &sample.manifest;
        let sources = sources(whole, &picks);
        let refs: Vec<&[u8]> = sources.iter().map(Vec::as_slice).collect();
        let tops = expected_tops(whole, &sources);
        let names: BTreeSet<&[u8]> = tops.iter().map(|(name, _)| &**name).collect();
        let part = match whole.select(&refs) {
            Err(SelectError::Collision(one, other)) => {
                let name = |path: &[u8]| path.rsplit(|&b| b == b'/').next().unwrap().to_vec();
                prop_assert!(one != other && name(&one) == name(&other));
                prop_assert!(tops.iter().filter(|top| top.0 == name(&one)).count() > 1);
                return Ok(());
            }
            made => made.unwrap(),
        };
        prop_assert_eq!(names.len(), tops.len(), "what collides is refused");
        let copy = &part.manifest;
        prop_assert_eq!(Manifest::decode(&copy.encode()), Ok(copy.clone()));
        let landed = copy.children(0).map(|e| part.origin[e as usize]);
        prop_assert_eq!(landed.collect::<Vec<_>>(), tops.iter().map(|t| t.1).collect::<Vec<_>>());
        for (number, &from) in (0..).zip(&part.origin).skip(1) {
            let (made, was) = (&copy.entries[number as usize], &whole.entries[from as usize]);
            prop_assert_eq!(&made.name, &was.name);
            assert_same_thing(named(copy, number), named(whole, from));
            let xattrs_of_both = (copy.xattrs_of(made), whole.xattrs_of(was));
            if made.kind == was.kind && made.kind != EntryKind::File {
                prop_assert_eq!(xattrs_of_both.0, xattrs_of_both.1);
            }
            let files = (named(copy, number), named(whole, from));
            prop_assert_eq!(copy.xattrs_of(files.0), whole.xattrs_of(files.1));
            let children = |m: &Manifest, of: u32| m.children(of).len();
            prop_assert_eq!(children(copy, number), children(whole, from));
        }
    }

    #[test]
    fn everything_is_the_tree_itself(sample in trees(30)) {
        let all = sample.manifest.select(&[b"."]).unwrap();
        prop_assert_eq!(all.manifest, sample.manifest);
    }

    #[test]
    fn any_path_is_an_entry_or_an_error(
        sample in trees(20),
        paths in vec(crate::content::samples::paths(), 1..4),
    ) {
        let refs: Vec<&[u8]> = paths.iter().map(Vec::as_slice).collect();
        if let Ok(part) = sample.manifest.select(&refs) {
            prop_assert_eq!(Manifest::decode(&part.manifest.encode()), Ok(part.manifest));
        }
    }
}

#[test]
fn selecting_everything_gives_the_same_manifest() {
    let manifest = small();
    let all = manifest.select(&[b"."]).unwrap();
    assert_eq!(all.manifest, manifest);
    assert_eq!(all.origin, (0..8).collect::<Vec<_>>());
}

#[test]
fn a_sub_path_lands_under_its_base_name_and_its_contents_directly() {
    let manifest = small();
    let part = manifest.select(&[b"a/z", b"b"]).unwrap();
    let names: Vec<&[u8]> = part.manifest.entries.iter().map(|e| &*e.name).collect();
    assert_eq!(names, [&b""[..], b"b", b"z"]);
    assert_eq!(part.manifest.entries[2].kind, EntryKind::File, "a link alone becomes the file");
    assert_eq!(part.manifest.entries[2].size, 2);
    assert_eq!(part.origin, [0, 2, 7]);
    assert!(!part.manifest.root_described);
    let inside = manifest.select(&[b"current/."]).unwrap();
    assert_eq!(inside.manifest.entries.len(), 4);
    assert!(inside.manifest.root_described);
    assert_eq!(Manifest::decode(&inside.manifest.encode()), Ok(inside.manifest));
}

#[test]
fn what_is_selected_twice_is_two_files_and_only_other_names_are_links() {
    let mut manifest = small();
    manifest.entries[5] = Entry { name: (*b"x").into(), ..file(1, "x", &[7; 9000]) };
    manifest.lists = digest::list_of(&[7; 9000], manifest.piece_len);
    let twice = manifest.select(&[b"a", b"a/x"]).unwrap();
    let kinds: Vec<(&[u8], EntryKind)> =
        twice.manifest.entries.iter().map(|e| (&*e.name, e.kind)).collect();
    let expected = [
        (&b""[..], EntryKind::Dir),
        (b"a", EntryKind::Dir),
        (b"x", EntryKind::File),
        (b"x", EntryKind::File),
        (b"y", EntryKind::Symlink),
        (b"z", EntryKind::Hardlink(2)),
    ];
    assert_eq!(kinds, expected);
    assert_eq!(twice.manifest.lists.len(), 2 * 3);
    assert_eq!(Manifest::decode(&twice.manifest.encode()), Ok(twice.manifest));
}

#[test]
fn missing_and_colliding_sources_are_named() {
    let mut manifest = small();
    manifest.entries.push(file(1, "zz", b"another"));
    manifest.entries.insert(5, entry(0, "zz", EntryKind::Dir));
    manifest.entries[8].kind = EntryKind::Hardlink(6);
    assert_eq!(Manifest::decode(&manifest.encode()).as_ref(), Ok(&manifest));

    let missing = manifest.select(&[b"nope"]).unwrap_err();
    assert_eq!(missing, SelectError::Missing(b"nope".to_vec()));
    let words = "nope: no such file or directory in what is served";
    assert_eq!(missing.to_string(), words);
    let no_directory = manifest.select(&[b"b/."]).unwrap_err();
    assert_eq!(no_directory, SelectError::Missing(b"b/.".to_vec()));

    let collision = SelectError::Collision(b"zz".to_vec(), b"a/zz".to_vec());
    let words = "zz: zz and a/zz would both land under this name";
    assert_eq!(collision.to_string(), words);
    assert_eq!(manifest.select(&[b"zz", b"b", b"a/zz"]).unwrap_err(), collision);
    assert_eq!(manifest.select(&[b"zz", b"a/."]).unwrap_err(), collision);
}

#[test]
fn the_same_entry_named_twice_is_one() {
    let manifest = small();
    let once = manifest.select(&[b"a/x", b"b"]).unwrap();
    let twice = manifest.select(&[b"b", b"a/x", b"a/../b", b"current/x"]).unwrap();
    assert_eq!(twice, once);
    let contents = manifest.select(&[b"a/.", b"a/x"]).unwrap();
    assert_eq!(contents.manifest.entries.len(), 4);
}

#[test]
fn a_directory_is_looked_at_once_and_a_tree_is_not_named_again_and_again() {
    let mut manifest = small();
    manifest.entries.truncate(1);
    manifest.entries.push(entry(0, "0", EntryKind::Dir));
    manifest.entries.push(entry(1, "1", EntryKind::Dir));
    let files = (0..2_000).map(|number| file(2, &format!("{number:04}"), b""));
    manifest.entries.extend(files);
    let spelled: Vec<String> = (0..2_000).map(|n| format!("0/1/{}.", "../1/".repeat(n))).collect();
    let sources: Vec<&[u8]> = spelled.iter().map(String::as_bytes).collect();
    let all = manifest.select(&sources).unwrap();
    assert_eq!(all.manifest.entries.len(), 1 + 2_000);
    assert!(manifest.select(&[b"0", b"0/1"]).is_ok());
    assert_eq!(manifest.select(&[b"0", b"0/1", b"0/1/."]), Err(SelectError::TooMany));
}

#[test]
fn another_spelling_selects_the_same() {
    let manifest = small();
    assert_eq!(manifest.select(&[b"a/.", b"a//./."]), manifest.select(&[b"/a/."]));
    let mut single = manifest.clone();
    single.root_described = false;
    let all = single.select(&[b"./"]).unwrap().manifest;
    assert!(!all.root_described, "a root that no source describes stays one");
    assert_eq!(all, single);
}

fn words() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let name = prop_oneof![
        3 => proptest::sample::select(
            [&b"*"[..], b"**", b"?", b"[a-m]*", b"*a*", b"..", b"/", b"\\*", b"a", b"["].to_vec()
        )
        .prop_map(<[u8]>::to_vec),
        1 => crate::content::samples::paths(),
    ];
    vec(vec(name, 1..4).prop_map(|names| names.join(&b'/')), 1..4)
}

proptest! {
    #[test]
    fn patterns_of_a_tree_give_a_valid_part_of_it_and_one_pattern_what_fits(
        sample in trees(30),
        sources in words(),
        excludes in words(),
    ) {
        let whole = &sample.manifest;
        let is_pattern = |pattern: &Vec<u8>| Patterns::default().exclude(pattern).is_some();
        let excludes = excludes.into_iter().filter(is_pattern).collect();
        let selector = Selector { sources, are_patterns: true, excludes };
        let Ok(part) = whole.select_by(&selector) else { return Ok(()) };
        let copy = &part.manifest;
        prop_assert_eq!(Manifest::decode(&copy.encode()), Ok(copy.clone()));
        let mut excluded = Patterns::default();
        selector.excludes.iter().for_each(|pattern| excluded.exclude(pattern).unwrap());
        for (number, &from) in (0..).zip(&part.origin).skip(1) {
            prop_assert!(!excluded.fit(&copy.path(number), copy.is_dir(number)));
            prop_assert_eq!(&copy.entries[number as usize].name, &whole.entries[from as usize].name);
            if copy.is_dir(number) {
                let kept = |child: u32| {
                    let path = [&copy.path(number)[..], b"/", &whole.entries[child as usize].name].concat();
                    !excluded.fit(&path, whole.is_dir(child))
                };
                let left = whole.children(from).filter(|child| kept(*child)).count();
                prop_assert_eq!(copy.children(number).len(), left);
            }
        }
    }
}

fn by(sources: &[&str], excludes: &[&str]) -> Selector {
    let words = |words: &[&str]| words.iter().map(|word| word.as_bytes().to_vec()).collect();
    Selector { sources: words(sources), are_patterns: true, excludes: words(excludes) }
}

/// Paths of what lands, directories with a `/`.
fn landed(manifest: &Manifest, sources: &[&str], excludes: &[&str]) -> Vec<String> {
    let part = manifest.select_by(&by(sources, excludes)).unwrap().manifest;
    assert_eq!(Manifest::decode(&part.encode()).as_ref(), Ok(&part));
    let path = |number| {
        let is_dir = part.entries[number as usize].kind == EntryKind::Dir;
        String::from_utf8(part.path(number)).unwrap() + if is_dir { "/" } else { "" }
    };
    (1..part.entries.len() as u32).map(path).collect()
}

/// `a/x`, `a/y` (a symlink), `a/z` (a link to `b`), `b`, `current` (to `a`), and further
/// `v1/boot/k`, `v1/root`, `v2/boot/k`, `v2/root`, and `.hidden`.
fn larger() -> Manifest {
    let mut entries = vec![Entry::bare_root()];
    entries.extend([file(0, ".hidden", b"h"), entry(0, "v1", EntryKind::Dir)]);
    entries.extend([entry(0, "v2", EntryKind::Dir), file(0, "w*", b"w"), file(0, "wx", b"x")]);
    entries.extend([entry(2, "boot", EntryKind::Dir), file(2, "root", b"1")]);
    entries.extend([entry(3, "boot", EntryKind::Dir), file(3, "root", b"2")]);
    entries.extend([file(6, "k", b"k1"), file(8, "k", b"k2")]);
    Manifest::of_entries(4096, entries)
}

#[test]
fn what_fits_a_pattern_lands_under_its_base_name() {
    let manifest = larger();
    assert_eq!(landed(&manifest, &["v1/*"], &[]), ["boot/", "root", "boot/k"]);
    assert_eq!(landed(&manifest, &["v[2]/**/k"], &[]), ["k"]);
    assert_eq!(
        landed(&manifest, &["?1", "v2/ro*"], &[]),
        ["root", "v1/", "v1/boot/", "v1/root", "v1/boot/k"]
    );
    assert_eq!(landed(&manifest, &["*1/boot/."], &[]), ["k"]);
    assert_eq!(
        landed(&manifest, &["?h*", "*"], &[]).len(),
        11,
        "a dot is a byte, and once is enough"
    );
    assert_eq!(landed(&manifest, &["*1/"], &["boot", "root"]), ["v1/"]);
    assert_eq!(landed(&manifest, &["[vw]1/../."], &["v?"]), [".hidden", "w*", "wx"]);
    assert_eq!(landed(&manifest, &["[vw]1/.."], &["v?"]), [".hidden", "w*", "wx"], "the root");
    let all = manifest.select_by(&by(&["**"], &[])).unwrap().manifest;
    let star = manifest.select_by(&by(&["*"], &[])).unwrap().manifest;
    assert_eq!(all, star, "what is below comes with it");
}

#[test]
fn a_quoted_name_is_one_and_so_is_what_a_pattern_is_the_name_of() {
    let mut manifest = larger();
    assert_eq!(landed(&manifest, &["w\\*"], &[]), ["w*"]);
    assert_eq!(landed(&manifest, &["w*"], &[]), ["w*"], "what has this very name goes first");
    assert_eq!(landed(&manifest, &["w[*x]"], &[]), ["w*", "wx"]);
    assert_eq!(landed(&manifest, &["\\w*"], &[]), ["w*", "wx"], "this is not its name");
    let path = manifest.select(&[b"w*"]).unwrap();
    assert_eq!(path.manifest.entries.len(), 2, "a path is no pattern");
    assert_eq!(manifest.select_by(&by(&["w\\*"], &[])), Ok(path));
    manifest.entries[5].name = (*b"w[1]").into();
    assert_eq!(landed(&manifest, &["w[1]"], &[]), ["w[1]"], "it fits nothing else");
    manifest.entries[5].name = (*b"w\\[1]").into();
    manifest.entries[4].name = (*b"w[x]").into();
    assert_eq!(landed(&manifest, &["w[x]"], &[]), ["w[x]"], "and wx is another");
    assert_eq!(landed(&manifest, &["w\\\\[[1x]*"], &[]), ["w\\[1]"]);
    manifest.entries[4].name = (*b"w*").into();
    manifest.entries[5].name = (*b"w[1").into();
    assert_eq!(landed(&manifest, &["w[1"], &[]), ["w[1"]);
}

#[test]
fn what_fits_nothing_or_lands_twice_is_named() {
    let manifest = larger();
    let refused = |sources: &[&str], excludes: &[&str]| {
        manifest.select_by(&by(sources, excludes)).unwrap_err().to_string()
    };
    assert_eq!(refused(&["x*"], &[]), "x*: nothing in what is served fits this pattern");
    assert_eq!(
        refused(&["v1", "v1/*/x?"], &[]),
        "v1/*/x?: nothing in what is served fits this pattern"
    );
    assert_eq!(refused(&["w*/"], &[]), "w*/: nothing in what is served fits this pattern");
    assert_eq!(refused(&["w*/."], &[]), "w*/.: nothing in what is served fits this pattern");
    assert_eq!(
        refused(&["[[:digit:]]*"], &[]),
        "[[:digit:]]*: nothing in what is served fits this pattern"
    );
    assert_eq!(refused(&["nope", "w*"], &[]), "nope: no such file or directory in what is served");
    assert_eq!(
        refused(&["v?/root"], &[]),
        "root: v1/root and v2/root would both land under this name"
    );
    assert_eq!(
        refused(&["v?/."], &[]),
        "boot: v1/boot and v2/boot would both land under this name"
    );
    assert_eq!(refused(&["wx"], &["w?"]), "all that the sources name is excluded");
    assert_eq!(refused(&["wx"], &["a//b"]), "a//b: this is no pattern of what is to be left out");
}

#[test]
fn what_is_excluded_does_not_land_nor_what_is_below_it() {
    let manifest = larger();
    assert_eq!(landed(&manifest, &["v*"], &["boot"]), ["v1/", "v2/", "v1/root", "v2/root"]);
    assert_eq!(landed(&manifest, &["v*"], &["/v1/boot", "v2/root"]).len(), 5);
    assert_eq!(landed(&manifest, &["v1/."], &["/boot/k", "root/"]), ["boot/", "root"]);
    assert_eq!(landed(&manifest, &["."], &[".*", "/v1", "/v2/**", "w*"]), ["v2/"]);
    assert_eq!(landed(&manifest, &["v1/boot/."], &["*"]), Vec::<String>::new());
    let mirrored = manifest.select_by(&by(&["v1/."], &["k"])).unwrap().manifest;
    assert!(mirrored.root_described, "it is the directory's contents yet");
    assert!(!manifest.select_by(&by(&["?1/."], &["k"])).unwrap().manifest.root_described);
}

#[test]
fn of_a_file_whose_first_name_is_excluded_another_is_the_file() {
    let manifest = small();
    assert_eq!(landed(&manifest, &["."], &["/a/x"]).len(), 6);
    let part = manifest.select_by(&by(&["."], &["/a/x"])).unwrap().manifest;
    let z = part.find(b"a/z", false).unwrap();
    assert_eq!(
        (part.entries[z as usize].kind, part.entries[z as usize].size),
        (EntryKind::File, 2)
    );
}

#[test]
fn patterns_that_take_too_long_are_refused() {
    let mut manifest = larger();
    let dir = manifest.entries.len() as u32;
    manifest.entries.push(entry(8, "n", EntryKind::Dir));
    manifest
        .entries
        .extend((0..9_000).map(|n| file(dir, &format!("{n:04}{}", "a".repeat(240)), b"")));
    let refused = |sources: &[&str], excludes: &[&str]| {
        manifest
            .select_within(&by(sources, excludes).plain(), &mut manifest.steps_max())
            .unwrap_err()
    };
    let many = format!("*{}b?", "a".repeat(100));
    assert_eq!(refused(&[&format!("**/{many}")], &[]), SelectError::TooLong);
    assert_eq!(refused(&["."], &[&many]), SelectError::TooLong);
    let each: Vec<String> = (0..400).map(|n| format!("**/n{n}x*/?")).collect();
    let each: Vec<&str> = each.iter().map(String::as_str).collect();
    assert!(matches!(refused(&each, &[]), SelectError::NoneFits(_)), "of the first");
    assert_eq!(refused(&["**/../".repeat(5_000).as_str()], &[]), SelectError::TooLong);
    assert_eq!(refused(&[&("**/".repeat(9_000) + "x")], &[]), SelectError::TooLong);
    let usual: Vec<String> = (0..50).map(|n| format!("*.ext{n}")).collect();
    let usual: Vec<&str> = usual.iter().map(String::as_str).collect();
    let files = &mut manifest.entries[dir as usize + 1..];
    (0..).zip(files).for_each(|(n, file)| file.name = format!("{n:04}.dat").into_bytes().into());
    assert_eq!(landed(&manifest, &["**/*.dat", "v1"], &usual).len(), 9_004);
}
