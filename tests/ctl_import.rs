//! What images are imported from: directories, tar archives, OCI layouts, docker archives; and
//! archives that are damaged or lead elsewhere.

#![allow(clippy::unwrap_used)] // in tests a panic is the report

#[path = "ctl_support.rs"]
mod ctl;
mod support;

use ctl::Head;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{Gid, Uid, chown, mkfifo};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use support::tree::{assert_same, look};
use support::{lacks, lacks_root, noise};

const TOOLS: [&str; 6] = ["tar", "gzip", "xz", "zstd", "setfattr", "setfacl"];

fn ready() -> Option<Head> {
    (!lacks_root() && !lacks(&TOOLS)).then(Head::new)
}

fn tool(program: &str, args: &[&str], dir: &Path) -> Vec<u8> {
    let out = Command::new(program).args(args).current_dir(dir).output().unwrap();
    assert!(out.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

/// A tree with all that a root may have.
fn make_odd_root(root: &Path) {
    let odd = root.join("odd");
    // GNU tar has names in ACLs, without numbers: this system's, which are the image's, too.
    fs::create_dir_all(root.join("etc")).unwrap();
    for name in ["passwd", "group"] {
        fs::copy(format!("/etc/{name}"), root.join("etc").join(name)).unwrap();
    }
    fs::create_dir_all(odd.join("dir with space")).unwrap();
    fs::write(odd.join("file"), noise(1, 100_000)).unwrap();
    fs::hard_link(odd.join("file"), odd.join("dir with space/again")).unwrap();
    symlink("/nowhere", odd.join("link")).unwrap();
    let long = "n".repeat(200);
    fs::write(odd.join(&long), "long name").unwrap();
    symlink(&long, odd.join("to long")).unwrap();
    fs::write(odd.join("setuid"), "x").unwrap();
    chown(&odd.join("setuid"), Some(Uid::from_raw(1234)), Some(Gid::from_raw(4_000_000))).unwrap();
    fs::set_permissions(odd.join("setuid"), fs::Permissions::from_mode(0o4755)).unwrap();
    mkfifo(&odd.join("fifo"), Mode::from_bits_truncate(0o640)).unwrap();
    let device = |name: &str, kind, number| {
        mknod(&odd.join(name), kind, Mode::from_bits_truncate(0o600), number).unwrap();
    };
    device("null", SFlag::S_IFCHR, makedev(1, 3));
    device("sda", SFlag::S_IFBLK, makedev(8, 0));
    let sparse = File::create(odd.join("sparse")).unwrap();
    sparse.set_len(3 << 20).unwrap();
    sparse.write_all_at(b"island", 2 << 20).unwrap();
    tool("setfattr", &["-n", "user.note", "-v", "kept", "file"], &odd);
    let capability = "0x0100000200200000000000000000000000000000";
    tool("setfattr", &["-n", "security.capability", "-v", capability, "setuid"], &odd);
    tool("setfacl", &["-m", "u:7:r,g:9:rw", "file"], &odd);
    tool("setfacl", &["-d", "-m", "u:7:rx", "dir with space"], &odd);
    fs::set_permissions(odd.join("dir with space"), fs::Permissions::from_mode(0o1777)).unwrap();
    tool("touch", &["-d", "1999-12-31 23:59:59.123456789", "dir with space", "file"], &odd);
}

fn attributes(dir: &Path) -> String {
    String::from_utf8(tool("getfattr", &["-R", "-h", "-d", "-m", "-", "-e", "hex", "odd"], dir))
        .unwrap()
}

#[track_caller]
fn assert_arrived(root: &Path, image: &Path) {
    let has = image.join("root");
    assert_same(&root.join("odd"), &has.join("odd"));
    assert_eq!(attributes(root), attributes(&has));
    let device = |dir: &Path, name: &str| {
        std::os::unix::fs::MetadataExt::rdev(
            &dir.join("odd").join(name).symlink_metadata().unwrap(),
        )
    };
    for name in ["null", "sda"] {
        assert_eq!(device(root, name), device(&has, name));
    }
}

#[test]
fn a_root_arrives_as_it_is_from_a_directory_and_from_archives() {
    let Some(head) = ready() else { return };
    let root = head.scratch.dir("root");
    make_odd_root(&root);
    head.run(["image", "import", "dir", root.to_str().unwrap()]).expect(0);
    assert_arrived(&root, &head.image("dir"));
    let ways: [(&str, &[&str]); 6] = [
        ("pax.tar", &["--format=pax"]),
        ("sparse.tar", &["--format=pax", "--sparse"]),
        ("gnu.tar", &["--format=gnu", "--sparse"]),
        ("a.tgz", &["-z"]),
        ("a.txz", &["-J"]),
        ("a.tzst", &["--zstd"]),
    ];
    for (name, options) in ways {
        let archive = head.scratch.join(name);
        let keep = ["--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner", "-cf"];
        // GNU's own format has no attributes: they are what PAX is for.
        let keep = if options[0] == "--format=gnu" { &keep[3..] } else { &keep[..] };
        let args = [options, keep, &[archive.to_str().unwrap(), "."]].concat();
        tool("tar", &args, &root);
        let image = name.replace('.', "-");
        head.run(["image", "import", &image, archive.to_str().unwrap()]).expect(0);
        if options[0] == "--format=gnu" {
            // Seconds are all that it has.
            let seen = look(&head.image(&image).join("root/odd"));
            let file = &seen[Path::new("sparse")];
            assert_eq!(file.what, look(&root.join("odd"))[Path::new("sparse")].what);
        } else {
            assert_arrived(&root, &head.image(&image));
        }
    }
}

#[test]
fn what_is_damaged_is_refused_and_nothing_stays() {
    let Some(head) = ready() else { return };
    let root = head.scratch.dir("root");
    (0..20).for_each(|n| fs::write(root.join(format!("f{n}")), noise(n, 5000)).unwrap());
    let whole = tool("tar", &["-cf", "-", "."], &root);
    let packed = tool("tar", &["-czf", "-", "."], &root);
    for (name, bytes, words) in [
        ("cut.tar", &whole[..whole.len() / 2], "damaged"),
        // At the border of two entries.
        ("end.tar", &whole[..512 * ((whole.len() - 10240) / 512)], "damaged"),
        ("cut.tgz", &packed[..packed.len() - 9], "damaged"),
        ("text.tar", &b"this is no archive, whatever its name says".repeat(50)[..], "damaged"),
        ("empty.tar", b"", "cut off"),
        ("a.tar.bz2", b"BZh91AY", "bzip2"),
    ] {
        let path = head.scratch.join(name);
        fs::write(&path, bytes).unwrap();
        head.run(["image", "import", "x", path.to_str().unwrap()]).expect(5).says(words);
        assert!(head.names().is_empty(), "{name}: {:?}", head.names());
    }
    head.says("image import x /no/such/file").expect(4).says("No such file");
}

/// An archive by hand: path, kind, contents or target.
fn archive(entries: &[(&str, char, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (path, kind, text) in entries {
        let data = if *kind == '0' { text.as_bytes() } else { b"" };
        let mut header = [0_u8; 512];
        let mut put =
            |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
        put(0, path);
        put(100, if *kind == '5' { "0000755" } else { "0000644" });
        put(108, "0000000");
        put(116, "0000000");
        put(124, &format!("{:011o}", data.len()));
        put(136, "00000000000");
        put(156, &kind.to_string());
        if *kind != '0' {
            put(157, text);
        }
        put(257, "ustar\x0000");
        put(148, "        ");
        let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        bytes.extend(header);
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

#[test]
fn names_that_leave_the_root_are_refused_or_led_back_into_it() {
    let Some(head) = ready() else { return };
    let outside = head.scratch.dir("outside");
    fs::write(outside.join("passwd"), "the head's").unwrap();
    let out = outside.to_str().unwrap();
    let import = |bytes: &[u8]| {
        let path = head.scratch.join("x.tar");
        fs::write(&path, bytes).unwrap();
        head.run(["image", "import", "x", path.to_str().unwrap()])
    };
    import(&archive(&[("../evil", '0', "x")])).expect(5).says("leaves the root");
    import(&archive(&[("a/../../evil", '0', "x")])).expect(5).says("leaves the root");
    import(&archive(&[("link", '1', "../../../etc/passwd")])).expect(5).says("leaves the root");
    import(&archive(&[("link", '1', "nothing")])).expect(5).says("hard link");
    import(&archive(&[("x", 'Z', "")])).expect(5).says("kind that is not known");
    // A link to the head's own files is kept as what it is, and leads into the root.
    let tricks = [("etc", '2', out), ("etc/passwd", '0', "stranger's"), ("usr/x", '0', "y")];
    let ended = import(&archive(&tricks));
    assert_eq!(fs::read(outside.join("passwd")).unwrap(), b"the head's");
    ended.expect(5).says("leads nowhere within the root");
    let inside = [("usr/", '5', ""), ("lib", '2', "../../../../usr"), ("lib/file", '0', "in")];
    import(&archive(&inside)).expect(0);
    assert_eq!(fs::read(head.image("x").join("root/usr/file")).unwrap(), b"in");
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// An OCI layout of these layers; compressed as their number says.
fn oci_layout(dir: &Path, layers: &[Vec<u8>]) {
    fs::create_dir_all(dir.join("blobs/sha256")).unwrap();
    let blob = |bytes: &[u8]| {
        fs::write(dir.join("blobs/sha256").join(hex(bytes)), bytes).unwrap();
        (format!("sha256:{}", hex(bytes)), bytes.len())
    };
    let arch = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
    let diff_ids: Vec<String> =
        layers.iter().map(|layer| format!("sha256:{}", hex(layer))).collect();
    let config = serde_json::json!({
        "architecture": arch, "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}
    });
    let (config, config_len) = blob(config.to_string().as_bytes());
    let mut listed = Vec::new();
    for (nth, layer) in layers.iter().enumerate() {
        let plain = dir.join("plain");
        fs::write(&plain, layer).unwrap();
        let (packed, kind) = match nth % 3 {
            0 => (tool("gzip", &["-c", "plain"], dir), "tar+gzip"),
            1 => (tool("zstd", &["-qc", "plain"], dir), "tar+zstd"),
            _ => (layer.clone(), "tar"),
        };
        fs::remove_file(plain).unwrap();
        let (digest, len) = blob(&packed);
        listed.push(serde_json::json!({
            "mediaType": format!("application/vnd.oci.image.layer.v1.{kind}"),
            "digest": digest, "size": len
        }));
    }
    let manifest = serde_json::json!({
        "schemaVersion": 2, "layers": listed,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": config_len}
    });
    let (manifest, len) = blob(manifest.to_string().as_bytes());
    let index = serde_json::json!({
        "schemaVersion": 2,
        "manifests": [
            {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": manifest, "size": len,
             "platform": {"architecture": arch, "os": "linux"},
             "annotations": {"org.opencontainers.image.ref.name": "latest"}},
            {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": manifest, "size": len,
             "platform": {"architecture": "s390x", "os": "linux"}}
        ]
    });
    fs::write(dir.join("index.json"), index.to_string()).unwrap();
    fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
}

/// Three layers, of which the later take away what the earlier brought.
fn three_layers() -> [Vec<u8>; 3] {
    let mut layers = [
        archive(&[
            ("etc/", '5', ""),
            ("etc/one", '0', "first"),
            ("etc/gone", '0', "first"),
            ("opt/old/", '5', ""),
            ("opt/old/a", '0', "first"),
            ("opt/old/b", '0', "first"),
            ("var/tree/deep/", '5', ""),
            ("var/tree/deep/file", '0', "first"),
            ("usr/", '5', ""),
            ("lib", '2', "usr"),
        ]),
        archive(&[
            ("etc/one", '0', "second"),
            ("etc/.wh.gone", '0', ""),
            ("var/.wh.tree", '0', ""),
            ("lib/file", '0', "through the link"),
        ]),
        archive(&[
            ("opt/old/new", '0', "third"),
            ("opt/old/.wh..wh..opq", '0', ""),
            ("opt/old/later", '0', "third"),
        ]),
    ];
    // As umoci 0.4 leaves them: no blocks of zeros at the end, and the last one not filled.
    layers[0].truncate(layers[0].len() - 1024);
    layers[1].truncate(layers[1].len() - 1024 - 512 + "through the link".len());
    layers
}

#[track_caller]
fn assert_layered(root: &Path) {
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    assert_eq!(read("etc/one"), "second");
    assert_eq!((read("opt/old/new"), read("opt/old/later")), ("third".into(), "third".into()));
    assert_eq!(read("usr/file"), "through the link");
    for gone in
        ["etc/gone", "var/tree", "opt/old/a", "opt/old/b", "etc/.wh.gone", "opt/old/.wh..wh..opq"]
    {
        assert!(root.join(gone).symlink_metadata().is_err(), "{gone}");
    }
}

#[test]
fn layers_of_an_oci_image_go_over_each_other() {
    let Some(head) = ready() else { return };
    let layout = head.scratch.dir("layout");
    oci_layout(&layout, &three_layers());
    let path = layout.to_str().unwrap();
    head.run(["image", "import", "dir", path]).expect(0);
    assert_layered(&head.image("dir").join("root"));
    let packed = head.scratch.join("layout.tar");
    tool("tar", &["-cf", packed.to_str().unwrap(), "."], &layout);
    head.run(["image", "import", "tar", packed.to_str().unwrap(), "--tag", "latest"]).expect(0);
    assert_layered(&head.image("tar").join("root"));
    head.run(["image", "import", "x", path, "--tag", "other"]).expect(5).says("has no image");
    // One byte of a layer, of the configuration, of the manifest.
    for entry in fs::read_dir(layout.join("blobs/sha256")).unwrap() {
        let blob = entry.unwrap().path();
        let bytes = fs::read(&blob).unwrap();
        let mut wrong = bytes.clone();
        let middle = wrong.len() / 2;
        wrong[middle] ^= 1;
        fs::write(&blob, wrong).unwrap();
        head.run(["image", "import", "x", path]).expect(5);
        fs::write(&blob, bytes).unwrap();
    }
    assert_eq!(head.names(), ["dir", "tar"]);
}

#[test]
fn layers_of_a_docker_archive_go_over_each_other() {
    let Some(head) = ready() else { return };
    let dir = head.scratch.dir("docker");
    let layers = three_layers();
    let names: Vec<String> = (0..layers.len()).map(|nth| format!("layer{nth}/layer.tar")).collect();
    for (name, layer) in names.iter().zip(&layers) {
        fs::create_dir(dir.join(name).parent().unwrap()).unwrap();
        fs::write(dir.join(name), layer).unwrap();
    }
    let diff_ids: Vec<String> =
        layers.iter().map(|layer| format!("sha256:{}", hex(layer))).collect();
    let config =
        serde_json::json!({"rootfs": {"type": "layers", "diff_ids": diff_ids}}).to_string();
    let config_name = format!("{}.json", hex(config.as_bytes()));
    fs::write(dir.join(&config_name), &config).unwrap();
    let manifest =
        serde_json::json!([{"Config": config_name, "RepoTags": ["x:1"], "Layers": names}]);
    fs::write(dir.join("manifest.json"), manifest.to_string()).unwrap();
    let import = |name: &str| {
        let packed = head.scratch.join("docker.tar");
        tool("tar", &["-cf", packed.to_str().unwrap(), "."], &dir);
        head.run(["image", "import", name, packed.to_str().unwrap()])
    };
    import("docker").expect(0);
    assert_layered(&head.image("docker").join("root"));
    let other = archive(&[("etc/one", '0', "changed")]);
    fs::write(dir.join(&names[1]), other).unwrap();
    import("x").expect(5).says("its digest is");
    assert_eq!(head.names(), ["docker"]);
}
