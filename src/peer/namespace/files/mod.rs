//! The registry of control files, one module each, but for those that differ in a word.
//!
//! Knows which there are and in which directory. Their order here is that of
//! their directory's listing, and numbers them for good ([`ControlId`]).

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

use super::control_file::ControlFile;
use super::file_id::{CONTROLS_MAX, ControlId, Directory};
use super::reports::Report;

static CONTROL_FILES: &[&dyn ControlFile] = &[
    // /
    &log::Log,
    // /.xget
    &info::Info,
    &route::Route,
    &status::Status(Report::Clients),
    &manifest::ManifestBytes,
    &node::Node,
    &status::Status(Report::Nodes),
    // /.xget/<generation>
    &list::List,
    &pieces::Pieces::Whole,
    &pieces::Pieces::Held,
    &pieces::Pieces::Rest,
    &pieces::Pieces::Late,
    // /<path>/<file>
    &data::Data,
    &redir::Redir,
    &avail::Avail,
    &checksum::Checksum,
];

const _: () = assert!(CONTROL_FILES.len() <= CONTROLS_MAX, "each needs a qid path of its own");

/// The file of this number.
pub(super) fn get(id: ControlId) -> &'static dyn ControlFile {
    CONTROL_FILES[usize::from(id.0)]
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
}
