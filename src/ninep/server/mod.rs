//! A 9P server session: version, fids, tags, flush, parked reads, one reply path.
//!
//! Knows the protocol's rules (section 5 of Plan 9's manual; Linux' net/9p for
//! 9P2000.L) and refuses to know what a file means: that is a [`Tree`]. A
//! [`Session`] is one connection's; it takes whole frames and gives replies. It
//! owns no socket and no clock.
//!
//! ```
//! use ninep::server::{Access, Answer, ConnId, DirEntry, OpenId, Output, Session, Ticket, Tree};
//! use ninep::{Attr, ENOENT, ENOTDIR, Error, QTDIR, Qid};
//!
//! /// A tree of one empty directory.
//! struct Empty;
//!
//! impl Tree for Empty {
//!     type File = ();
//!     type Bulk = ();
//!     fn attach(&mut self, _: ConnId, _: Option<OpenId>, _: &[u8]) -> Result<(), Error> {
//!         Ok(())
//!     }
//!     fn walk(&mut self, _: &(), name: &[u8]) -> Result<(), Error> {
//!         if name == b".." { Ok(()) } else { Err(ENOENT) }
//!     }
//!     fn qid(&self, _: &()) -> Qid {
//!         Qid { file_type: QTDIR, version: 1, path: 1 }
//!     }
//!     fn attr(&self, root: &()) -> Attr {
//!         Attr { qid: self.qid(root), mode: 0o040_555, name: b"/".to_vec(), ..Attr::default() }
//!     }
//!     fn entry(&self, _: &(), _: u64, _: bool) -> Option<DirEntry<()>> {
//!         None
//!     }
//!     fn open(&mut self, _: OpenId, _: &(), _: Access) -> Result<(), Error> {
//!         Ok(())
//!     }
//!     fn close(&mut self, _: OpenId, _: &()) {}
//!     fn read(&mut self, _: OpenId, _: &(), _: u64, _: u32, _: Ticket)
//!         -> Result<Answer<()>, Error> {
//!         Ok(Answer::Bytes(Vec::new()))
//!     }
//!     fn write(&mut self, _: OpenId, _: &(), _: u64, _: &[u8]) -> Result<u32, Error> {
//!         Err(ENOTDIR)
//!     }
//! }
//!
//! let (mut session, mut tree) = (Session::new(ConnId(1), 65_536), Empty);
//! let tversion = b"\x15\0\0\0\x64\xff\xff\0\x20\0\0\x08\09P2000.L";
//! session.handle_frame(&mut tree, tversion)?;
//! let rversion = b"\x15\0\0\0\x65\xff\xff\0\x20\0\0\x08\09P2000.L";
//! assert_eq!(session.poll_output(), Some(Output::Frame(rversion.to_vec())));
//! assert_eq!(session.frame_len_max(), 8192);
//! # Ok::<(), ninep::wire::Fatal>(())
//! ```

mod dirs;
mod fids;
mod files;
mod limits;
mod output;
mod parked;
mod session;
mod tree;

#[cfg(test)]
mod tests;

pub use limits::{
    DIR_BYTES_MAX, FIDS_MAX, FIRST_FRAME_LEN_MAX, MSIZE_MIN, OUTPUT_BYTES_MAX, OUTPUTS_MAX,
    PARKED_MAX,
};
pub use output::{BulkLost, Output};
pub use session::Session;
pub use tree::{Access, Answer, ConnId, DirEntry, OpenId, Ticket, Totals, Tree};
