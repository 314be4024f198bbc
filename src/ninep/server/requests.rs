//! What each request does to the fids, one handler a message.
//!
//! Each checks everything first and changes the session last, so that a
//! refused request leaves no trace. Knows section 5's rules and where Linux
//! departs from them; refuses to know how a reply is encoded or sent.

use super::dirs::{self, Position};
use super::fids::Opened;
use super::parked::ParkedRead;
use super::session::{Handled, Session};
use super::{Access, Answer, OpenId, Ticket, Tree};
use crate::{
    Attr, BAD_USE_OF_FID, Change, Dialect, EINVAL, EISDIR, ENOENT, ENOTDIR, EOPNOTSUPP, EROFS,
    Error, IO_HEADER_LEN, NOFID, Names, QTDIR, QTSYMLINK, Qid, Request, WALK_NAMES_MAX,
};
use alloc::vec::Vec;

/// In .L the number has to be ENOENT: libnpclient's npc_auth takes only that
/// as "not required".
const NO_AUTH: Error = Error::new(2, "authentication not required");
/// EAGAIN.
const TOO_MANY_PARKED: Error = Error::new(11, "Resource temporarily unavailable");

/// open(5): the low two bits of the mode, and two flags beside them.
const OWRITE: u8 = 1;
const ORDWR: u8 = 2;
const OTRUNC: u8 = 0x10;
const ORCLOSE: u8 = 0x40;

/// open(2) as Tlopen carries it (P9_DOTL_*); the other bits do not concern us.
const LINUX_ACCMODE: u32 = 0o3;
const LINUX_WRONLY: u32 = 0o1;
const LINUX_RDWR: u32 = 0o2;
const LINUX_TRUNC: u32 = 0o1000;

/// Write permission of anyone: what says that a file takes writes at all.
const MODE_WRITE: u32 = 0o222;

type Outcome<T> = Result<Handled<<T as Tree>::Bulk>, Error>;

impl<T: Tree> Session<T> {
    /// Any request but Tversion, in an agreed dialect.
    pub(super) fn request(&mut self, tree: &mut T, tag: u16, request: Request) -> Outcome<T> {
        match request {
            Request::Version { .. } => Err(EINVAL),
            Request::Auth { .. } => Err(NO_AUTH),
            Request::Attach { fid, afid, aname, .. } => self.attach(tree, fid, afid, aname),
            Request::Flush { oldtag } => Ok(self.flush(tree, oldtag)),
            Request::Walk { fid, newfid, names } => self.walk(tree, fid, newfid, &names),
            Request::Open { fid, mode } => self.open(tree, fid, plan9_access(mode)?),
            Request::Lopen { fid, flags } => self.open(tree, fid, linux_access(flags)?),
            Request::Read { fid, offset, count } => self.read(tree, tag, fid, offset, count),
            Request::Write { fid, offset, data } => self.write(tree, fid, offset, data),
            Request::Clunk { fid } => self.end_fid(tree, fid).map(|()| Handled::Clunk),
            Request::Remove { fid } => self.remove(tree, fid),
            Request::Stat { fid } => self.attr(tree, fid).map(Handled::Stat),
            Request::Getattr { fid, .. } => self.attr(tree, fid).map(Handled::Getattr),
            Request::Wstat { fid, change } => {
                self.change(tree, fid, change).map(|()| Handled::Wstat)
            }
            Request::Setattr { fid, change } => {
                self.change(tree, fid, change).map(|()| Handled::Setattr)
            }
            Request::Statfs { fid } => self.known(fid, Handled::Statfs(tree.totals())),
            Request::Readlink { fid } => self.readlink(tree, fid),
            Request::Readdir { fid, offset, count } => self.readdir(tree, fid, offset, count),
            Request::Fsync { fid } => self.known(fid, Handled::Fsync),
            Request::Lock { fid } => self.known(fid, Handled::Lock),
            Request::Getlock { fid } => self.known(fid, Handled::Getlock),
            Request::Xattrwalk { fid, .. } => self.refused(fid, EOPNOTSUPP),
            Request::Change { fid } => self.refused(fid, EROFS),
        }
    }

    fn known(&self, fid: u32, handled: Handled<T::Bulk>) -> Outcome<T> {
        self.fids.get(fid).map(|_| handled)
    }

    fn refused(&self, fid: u32, error: Error) -> Outcome<T> {
        self.fids.get(fid).and(Err(error))
    }

    fn attach(&mut self, tree: &mut T, fid: u32, afid: u32, aname: &[u8]) -> Outcome<T> {
        if afid != NOFID {
            return Err(NO_AUTH);
        }
        self.fids.check_new(fid)?;
        let place = tree.attach(self.conn, aname)?;
        let qid = tree.qid(&place);
        self.fids.put(fid, place);
        Ok(Handled::Attach(qid))
    }

    /// walk(5), but for one clause: it forbids walking an open fid, Linux and
    /// diodls do it. It stays forbidden in place, where the opening would be
    /// carried along.
    fn walk(&mut self, tree: &mut T, fid: u32, newfid: u32, names: &Names) -> Outcome<T> {
        if names.list.len() > WALK_NAMES_MAX {
            return Err(EINVAL);
        }
        let from = self.fids.get(fid)?;
        if newfid != fid {
            self.fids.check_new(newfid)?;
        } else if from.opened.is_some() {
            return Err(BAD_USE_OF_FID);
        }
        let mut place = from.place.clone();
        let mut qids = Vec::with_capacity(names.list.len());
        for name in &names.list {
            match step(tree, &place, name) {
                Ok(next) => place = next,
                // "If the first element cannot be walked for any reason,
                // Rerror is returned. Otherwise, the walk will return an
                // Rwalk message containing nwqid qids"; newfid is untouched.
                Err(error) if qids.is_empty() => return Err(error),
                Err(_) => return Ok(Handled::Walk(qids)),
            }
            qids.push(tree.qid(&place));
        }
        self.fids.put(newfid, place);
        Ok(Handled::Walk(qids))
    }

    fn open(&mut self, tree: &mut T, fid: u32, access: Access) -> Outcome<T> {
        let serial = self.next_serial();
        let opener = OpenId { conn: self.conn, serial };
        let fid = self.fids.get_mut(fid)?;
        if fid.opened.is_some() {
            return Err(BAD_USE_OF_FID);
        }
        let qid = tree.qid(&fid.place);
        if is_dir(&qid) && (access.write || access.truncate) {
            return Err(EISDIR);
        }
        // Truncation is a kind of writing, also where only reading is asked.
        if access.truncate && tree.attr(&fid.place).mode & MODE_WRITE == 0 {
            return Err(EROFS);
        }
        tree.open(opener, &fid.place, access)?;
        fid.opened = Some(Opened { opener, access, position: Position::default() });
        Ok(Handled::Open(qid))
    }

    fn read(&mut self, tree: &mut T, tag: u16, fid: u32, offset: u64, count: u32) -> Outcome<T> {
        let count = count.min(self.msize - IO_HEADER_LEN);
        offset.checked_add(u64::from(count)).ok_or(EINVAL)?;
        let place = &self.fids.get(fid)?.place;
        if is_dir(&tree.qid(place)) {
            return self.read_dir(tree, fid, offset, count);
        }
        let read = ParkedRead { serial: self.next_serial(), tag, fid, offset, count };
        let outcome = self.read_file(tree, read);
        if let Ok(Handled::Parked) = outcome {
            if self.parked.is_full() {
                tree.forget(Ticket { conn: self.conn, serial: read.serial });
                return Err(TOO_MANY_PARKED);
            }
            self.parked.put(read);
        }
        outcome
    }

    /// Asks for a file's bytes, for the first time or again.
    pub(super) fn read_file(&mut self, tree: &mut T, read: ParkedRead) -> Outcome<T> {
        let fid = self.fids.get(read.fid)?;
        let opener = fid.opened_to_read()?.opener;
        let ticket = Ticket { conn: self.conn, serial: read.serial };
        match tree.read(opener, &fid.place, read.offset, read.count, ticket)? {
            Answer::Bytes(mut data) => {
                // More than was asked for costs the whole connection on Linux.
                data.truncate(read.count as usize);
                Ok(Handled::Read(data))
            }
            Answer::Bulk { len: 0, .. } => Ok(Handled::Read(Vec::new())),
            Answer::Bulk { what, len } => Ok(Handled::ReadBulk { what, len: len.min(read.count) }),
            Answer::Park => Ok(Handled::Parked),
        }
    }

    /// Tread on a directory: stat records. In .L that is Treaddir's work.
    fn read_dir(&mut self, tree: &mut T, fid: u32, offset: u64, count: u32) -> Outcome<T> {
        let dialect = match self.dialect {
            Some(dialect @ (Dialect::Plan9 | Dialect::Unix)) => dialect,
            Some(Dialect::Linux) | None => return Err(EISDIR),
        };
        let fid = self.fids.get_mut(fid)?;
        let position = fid.opened_to_read()?.position;
        let (data, position) =
            dirs::read_stats(tree, dialect, &fid.place, position, offset, count)?;
        if let Some(opened) = &mut fid.opened {
            opened.position = position;
        }
        Ok(Handled::Read(data))
    }

    fn readdir(&mut self, tree: &mut T, fid: u32, cursor: u64, count: u32) -> Outcome<T> {
        let count = count.min(self.msize - IO_HEADER_LEN);
        let fid = self.fids.get(fid)?;
        if !is_dir(&tree.qid(&fid.place)) {
            return Err(ENOTDIR);
        }
        fid.opened_to_read()?;
        dirs::read_entries(tree, &fid.place, cursor, count).map(Handled::Readdir)
    }

    fn write(&mut self, tree: &mut T, fid: u32, offset: u64, data: &[u8]) -> Outcome<T> {
        offset.checked_add(data.len() as u64).ok_or(EINVAL)?;
        let fid = self.fids.get(fid)?;
        let opener = fid.opened_to_write()?.opener;
        let count = tree.write(opener, &fid.place, offset, data)?;
        Ok(Handled::Write { count: count.min(data.len() as u32) })
    }

    /// remove(5): "the fid is clunked, even if the remove fails".
    fn remove(&mut self, tree: &mut T, fid: u32) -> Outcome<T> {
        self.end_fid(tree, fid).and(Err(EROFS))
    }

    fn attr(&self, tree: &T, fid: u32) -> Result<Attr, Error> {
        Ok(tree.attr(&self.fids.get(fid)?.place))
    }

    /// Twstat and Tsetattr. To change nothing is fsync in 9P2000 and .u. To
    /// empty a file that takes writes is what `echo x > ctl` asks for first
    /// (Linux fs/open.c handle_truncate): granted, for such a file has no
    /// length to lose.
    fn change(&self, tree: &T, fid: u32, change: Change) -> Result<(), Error> {
        let place = &self.fids.get(fid)?.place;
        match change {
            Change { size: None, other: false } => Ok(()),
            Change { size: Some(0), other: false }
                if !is_dir(&tree.qid(place)) && tree.attr(place).mode & MODE_WRITE != 0 =>
            {
                Ok(())
            }
            _ => Err(EROFS),
        }
    }

    fn readlink(&self, tree: &T, fid: u32) -> Outcome<T> {
        let place = &self.fids.get(fid)?.place;
        if tree.qid(place).kind & QTSYMLINK == 0 {
            return Err(EINVAL);
        }
        Ok(Handled::Readlink(tree.attr(place).link))
    }
}

/// One element of a walk. Plan 9 never sends "."; diodls does, when listed.
fn step<T: Tree>(tree: &mut T, from: &T::File, name: &[u8]) -> Result<T::File, Error> {
    if !is_dir(&tree.qid(from)) {
        return Err(ENOTDIR);
    }
    if name == b"." {
        return Ok(from.clone());
    }
    if name.is_empty() || name.contains(&b'/') || name.contains(&0) {
        return Err(ENOENT);
    }
    tree.walk(from, name)
}

fn is_dir(qid: &Qid) -> bool {
    qid.kind & QTDIR != 0
}

/// OEXEC is a reading open; ORCLOSE would remove the file.
fn plan9_access(mode: u8) -> Result<Access, Error> {
    if mode & ORCLOSE != 0 {
        return Err(EROFS);
    }
    let how = mode & 3;
    Ok(Access {
        read: how != OWRITE,
        write: how == OWRITE || how == ORDWR,
        truncate: mode & OTRUNC != 0,
    })
}

fn linux_access(flags: u32) -> Result<Access, Error> {
    let truncate = flags & LINUX_TRUNC != 0;
    match flags & LINUX_ACCMODE {
        0 => Ok(Access { read: true, write: false, truncate }),
        LINUX_WRONLY => Ok(Access { read: false, write: true, truncate }),
        LINUX_RDWR => Ok(Access { read: true, write: true, truncate }),
        _ => Err(EINVAL),
    }
}
