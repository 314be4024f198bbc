//! What each request does to a connection's fids, one function a message.
//!
//! Each checks everything first and changes the fids last, so that a refused
//! request leaves no trace. Knows section 5's rules and where Linux departs from
//! them; refuses to know tags, parked reads, and how a reply is sent.

use super::dirs::{self, Position, Stretch};
use super::fids::{Fid, Fids, Opened};
use super::tree::{Access, Answer, ConnId, OpenId, Ticket, Totals, Tree};
use crate::error::{
    BAD_USE_OF_FID, EINVAL, EISDIR, ENOENT, ENOTDIR, EROFS, ESTALE, Error, NO_AUTH,
};
use crate::message::{Attr, AttrChange, Dialect, NOFID, Reply};
use alloc::vec::Vec;

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

/// The block in which Rstatfs counts, in bytes.
const STATFS_BLOCK_LEN: u32 = 4096;

/// One connection's fids on a tree.
pub(super) struct Files<T: Tree> {
    pub conn: ConnId,
    pub fids: Fids<T::File>,
    /// Serial of the last [`OpenId`]; outlives a Tversion.
    opened_last: u64,
}

impl<T: Tree> Files<T> {
    pub fn new(conn: ConnId) -> Files<T> {
        Files { conn, fids: Fids::new(), opened_last: 0 }
    }

    /// `reply`, if the fid stands for anything.
    pub fn known(&self, fid: u32, reply: Reply) -> Result<Reply, Error> {
        self.fids.get(fid).map(|_| reply)
    }

    /// `error`, if the fid stands for anything.
    pub fn refused(&self, fid: u32, error: Error) -> Result<Reply, Error> {
        self.fids.get(fid).and(Err(error))
    }

    /// attach(5): the afid is open, to be read and written.
    #[inline(never)]
    pub fn auth(&mut self, tree: &mut T, afid: u32, aname: &[u8]) -> Result<Reply, Error> {
        self.fids.check_new(afid)?;
        self.opened_last += 1;
        let open_id = OpenId { conn: self.conn, serial: self.opened_last };
        let file = tree.auth(open_id, aname)?;
        let qid = tree.qid(&file);
        self.fids.put(afid, file);
        let access = Access { read: true, write: true, truncate: false };
        self.fids.get_mut(afid)?.opened =
            Some(Opened { open_id, access, position: Position::default() });
        Ok(Reply::Auth { qid })
    }

    pub fn attach(
        &mut self,
        tree: &mut T,
        fid: u32,
        afid: u32,
        aname: &[u8],
    ) -> Result<Reply, Error> {
        let proof = match afid {
            NOFID => None,
            // What no Tauth has made proves nothing.
            afid => match self.fids.get(afid) {
                Ok(Fid { opened: Some(opened), .. }) => Some(opened.open_id),
                _ => return Err(NO_AUTH),
            },
        };
        self.fids.check_new(fid)?;
        let root = tree.attach(self.conn, proof, aname)?;
        let qid = tree.qid(&root);
        self.fids.put(fid, root);
        Ok(Reply::Attach { qid })
    }

    /// walk(5), but for one clause: it forbids walking an open fid, Linux and
    /// diodls do it. It stays forbidden in place, where the opening would be
    /// carried along.
    pub fn walk(
        &mut self,
        tree: &mut T,
        dialect: Dialect,
        fid: u32,
        newfid: u32,
        names: &[&[u8]],
    ) -> Result<Reply, Error> {
        let from = self.fids.get(fid)?;
        if newfid != fid {
            self.fids.check_new(newfid)?;
        } else if from.opened.is_some() {
            return Err(BAD_USE_OF_FID);
        }
        let mut file = from.file.clone();
        let mut qids = Vec::with_capacity(names.len());
        for name in names {
            match step(tree, dialect, &file, name) {
                Ok(next) => file = next,
                // "If the first element cannot be walked for any reason,
                // Rerror is returned. Otherwise, the walk will return an
                // Rwalk message containing nwqid qids"; newfid is untouched.
                Err(error) if qids.is_empty() => return Err(error),
                Err(_) => return Ok(Reply::Walk { qids }),
            }
            qids.push(tree.qid(&file));
        }
        self.fids.put(newfid, file);
        Ok(Reply::Walk { qids })
    }

    pub fn open(&mut self, tree: &mut T, fid: u32, access: Access) -> Result<Reply, Error> {
        let fid = self.fids.get_mut(fid)?;
        if fid.opened.is_some() {
            return Err(BAD_USE_OF_FID);
        }
        let qid = tree.qid(&fid.file);
        if qid.is_dir() && (access.write || access.truncate) {
            return Err(EISDIR);
        }
        // Truncation is a kind of writing, also where only reading is asked.
        if access.truncate && tree.attr(&fid.file).mode & MODE_WRITE == 0 {
            return Err(EROFS);
        }
        self.opened_last += 1;
        let open_id = OpenId { conn: self.conn, serial: self.opened_last };
        tree.open(open_id, &fid.file, access)?;
        fid.opened = Some(Opened { open_id, access, position: Position::default() });
        // iounit 0: as much as msize allows (open(5)).
        Ok(Reply::Open { qid, iounit: 0 })
    }

    pub fn is_dir(&self, tree: &T, fid: u32) -> Result<bool, Error> {
        Ok(tree.qid(&self.fids.get(fid)?.file).is_dir())
    }

    /// Asks for a file's bytes, for the first time or again; never for more
    /// than `count`.
    pub fn read_file(
        &self,
        tree: &mut T,
        fid: u32,
        offset: u64,
        count: u32,
        ticket: Ticket,
    ) -> Result<Answer<T::Bulk>, Error> {
        let fid = self.fids.get(fid)?;
        let open_id = fid.opened_to_read()?.open_id;
        // More than was asked for costs the whole connection on Linux.
        Ok(match tree.read(open_id, &fid.file, offset, count, ticket)? {
            Answer::Bytes(mut data) => {
                data.truncate(count as usize);
                Answer::Bytes(data)
            }
            Answer::Bulk { len: 0, .. } => Answer::Bytes(Vec::new()),
            Answer::Bulk { what, len } => Answer::Bulk { what, len: len.min(count) },
            Answer::Park => Answer::Park,
        })
    }

    /// Tread on a directory: stat records. In .L that is Treaddir's work.
    #[inline(never)]
    pub fn read_dir(
        &mut self,
        tree: &T,
        dialect: Dialect,
        fid: u32,
        asked: Stretch,
    ) -> Result<Reply, Error> {
        if dialect == Dialect::Linux {
            return Err(EISDIR);
        }
        let fid = self.fids.get_mut(fid)?;
        let position = fid.opened_to_read()?.position;
        not_gone(tree, &fid.file)?;
        let (data, position) = dirs::read_stats(tree, dialect, &fid.file, position, asked)?;
        if let Some(opened) = &mut fid.opened {
            opened.position = position;
        }
        Ok(Reply::Read { data })
    }

    #[inline(never)]
    pub fn readdir(
        &mut self,
        tree: &mut T,
        fid: u32,
        cursor: u64,
        count: u32,
    ) -> Result<Reply, Error> {
        let fid = self.fids.get(fid)?;
        if !tree.qid(&fid.file).is_dir() {
            return Err(ENOTDIR);
        }
        fid.opened_to_read()?;
        not_gone(tree, &fid.file)?;
        let data = dirs::read_entries(tree, &fid.file, cursor, count)?;
        Ok(Reply::Readdir { data })
    }

    pub fn write(
        &mut self,
        tree: &mut T,
        fid: u32,
        offset: u64,
        data: &[u8],
    ) -> Result<Reply, Error> {
        offset.checked_add(data.len() as u64).ok_or(EINVAL)?;
        let fid = self.fids.get(fid)?;
        let open_id = fid.opened_to_write()?.open_id;
        let count = tree.write(open_id, &fid.file, offset, data)?;
        Ok(Reply::Write { count: count.min(data.len() as u32) })
    }

    pub fn clunk(&mut self, tree: &mut T, fid: u32) -> Result<Reply, Error> {
        close(tree, self.fids.remove(fid)?);
        Ok(Reply::Clunk)
    }

    /// remove(5): "the fid is clunked, even if the remove fails".
    pub fn remove(&mut self, tree: &mut T, fid: u32) -> Result<Reply, Error> {
        self.clunk(tree, fid).and(Err(EROFS))
    }

    /// Clunks every fid.
    pub fn clunk_all(&mut self, tree: &mut T) {
        self.fids.take_all().for_each(|fid| close(tree, fid));
    }

    /// ENOENT of what is gone, and not ESTALE as everything else has it: Linux forgets the
    /// name then and looks it up anew (fs/9p/vfs_dentry.c, `v9fs_lookup_revalidate`).
    pub fn attr(&self, tree: &T, fid: u32) -> Result<Attr, Error> {
        let file = &self.fids.get(fid)?.file;
        if tree.is_gone(file) { Err(ENOENT) } else { Ok(tree.attr(file)) }
    }

    /// Twstat and Tsetattr. To change nothing is fsync in 9P2000 and .u. To
    /// empty a file that takes writes is what `echo x > ctl` asks for first
    /// (Linux fs/open.c handle_truncate): granted, for such a file has no
    /// length to lose.
    pub fn change(&self, tree: &T, fid: u32, change: AttrChange) -> Result<(), Error> {
        let file = &self.fids.get(fid)?.file;
        match change {
            AttrChange { size: None, other: false } => Ok(()),
            AttrChange { size: Some(0), other: false }
                if !tree.qid(file).is_dir() && tree.attr(file).mode & MODE_WRITE != 0 =>
            {
                Ok(())
            }
            _ => Err(EROFS),
        }
    }

    pub fn statfs(&self, tree: &T, fid: u32) -> Result<Reply, Error> {
        let Totals { files, bytes } = tree.totals();
        let blocks = bytes.div_ceil(u64::from(STATFS_BLOCK_LEN));
        self.known(fid, Reply::Statfs { files, blocks, block_len: STATFS_BLOCK_LEN })
    }

    pub fn readlink(&self, tree: &T, fid: u32) -> Result<Reply, Error> {
        let file = &self.fids.get(fid)?.file;
        if !tree.qid(file).is_symlink() {
            return Err(EINVAL);
        }
        Ok(Reply::Readlink { target: tree.attr(file).link })
    }
}

fn not_gone<T: Tree>(tree: &T, file: &T::File) -> Result<(), Error> {
    if tree.is_gone(file) { Err(ESTALE) } else { Ok(()) }
}

fn close<T: Tree>(tree: &mut T, fid: Fid<T::File>) {
    if let Some(opened) = fid.opened {
        tree.close(opened.open_id, &fid.file);
    }
}

/// One element of a walk. Plan 9 never sends "."; diodls does, when listed.
fn step<T: Tree>(
    tree: &mut T,
    dialect: Dialect,
    from: &T::File,
    name: &[u8],
) -> Result<T::File, Error> {
    if !tree.qid(from).is_dir() {
        return Err(ENOTDIR);
    }
    if name == b"." {
        return Ok(from.clone());
    }
    let file = tree.walk(from, name)?;
    if dirs::shows(tree, dialect, &file) { Ok(file) } else { Err(ENOENT) }
}

/// The access that Topen asks for. OEXEC is a reading open; ORCLOSE would remove
/// the file.
pub(super) fn plan9_access(mode: u8) -> Result<Access, Error> {
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

/// The access that Tlopen asks for.
pub(super) fn linux_access(flags: u32) -> Result<Access, Error> {
    let truncate = flags & LINUX_TRUNC != 0;
    match flags & LINUX_ACCMODE {
        0 => Ok(Access { read: true, write: false, truncate }),
        LINUX_WRONLY => Ok(Access { read: false, write: true, truncate }),
        LINUX_RDWR => Ok(Access { read: true, write: true, truncate }),
        _ => Err(EINVAL),
    }
}
