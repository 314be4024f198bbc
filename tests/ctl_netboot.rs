//! `xgetctl netboot`: its files, tested by a real dnsmasq.

#![allow(clippy::unwrap_used)] // in tests a panic is the report

#[path = "ctl_support.rs"]
mod ctl;
mod support;

use ctl::Head;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn head() -> Head {
    let head = Head::new();
    fs::create_dir_all(head.image("debian").join("root")).unwrap();
    for name in ["kernel", "initrd"] {
        let path = head.image("debian").join(name);
        fs::write(&path, name).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    fs::write(head.dir.join("nodes.tab"), "52:54:00:00:00:01 n001 debian\n").unwrap();
    head
}

#[test]
fn all_that_a_machine_boots_from_is_in_one_directory_and_made_anew() {
    let head = head();
    let dir = head.scratch.join("boot");
    for words in ["console=ttyS0", "quiet"] {
        let line = format!("netboot --dir {} --interface lo --words {words}", dir.display());
        let said = head.says(&line).expect(0).out;
        assert!(said.contains("lo: 127.0.0.1 lends 127."), "{said}");
        let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap();
        let pair = pair(&dir);
        assert_eq!((&*read(&pair[1]), &*read(&pair[0])), ("kernel", "initrd"));
        for name in ["boot.ipxe", "pxelinux.cfg/default"] {
            assert!(read(name).contains(&format!("xget.master=127.0.0.1 {words}")), "{name}");
        }
        let conf = read("dnsmasq.conf");
        assert!(conf.contains(&format!("\ndhcp-hostsfile={}/dhcp-hosts\n", dir.display())));
        assert!(read("dhcp-hosts").ends_with("\n52:54:00:00:00:01,n001\n"));
        assert!(conf.contains(&format!("\ntftp-root={}\n", dir.display())), "{conf}");
        // Who dnsmasq runs as is nobody special.
        let mode = |name: &str| dir.join(name).metadata().unwrap().permissions().mode() & 0o7777;
        let modes = ["", "pxelinux.cfg", &pair[0], &pair[1], "dnsmasq.conf"].map(mode);
        assert_eq!(modes, [0o755, 0o755, 0o644, 0o644, 0o644]);
        let hidden = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(hidden.filter(|name| name.to_string_lossy().starts_with('.')).count(), 0);
    }
}

#[test]
fn lines_of_an_administrator_go_after_ours_and_are_tested_with_them() {
    let head = head();
    let (dir, own) = (head.scratch.join("boot"), head.scratch.join("own"));
    let line = format!("netboot --dir {} --interface lo --dnsmasq", dir.display());
    let lines = "dhcp-mac=set:old,52:54:00:00:00:09\ndhcp-boot=tag:old,pxelinux.0\n";
    fs::write(&own, lines).unwrap();
    head.says(&format!("{line} {}", own.display())).expect(0);
    let conf = || fs::read_to_string(dir.join("dnsmasq.conf")).unwrap();
    assert!(conf().ends_with(lines), "{}", conf());
    fs::write(&own, "dhcp-boot\nno-such-word\n").unwrap();
    let said = head.says(&format!("{line} {}", own.display())).expect(6);
    assert!(said.err.contains("dnsmasq"), "{}", said.err);
    assert!(conf().ends_with(lines), "what dnsmasq refuses is not put in place");
    head.says(&format!("{line} {}", head.scratch.join("none").display())).expect(4);
}

/// Kernels and initramfses, in the order of their names.
fn pair(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.into_string().unwrap());
    let mut pair: Vec<String> = names
        .filter(|name| name.starts_with("vmlinuz-") || name.starts_with("initramfs-"))
        .collect();
    pair.sort();
    pair
}

#[test]
fn a_pair_stays_until_machines_have_the_next_but_one() {
    let head = head();
    let dir = head.scratch.join("boot");
    let mut pairs = Vec::new();
    for kernel in ["one", "two", "two", "three"] {
        fs::write(head.image("debian").join("kernel"), kernel).unwrap();
        head.says(&format!("netboot --dir {} --interface lo", dir.display())).expect(0);
        pairs.push(pair(&dir));
    }
    // Of the first alone, with the second, again, and the second with the third.
    assert_eq!(pairs.iter().map(Vec::len).collect::<Vec<_>>(), [2, 4, 4, 4]);
    assert!(!pairs[3].contains(&pairs[0][0]) && !pairs[3].contains(&pairs[0][1]));
    let script = fs::read_to_string(dir.join("boot.ipxe")).unwrap();
    let named: Vec<&String> = pairs[3].iter().filter(|name| script.contains(*name)).collect();
    assert_eq!(named.len(), 2, "{script}");
    assert_eq!(fs::read(dir.join(named[1])).unwrap(), b"three");
}

#[test]
fn every_set_up_is_understood_by_dnsmasq() {
    let head = head();
    let dir = head.scratch.join("boot");
    let line = format!("netboot --dir {} --interface lo", dir.display());
    let conf = || fs::read_to_string(dir.join("dnsmasq.conf")).unwrap();
    head.says(&format!("{line} --proxy --loader pxelinux")).expect(0);
    assert!(conf().contains("x86PC,\"xget\",pxelinux.0\n"), "{}", conf());
    head.says(&format!("{line} --ipv6")).expect(11).says("lo has no IPv6 address");
    head.says(&format!("{line} --ipv6 --proxy")).expect(2);
    head.says(&format!("{line} --dns")).expect(0);
    assert!(conf().contains("\ndhcp-option=6,127.0.0.1\n"), "{}", conf());
    head.says(&format!("{line} --loader grub")).expect(0);
    assert!(conf().contains("\ndhcp-boot=tag:!ipxe,tag:bios,grub.0\n"), "{}", conf());
    assert!(conf().contains("\ndhcp-boot=tag:!ipxe,tag:uefi,grubx64.efi\n"), "{}", conf());
    assert!(fs::read(dir.join("grubx64.efi")).unwrap().starts_with(b"MZ"));
    let cfg = fs::read_to_string(dir.join("grub/grub.cfg")).unwrap();
    let pair = pair(&dir);
    for name in pair {
        assert!(cfg.contains(&format!(" /{name}")), "{cfg}");
    }
    head.stand_in("grub-mkimage", "echo no such module >&2; exit 1");
    head.says(&format!("{line} --loader grub")).expect(6).says("no such module");
}

#[test]
fn addresses_that_nodes_are_known_by_are_not_lent() {
    let head = head();
    let dir = head.scratch.join("boot");
    let line = format!("netboot --dir {} --interface lo", dir.display());
    fs::write(head.dir.join("nodes.tab"), "127.255.255.250 n7 debian\n10.0.0.1 n8 debian\n")
        .unwrap();
    head.says(&line).expect(0).says("are lent to nobody");
    let conf = fs::read_to_string(dir.join("dnsmasq.conf")).unwrap();
    assert!(conf.contains("=127.254.255.255,127.255.255.249,255.0.0.0,"), "{conf}");
    assert!(conf.contains("=127.255.255.251,127.255.255.254,255.0.0.0,"), "{conf}");
    let names = fs::read_to_string(dir.join("hosts")).unwrap();
    assert!(names.ends_with("\n127.255.255.250 n7\n10.0.0.1 n8\n"), "{names}");
    fs::write(head.dir.join("nodes.tab"), "127.0.0.0/8 - debian\n").unwrap();
    head.says(&line).expect(5).says("there is none left to lend");
    head.says(&format!("{line} --proxy")).expect(0);
}

#[test]
fn without_a_table_the_image_is_named() {
    let head = head();
    let dir = head.scratch.join("boot");
    let line = format!("netboot --dir {} --interface lo", dir.display());
    let script = |more: &str| {
        head.says(&format!("{line}{more}")).expect(0);
        fs::read_to_string(dir.join("boot.ipxe")).unwrap()
    };
    assert!(!script("").contains("xget.image="));
    fs::remove_file(head.dir.join("nodes.tab")).unwrap();
    assert!(script("").contains("xget.master=127.0.0.1 xget.image=debian BOOTIF"));
    assert!(script(" --words xget.image=x").contains("xget.master=127.0.0.1 xget.image=x BOOTIF"));
    let boot = head.scratch.dir("stage");
    for name in ["vmlinuz", "initramfs.img"] {
        fs::write(boot.join(name), name).unwrap();
    }
    let line = format!("{line} --boot {}", boot.display());
    head.says(&line).expect(0).says("nodes ask for the image default");
    fs::create_dir(head.image("default")).unwrap();
    let said = head.says(&line).expect(0);
    assert!(!said.err.contains("default"), "{}", said.err);
}

#[test]
fn what_dnsmasq_does_not_understand_is_not_put_in_place() {
    let head = head();
    head.stand_in("dnsmasq", "echo bad option at line 3 >&2; exit 1");
    let dir = head.scratch.join("boot");
    let line = format!("netboot --dir {} --interface lo", dir.display());
    head.says(&line).expect(6).says("bad option at line 3");
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
}

#[test]
fn what_is_missing_is_said() {
    let head = head();
    let dir = head.scratch.join("boot");
    let with = |more: &str| head.says(&format!("netboot --dir {} {more}", dir.display()));
    with("--interface xget-none0").expect(11).says("xget-none0");
    with("--interface lo --image none").expect(4).says("none");
    with("--interface lo --boot /nowhere").expect(4).says("cannot find /nowhere/vmlinuz");
    with("--interface lo --words $x").expect(2).says("--words cannot have");
    fs::remove_file(head.image("debian").join("initrd")).unwrap();
    with("--interface lo").expect(4).says("xgetctl image build debian");
    fs::create_dir(head.image("other")).unwrap();
    with("--interface lo").expect(2).says("debian, other");
    assert!(!dir.exists());
}

#[test]
fn what_others_wrote_stays() {
    let head = head();
    let dir = head.scratch.join("boot");
    let line = format!("netboot --dir {} --interface lo", dir.display());
    head.says(&line).expect(0);
    let mine = dir.join("vmlinuz");
    fs::write(&mine, "mine").unwrap();
    let menu = dir.join("pxelinux.cfg/01-52-54-00-00-00-01");
    fs::write(&menu, "LABEL mine\n").unwrap();
    head.says(&line).expect(0);
    assert_eq!(fs::read_to_string(&menu).unwrap(), "LABEL mine\n");
    assert_eq!(fs::read_to_string(&mine).unwrap(), "mine");
    for name in ["dnsmasq.conf", "boot.ipxe", "pxelinux.cfg/default"] {
        let path = dir.join(name);
        let ours = fs::read(&path).unwrap();
        fs::write(&path, "mine\n").unwrap();
        head.says(&line).expect(2).says("stays as it is");
        assert_eq!(fs::read(&path).unwrap(), b"mine\n");
        fs::write(&path, ours).unwrap();
    }
}
