//! `/.xget/status`: one record for each client, and `/.xget/nodes`: one for each node that the
//! master heard of, live; on a client they are empty.
//!
//! The text is the node's (docs/protocol.md, "status", "Nodes"): each opening asks for a
//! new one, and reads what it was at its first read to its end.

use crate::namespace::bulk::Bulk;
use crate::namespace::control_file::{ControlFile, ReadRequest};
use crate::namespace::file_id::{Directory, EntryId};
use crate::namespace::reports::Report;
use crate::namespace::space::{NameSpace, Notice};
use ninep::Error;
use ninep::server::{Answer, OpenId};

/// `/.xget/status` or `/.xget/nodes`
pub(super) struct Status(pub Report);

impl ControlFile for Status {
    fn name(&self) -> &'static str {
        match self.0 {
            Report::Clients => "status",
            Report::Nodes => "nodes",
        }
    }

    fn directory(&self) -> Directory {
        Directory::Control
    }

    fn len(&self, space: &NameSpace, _: EntryId) -> u64 {
        space.reports.last(self.0).len() as u64
    }

    fn open(&self, space: &mut NameSpace, _: EntryId, _: OpenId) -> Result<(), Error> {
        space.notify(Notice::ReportWanted(self.0));
        Ok(())
    }

    fn read(
        &self,
        space: &mut NameSpace,
        _: EntryId,
        request: ReadRequest,
    ) -> Result<Answer<Bulk>, Error> {
        space.reports.read(self.0, request.opener).map(|text| request.part_of(text.as_bytes()))
    }

    fn close(&self, space: &mut NameSpace, _: EntryId, opener: OpenId) {
        space.reports.close(opener);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespace::testing::*;
    use ninep::server::Tree;

    #[test]
    fn each_opening_asks_for_it_and_reads_show_the_last() {
        let reports = [(".xget/status", Report::Clients), (".xget/nodes", Report::Nodes)];
        for ((mut space, _), (path, report)) in
            [(master(), reports[0]), (master(), reports[1]), (client(), reports[0])]
        {
            assert_eq!(look(&mut space, path), read_only(&space, 0));
            let status = file(&mut space, path);
            assert_eq!(read_all(&mut space, &status), "");
            space.close(opener(1), &status);
            assert_eq!(notices(&mut space), []);
            assert_eq!(space.open(opener(1), &status, READ), Ok(()));
            assert_eq!(notices(&mut space), [Notice::ReportWanted(report)]);
            space.set_report(report, "address state\nme done\n".into());
            assert_eq!(look(&mut space, path), read_only(&space, 22));
            assert_eq!(read_all(&mut space, &status), "address state\nme done\n");
            // Another opens it: who has begun reads on.
            space.set_report(report, "another\n".into());
            let end = space.read(opener(1), &status, 14, 99, ticket(1));
            assert_eq!(text(end), "me done\n");
            assert_eq!(text(space.read(opener(2), &status, 0, 99, ticket(1))), "another\n");
            space.close(opener(1), &status);
            assert_eq!(read_all(&mut space, &status), "another\n");
            space.close(opener(1), &status);
            assert_eq!(notices(&mut space), []);
            assert_not_writable(&mut space, &status);
        }
    }
}
