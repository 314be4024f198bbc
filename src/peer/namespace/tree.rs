//! 9P's requests, handed to what each file is: a directory, a served file, a
//! link or a control file.

use super::bulk::Bulk;
use super::file_id::{Directory, FileId, View};
use super::guard::{PLAIN, Wanted};
use super::space::NameSpace;
use super::{attr, directory, files};
use crate::caller::ALONE;
use ninep::server::{Access, Answer, ConnId, DirEntry, OpenId, Ticket, Totals, Tree};
use ninep::{Attr, EACCES, ENOENT, EROFS, ESTALE, Error, Qid};

impl Tree for NameSpace {
    type File = FileId;
    type Bulk = Bulk;

    fn auth(&mut self, open_id: OpenId, aname: &[u8]) -> Result<FileId, Error> {
        self.guard.ask(open_id, aname).map(|()| FileId::Auth)
    }

    fn attach(
        &mut self,
        conn: ConnId,
        proof: Option<OpenId>,
        aname: &[u8],
    ) -> Result<FileId, Error> {
        let (wanted, root) = match aname {
            b"" | b"/" => (Wanted::All, FileId::Root(View::Paper)),
            aname if PLAIN.contains(&aname) => (Wanted::Plain, FileId::Root(View::Plain)),
            ALONE => (Wanted::Alone, FileId::Alone),
            _ => return Err(ENOENT),
        };
        self.guard.admit(conn, proof, wanted)?;
        Ok(root)
    }

    fn walk(&mut self, from: &FileId, name: &[u8]) -> Result<FileId, Error> {
        match name {
            b".." => directory::parent(self, from),
            name => directory::child(self, from, name),
        }
    }

    fn qid(&self, file: &FileId) -> Qid {
        attr::qid(&self.generations, file)
    }

    fn is_gone(&self, file: &FileId) -> bool {
        let generations = &self.generations;
        let of_entry = |id| generations.current(id).is_none();
        match *file {
            FileId::Root(_) | FileId::ControlDir | FileId::Auth | FileId::Alone => false,
            FileId::GenerationDir(id) => generations.get(id).is_none(),
            FileId::Dir(_, id) | FileId::FileDir(id) | FileId::Plain(id) | FileId::Link(id) => {
                of_entry(id)
            }
            FileId::Control(control, id) => match files::get(control).directory() {
                Directory::File => of_entry(id),
                Directory::Generation => generations.get(id.generation).is_none(),
                Directory::Root | Directory::Control => false,
            },
        }
    }

    fn attr(&self, file: &FileId) -> Attr {
        attr::attr(self, file)
    }

    fn entry(&self, dir: &FileId, cursor: u64, links: bool) -> Option<DirEntry<FileId>> {
        directory::child_at(self, dir, cursor, links)
    }

    fn open(&mut self, opener: OpenId, file: &FileId, access: Access) -> Result<(), Error> {
        // It is open as it is made.
        if *file == FileId::Auth {
            return Err(EACCES);
        }
        if self.is_gone(file) {
            return Err(ESTALE);
        }
        if access.write && (*file == FileId::Alone || !self.is_master()) {
            return Err(EACCES);
        }
        let takes_writes =
            || matches!(*file, FileId::Control(control, _) if files::get(control).takes_writes());
        if access.write && !takes_writes() {
            return Err(EROFS);
        }
        self.acts.open(self, file, opener)
    }

    fn close(&mut self, opener: OpenId, file: &FileId) {
        self.acts.close(self, file, opener);
    }

    #[inline(never)]
    fn read(
        &mut self,
        opener: OpenId,
        file: &FileId,
        offset: u64,
        count: u32,
        ticket: Ticket,
    ) -> Result<Answer<Bulk>, Error> {
        match *file {
            FileId::Plain(id) => {
                let stored = self.generations.file(id, offset, count)?;
                self.answer_stored(stored, ticket)
            }
            FileId::Auth => self.guard.answer(opener).map(Answer::Bytes),
            _ => self.acts.read(self, file, opener, (offset, count), ticket),
        }
    }

    fn write(
        &mut self,
        opener: OpenId,
        file: &FileId,
        _offset: u64,
        data: &[u8],
    ) -> Result<u32, Error> {
        if *file == FileId::Auth {
            let ip = self.peer_ip(opener.conn);
            self.guard.say(opener, ip, data)?;
            return Ok(data.len() as u32);
        }
        if !matches!(file, FileId::Control(..)) {
            return Err(EROFS);
        }
        // Whoever relays a handshake is let in with it, and is to say nothing.
        let said = self.guard.open(opener.conn, data)?;
        self.acts.write(self, file, opener, &said)?;
        Ok(data.len() as u32)
    }

    fn forget(&mut self, ticket: Ticket) {
        self.parked.forget(ticket);
    }

    fn totals(&self) -> Totals {
        let content = self.generations.shown().and_then(|shown| shown.content.as_deref());
        content.map_or(Totals::default(), |content| Totals {
            files: content.manifest.files_count(),
            bytes: content.manifest.bytes_total(),
        })
    }
}
