//! Lines as people write them, and any others.

use super::*;
use crate::driver::parse_hosts;
use proptest::prelude::*;

fn settings(text: &str) -> Settings {
    Settings::of(&Cmdline::parse(text))
}

fn addr(text: &str) -> Host {
    Host::Addr(text.parse().unwrap())
}

#[test]
fn an_empty_line_is_a_boot_by_dhcp() {
    let asked = settings("");
    assert_eq!(asked.network.ip, [IpRule::of(Method::Any)]);
    assert!(asked.image.masters.is_empty() && asked.warnings.is_empty());
    assert!(asked.image.is_searched && !settings("xget.discovery=0").image.is_searched);
    assert!(settings("xget.discovery").image.is_searched);
    assert_eq!((asked.image.path.as_str(), asked.image.port), ("default", 20004));
    assert_eq!(asked.timeouts, Timeouts::DEFAULT);
    let end = EndSettings { shell: false, panic_s: None, action: EndAction::Reboot };
    assert_eq!(asked.end, end);
    assert_eq!(asked.image.linger_ms, None);
}

#[test]
fn the_key_of_a_node_is_its_own_and_nothing_of_it_is_said() {
    let root = peer::auth::Key::root([7; 32]);
    let (node, cluster) = (root.node("n1").unwrap(), root.cluster().unwrap());
    let asked = settings(&format!("xget.key={} xget.node-key={}", cluster.text(), node.text()));
    assert_eq!((&asked.node_key, &asked.refusal), (&Some(node.clone()), &None));
    assert!(asked.warnings.is_empty() && !format!("{asked:?}").contains(&node.text()[20..40]));
    for text in [&*cluster.text(), &root.text(), &node.text()[..40], "", "x"] {
        let asked = settings(&format!("xget.node-key={text}"));
        let why = asked.refusal.expect(text);
        assert!(asked.node_key.is_none() && why.starts_with("xget.node-key=: "), "{why}");
        assert!(text.len() < 60 || !why.contains(&text[text.len() - 20..]), "{why}");
    }
}

#[test]
fn masters_by_address_name_and_port() {
    let asked = settings("xget.port=99 xget.master=10.0.0.1,head:7,[fe80::1]:8,[::1],2001:db8::5");
    let expected = [
        addr("10.0.0.1:99"),
        Host::Name("head".into(), 7),
        addr("[fe80::1]:8"),
        addr("[::1]:99"),
        addr("[2001:db8::5]:99"),
    ];
    assert_eq!(asked.image.masters, expected);
}

#[test]
fn wrong_masters_are_warned_of() {
    for text in [
        "",
        ",",
        ":1",
        "a:0",
        "a:b",
        "[::1",
        "[::1]x",
        "a b",
        "[a]",
        "h:70000",
        "10.0.0.1:0",
        "a@b",
    ] {
        assert!(parse_hosts(text, 1).is_err(), "{text}");
    }
    let asked = settings("xget.master=a:b");
    assert!(asked.image.masters.is_empty());
    assert!(asked.warnings[0].contains("a:b"), "{:?}", asked.warnings);
    // A machine boots from the first of too many.
    let asked = settings(&format!("xget.master={}", "10.0.0.1,".repeat(17)));
    assert_eq!(asked.image.masters.len(), 16);
    assert!(asked.warnings[0].contains("17 masters"), "{:?}", asked.warnings);
}

#[test]
fn perceus_names_are_aliases() {
    let asked = settings(
        "masterip=10.0.0.9 dhcp_eth=eth2 dhcp_mac=00:11:22:33:44:55 eth_mtu=9000 enable-kmods=a-b,c noload=x kexec-legacy",
    );
    assert_eq!(asked.image.masters, [addr("10.0.0.9:20004")]);
    assert_eq!(asked.network.bootdev, Some(Device::Name("eth2".into())));
    assert_eq!(asked.network.bootif, Mac::parse("00:11:22:33:44:55"));
    assert_eq!(asked.network.mtu, Some(9000));
    assert_eq!(asked.modules_first, ["a_b", "c"]);
    assert_eq!(asked.modules_never, ["x"]);
    assert_eq!(asked.warnings.len(), 1);
}

#[test]
fn unknown_names_of_ours_are_reported_and_others_left_alone() {
    let asked = settings("xget.mastr=1 foo=bar rd.break quiet xget.timeout.lunch=3");
    assert_eq!(asked.warnings.len(), 2);
    assert!(asked.warnings[0].contains("xget.mastr"));
    assert!(asked.refusal.is_none());
    assert_eq!(settings("bridge=br0:eth0 team=t0").warnings.len(), 2);
}

#[test]
fn an_unreadable_digest_refuses_the_boot() {
    let hex = "ab".repeat(32);
    let asked = settings(&format!("xget.digest=blake3:{hex}"));
    assert_eq!(asked.image.digest, Digest::parse(&hex));
    for text in ["", "blake3:12", "sha256:00", &hex] {
        let asked = settings(&format!("xget.digest={text}"));
        assert!(asked.refusal.is_some() && asked.image.digest.is_none(), "{text}");
    }
}

#[test]
fn timeouts_of_ours_and_others() {
    let asked = settings("xget.timeout.dhcp=0 rd.net.timeout.carrier=7 xget.timeout.master=x");
    assert_eq!(asked.timeouts.dhcp_ms, None);
    assert_eq!(asked.timeouts.carrier_ms, Some(7000));
    assert_eq!(asked.timeouts.master_ms, Timeouts::DEFAULT.master_ms);
    assert_eq!(asked.warnings.len(), 1);
    let both = settings("rd.net.timeout.carrier=7 xget.timeout.carrier=8");
    assert_eq!(both.timeouts.carrier_ms, Some(8000));
}

#[test]
fn images_cannot_climb() {
    assert_eq!(settings("xget.image=/rocky/9/").image.path, "rocky/9");
    for text in ["../etc", "a//b", "a/./b", ""] {
        let asked = settings(&format!("xget.image={text}"));
        assert_eq!((asked.image.path.as_str(), asked.warnings.len()), ("default", 1), "{text}");
    }
}

#[test]
fn bootif_can_be_switched_off() {
    assert!(settings("BOOTIF=01-52-54-00-12-34-56").network.bootif.is_some());
    assert!(settings("BOOTIF=01-52-54-00-12-34-56 rd.bootif=0").network.bootif.is_none());
}

#[test]
fn sizes_ends_and_switches() {
    let asked = settings("xget.tmpfs.size=3g xget.fail=halt rd.shell panic=-1 xget.linger=9");
    assert_eq!(asked.image.room_bytes, Some(3 << 30));
    let end = EndSettings { shell: true, panic_s: Some(-1), action: EndAction::Halt };
    assert_eq!(asked.end, end);
    assert_eq!(asked.image.linger_ms, Some(9000));
    assert!(!settings("rd.shell xget.shell=0").end.shell);
    for (text, bytes) in [("7", 7), ("7k", 7 << 10), ("7M", 7 << 20), ("4000G", 4000 << 30)] {
        assert_eq!(parse_size(text), Some(bytes), "{text}");
    }
    for text in ["", "0", "G", "1T", "1GG", "-1", "99999999999"] {
        assert_eq!(parse_size(text), None, "{text}");
    }
    assert_eq!(settings("xget.tmpfs.size=G xget.fail=dance").warnings.len(), 2);
}

#[test]
fn links_and_routes_are_read_and_wrong_ones_named() {
    let asked = settings("bond=b0:eth0 vlan=v5:b0 ifname=net0:52:54:00:00:00:01 ip=b0.7:dhcp");
    assert!(asked.warnings.is_empty(), "{:?}", asked.warnings);
    assert!(["b0", "v5", "b0.7"].into_iter().all(|name| asked.network.stacked.has(name)));
    let asked = settings("rd.route=10.2.0.0/16:10.1.0.1 rd.route=10.2.0.0/16 ifname=b vlan=v");
    assert_eq!((asked.network.routes.len(), asked.warnings.len()), (1, 3));
    assert!(asked.warnings[0].starts_with("ifname=b is not NAME:MAC"), "{:?}", asked.warnings);
}

#[test]
fn names_servers_and_rules_that_are_wrong_leave_the_rest() {
    let asked = settings("ip=eth0:magic ip=10.0.0.2 nameserver=10.0.0.3 nameserver=no");
    assert_eq!(asked.network.ip.len(), 1);
    assert_eq!(asked.network.nameservers.len(), 1);
    assert_eq!(asked.warnings.len(), 2);
}

#[test]
fn a_lease_is_kept_or_given_back_as_asked() {
    assert_eq!(settings("").network.keeps_lease, None);
    assert_eq!(settings("xget.lease=keep").network.keeps_lease, Some(true));
    assert_eq!(settings("xget.lease=release").network.keeps_lease, Some(false));
    let asked = settings("xget.lease=yes");
    assert_eq!(asked.network.keeps_lease, None);
    assert!(asked.warnings[0].contains("xget.lease=yes"), "{:?}", asked.warnings);
}

/// Names that mean something, with values of all sorts.
fn word() -> impl Strategy<Value = String> {
    let names = OWN_NAMES.to_vec();
    let others = [
        &["ip", "nfsaddrs", "BOOTIF", "bootdev", "nameserver", "panic", "masterip"][..],
        &["ifname", "bond", "vlan", "rd.route"],
    ]
    .concat();
    let names = prop::sample::select([&names[..], &others[..]].concat());
    let value = prop_oneof![
        r#"[0-9a-z.:,/\[\]@-]{0,24}"#,
        "[0-9]{1,20}[KMG]?",
        "[0-9.]{7,15}(:[0-9]{0,5})?",
    ];
    (names, value).prop_map(|(name, value)| format!("{name}={value}"))
}

proptest! {
    #[test]
    fn any_line_gives_settings_that_make_sense(
        words in prop::collection::vec(word(), 0..10),
    ) {
        let asked = settings(&words.join(" "));
        prop_assert!(!asked.network.ip.is_empty());
        prop_assert!(asked.image.masters.len() <= 16);
        let path = &asked.image.path;
        prop_assert!(path.split('/').all(|part| !matches!(part, "" | "." | "..")));
        prop_assert!(asked.image.room_bytes != Some(0));
        // Of what is drawn nothing is a key, which is refused.
        let pinned = words.iter().any(|word| {
            [
                "xget.digest=",
                "xget.root.digest=",
                "xget.trust",
                "xget.not-before=",
                "xget.key=",
                "xget.node-key=",
                "xget.keyed",
            ]
            .iter()
            .any(|name| word.starts_with(name))
        });
        let digest = asked.image.digest.or(asked.root.digest);
        let is_bound = digest.is_some() || !asked.image.trust.keys.is_empty();
        prop_assert_eq!(asked.refusal.is_some() || is_bound, pinned);
        for rule in &asked.network.ip {
            let bits_max = if rule.address.is_some_and(|ip| ip.is_ipv6()) { 128 } else { 32 };
            prop_assert!(rule.prefix_len <= bits_max);
        }
    }
}

#[test]
fn who_is_trusted_is_said_by_keys_and_a_word_that_is_none_refuses_the_boot() {
    let key = "RWRlzykCgUxEr38V5gp0WKquFGkrV+KKH3Jn++B1uDLnC1BM2BSWMrmb";
    let asked = settings(&format!("xget.trust={key} xget.trust={key} xget.not-before=1970-01-02"));
    assert!(asked.refusal.is_none() && asked.warnings.is_empty());
    assert_eq!((asked.image.trust.keys.len(), asked.image.trust.not_before_s), (2, 86_400));
    for wrong in [
        "xget.trust",
        "xget.trust=",
        "xget.trust=/etc/key",
        "xget.not-before=1970-01-02",
        &format!("xget.trust={key} xget.trust={}", &key[..40]),
        &format!("xget.trust={key} xget.not-before=soon"),
    ] {
        let refused = settings(wrong);
        assert!(refused.refusal.is_some() && refused.image.trust.keys.is_empty(), "{wrong}");
    }
}

#[test]
fn a_root_has_its_own_words() {
    let digits = "5a".repeat(32);
    let asked = settings(&format!(
        "xget.root.digest=blake3:{digits} xget.root.size=50% xget.root.overlay xget.unpinned"
    ));
    assert_eq!(asked.root.digest.map(|digest| digest.to_string()), Some(digits));
    assert_eq!(asked.root.size, Some(RootSize::Percent(50)));
    assert!(asked.root.overlay && asked.root.unpinned && asked.warnings.is_empty());
    let plain = settings("xget.root.size=2G xget.root.overlay=0").root;
    assert_eq!((plain.size, plain.overlay), (Some(RootSize::Bytes(2 << 30)), false));
    for wrong in ["0%", "101%", "x", "-1", "%"] {
        let asked = settings(&format!("xget.root.size={wrong}"));
        assert_eq!((asked.root.size, asked.warnings.len()), (None, 1), "{wrong}");
    }
    let refused = settings("xget.root.digest=md5:1").refusal.unwrap();
    assert!(refused.contains("xget.root.digest"), "{refused}");
}

#[test]
fn a_watchdog_may_stay_armed() {
    let asked = |text: &str| settings(text).watchdog.map(|w| (w.timeout_s, w.keep));
    assert_eq!(asked("xget.watchdog=30"), Some((30, false)));
    assert_eq!(asked("xget.watchdog=30,keep"), Some((30, true)));
    assert_eq!(asked("xget.watchdog=keep"), Some((60, true)));
    assert_eq!(asked("xget.watchdog=soon"), None);
    assert_eq!(settings("xget.watchdog=soon").warnings.len(), 1);
}

#[test]
fn who_had_a_key_before_a_kexec_does_not_go_on_without() {
    let root = peer::auth::Key::root([7; 32]);
    let (cluster, node) = (root.cluster().unwrap().text(), root.node("n001").unwrap().text());
    let refusal = |line: &str| settings(line).refusal;
    for lost in [
        "xget.keyed",
        "xget.keyed=cluster",
        "xget.keyed=node",
        &format!("xget.key={cluster} xget.keyed=node xget.keyed=cluster"),
        &format!("xget.node-key={node} xget.keyed=cluster"),
    ] {
        assert!(refusal(lost).is_some_and(|why| why.contains("initrd")), "{lost}");
    }
    assert_eq!(refusal(&format!("xget.key={cluster} xget.keyed=cluster")), None);
    let both = format!("xget.key={cluster} xget.node-key={node}");
    assert_eq!(refusal(&format!("{both} xget.keyed=node")), None);
    let alone = refusal(&format!("xget.node-key={node}")).unwrap();
    assert!(alone.contains("with the key of the cluster"), "{alone}");
    let said = refusal("xget.keyed xget.key=no").unwrap();
    assert!(said.contains("xget.key=: "), "what is wrong with it is said: {said}");
}

#[test]
fn a_key_that_will_not_do_refuses_the_boot_and_is_not_said() {
    let root = peer::auth::Key::root([7; 32]);
    let (cluster, node) = (root.cluster().unwrap().text(), root.node("n001").unwrap().text());
    for good in [&root.text(), &cluster] {
        let asked = settings(&format!("xget.key={good}"));
        assert!(asked.refusal.is_none() && asked.key.unwrap().text() == cluster);
    }
    for (wrong, why) in [
        (&cluster[..50], "it is cut off"),
        (&cluster.replace("be3a", "be3b"), "it is damaged"),
        (&node, "it is the key of n001 alone"),
        ("/etc/key", "it is no key of xget"),
        ("", "it is no key of xget"),
    ] {
        let refused = settings(&format!("xget.key={wrong}"));
        let said = refused.refusal.unwrap();
        assert!(said.contains("xget.key=: ") && said.contains(why), "{said}");
        assert!(!said.contains("be3") && refused.key.is_none(), "{said}");
    }
}
