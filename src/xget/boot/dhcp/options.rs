//! The options of a DHCP message: a list of code, length and value.
//!
//! RFC 2132 (codes and forms), 3396 (long options), 3442 (classless routes).
//! Knows forms, and refuses to know what an option means for the lease.

use crate::boot::fields;
use crate::boot::ipconfig::Route;
use std::net::{IpAddr, Ipv4Addr};

pub const PAD: u8 = 0;
pub const SUBNET_MASK: u8 = 1;
pub const ROUTER: u8 = 3;
pub const NAME_SERVER: u8 = 6;
pub const HOST_NAME: u8 = 12;
pub const DOMAIN_NAME: u8 = 15;
pub const INTERFACE_MTU: u8 = 26;
pub const VENDOR_SPECIFIC: u8 = 43;
pub const REQUESTED_ADDRESS: u8 = 50;
pub const LEASE_TIME: u8 = 51;
pub const OVERLOAD: u8 = 52;
pub const MESSAGE_TYPE: u8 = 53;
pub const SERVER_IDENTIFIER: u8 = 54;
pub const PARAMETER_REQUEST: u8 = 55;
pub const MESSAGE: u8 = 56;
pub const MESSAGE_LEN_MAX: u8 = 57;
pub const RENEWAL_TIME: u8 = 58;
pub const REBINDING_TIME: u8 = 59;
pub const CLASS_IDENTIFIER: u8 = 60;
pub const CLIENT_IDENTIFIER: u8 = 61;
pub const TFTP_SERVER: u8 = 66;
/// RFC 4578, 2.1 and 2.3.
pub const CLIENT_ARCHITECTURE: u8 = 93;
pub const CLIENT_UUID: u8 = 97;
pub const CLASSLESS_ROUTES: u8 = 121;
/// Ours, among those for private use (RFC 3942).
pub const SITE_MASTER: u8 = 224;
pub const END: u8 = 255;

/// More than these in one reply are ignored.
const ADDRESSES_MAX: usize = 8;
pub const ROUTES_MAX: usize = 32;
pub const TEXT_LEN_MAX: usize = 255;

/// Appends one option; more than fits into its length byte is cut off.
pub fn put(out: &mut Vec<u8>, code: u8, value: &[u8]) {
    let value = &value[..value.len().min(255)];
    out.extend_from_slice(&[code, value.len() as u8]);
    out.extend_from_slice(value);
}

/// The options of a list up to its end, or up to where it makes no sense.
fn walk(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        while let [PAD, rest @ ..] = bytes {
            bytes = rest;
        }
        let [code, len, rest @ ..] = bytes else { return None };
        let (value, rest) = rest.split_at_checked(usize::from(*len))?;
        bytes = rest;
        (*code != END).then_some((*code, value))
    })
    .fuse()
}

/// Options by code, several of one code joined (RFC 3396).
#[derive(Default)]
pub struct Options(Vec<(u8, Vec<u8>)>);

impl Options {
    /// From the option field and, where option 52 says so, from the fields
    /// `file` (1) and `sname` (2) (RFC 2132, 9.3).
    pub fn collect(field: &[u8], file: &[u8], sname: &[u8]) -> Options {
        let mut options = Options::default();
        options.add(field);
        let overload = options.get(OVERLOAD).and_then(|value| value.first().copied()).unwrap_or(0);
        if overload & 1 != 0 {
            options.add(file);
        }
        if overload & 2 != 0 {
            options.add(sname);
        }
        options
    }

    fn add(&mut self, list: &[u8]) {
        for (code, value) in walk(list) {
            match self.0.iter_mut().find(|(known, _)| *known == code) {
                Some((_, joined)) => joined.extend_from_slice(value),
                None => self.0.push((code, value.to_vec())),
            }
        }
    }

    pub fn get(&self, code: u8) -> Option<&[u8]> {
        self.0.iter().find(|(known, _)| *known == code).map(|(_, value)| value.as_slice())
    }

    pub fn u16(&self, code: u8) -> Option<u16> {
        Some(u16::from_be_bytes(self.get(code)?.try_into().ok()?))
    }

    pub fn u32(&self, code: u8) -> Option<u32> {
        Some(u32::from_be_bytes(self.get(code)?.try_into().ok()?))
    }

    pub fn addresses(&self, code: u8) -> Vec<Ipv4Addr> {
        let value = self.get(code).unwrap_or(&[]);
        let (addresses, _) = value.as_chunks::<4>();
        addresses.iter().take(ADDRESSES_MAX).map(|octets| Ipv4Addr::from(*octets)).collect()
    }

    pub fn address(&self, code: u8) -> Option<Ipv4Addr> {
        self.addresses(code).first().copied()
    }

    pub fn text(&self, code: u8) -> Option<String> {
        text(self.get(code)?)
    }

    /// Sub-option 224 within 43. Many servers send PXE's 43 to everybody, so
    /// anything that is not such a list is no error.
    pub fn vendor_master(&self) -> Option<String> {
        let list = self.get(VENDOR_SPECIFIC)?;
        let (_, value) = walk(list).find(|(code, _)| *code == SITE_MASTER)?;
        text(value)
    }

    /// Option 121: width, significant octets, router; `None` unless it comes
    /// out even.
    pub fn classless_routes(&self) -> Option<Vec<Route>> {
        let mut value = self.get(CLASSLESS_ROUTES)?;
        let mut routes = Vec::new();
        while let Some((&prefix_len, rest)) = value.split_first() {
            let octets_len = usize::from(prefix_len).div_ceil(8);
            if prefix_len > 32 || routes.len() == ROUTES_MAX {
                return None;
            }
            let mut net = [0; 4];
            net[..octets_len].copy_from_slice(rest.get(..octets_len)?);
            let gateway = Ipv4Addr::from(fields::array::<4>(rest, octets_len)?);
            let gateway = (!gateway.is_unspecified()).then_some(IpAddr::V4(gateway));
            routes.push(Route { net: IpAddr::from(net), prefix_len, gateway });
            value = &rest[octets_len + 4..];
        }
        Some(routes)
    }
}

/// What a server says to people; never nothing, and no control characters.
pub fn words(bytes: Option<&[u8]>) -> String {
    let plain = |byte: &u8| char::from(if matches!(byte, b' '..=b'~') { *byte } else { b'?' });
    let bytes = bytes.unwrap_or_default();
    match bytes.iter().take(TEXT_LEN_MAX).map(plain).collect::<String>() {
        text if text.is_empty() => "it does not say why".into(),
        text => text,
    }
}

/// Printable ASCII; servers may end it with zeroes (RFC 2132, 2).
pub fn text(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().rposition(|byte| *byte != 0)? + 1;
    let plain = bytes[..end].iter().all(|byte| byte.is_ascii_graphic());
    (plain && end <= TEXT_LEN_MAX).then(|| String::from_utf8_lossy(&bytes[..end]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;

    #[test]
    fn a_list_ends_where_it_makes_no_sense() {
        let found = |bytes: &[u8]| walk(bytes).map(|(code, _)| code).collect::<Vec<u8>>();
        assert_eq!(found(&[0, 0, 1, 1, 9, 0, 2, 0, 255, 3, 0]), [1, 2]);
        assert_eq!(found(&[1, 1, 9, 2, 5, 0]), [1]);
        assert!(found(&[1]).is_empty());
    }

    proptest! {
        #[test]
        fn what_is_put_in_comes_out(
            values in btree_map(1u8..255, vec(any::<u8>(), 0..=255), 0..20),
        ) {
            let mut bytes = Vec::new();
            for (code, value) in &values {
                if *code != OVERLOAD {
                    put(&mut bytes, *code, value);
                    bytes.push(PAD);
                }
            }
            bytes.push(END);
            let options = Options::collect(&bytes, &[], &[]);
            for (code, value) in values.iter().filter(|(code, _)| **code != OVERLOAD) {
                prop_assert_eq!(options.get(*code), Some(value.as_slice()));
            }
        }

        #[test]
        fn halves_of_a_long_option_are_joined(value in vec(any::<u8>(), 0..=500)) {
            let mut bytes = Vec::new();
            value.chunks(255).for_each(|chunk| put(&mut bytes, HOST_NAME, chunk));
            let options = Options::collect(&bytes, &[], &[]);
            prop_assert_eq!(options.get(HOST_NAME).unwrap_or(&[]), value.as_slice());
        }
    }
}
