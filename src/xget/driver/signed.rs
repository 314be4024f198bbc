//! What was signed of a served tree, looked up when somebody asks.
//!
//! Says once what is wrong with one, however often it is asked for. Refuses to know who asks.

use crate::os::file;
use crate::store::signatures;
use nix::errno::Errno;
use peer::content::digest::Digest;
use std::path::Path;

#[derive(Default)]
pub(super) struct Signed {
    /// What was said last.
    wrong: Option<Errno>,
}

impl Signed {
    /// Nothing where there is none, as for a file that is served; with a line for the operator where there is one and it
    /// cannot be read, and that is news.
    pub fn read(&mut self, served: &Path, place: Digest) -> (Vec<u8>, Option<String>) {
        match file::open_dir(served).and_then(|root| signatures::read(&root, place)) {
            Ok(signed) => {
                self.wrong = None;
                (signed.unwrap_or_default(), None)
            }
            Err(Errno::ENOTDIR) => (Vec::new(), None),
            Err(errno) if self.wrong == Some(errno) => (Vec::new(), None),
            Err(errno) => {
                self.wrong = Some(errno);
                let path = served.join(signatures::path_of(place));
                let text = format!(
                    "{}: {}; who wants it signed is told that it is not",
                    path.display(),
                    errno.desc()
                );
                (Vec::new(), Some(text))
            }
        }
    }
}
