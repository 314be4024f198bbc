//! A master that nobody named: the network is asked for one, on the link that this boot goes by.
//!
//! Knows whom it takes. Refuses to know when it is asked (`fetching`).

use super::failure::FetchError;
use crate::driver::{self, SearchEnd, Sought};
use crate::os::link_socket::Link;
use crate::os::random;
use peer::control::node_question;
use peer::discovery::Patience;
use peer::request::Masters;
use std::ops::ControlFlow;

/// Three questions; and who has the same as the first, soon after it, is spare.
const PATIENCE: Patience = Patience { first_ms: 5_000, others_ms: 250, awaits_hashing: false };

/// Whoever answers first that it boots nodes, or has this image. `tick` is called all the while.
pub fn find(
    image: &str,
    link: (u32, &str),
    tick: &mut dyn FnMut() -> ControlFlow<String>,
) -> Result<Masters, FetchError> {
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
    let Some(masters) = found.of_first() else {
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
    masters.addrs().for_each(|addr| log::info!("{label}: a master answers at {addr}"));
    Ok(masters)
}
