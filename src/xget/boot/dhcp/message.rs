//! DHCP messages: bytes to values and back.
//!
//! RFC 2131 (layout), 4578 (architecture, UUID), 4390 (InfiniBand). Knows no
//! state and no time.

use super::lease::{DhcpQuery, DhcpReply, Hardware, Identity, Lease, LeaseTimes, Question};
use super::options::{self, Options, put};
use crate::boot::fields;
use crate::boot::ipconfig::{self, Route};
use std::net::{IpAddr, Ipv4Addr};

const BOOT_REQUEST: u8 = 1;
const BOOT_REPLY: u8 = 2;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Header up to and with the cookie.
const HEADER_LEN: usize = 240;
/// Some relays drop what is shorter than a BOOTP message (RFC 1542, 2.1).
const MESSAGE_LEN_MIN: usize = 300;
const MESSAGE_LEN_MAX: u16 = 1472;
/// The flag that asks for a broadcast answer.
const BROADCAST: u16 = 0x8000;
/// ARPHRD_INFINIBAND
const INFINIBAND: u8 = 32;
/// Of the field `chaddr`.
const HARDWARE_LEN_MAX: usize = 16;

/// Option 53 (RFC 2132, 9.6): what this client sends, and what it heeds.
const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const ACK: u8 = 5;
const NAK: u8 = 6;
const RELEASE: u8 = 7;

impl Hardware {
    /// The address as far as `chaddr` holds it.
    fn chaddr(&self) -> &[u8] {
        &self.address[..self.address.len().min(HARDWARE_LEN_MAX)]
    }
}

/// Options asked for: 121 before 3 (RFC 3442), ours last.
const WANTED: [u8; 14] = [
    options::SUBNET_MASK,
    options::CLASSLESS_ROUTES,
    options::ROUTER,
    options::NAME_SERVER,
    options::HOST_NAME,
    options::DOMAIN_NAME,
    options::INTERFACE_MTU,
    options::VENDOR_SPECIFIC,
    options::LEASE_TIME,
    options::SERVER_IDENTIFIER,
    options::RENEWAL_TIME,
    options::REBINDING_TIME,
    options::TFTP_SERVER,
    options::SITE_MASTER,
];

pub fn encode(query: &DhcpQuery, identity: &Identity) -> Vec<u8> {
    let hardware = &identity.hardware;
    let mut out = vec![0; HEADER_LEN];
    out[0] = BOOT_REQUEST;
    out[1] = hardware.arp_type;
    // RFC 4390: no address fits the field; hlen and chaddr are zero.
    if hardware.arp_type != INFINIBAND {
        let chaddr = hardware.chaddr();
        out[2] = chaddr.len() as u8;
        out[28..28 + chaddr.len()].copy_from_slice(chaddr);
    }
    out[4..8].copy_from_slice(&query.xid.to_be_bytes());
    let secs = (query.elapsed_ms / 1000).min(u64::from(u16::MAX)) as u16;
    out[8..10].copy_from_slice(&secs.to_be_bytes());
    // RFC 2131, table 5: with a lease, and only then.
    match (query.question, query.lease.map(|lease| lease.address)) {
        (Question::Renew | Question::Rebind | Question::Release, Some(IpAddr::V4(address))) => {
            out[12..16].copy_from_slice(&address.octets());
        }
        // An interface without an address cannot be sent to.
        _ => out[10..12].copy_from_slice(&BROADCAST.to_be_bytes()),
    }
    out[236..240].copy_from_slice(&COOKIE);
    put_options(&mut out, query, identity);
    out.resize(out.len().max(MESSAGE_LEN_MIN), 0);
    out
}

fn put_options(out: &mut Vec<u8>, query: &DhcpQuery, identity: &Identity) {
    let message_type = match query.question {
        Question::Discover => DISCOVER,
        Question::Release => RELEASE,
        _ => REQUEST,
    };
    put(out, options::MESSAGE_TYPE, &[message_type]);
    put(out, options::CLIENT_IDENTIFIER, &client_id(&identity.hardware));
    if let (Question::Release, Some(lease)) = (query.question, query.lease) {
        // Nothing else may be in it (RFC 2131, table 5).
        put(out, options::SERVER_IDENTIFIER, &lease.server_id);
        out.push(options::END);
        return;
    }
    put(out, options::MESSAGE_LEN_MAX, &MESSAGE_LEN_MAX.to_be_bytes());
    if let (Question::Request, Some(lease)) = (query.question, query.lease)
        && let IpAddr::V4(address) = lease.address
    {
        put(out, options::REQUESTED_ADDRESS, &address.octets());
        put(out, options::SERVER_IDENTIFIER, &lease.server_id);
    }
    put(out, options::CLASS_IDENTIFIER, identity.class.as_bytes());
    put(out, options::CLIENT_ARCHITECTURE, &identity.architecture.to_be_bytes());
    if let Some(uuid) = identity.uuid {
        put(out, options::CLIENT_UUID, &[&[0], &uuid[..]].concat());
    }
    put(out, options::PARAMETER_REQUEST, &WANTED);
    out.push(options::END);
}

/// The same as the boot ROM sends, so that the same reservation matches;
/// RFC 4390 wants one for InfiniBand: type 255, an IAID, a DUID-LL.
fn client_id(hardware: &Hardware) -> Vec<u8> {
    let prefix: &[u8] = match hardware.arp_type {
        INFINIBAND => &[255, 0, 0, 0, 1, 0, 3, 0, INFINIBAND],
        ref other => std::slice::from_ref(other),
    };
    [prefix, &hardware.address].concat()
}

/// Reads a message that answers `xid` of this hardware; anything else is
/// `None`: the port is open to everybody on the wire.
pub fn decode(bytes: &[u8], xid: u32, hardware: &Hardware) -> Option<DhcpReply> {
    let header = bytes.first_chunk::<HEADER_LEN>()?;
    let chaddr = hardware.chaddr();
    // InfiniBand has no address in the header (RFC 4390): the xid must do.
    let is_ours = hardware.arp_type == INFINIBAND || header[28..].starts_with(chaddr);
    if header[4..8] != xid.to_be_bytes() || !is_ours {
        return None;
    }
    parse(bytes)
}

/// Reads a server's message, whoever it is for.
pub fn parse(bytes: &[u8]) -> Option<DhcpReply> {
    let (header, field) = bytes.split_first_chunk::<HEADER_LEN>()?;
    if header[0] != BOOT_REPLY || header[236..240] != COOKIE {
        return None;
    }
    let options = Options::collect(field, &header[108..236], &header[44..108]);
    match *options.get(options::MESSAGE_TYPE)? {
        [OFFER] => lease(header, &options).map(|lease| DhcpReply::Offer(lease, u8::MAX)),
        [ACK] => lease(header, &options).map(DhcpReply::Ack),
        [NAK] => Some(DhcpReply::Nak(options::words(options.get(options::MESSAGE)))),
        _ => None,
    }
}

fn lease(header: &[u8; HEADER_LEN], options: &Options) -> Option<Lease> {
    let address = Ipv4Addr::from(fields::array(header, 16)?);
    if address.is_unspecified() || address.is_broadcast() || address.is_multicast() {
        return None;
    }
    let next_server = Ipv4Addr::from(fields::array(header, 20)?);
    let server = options.address(options::SERVER_IDENTIFIER)?;
    let mask = options.address(options::SUBNET_MASK).and_then(ipconfig::mask_len);
    let prefix_len = mask.or_else(|| ipconfig::classful(address))?;
    Some(Lease {
        address: IpAddr::V4(address),
        prefix_len,
        server: IpAddr::V4(server),
        server_id: server.octets().to_vec(),
        routes: routes(options),
        dns: options.addresses(options::NAME_SERVER).into_iter().map(IpAddr::V4).collect(),
        domain: options.text(options::DOMAIN_NAME),
        hostname: options.text(options::HOST_NAME),
        mtu: options.u16(options::INTERFACE_MTU).map(u32::from),
        master: options.text(options::SITE_MASTER).or_else(|| options.vendor_master()),
        master_guesses: master_guesses(next_server, options, server),
        times: times(options),
    })
}

/// Each once, likeliest first.
fn master_guesses(next_server: Ipv4Addr, options: &Options, server: Ipv4Addr) -> Vec<String> {
    let next_server = (!next_server.is_unspecified()).then(|| next_server.to_string());
    let mut guesses: Vec<String> = Vec::new();
    let all = [next_server, options.text(options::TFTP_SERVER), Some(server.to_string())];
    for guess in all.into_iter().flatten() {
        if !guesses.contains(&guess) {
            guesses.push(guess);
        }
    }
    guesses
}

fn times(options: &Options) -> LeaseTimes {
    // BOOTP has no lease time, DHCP must have one (RFC 2131, table 3); as
    // long as can be, if it is missing.
    let lease_s = options.u32(options::LEASE_TIME).unwrap_or(u32::MAX);
    let (t1, t2) = (options.u32(options::RENEWAL_TIME), options.u32(options::REBINDING_TIME));
    LeaseTimes::new(lease_s, t1, t2)
}

/// Option 121 replaces option 3 (RFC 3442).
fn routes(options: &Options) -> Vec<Route> {
    options.classless_routes().unwrap_or_else(|| {
        let gateway = options.address(options::ROUTER).filter(|router| !router.is_unspecified());
        let net = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let default = gateway.map(|to| Route { net, prefix_len: 0, gateway: Some(IpAddr::V4(to)) });
        default.into_iter().collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::dhcp::testing::{identity, offer, reply};
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn decoded(bytes: &[u8]) -> Option<DhcpReply> {
        decode(bytes, 7, &identity().hardware)
    }

    #[test]
    fn discover_byte_for_byte() {
        let query = DhcpQuery {
            question: Question::Discover,
            xid: 0x01020304,
            elapsed_ms: 5900,
            lease: None,
        };
        let bytes = encode(&query, &identity());
        assert_eq!(bytes[..12], [1, 1, 6, 0, 1, 2, 3, 4, 0, 5, 0x80, 0]);
        assert_eq!(bytes[12..28], [0; 16]);
        assert_eq!(bytes[28..34], [0x52, 0x54, 0, 0x12, 0x34, 0x56]);
        let options = &bytes[240..];
        assert_eq!(options[..3], [53, 1, 1]);
        assert_eq!(options[3..12], [61, 7, 1, 0x52, 0x54, 0, 0x12, 0x34, 0x56]);
        assert_eq!(options[12..16], [57, 2, 5, 0xc0]);
        assert_eq!(options[16..18], [60, 13]);
        assert_eq!(options[18..31], *b"xget:x86_64:2");
        assert_eq!(options[31..35], [93, 2, 0, 7]);
        assert_eq!(options[35..38], [97, 17, 0]);
        assert_eq!(options[54..57], [55, 14, 1]);
        assert_eq!(options[69..71], [224, 255]);
        assert!(bytes.len() >= MESSAGE_LEN_MIN);
    }

    #[test]
    fn release_byte_for_byte() {
        let lease = offer(&[]);
        let query =
            DhcpQuery { question: Question::Release, xid: 1, elapsed_ms: 0, lease: Some(&lease) };
        let bytes = encode(&query, &identity());
        assert_eq!(bytes[8..16], [0, 0, 0, 0, 10, 0, 0, 9], "no broadcast, and whose address");
        let options =
            [53, 1, 7, 61, 7, 1, 0x52, 0x54, 0, 0x12, 0x34, 0x56, 54, 4, 10, 0, 0, 1, 255];
        assert_eq!(bytes[240..259], options);
        assert!(bytes[259..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn infiniband_has_no_chaddr_but_an_id() {
        let mut identity = identity();
        identity.hardware = Hardware { arp_type: 32, address: vec![9; 20] };
        let lease = offer(&[]);
        let query =
            DhcpQuery { question: Question::Request, xid: 1, elapsed_ms: 0, lease: Some(&lease) };
        let bytes = encode(&query, &identity);
        assert_eq!((bytes[1], bytes[2]), (32, 0));
        assert_eq!(bytes[28..44], [0; 16]);
        assert_eq!(bytes[243..249], [61, 29, 255, 0, 0, 0]);
    }

    #[test]
    fn an_offer_with_everything() {
        let lease = offer(&[
            &[1, 4, 255, 255, 254, 0],
            &[3, 4, 10, 0, 0, 254],
            &[6, 8, 10, 0, 0, 3, 10, 0, 0, 4],
            &[12, 4, b'n', b'0', b'7', 0],
            &[15, 3, b'l', b'a', b'b'],
            &[26, 2, 0x23, 0x28],
            &[51, 4, 0, 0, 0, 120],
            &[66, 4, b'h', b'e', b'a', b'd'],
        ]);
        let default = Route {
            net: [0, 0, 0, 0].into(),
            prefix_len: 0,
            gateway: Some([10, 0, 0, 254].into()),
        };
        assert_eq!(lease.address, IpAddr::from([10, 0, 0, 9]));
        assert_eq!(lease.prefix_len, 23);
        assert_eq!(lease.routes, [default]);
        assert_eq!(lease.dns.len(), 2);
        assert_eq!(lease.hostname.as_deref(), Some("n07"));
        assert_eq!(lease.domain.as_deref(), Some("lab"));
        assert_eq!(lease.mtu, Some(9000));
        assert_eq!(lease.times, LeaseTimes { lease_s: 120, renew_s: 60, rebind_s: 105 });
        assert_eq!(
            (lease.master.clone(), lease.master_guesses),
            (None, vec!["head".to_string(), "10.0.0.1".into()])
        );
    }

    #[test]
    fn master_by_option_224_then_43_then_guesses() {
        let site: &[u8] = &[224, 6, b'h', b'e', b'a', b'd', b':', b'7'];
        let vendor: &[u8] = &[43, 9, 6, 1, 8, 224, 4, b'v', b'e', b'n', b'd'];
        assert_eq!(offer(&[vendor, site]).master.as_deref(), Some("head:7"));
        assert_eq!(offer(&[vendor]).master.as_deref(), Some("vend"));
        assert_eq!(offer(&[&[43, 3, 6, 200, 8]]).master, None);
        assert_eq!(offer(&[&[224, 2, 1, 2]]).master, None);
        let mut bytes = reply(7, 2, [10, 0, 0, 9], &[&[54, 4, 10, 0, 0, 1]]);
        bytes[20..24].copy_from_slice(&[10, 0, 0, 5]);
        let Some(DhcpReply::Offer(lease, _)) = decoded(&bytes) else { panic!("no offer") };
        assert_eq!(lease.master_guesses, ["10.0.0.5", "10.0.0.1"]);
    }

    #[test]
    fn classless_routes_replace_the_router() {
        let router: &[u8] = &[3, 4, 10, 0, 0, 254];
        let lease = offer(&[router, &[121, 13, 0, 10, 0, 0, 1, 24, 192, 168, 5, 0, 0, 0, 0]]);
        assert_eq!(lease.routes.len(), 2);
        assert_eq!(lease.routes[0].gateway, Some([10, 0, 0, 1].into()));
        let on_link = Route { net: [192, 168, 5, 0].into(), prefix_len: 24, gateway: None };
        assert_eq!(lease.routes[1], on_link);
        // A broken list is no list.
        let lease = offer(&[router, &[121, 3, 33, 1, 1]]);
        assert_eq!(lease.routes[0].gateway, Some([10, 0, 0, 254].into()));
    }

    #[test]
    fn missing_mask_and_odd_times() {
        let lease = offer(&[&[51, 4, 0, 0, 0, 8], &[58, 4, 0, 0, 0, 9], &[59, 4, 0, 0, 0, 99]]);
        assert_eq!((lease.prefix_len, lease.times.renew_s, lease.times.rebind_s), (8, 4, 7));
        let times = offer(&[&[51, 4, 255, 255, 255, 255]]).times;
        assert!(times.renew_s < times.rebind_s && times.rebind_s < times.lease_s);
        let zero = offer(&[&[51, 4, 0, 0, 0, 0]]).times;
        assert_eq!((zero.renew_s, zero.rebind_s), (0, 0));
    }

    #[test]
    fn options_overflow_into_file_and_join() {
        let mut bytes =
            reply(7, 5, [10, 0, 0, 9], &[&[52, 1, 1], &[54, 4, 10, 0, 0, 1], &[12, 2, b'a', b'b']]);
        bytes[108..112].copy_from_slice(&[12, 1, b'c', 255]);
        let Some(DhcpReply::Ack(lease)) = decoded(&bytes) else { panic!("no ack") };
        assert_eq!(lease.hostname.as_deref(), Some("abc"));
    }

    #[test]
    fn what_is_not_for_us_is_not_read() {
        let server: &[u8] = &[54, 4, 10, 0, 0, 1];
        let good = reply(7, 2, [10, 0, 0, 9], &[server]);
        assert!(decoded(&good).is_some());
        let spoilt = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            decoded(&bytes)
        };
        assert_eq!(spoilt(0, 1), None, "a request");
        assert_eq!(spoilt(7, 8), None, "another xid");
        assert_eq!(spoilt(33, 0), None, "another address");
        assert_eq!(spoilt(236, 0), None, "no cookie");
        assert_eq!(decoded(&reply(7, 2, [0, 0, 0, 0], &[server])), None);
        assert_eq!(decoded(&reply(7, 2, [10, 0, 0, 9], &[])), None, "no server");
        assert_eq!(decoded(&reply(7, 8, [10, 0, 0, 9], &[server])), None, "inform");
        let nak = reply(7, 6, [0; 4], &[server, &[56, 2, b'n', b'o']]);
        assert_eq!(decoded(&nak), Some(DhcpReply::Nak("no".into())));
        let spaced = reply(7, 6, [0; 4], &[server, &[56, 4, b'n', b'o', b' ', 7]]);
        assert_eq!(decoded(&spaced), Some(DhcpReply::Nak("no ?".into())));
        let silent = reply(7, 6, [0; 4], &[server]);
        assert_eq!(decoded(&silent), Some(DhcpReply::Nak("it does not say why".into())));
    }

    #[test]
    fn every_truncation_is_survived() {
        let options: [&[u8]; 3] =
            [&[54, 4, 10, 0, 0, 1], &[121, 5, 0, 10, 0, 0, 1], &[43, 2, 224, 9]];
        let good = reply(7, 2, [10, 0, 0, 9], &options);
        for len in 0..good.len() {
            decoded(&good[..len]);
        }
    }

    /// What holds of every lease, whoever wrote the message.
    fn check(lease: &Lease) -> Result<(), TestCaseError> {
        prop_assert!(lease.prefix_len <= 32 && lease.routes.len() <= options::ROUTES_MAX);
        prop_assert!(lease.routes.iter().all(|route| route.prefix_len <= 32));
        prop_assert!(lease.times.renew_s <= lease.times.rebind_s);
        prop_assert!(lease.times.rebind_s <= lease.times.lease_s);
        let named = [&lease.domain, &lease.hostname, &lease.master].into_iter().flatten();
        for text in named.chain(&lease.master_guesses) {
            prop_assert!(text.len() <= options::TEXT_LEN_MAX);
            prop_assert!(!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()));
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in vec(any::<u8>(), 0..600)) {
            prop_assert_eq!(decoded(&bytes), None, "such luck is improbable");
            let _ = parse(&bytes);
        }

        #[test]
        fn any_options_give_a_lease_that_makes_sense(
            list in vec((any::<u8>(), vec(any::<u8>(), 0..40)), 0..12),
            tail in vec(any::<u8>(), 0..20),
            overload in 0u8..4,
            sname_and_file in vec(any::<u8>(), 192),
            message_type in 0u8..9,
        ) {
            let mut raw = vec![54, 4, 10, 0, 0, 1, 52, 1, overload];
            list.iter().for_each(|(code, value)| put(&mut raw, *code, value));
            raw.extend_from_slice(&tail);
            let mut bytes = reply(7, message_type, [10, 0, 0, 9], &[&raw]);
            bytes[44..236].copy_from_slice(&sname_and_file);
            if let Some(DhcpReply::Offer(lease, _) | DhcpReply::Ack(lease)) = decoded(&bytes) {
                check(&lease)?;
            }
        }
    }
}
