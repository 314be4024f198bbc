//! Pieces that another directory has.

use super::*;

fn with_copies(dir: &Dir) -> DestOptions {
    let policy = Policy { copies: Some(dir.path().into()), ..Policy::default() };
    DestOptions { policy, ..faithful() }
}

#[test]
fn what_another_directory_has_is_copied_and_nothing_moves() {
    let (source, dest) = (rich_tree(), Dir::new());
    let mut fetch = fetch(source.path(), dest.path(), with_copies(&source));
    assert_eq!((fetch.errors().len(), fetch.moved), (0, 0));
    assert_eq!(picture(dest.path()), picture(source.path()));
    assert!(fetch.writer.take_notes().is_empty());
}

#[test]
fn what_is_wrong_there_is_fetched() {
    let (source, copies, dest) = (rich_tree(), rich_tree(), Dir::new());
    let mut large = bytes(1, 5 * P + 77);
    large[3 * P + 5] ^= 1;
    copies.write("large", &large);
    fs::write(copies.join("exact"), b"short").unwrap();
    fs::remove_file(copies.join("one-piece")).unwrap();
    fs::rename(copies.join("many"), copies.join("moved")).unwrap();
    symlink("moved", copies.join("many")).unwrap();
    fs::remove_file(copies.join("sub/deep/er/file")).unwrap();
    fs::create_dir(copies.join("sub/deep/er/file")).unwrap();
    let fetch = fetch(source.path(), dest.path(), with_copies(&copies));
    assert_eq!(fetch.errors(), [""; 0]);
    assert_eq!(picture(dest.path()), picture(source.path()));
    // A piece of the large one, two and one, and the packs of the small ones.
    assert!((5..60).contains(&fetch.moved), "{}", fetch.moved);
    let all = super::fetch(source.path(), Dir::new().path(), faithful()).moved;
    assert!(fetch.moved < all, "of {all}");
}

#[test]
fn a_directory_that_is_not_there_is_an_error() {
    let (source, dest) = (Dir::new(), Dir::new());
    source.write("a", b"a");
    let tree = scan(source.path());
    let policy = Policy { copies: Some(dest.join("none")), ..Policy::default() };
    let options = DestOptions { policy, ..faithful() };
    let mut place = Dest::open(&dest.join("new"), options).unwrap();
    let begun = place.begin(tree.manifest.clone(), map_of(&tree.manifest));
    assert!(begun.err().unwrap().to_string().contains("/none\": No such file"));
    assert!(!dest.join("new").exists());
}
