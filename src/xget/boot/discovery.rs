//! A master that nobody named: the network is asked for one, on the link that this boot goes by.
//!
//! Knows whom it takes. Refuses to know when it is asked (`fetching`).

use super::failure::FetchError;
use crate::driver::{self, SearchEnd, Sought};
use crate::os::link_socket::Link;
use crate::os::random;
use peer::control::node_question;
use peer::discovery::{Found, Patience};
use peer::failure::Status;
use std::ops::ControlFlow;

/// Three questions; and who has the same as the first, soon after it, is spare.
const PATIENCE: Patience = Patience { first_ms: 5_000, others_ms: 250, awaits_hashing: false };

/// Whoever answers first that it boots nodes, or has this image. `tick` is called all the while.
pub fn find(
    image: &str,
    link: (u32, &str),
    tick: &mut dyn FnMut() -> ControlFlow<String>,
) -> Result<Found, FetchError> {
    let (index, label) = link;
    log::info!("{label}: no master is named, or none of these answers; asking the network for one");
    let id = random::quick();
    let question = node_question(id, image).unwrap_or_default();
    let links = vec![Link { index, is_loopback: false }];
    let sought = Sought { id, question, pin: None, patience: PATIENCE, links };
    let found = driver::search(sought, &mut |_| tick()).map_err(|end| match end {
        SearchEnd::Interrupted(why) => FetchError::interrupted(why),
        SearchEnd::Unable(why) => FetchError::unreachable(why),
    })?;
    let Some(first) = found.masters.first() else {
        let text = match found.hashing.first() {
            Some(master) => format!("{master} still hashes what it serves"),
            None => [
                "no master is named or answers, and nobody on the network knows nodes or has ",
                image,
            ]
            .concat(),
        };
        return Err(FetchError::unreachable(text));
    };
    for heard in &found.masters {
        log::info!("{label}: a master answers at {}", heard.addr);
    }
    if found.masters.iter().any(|heard| heard.digest != first.digest) {
        log::warn!("{label}: these do not serve the same; {} answered first", first.addr);
    }
    Ok(found)
}

/// Whom to go on with where an attempt with the first of these ended so. Whether that is worth
/// an attempt at once, with somebody else.
pub fn go_on(found: &mut Found, status: Status) -> bool {
    match status {
        // Its content is not what somebody pinned, and another's may be.
        Status::Verification => found.drop_first(),
        // It does not know this node, or has nothing for it: another may, if need be one that
        // the network is asked for again, after a pause.
        Status::Source => {
            found.drop_first();
            false
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peer::content::digest::Digest;
    use peer::discovery::Heard;

    fn found(digests: &[u8]) -> Found {
        let heard = |digest: &u8| Heard {
            addr: ([10, 0, 0, *digest], 7).into(),
            master: 1,
            bytes: 9,
            digest: Digest([*digest; 32]),
        };
        Found { masters: digests.iter().map(heard).collect(), ..Found::default() }
    }

    #[test]
    fn a_wrong_image_is_a_reason_to_ask_the_next_and_never_the_same_again() {
        let mut all = found(&[1, 2]);
        assert!(go_on(&mut all, Status::Verification));
        assert_eq!(all.masters, found(&[2]).masters);
        assert!(!go_on(&mut all, Status::Verification));
        assert!(!go_on(&mut Found::default(), Status::Verification));
    }

    #[test]
    fn of_who_does_not_know_this_node_the_next_is_asked_after_a_pause() {
        let mut all = found(&[1, 2]);
        assert!(!go_on(&mut all, Status::Source));
        assert_eq!(all.masters, found(&[2]).masters);
        assert!(!go_on(&mut all, Status::NoSpace));
        assert_eq!(all.masters.len(), 1);
        assert!(!go_on(&mut all, Status::Source) && all.masters.is_empty(), "ask again");
    }
}
