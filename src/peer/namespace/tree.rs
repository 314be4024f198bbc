//! 9P's requests, handed to what each file is: a directory, a served file, a
//! link or a control file.

use super::bulk::Bulk;
use super::control_file::{ControlFile, ReadRequest};
use super::file_id::{Directory, EntryId, FileId, View};
use super::space::NameSpace;
use super::{attr, directory, files};
use ninep::server::{Access, Answer, ConnId, DirEntry, OpenId, Ticket, Totals, Tree};
use ninep::{Attr, EACCES, EISDIR, ENOENT, EROFS, ESTALE, Error, Qid};

/// What answers for a file, where it is a control file.
fn control(file: &FileId) -> Option<(&'static dyn ControlFile, EntryId)> {
    match *file {
        FileId::Control(control, id) => Some((files::get(control), id)),
        _ => None,
    }
}

impl Tree for NameSpace {
    type File = FileId;
    type Bulk = Bulk;

    fn attach(&mut self, _conn: ConnId, aname: &[u8]) -> Result<FileId, Error> {
        match aname {
            b"" | b"/" => Ok(FileId::Root(View::Paper)),
            b"files" | b"/files" => Ok(FileId::Root(View::Plain)),
            _ => Err(ENOENT),
        }
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
            FileId::Root(_) | FileId::ControlDir => false,
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
        let control = control(file);
        if self.is_gone(file) {
            return Err(ESTALE);
        }
        if access.write && !self.is_master() {
            return Err(EACCES);
        }
        if access.write && !control.is_some_and(|(file, _)| file.takes_writes()) {
            return Err(EROFS);
        }
        control.map_or(Ok(()), |(file, id)| file.open(self, id, opener))
    }

    fn close(&mut self, opener: OpenId, file: &FileId) {
        if let Some((file, id)) = control(file) {
            file.close(self, id, opener);
        }
    }

    fn read(
        &mut self,
        opener: OpenId,
        file: &FileId,
        offset: u64,
        count: u32,
        ticket: Ticket,
    ) -> Result<Answer<Bulk>, Error> {
        match *file {
            FileId::Control(control, id) => {
                files::get(control).read(self, id, ReadRequest { opener, offset, count, ticket })
            }
            FileId::Plain(id) => {
                let stored = self.generations.file(id, offset, count)?;
                self.answer_stored(stored, ticket)
            }
            _ => Err(EISDIR),
        }
    }

    fn write(
        &mut self,
        opener: OpenId,
        file: &FileId,
        _offset: u64,
        data: &[u8],
    ) -> Result<u32, Error> {
        let (file, id) = control(file).ok_or(EROFS)?;
        file.write(self, id, opener, data)?;
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
