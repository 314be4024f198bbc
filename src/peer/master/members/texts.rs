//! What is said to the operator of those who complain. Knows words alone.

use crate::control::{Complaint, ParentAddr, format_addr};
use crate::overlay::Voice;
use alloc::format;
use alloc::string::String;
use core::net::{Ipv6Addr, SocketAddr};

/// Whom nobody believes any more, in words for the operator.
pub(super) fn disbelief_text(Voice(bits): Voice) -> String {
    let ip = Ipv6Addr::from_bits(bits).to_canonical();
    format!("{ip} accused several that this machine found well: it is not believed any more")
}

/// A complaint in words, for the operator. Complaints of speed are said only when
/// they are believed.
pub(super) fn accusation_text(
    child: SocketAddr,
    parent: ParentAddr,
    complaint: Complaint,
) -> Option<String> {
    let ParentAddr::Peer(addr) = parent else { return None };
    let (child, addr, word) = (format_addr(child), format_addr(addr), complaint.word());
    (!complaint.is_about_speed() && complaint.is_blame())
        .then(|| format!("{child} says that {addr} is {word}"))
}
