//! Who this node is: its firmware's numbers, for DHCP and for the master.
//!
//! Never its network address: that says where it is, not who.

use super::dhcp::Identity;
use super::hex;
use super::links::Link;
use crate::os::{module, random};
use nodes::{Key, Kind};
use peer::control::NodeQuestion;
use std::fs;
use std::path::Path;

/// Interfaces that a node is known by: the line that says them has a limit.
const MACS_MAX: usize = 16;
const DMI: &str = "/sys/class/dmi/id";

/// What the firmware says. Fillers ("To be filled by O.E.M.") are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Firmware {
    pub uuid: Option<String>,
    pub serial: Option<String>,
    pub asset: Option<String>,
    pub is_efi: bool,
    pub machine: String,
}

impl Firmware {
    pub fn read() -> Firmware {
        let read = |name: &str| {
            let text = fs::read_to_string(Path::new(DMI).join(name)).unwrap_or_default();
            meaningful(&text)
        };
        Firmware {
            uuid: read("product_uuid"),
            serial: read("product_serial"),
            asset: read("chassis_asset_tag"),
            is_efi: Path::new("/sys/firmware/efi").exists(),
            machine: module::kernel_release().map(|(_, machine)| machine).unwrap_or_default(),
        }
    }

    pub fn dhcp(&self, link: &Link) -> Identity {
        Identity {
            hardware: link.hardware.clone(),
            uuid: self.uuid.as_deref().and_then(uuid_bytes),
            // RFC 4578, 2.1, with IANA's later numbers.
            architecture: match (self.machine.as_str(), self.is_efi) {
                ("aarch64", _) => 11,
                (_, true) => 7,
                _ => 0,
            },
            class: format!("xget:{}:{}", self.machine, env!("CARGO_PKG_VERSION")),
        }
    }

    /// Who this node is, for the master's `/.xget/node`.
    pub fn question(&self, links: &[Link]) -> NodeQuestion {
        let mut question = NodeQuestion::default();
        for mac in links.iter().filter_map(Link::mac).take(MACS_MAX) {
            question.keys.extend(Key::new(Kind::Mac, &mac.to_string()));
        }
        let numbers =
            [(Kind::Uuid, &self.uuid), (Kind::Serial, &self.serial), (Kind::Asset, &self.asset)];
        for (kind, value) in numbers {
            question.keys.extend(value.as_ref().and_then(|value| Key::new(kind, value)));
        }
        question
    }

    /// One line for the operator, who may have to add this node.
    #[inline(never)]
    pub fn line(&self, links: &[Link]) -> String {
        // A VLAN or bond has the address of what it is made upon.
        let mut words: Vec<String> = Vec::new();
        for mac in links.iter().filter_map(Link::mac) {
            let word = format!("mac={mac}");
            if !words.contains(&word) {
                words.push(word);
            }
        }
        for (name, value) in
            [("uuid", &self.uuid), ("serial", &self.serial), ("asset", &self.asset)]
        {
            words.extend(value.as_ref().map(|value| format!("{name}={}", value.replace(' ', "_"))));
        }
        words.join(" ")
    }
}

/// What mainboards say where nobody has written anything.
const FILLERS: [&str; 5] = ["none", "not specified", "default string", "n/a", "unknown"];
/// "To be filled by O.E.M.", in any case, with and without the last dot, and
/// with spaces or more behind it.
const FILLER_PART: &str = "o.e.m";

/// The text without white space around it, unless it is a filler.
fn meaningful(text: &str) -> Option<String> {
    let text = text.trim();
    let lower = text.to_ascii_lowercase();
    let blank = text.bytes().all(|byte| matches!(byte, b'0' | b'-' | b' ' | b'.'));
    let filler = FILLERS.contains(&lower.as_str()) || lower.contains(FILLER_PART);
    (!blank && !filler).then(|| text.to_string())
}

fn uuid_bytes(text: &str) -> Option<[u8; 16]> {
    hex::joined(&text.replace('-', ""))?.try_into().ok()
}

/// A number that differs from node to node and from boot to boot; it spreads
/// retries and is no secret.
pub fn seed(links: &[Link]) -> u64 {
    // FNV-1a over the addresses, in case the kernel gives no randomness yet.
    let addresses = links.iter().flat_map(|link| &link.hardware.address);
    addresses.fold(random::quick(), |seed, byte| {
        (seed ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::links::testing::link;
    use peer::control::NodeMessage;

    #[test]
    fn fillers_say_nothing() {
        for text in ["", "None", "0000-0000", "Default string\n", "...", "N/A"] {
            assert_eq!(meaningful(text), None, "{text}");
        }
        assert_eq!(meaningful(" ABC 12\n").as_deref(), Some("ABC 12"));
    }

    #[test]
    fn the_filler_of_mainboards_in_all_its_spellings() {
        for text in [
            "To be filled by O.E.M.",
            "To Be Filled By O.E.M",
            "TO BE FILLED BY O.E.M. \n",
            "Filled by O.E.M. later",
            "O.E.M",
        ] {
            assert_eq!(meaningful(text), None, "{text}");
        }
        // Letters alone are as good as any others, and so are single fillers
        // within something longer.
        for text in ["OEM-0017", "Roemer 3", "0.E.M.", "OE.M.", "none-7", "Unknown Labs 12"] {
            assert_eq!(meaningful(text).as_deref(), Some(text));
        }
    }

    #[test]
    fn uuid_in_the_order_of_its_text() {
        let bytes = uuid_bytes("00112233-4455-6677-8899-aabbccddeeff").unwrap();
        assert_eq!(bytes[..4], [0, 0x11, 0x22, 0x33]);
        assert_eq!(bytes[15], 0xff);
        assert_eq!(uuid_bytes("0011"), None);
        assert_eq!(uuid_bytes(&"zz".repeat(16)), None);
    }

    #[test]
    fn a_question_has_what_the_firmware_says() {
        let uuid = "4C4C4544-0050-3610-8058-B4C04F4E4B31".to_string();
        let firmware =
            Firmware { serial: Some("A 1".into()), uuid: Some(uuid), ..Firmware::default() };
        let line = NodeMessage::Question(firmware.question(&[])).line();
        assert_eq!(line, "uuid=4c4c4544-0050-3610-8058-b4c04f4e4b31 serial=A_1\n");
    }

    #[test]
    fn one_line_of_words() {
        let firmware = Firmware { serial: Some("A 1".into()), ..Firmware::default() };
        assert_eq!(firmware.line(&[]), "serial=A_1");
        let links = [("eth0", 1), ("eth1", 2), ("eth0.5", 1)].map(|(name, last)| link(name, last));
        let macs = "mac=52:54:00:00:00:01 mac=52:54:00:00:00:02";
        assert_eq!(firmware.line(&links), format!("{macs} serial=A_1"));
    }
}
