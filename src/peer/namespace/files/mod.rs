//! The registry of control files, one module each, but for those that differ in a word.
//!
//! Knows which there are and in which directory. Their order here is that of
//! their directory's listing, and numbers them for good ([`ControlId`]).

mod alone;
mod avail;
mod checksum;
mod data;
mod info;
mod list;
mod log;
mod manifest;
mod node;
mod pieces;
mod redir;
mod route;
mod status;

use super::bulk::Bulk;
use super::control_file::{ControlFile, ReadRequest};
use super::file_id::{CONTROLS_MAX, ControlId, Directory, EntryId, FileId};
use super::reports::Report;
use super::space::{Acts, NameSpace};
use ninep::server::{Answer, OpenId, Ticket};
use ninep::{EACCES, EISDIR, EROFS, Error};

/// Those of a master, or of a client: what only a master's do is no part of a program in which
/// there is none (docs/architecture.md, Size).
#[derive(Debug)]
struct Files<const OF_MASTER: bool>;

impl<const OF_MASTER: bool> Files<OF_MASTER> {
    const ALL: &[&dyn ControlFile] = &[
        // /
        &log::Log::<OF_MASTER>,
        // /.xget
        &info::Info,
        &route::Route::<OF_MASTER>,
        &status::Status(Report::Clients),
        &manifest::ManifestBytes,
        &node::Node::<OF_MASTER>,
        &status::Status(Report::Nodes),
        // /.xget/<generation>
        &list::List,
        &pieces::Pieces::Whole,
        &pieces::Pieces::Held,
        &pieces::Pieces::Rest,
        &pieces::Pieces::Late,
        // /<path>/<file>
        &data::Data,
        &redir::Redir::<OF_MASTER>,
        &avail::Avail::<OF_MASTER>,
        &checksum::Checksum,
    ];
}

const CONTROL_FILES: &[&dyn ControlFile] = Files::<false>::ALL;
const _: () = assert!(CONTROL_FILES.len() <= CONTROLS_MAX, "each needs a qid path of its own");

/// The file of this number, for what is the same for all: its name, where it is, how it looks.
pub(super) fn get(id: ControlId) -> &'static dyn ControlFile {
    CONTROL_FILES[usize::from(id.0)]
}

impl NameSpace {
    /// An empty one. `worker_load_max` is how many clients a worker of the
    /// paper's interface is to feed; only a master sends clients to workers.
    pub(crate) fn new(is_master: bool, worker_load_max: u32) -> NameSpace {
        let acts: &dyn Acts = if is_master { &Files::<true> } else { &Files::<false> };
        NameSpace::with(acts, is_master, worker_load_max)
    }
}

impl<const OF_MASTER: bool> Files<OF_MASTER> {
    /// What answers for a file, and what it is about.
    fn find(file: &FileId) -> Option<(&'static dyn ControlFile, EntryId)> {
        match *file {
            FileId::Control(control, id) => Some((Self::ALL[usize::from(control.0)], id)),
            FileId::Alone if OF_MASTER => Some((&alone::Alone, EntryId::NONE)),
            _ => None,
        }
    }
}

impl<const OF_MASTER: bool> Acts for Files<OF_MASTER> {
    fn open(&self, space: &mut NameSpace, file: &FileId, opener: OpenId) -> Result<(), Error> {
        match Self::find(file) {
            Some((file, id)) => file.open(space, id, opener),
            None if *file == FileId::Alone => Err(EACCES),
            None => Ok(()),
        }
    }

    fn read(
        &self,
        space: &mut NameSpace,
        file: &FileId,
        opener: OpenId,
        (offset, count): (u64, u32),
        ticket: Ticket,
    ) -> Result<Answer<Bulk>, Error> {
        let (file, id) = Self::find(file).ok_or(EISDIR)?;
        file.read(space, id, ReadRequest { opener, offset, count, ticket })
    }

    fn write(
        &self,
        space: &mut NameSpace,
        file: &FileId,
        opener: OpenId,
        data: &[u8],
    ) -> Result<(), Error> {
        let (file, id) = Self::find(file).ok_or(EROFS)?;
        file.write(space, id, opener, data)
    }

    fn close(&self, space: &mut NameSpace, file: &FileId, opener: OpenId) {
        if let Some((file, id)) = Self::find(file) {
            file.close(space, id, opener);
        }
    }
}

/// Those of a kind of directory, in order.
pub(super) fn of(directory: Directory) -> impl Iterator<Item = ControlId> {
    let ids = (0..CONTROL_FILES.len() as u8).map(ControlId);
    ids.filter(move |id| get(*id).directory() == directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_registered_once_and_names_do_not_collide() {
        let mut known = Vec::new();
        for directory in
            [Directory::Root, Directory::Control, Directory::Generation, Directory::File]
        {
            let names: Vec<&str> = of(directory).map(|id| get(id).name()).collect();
            let mut sorted = names.clone();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), names.len(), "{names:?}");
            assert!(names.iter().all(|name| !name.contains('/') && *name != ".xget"));
            assert!(!names.is_empty());
            known.extend(names);
        }
        assert_eq!(known.len(), CONTROL_FILES.len(), "each stands in one of these");
    }

    #[test]
    fn a_masters_files_look_as_a_clients_and_are_where_those_are() {
        let looks = |file: &&dyn ControlFile| {
            (file.name(), file.directory(), file.takes_writes(), file.version())
        };
        let of_client = Files::<false>::ALL.iter().map(looks);
        assert!(of_client.eq(Files::<true>::ALL.iter().map(looks)));
    }
}
