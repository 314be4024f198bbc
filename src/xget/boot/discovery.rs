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

/// Three questions.
const FIRST_MS: u64 = 5_000;
/// Who has the same as the first, soon after it, is spare.
const OTHERS_MS: u64 = 250;
/// Where the first may be the wrong one: the others may have to look at what they serve.
const OTHERS_PATIENT_MS: u64 = 1_500;

/// Whoever answers first that it boots nodes, or has this image. `tick` is called all the while.
#[inline(never)]
pub fn find(
    image: &str,
    is_patient: bool,
    link: (u32, &str),
    tick: &mut dyn FnMut() -> ControlFlow<String>,
) -> Result<Found, FetchError> {
    let (index, label) = link;
    log::info!("{label}: no master is named, or none of these answers; asking the network for one");
    let id = random::quick();
    let question = node_question(id, image).unwrap_or_default();
    let links = vec![Link { index, is_loopback: false }];
    let others_ms = if is_patient { OTHERS_PATIENT_MS } else { OTHERS_MS };
    let patience = Patience { first_ms: FIRST_MS, others_ms, awaits_hashing: is_patient };
    let sought = Sought { id, question, pin: None, patience, links };
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

/// Whether one of these is left to be asked where what came of the first ended so.
pub fn has_another(found: &mut Found, status: Status) -> bool {
    // Its content is not what somebody pinned, and another's may be.
    status == Status::Verification && found.drop_first()
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
            digest: Digest([*digest & 1; 32]),
        };
        Found { masters: digests.iter().map(heard).collect(), ..Found::default() }
    }

    #[test]
    fn a_wrong_image_is_a_reason_to_ask_the_next_and_never_the_same_again() {
        // The first and the last say that they have the same: one of them may lie.
        let mut all = found(&[1, 2, 3]);
        assert!(!has_another(&mut all, Status::NoSpace));
        assert!(has_another(&mut all, Status::Verification));
        assert_eq!(all.masters, found(&[2, 3]).masters);
        assert!(has_another(&mut all, Status::Verification));
        assert_eq!(all.masters, found(&[3]).masters);
        assert!(!has_another(&mut all, Status::Verification));
        assert!(!has_another(&mut Found::default(), Status::Verification));
    }
}
