//! Which kernel modules a device wants, and in which order they go in.
//!
//! Pure: the texts that depmod(8) wrote (modules.alias, .dep, .softdep,
//! .builtin) and the blacklist in, module names out. Refuses to know sysfs
//! and how a module is loaded: that is `drivers`. The formats are those of
//! depmod(8), modules.dep(5) and modprobe.d(5).

use sorted::{SortedMap, SortedSet};

/// Deeper chains of dependencies are a loop or a mistake.
const DEPTH_MAX: usize = 32;

struct Module {
    /// Relative to the directory of modules.dep.
    path: String,
    needs: Vec<String>,
    /// Soft dependencies: names of modules, or aliases as they are written.
    before: Vec<String>,
    after: Vec<String>,
}

/// All that can be loaded.
#[derive(Default)]
pub struct Catalogue {
    aliases: Vec<(String, String)>,
    modules: SortedMap<String, Module>,
    builtin: SortedSet<String>,
    never: SortedSet<String>,
}

/// The texts of one `/lib/modules/<release>`.
#[derive(Default)]
pub struct DepmodTexts {
    pub dep: String,
    pub alias: String,
    pub softdep: String,
    pub builtin: String,
}

impl Catalogue {
    pub fn new(texts: &DepmodTexts, never: &[String]) -> Catalogue {
        let mut catalogue = Catalogue::default();
        catalogue.never.extend(never.iter().map(|name| canonical(name)));
        catalogue.builtin.extend(texts.builtin.lines().map(module_name));
        for line in texts.dep.lines() {
            catalogue.add_dep(line);
        }
        for line in texts.softdep.lines() {
            catalogue.add_softdep(line);
        }
        for line in texts.alias.lines() {
            let mut words = line.split_ascii_whitespace();
            if let (Some("alias"), Some(pattern), Some(name)) =
                (words.next(), words.next(), words.next())
            {
                catalogue.aliases.push((pattern.to_string(), canonical(name)));
            }
        }
        catalogue
    }

    pub fn is_empty(&self) -> bool {
        self.modules.is_empty()
    }

    pub fn len(&self) -> usize {
        self.modules.len()
    }

    /// `kernel/a/b.ko: kernel/c/d.ko kernel/e/f.ko`
    fn add_dep(&mut self, line: &str) {
        let Some((path, needs)) = line.split_once(':') else { return };
        let module = Module {
            path: path.to_string(),
            needs: needs.split_ascii_whitespace().map(module_name).collect(),
            before: Vec::new(),
            after: Vec::new(),
        };
        self.modules.insert(module_name(path), module);
    }

    /// `softdep a pre: b c post: d` (modprobe.d(5))
    #[inline(never)]
    fn add_softdep(&mut self, line: &str) {
        let mut words = line.split_ascii_whitespace();
        let (Some("softdep"), Some(name)) = (words.next(), words.next()) else { return };
        let Some(module) = self.modules.get_mut(&canonical(name)) else { return };
        let mut after = false;
        for word in words {
            match word {
                "pre:" => after = false,
                "post:" => after = true,
                name if after => module.after.push(name.to_string()),
                name => module.before.push(name.to_string()),
            }
        }
    }

    /// The modules that say they drive a device of this modalias.
    pub fn matching(&self, modalias: &str) -> SortedSet<String> {
        let hits = self.aliases.iter().filter(|(pattern, _)| fits(pattern, modalias));
        let mut names = SortedSet::new();
        names.extend(
            hits.map(|(_, name)| name)
                .filter(|name| self.modules.contains_key(*name) && !self.never.contains(*name))
                .cloned(),
        );
        names
    }

    /// What a name stands for: the module itself, or those with this alias;
    /// modprobe(8) looks in this order.
    fn named(&self, name: &str) -> SortedSet<String> {
        let own = canonical(name);
        if !self.modules.contains_key(&own) && !self.builtin.contains(&own) {
            return self.matching(name);
        }
        let mut names = SortedSet::new();
        names.insert(own);
        names
    }

    /// Whether it is a module, an alias of one, or built into the kernel.
    pub fn knows(&self, name: &str) -> bool {
        !self.named(name).is_empty()
    }

    /// Names and paths in the order of loading, without those in `loaded`.
    pub fn order(&self, name: &str, loaded: &SortedSet<String>) -> Vec<(String, String)> {
        let mut order = Vec::new();
        let mut seen = loaded.clone();
        self.visit_all(name, &mut seen, &mut order, 0);
        order
    }

    fn visit_all(
        &self,
        name: &str,
        seen: &mut SortedSet<String>,
        order: &mut Vec<(String, String)>,
        depth: usize,
    ) {
        for name in self.named(name).iter() {
            self.visit(name, seen, order, depth);
        }
    }

    #[inline(never)]
    fn visit(
        &self,
        name: &str,
        seen: &mut SortedSet<String>,
        order: &mut Vec<(String, String)>,
        depth: usize,
    ) {
        if depth > DEPTH_MAX || self.never.contains(name) || self.builtin.contains(name) {
            return;
        }
        let Some(module) = self.modules.get(name) else { return };
        if !seen.insert(name.to_string()) {
            return;
        }
        // modules.dep lists the nearest first, so that the last has to go in
        // first (modprobe(8)).
        for need in module.before.iter().chain(module.needs.iter().rev()) {
            self.visit_all(need, seen, order, depth + 1);
        }
        order.push((name.to_string(), module.path.clone()));
        for later in &module.after {
            self.visit_all(later, seen, order, depth + 1);
        }
    }
}

/// `kernel/drivers/net/virtio-net.ko.xz` is `virtio_net`.
fn module_name(path: &str) -> String {
    let file = path.trim().rsplit('/').next().unwrap_or(path);
    canonical(file.split_once(".ko").map_or(file, |(name, _)| name))
}

fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

/// fnmatch(3) without flags, as libkmod uses it: `*`, `?` and `[a-z]`.
///
/// One star at a time is kept to come back to, so the worst case is the
/// product of both lengths, and not exponential.
fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut p) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while at < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, at));
            p += 1;
        } else if let Some(len) = one(&pattern[p..], text[at]) {
            p += len;
            at += 1;
        } else if let Some((star_p, star_at)) = star {
            star = Some((star_p, star_at + 1));
            p = star_p + 1;
            at = star_at + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// The length of the leading element of the pattern, if it takes this byte.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match *pattern.first()? {
        b'?' => Some(1),
        b'[' => set(pattern, byte),
        b'\\' if pattern.len() > 1 => (pattern[1] == byte).then_some(2),
        literal => (literal == byte).then_some(1),
    }
}

fn set(pattern: &[u8], byte: u8) -> Option<usize> {
    let mut at = 1;
    let negated = matches!(pattern.get(at), Some(b'!' | b'^'));
    at += usize::from(negated);
    let first = at;
    let mut within = false;
    loop {
        let low = *pattern.get(at)?;
        if low == b']' && at > first {
            return (within != negated).then_some(at + 1);
        }
        if pattern.get(at + 1) == Some(&b'-') && pattern.get(at + 2).is_some_and(|c| *c != b']') {
            within |= (low..=pattern[at + 2]).contains(&byte);
            at += 3;
        } else {
            within |= low == byte;
            at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::{Duration, Instant};

    const DEP: &str = "\
kernel/drivers/net/virtio_net.ko: kernel/net/core/failover.ko kernel/drivers/net/net_failover.ko kernel/drivers/virtio/virtio.ko
kernel/drivers/net/net_failover.ko: kernel/net/core/failover.ko
kernel/net/core/failover.ko:
kernel/drivers/virtio/virtio.ko:
kernel/drivers/virtio/virtio-pci.ko: kernel/drivers/virtio/virtio.ko
kernel/a.ko: kernel/b.ko
kernel/b.ko: kernel/a.ko
";
    const ALIAS: &str = "\
# Aliases extracted from modules themselves.
alias virtio:d00000001v* virtio_net
alias pci:v00001AF4d*sv*sd*bc*sc*i* virtio_pci
alias pci:v00001AF4d*sv*sd*bc*sc*i* missing_module
";

    fn catalogue(softdep: &str, never: &[&str]) -> Catalogue {
        let texts = DepmodTexts {
            dep: DEP.into(),
            alias: ALIAS.into(),
            softdep: softdep.into(),
            builtin: "kernel/net/core/builtin-thing.ko\n".into(),
        };
        let never: Vec<String> = never.iter().map(|name| name.to_string()).collect();
        Catalogue::new(&texts, &never)
    }

    fn order(catalogue: &Catalogue, name: &str) -> Vec<String> {
        catalogue.order(name, &SortedSet::new()).into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn patterns_as_in_fnmatch() {
        for (pattern, text, expected) in [
            ("virtio:d00000001v*", "virtio:d00000001v00001AF4", true),
            ("virtio:d00000001v*", "virtio:d00000002v00001AF4", false),
            ("pci:v*d0000100Esv*sd*bc*sc*i*", "pci:v00008086d0000100Esv0sd1bc02sc00i00", true),
            ("a*b*c", "axxbyybzzc", true),
            ("a*b*c", "axxbyybzz", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[0-9a-f]x", "ex", true),
            ("[0-9a-f]x", "gx", false),
            ("[!0-9]", "a", true),
            ("[!0-9]", "5", false),
            ("[]]", "]", true),
            ("[a-]", "-", true),
            ("[a", "a", false),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("", "", true),
            ("*", "", true),
            ("**", "abc", true),
            ("a", "", false),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_nasty_pattern_takes_a_bounded_time() {
        let text = "a".repeat(4000);
        let began = Instant::now();
        assert!(!fits(&format!("{}b", "a*".repeat(200)), &text));
        // Under a million steps; tried star by star it would outlast us all.
        assert!(began.elapsed() < Duration::from_secs(10));
    }

    proptest! {
        #[test]
        fn any_pattern_is_survived(pattern in "[ab*?!^\\[\\]\\\\-]{0,12}", text in "[ab\\-]{0,12}") {
            let _ = fits(&pattern, &text);
        }

        #[test]
        fn stars_stand_for_any_text(parts in prop::collection::vec("[a-c]{0,3}", 1..6)) {
            prop_assert!(fits(&parts.join("*"), &parts.concat()));
            prop_assert!(fits(&parts.join("*"), &parts.join("x-y")));
        }

        #[test]
        fn without_wildcards_a_pattern_fits_itself_alone(a in "[a-c:]{0,6}", b in "[a-c:]{0,6}") {
            prop_assert_eq!(fits(&a, &b), a == b);
        }
    }

    #[test]
    fn devices_find_modules_that_are_there() {
        let catalogue = catalogue("", &[]);
        let names =
            |modalias: &str| catalogue.matching(modalias).iter().cloned().collect::<Vec<_>>();
        assert_eq!(names("virtio:d00000001v00001AF4"), ["virtio_net"]);
        let pci = "pci:v00001AF4d00001000sv00001AF4sd00000001bc02sc00i00";
        assert_eq!(names(pci), ["virtio_pci"]);
        assert!(names("usb:v1").is_empty());
    }

    #[test]
    fn what_is_needed_goes_in_first_and_once() {
        let catalogue = catalogue("", &[]);
        let expected = ["virtio", "failover", "net_failover", "virtio_net"];
        assert_eq!(order(&catalogue, "virtio-net"), expected);
        let loaded = ["failover", "virtio"].iter().map(|name| name.to_string()).collect();
        let rest = catalogue.order("virtio_net", &loaded);
        assert_eq!(rest[0].1, "kernel/drivers/net/net_failover.ko");
        assert_eq!(rest.len(), 2);
    }

    #[test]
    fn soft_dependencies_before_and_after() {
        let catalogue =
            catalogue("softdep failover pre: virtio-pci post: virtio_net absent\n", &[]);
        let expected = ["virtio", "virtio_pci", "failover", "net_failover", "virtio_net"];
        assert_eq!(order(&catalogue, "failover"), expected);
    }

    #[test]
    fn a_soft_dependency_or_a_name_may_be_an_alias() {
        let texts = DepmodTexts {
            dep: "lib/libcrc32c.ko:\ncrypto/crc32c_generic.ko:\nnet/bnx2x.ko: lib/libcrc32c.ko\n"
                .into(),
            alias: "alias crc32c crc32c_generic\nalias crypto-crc32c crc32c_generic\n".into(),
            softdep: "softdep libcrc32c pre: crypto-crc32c post: crypto-absent\n".into(),
            builtin: "kernel/crypto/sha256.ko\n".into(),
        };
        let catalogue = Catalogue::new(&texts, &[]);
        assert_eq!(order(&catalogue, "bnx2x"), ["crc32c_generic", "libcrc32c", "bnx2x"]);
        assert_eq!(order(&catalogue, "crypto-crc32c"), ["crc32c_generic"]);
        assert_eq!(order(&catalogue, "crypto-none"), [""; 0]);
        assert!(catalogue.knows("sha256") && catalogue.knows("crc32c") && !catalogue.knows("x"));
        let without = Catalogue::new(&texts, &["crc32c-generic".into()]);
        assert_eq!(order(&without, "crypto-crc32c"), [""; 0]);
    }

    #[test]
    fn loops_end() {
        assert_eq!(order(&catalogue("", &[]), "a"), ["b", "a"]);
        let soft = catalogue("softdep failover post: virtio\nsoftdep virtio post: failover\n", &[]);
        assert_eq!(order(&soft, "failover"), ["failover", "virtio"]);
    }

    #[test]
    fn blacklisted_and_built_in_modules_stay_out() {
        let catalogue = catalogue("", &["virtio-pci", "failover"]);
        assert!(catalogue.matching("pci:v00001AF4d1sv1sd1bc02sc00i00").is_empty());
        assert_eq!(order(&catalogue, "net_failover"), ["net_failover"]);
        assert!(order(&catalogue, "builtin_thing").is_empty());
    }

    #[test]
    fn names_of_files() {
        assert_eq!(module_name("kernel/net/9p/9pnet-virtio.ko.xz"), "9pnet_virtio");
        assert_eq!(module_name("a.ko"), "a");
        assert_eq!(module_name("kernel/rtl.8-x.ko"), "rtl.8_x");
        assert_eq!(module_name("tcp_b-c"), "tcp_b_c");
    }
}
