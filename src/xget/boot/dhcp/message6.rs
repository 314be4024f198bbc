//! DHCPv6 messages: bytes to values and back.
//!
//! RFC 8415 (layout), 3646 (name servers), 5970 (boot file), 6355 (DUID-UUID).
//! Knows no state and no time.

use super::lease::{DhcpQuery, DhcpReply, Identity, Lease, LeaseTimes, Question};
use super::options::{self, text};
use crate::boot::fields;
use std::net::{IpAddr, Ipv6Addr};

const ADVERTISE: u8 = 2;
const REPLY: u8 = 7;

const CLIENT_ID: u16 = 1;
const SERVER_ID: u16 = 2;
const IA_NA: u16 = 3;
const IA_ADDRESS: u16 = 5;
const OPTION_REQUEST: u16 = 6;
const PREFERENCE: u16 = 7;
const ELAPSED_TIME: u16 = 8;
const STATUS: u16 = 13;
const RAPID_COMMIT: u16 = 14;
const USER_CLASS: u16 = 15;
const NAME_SERVERS: u16 = 23;
const BOOT_FILE: u16 = 59;
const ARCHITECTURE: u16 = 61;

/// Not asked for is SOL_MAX_RT: a boot that asked less often than each half
/// minute would end before it is answered.
const WANTED: [u16; 2] = [NAME_SERVERS, BOOT_FILE];
/// Of a DUID, with its type (RFC 8415, 11.1).
const DUID_LEN_MAX: usize = 130;
/// More in one reply are ignored.
const ADDRESSES_MAX: usize = 8;
/// Of the URL of a boot file: our own, which names a master and no file.
const SCHEME: &str = "xget://";

fn put(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(&(value.len() as u16).to_be_bytes());
    out.extend_from_slice(value);
}

/// The options of a list up to where it makes no sense.
fn walk(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let code = fields::be16(bytes, 0)?;
        let end = usize::from(fields::be16(bytes, 2)?) + 4;
        let value = bytes.get(4..end)?;
        bytes = &bytes[end..];
        Some((code, value))
    })
    .fuse()
}

/// As boot ROMs do, so that the same reservation matches: of the machine's UUID,
/// where it has one, and else of the link's address.
fn duid(identity: &Identity) -> Vec<u8> {
    match &identity.uuid {
        Some(uuid) => [&[0, 4], &uuid[..]].concat(),
        None => [&[0, 3, 0, identity.hardware.arp_type], &identity.hardware.address[..]].concat(),
    }
}

/// Which of the client's interfaces: the end of its address.
fn iaid(identity: &Identity) -> [u8; 4] {
    identity.hardware.address.last_chunk().copied().unwrap_or_default()
}

pub fn encode(query: &DhcpQuery, identity: &Identity) -> Vec<u8> {
    let question = query.question;
    let mut out = query.xid.to_be_bytes().to_vec();
    out[0] = question as u8;
    put(&mut out, CLIENT_ID, &duid(identity));
    if let Some(lease) = query.lease
        && question != Question::Rebind
    {
        put(&mut out, SERVER_ID, &lease.server_id);
    }
    if question != Question::Inform {
        // T1, T2 and lifetimes are the server's to say.
        let mut association = [iaid(identity), [0; 4], [0; 4]].concat();
        if let Some(IpAddr::V6(address)) = query.lease.map(|lease| lease.address) {
            let value = [&address.octets()[..], &[0; 8]].concat();
            put(&mut association, IA_ADDRESS, &value);
        }
        put(&mut out, IA_NA, &association);
    }
    let hundredths = (query.elapsed_ms / 10).min(u64::from(u16::MAX)) as u16;
    put(&mut out, ELAPSED_TIME, &hundredths.to_be_bytes());
    if question == Question::Discover {
        put(&mut out, RAPID_COMMIT, &[]);
    }
    let class = identity.class.as_bytes();
    put(&mut out, USER_CLASS, &[&(class.len() as u16).to_be_bytes(), class].concat());
    put(&mut out, ARCHITECTURE, &identity.architecture.to_be_bytes());
    put(&mut out, OPTION_REQUEST, &WANTED.map(u16::to_be_bytes).concat());
    out
}

/// Reads a message that answers `xid` of this client; anything else is `None`:
/// the port is open to everybody on the link. With `informs` no address is
/// looked for.
#[inline(never)]
pub fn decode(
    bytes: &[u8],
    xid: u32,
    identity: &Identity,
    from: IpAddr,
    informs: bool,
) -> Option<DhcpReply> {
    let [kind, id @ ..] = fields::array::<4>(bytes, 0)?;
    if id != xid.to_be_bytes()[1..] {
        return None;
    }
    let mut lease = Lease::of(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    lease.server = from;
    let (mut is_ours, mut preference, mut why) = (false, 0, None);
    for (code, value) in walk(&bytes[4..]) {
        match code {
            CLIENT_ID => is_ours = value == duid(identity),
            SERVER_ID => lease.server_id = value.to_vec(),
            PREFERENCE => preference = value.first().copied().unwrap_or(0),
            STATUS => why = why.or(failure(value)),
            IA_NA if value.starts_with(&iaid(identity)) && !informs => {
                why = why.or(associate(value, &mut lease));
            }
            NAME_SERVERS => lease.dns = addresses(value),
            BOOT_FILE => lease.master = boot_file(value),
            _ => {}
        }
    }
    if !is_ours || !(1..=DUID_LEN_MAX).contains(&lease.server_id.len()) {
        return None;
    }
    lease.master_guesses.push(from.to_string());
    if !informs && lease.address.is_unspecified() {
        why = why.or(Some(options::words(None)));
    }
    match (kind, why) {
        (ADVERTISE, None) if !informs => Some(DhcpReply::Offer(lease, preference)),
        (REPLY, None) => Some(DhcpReply::Ack(lease)),
        (ADVERTISE | REPLY, Some(why)) => Some(DhcpReply::Nak(why)),
        _ => None,
    }
}

/// The words of a status that is not success.
fn failure(value: &[u8]) -> Option<String> {
    (fields::be16(value, 0)? != 0).then(|| options::words(value.get(2..)))
}

/// Takes the first address that can be used; gives the words of a failure.
#[inline(never)]
fn associate(value: &[u8], lease: &mut Lease) -> Option<String> {
    let number = |bytes, at| fields::array(bytes, at).map(u32::from_be_bytes);
    let time = |at| number(value, at).filter(|time| *time > 0);
    for (code, option) in walk(value.get(12..)?) {
        match code {
            STATUS => return failure(option),
            IA_ADDRESS if lease.address.is_unspecified() => {
                let address = Ipv6Addr::from(fields::array::<16>(option, 0)?);
                let local = address.is_loopback() || address.is_unicast_link_local();
                let valid_s = number(option, 20)?;
                if valid_s > 0 && !local && !address.is_multicast() {
                    lease.address = IpAddr::V6(address);
                    lease.times = LeaseTimes::new(valid_s, time(4), time(8));
                }
            }
            _ => {}
        }
    }
    None
}

fn addresses(value: &[u8]) -> Vec<IpAddr> {
    let (addresses, _) = value.as_chunks::<16>();
    addresses.iter().take(ADDRESSES_MAX).map(|octets| IpAddr::from(*octets)).collect()
}

/// `xget://HOST[:PORT]` names the master. A boot ROM has a file there: who serves
/// both tells them apart by the user class.
fn boot_file(value: &[u8]) -> Option<String> {
    Some(text(value)?.strip_prefix(SCHEME)?.trim_end_matches('/').into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::dhcp::testing::{ADDRESS6, SERVER6, identity, reply6};
    use proptest::collection::vec;
    use proptest::prelude::*;

    const XID: u32 = 0x00ab_cdef;

    fn decoded(bytes: &[u8]) -> Option<DhcpReply> {
        decode(bytes, XID, &identity(), SERVER6.parse().unwrap(), false)
    }

    fn ack(options: &[&[u8]]) -> Lease {
        match decoded(&reply6(XID, REPLY, Some(120), options)) {
            Some(DhcpReply::Ack(lease)) => lease,
            other => panic!("{other:?}"),
        }
    }

    fn query(question: Question, lease: Option<&Lease>) -> DhcpQuery<'_> {
        DhcpQuery { question, xid: XID, elapsed_ms: 1230, lease }
    }

    /// The option's value in a message of ours.
    fn option(message: &[u8], wanted: u16) -> Option<Vec<u8>> {
        let found = walk(&message[4..]).find(|(code, _)| *code == wanted);
        found.map(|(_, value)| value.to_vec())
    }

    #[test]
    fn solicit_byte_for_byte() {
        let bytes = encode(&query(Question::Discover, None), &identity());
        let mut expected = vec![1, 0xab, 0xcd, 0xef, 0, 1, 0, 18, 0, 4];
        expected.extend([0xab; 16]);
        expected.extend([0, 3, 0, 12, 0, 0x12, 0x34, 0x56, 0, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([0, 8, 0, 2, 0, 123, 0, 14, 0, 0]);
        expected.extend([0, 15, 0, 15, 0, 13]);
        expected.extend(b"xget:x86_64:2");
        expected.extend([0, 61, 0, 2, 0, 7, 0, 6, 0, 4, 0, 23, 0, 59]);
        assert_eq!(bytes, expected);
    }

    #[test]
    fn without_a_uuid_the_link_is_the_client() {
        let plain = Identity { uuid: None, ..identity() };
        let bytes = encode(&query(Question::Discover, None), &plain);
        let duid = option(&bytes, CLIENT_ID).unwrap();
        assert_eq!(duid, [0, 3, 0, 1, 0x52, 0x54, 0, 0x12, 0x34, 0x56]);
    }

    #[test]
    fn a_rebind_goes_to_any_server_and_a_question_for_information_has_no_address() {
        let lease = ack(&[]);
        for (question, names_server) in
            [(Question::Request, true), (Question::Renew, true), (Question::Rebind, false)]
        {
            let bytes = encode(&query(question, Some(&lease)), &identity());
            assert_eq!(option(&bytes, SERVER_ID).is_some(), names_server, "{question:?}");
            let association = option(&bytes, IA_NA).unwrap();
            let address: Ipv6Addr = ADDRESS6.parse().unwrap();
            assert_eq!(association[16..32], address.octets());
            assert_eq!(option(&bytes, RAPID_COMMIT), None);
        }
        let bytes = encode(&query(Question::Inform, None), &identity());
        assert_eq!((bytes[0], option(&bytes, IA_NA)), (11, None));
    }

    #[test]
    fn a_reply_with_everything() {
        let servers = [&[0, 23, 0, 32][..], &[0xfd; 16], &[0xfe; 16]].concat();
        let lease = ack(&[&servers, b"\0\x3b\0\x19tftp://[fd00::1]:69/x.efi"]);
        assert_eq!(lease.address, ADDRESS6.parse::<IpAddr>().unwrap());
        assert_eq!((lease.prefix_len, lease.dns.len()), (128, 2));
        assert_eq!(lease.times, LeaseTimes { lease_s: 120, renew_s: 60, rebind_s: 96 });
        assert_eq!(lease.master_guesses, [SERVER6]);
        assert_eq!(lease.master, None);
    }

    #[test]
    fn the_master_by_a_url_of_ours() {
        let url: &[u8] = b"\0\x3b\0\x12xget://[fd00::1]:7";
        assert_eq!(ack(&[url]).master.as_deref(), Some("[fd00::1]:7"));
        assert_eq!(ack(&[b"\0\x3b\0\x09xget://h/"]).master.as_deref(), Some("h"));
        assert_eq!(ack(&[b"\0\x3b\0\x04head"]).master, None);
    }

    #[test]
    fn what_is_not_for_us_is_not_read() {
        let good = reply6(XID, ADVERTISE, Some(120), &[b"\0\x07\0\x01\xff"]);
        assert!(matches!(decoded(&good), Some(DhcpReply::Offer(_, 255))));
        for at in [0, 1, 3, 6, 20] {
            let mut bytes = good.clone();
            bytes[at] ^= 0x55;
            assert_eq!(decoded(&bytes), None, "byte {at}");
        }
        for len in 0..good.len() {
            if let Some(DhcpReply::Offer(lease, _)) = decoded(&good[..len]) {
                assert!(!lease.address.is_unspecified(), "{len}");
            }
        }
    }

    #[test]
    fn refusals_are_in_the_servers_words() {
        let none = decoded(&reply6(XID, ADVERTISE, None, &[b"\0\x0d\0\x09\0\x02no more"]));
        assert_eq!(none, Some(DhcpReply::Nak("no more".into())));
        let silent = decoded(&reply6(XID, REPLY, None, &[]));
        assert_eq!(silent, Some(DhcpReply::Nak("it does not say why".into())));
        let zero = decoded(&reply6(XID, REPLY, Some(0), &[]));
        assert!(matches!(zero, Some(DhcpReply::Nak(_))), "an address of no time");
        // Where no address is asked for, there is none to miss.
        let from = SERVER6.parse().unwrap();
        let informed = decode(&reply6(XID, REPLY, None, &[]), XID, &identity(), from, true);
        assert!(matches!(informed, Some(DhcpReply::Ack(_))), "{informed:?}");
    }

    proptest! {
        #[test]
        fn any_options_give_a_lease_that_makes_sense(
            list in vec((0u16..70, vec(any::<u8>(), 0..60)), 0..10),
            tail in vec(any::<u8>(), 0..9),
            kind in 0u8..12,
        ) {
            let mut raw = Vec::new();
            list.iter().for_each(|(code, value)| put(&mut raw, *code, value));
            raw.extend(tail);
            if let Some(DhcpReply::Offer(lease, _) | DhcpReply::Ack(lease)) =
                decoded(&reply6(XID, kind, Some(7), &[&raw]))
            {
                prop_assert!(!lease.address.is_unspecified() && !lease.address.is_multicast());
                prop_assert!(lease.dns.len() <= ADDRESSES_MAX);
                prop_assert!(lease.times.renew_s <= lease.times.rebind_s);
                prop_assert!(lease.times.rebind_s <= lease.times.lease_s);
            }
        }
    }
}
