//! A handshake, from either side, and what is sealed after it; keys and signed statements as
//! texts.
//!
//! Nobody without the key is let in, and nothing is opened that the other side did not say.
#![no_main]

use libfuzzer_sys::fuzz_target;
use peer::auth::{self, Greeting, Hello, Key};
use peer::content::manifest::Selector;
use peer::signature::{self, PublicKey, SecretKey, Statement};
use xget_fuzz::{key, random};

/// The one thing that is sealed, as a seed has it.
const SAID: &[u8] = b"wait 1 2\n";

fuzz_target!(|bytes: &[u8]| {
    // The greeting among the seeds is of other random bytes than these, but of the same key.
    if let Ok((mut session, answer)) =
        Greeting::open(&key(), &mut random(9), bytes).and_then(Greeting::answer)
    {
        // Whoever wrote this has the key, or copied it: that proves nothing yet.
        assert!(!session.is_proved_by(bytes));
        assert_eq!(answer.len(), auth::MESSAGE_LEN);
    }
    let (hello, _) = Hello::new(&key(), &mut random(8));
    assert!(hello.finish(bytes).is_err(), "an answer to what was never said");
    let (hello, message) = Hello::new(&key(), &mut random(1));
    let Ok((mut server, answer)) =
        Greeting::open(&key(), &mut random(2), &message).and_then(Greeting::answer)
    else {
        return;
    };
    let Ok((mut client, proof)) = hello.finish(&answer) else { return };
    assert!(server.is_proved_by(&proof));
    let (sealed, mut read) = (server.record(SAID), bytes.to_vec());
    if let Ok(Some(opened)) = client.open_record(&mut read) {
        assert!(bytes.starts_with(&sealed) && opened == SAID, "opened what was not sealed");
    }
    assert!(server.open(bytes).is_err());
    let text = String::from_utf8_lossy(bytes);
    if let Ok(key) = Key::parse(&text) {
        // Digits may be capitals.
        assert!(key.text().eq_ignore_ascii_case(text.trim_end()), "{text}");
    }
    let Ok(trusted) = PublicKey::parse(PUBLIC) else { return };
    let own = SecretKey::of([7; 8], [7; 32]).public();
    if let Ok((statement, _)) = signature::open(bytes, &[trusted, own]) {
        assert_eq!(Statement::parse(&statement.text()), Some(statement.clone()));
        let _ = statement.check(&Selector::default(), statement.generation, 0);
    }
    let _ = (PublicKey::parse(&text), SecretKey::parse(&text).is_ok());
});

const PUBLIC: &str = "RWRlzykCgUxEr38V5gp0WKquFGkrV+KKH3Jn++B1uDLnC1BM2BSWMrmb";
