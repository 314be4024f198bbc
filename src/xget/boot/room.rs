//! How much memory a root takes, and whether the machine has it.
//!
//! Pure: a manifest and figures in, the size of a tmpfs or words out, before the
//! first byte is fetched. Refuses to know what is mounted where.

use peer::content::manifest::{EntryKind, Manifest};

const PAGE_BYTES: u64 = 4096;
/// What the kernel keeps for a name and its inode beside any contents.
const INODE_BYTES: u64 = 1024;
/// A symlink up to this length lies in its inode (mm/shmem.c).
const SHORT_LINK_LEN: usize = 127;
/// What the system needs beside its root to get to a login prompt.
const SPARE_BYTES: u64 = 64 << 20;
/// Of that, what must be free while the root comes: the rest may be what this
/// initramfs gives back.
const SPARE_BYTES_MIN: u64 = 24 << 20;
/// Names that the system may make beyond the image's.
const INODES_SPARE: u64 = 65_536;

/// `xget.root.size=`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootSize {
    Bytes(u64),
    /// Of the memory.
    Percent(u64),
}

impl RootSize {
    pub fn bytes(self, memory_bytes: u64) -> u64 {
        match self {
            RootSize::Bytes(bytes) => bytes,
            RootSize::Percent(percent) => memory_bytes * percent / 100,
        }
    }
}

/// What lies in a tmpfs takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// Pages of files. What of a sparse file are holes is found out when it is
    /// checked, and then told from what is free: it does not count here.
    pub bytes: u64,
    pub inodes: u64,
}

impl Need {
    pub fn of(manifest: &Manifest) -> Need {
        let mut need = Need::default();
        for entry in &manifest.entries {
            need.inodes += u64::from(!matches!(entry.kind, EntryKind::Hardlink(_)));
            need.bytes += match entry.kind {
                EntryKind::File if !entry.sparse => entry.size.next_multiple_of(PAGE_BYTES),
                EntryKind::Symlink if entry.link.len() > SHORT_LINK_LEN => PAGE_BYTES,
                _ => 0,
            };
        }
        need
    }

    fn all_bytes(self) -> u64 {
        self.bytes + self.inodes * INODE_BYTES
    }

    /// This, and beside it what is there.
    pub fn beside(self, held: Held) -> Need {
        Need { bytes: self.bytes + held.taken.bytes, inodes: self.inodes + held.taken.inodes }
    }
}

/// What lies in a tmpfs already: its memory is not available, and not needed twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    pub taken: Need,
    /// It is of what room is asked for, and that had room before: figures that differ a
    /// little by now are no reason to fetch all of it once more.
    pub is_begun: bool,
}

/// The figures of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    pub all_bytes: u64,
    pub available_bytes: u64,
    /// What this initramfs takes, and will not when the root is entered.
    pub passing_bytes: u64,
}

impl Memory {
    fn spare_bytes(self) -> u64 {
        SPARE_BYTES.saturating_sub(self.passing_bytes).max(SPARE_BYTES_MIN)
    }
}

/// A tmpfs: its options `size` and `nr_inodes`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    pub size_bytes: u64,
    pub inodes: u64,
}

/// Room for `need`, of which `held` is in memory already, with all that can be given. The
/// error says what is missing, and what to do.
pub fn room(
    need: Need,
    held: Held,
    memory: Memory,
    asked: Option<RootSize>,
) -> Result<Room, String> {
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let spare_bytes = memory.spare_bytes();
    let had_bytes = memory.available_bytes + held.taken.all_bytes();
    let mut most_bytes = had_bytes.saturating_sub(spare_bytes);
    if held.is_begun {
        most_bytes = most_bytes.max(need.all_bytes());
    }
    if need.all_bytes() > most_bytes {
        return Err(format!(
            "it takes {} MiB of memory as it lies there; {} MiB are available, and {} MiB of them \
             are left to the system. Give the machine {} MiB more, make the root smaller, or \
             serve it as root.squashfs or root.erofs, of which only the compressed bytes are \
             in memory",
            mib(need.all_bytes()),
            had_bytes >> 20,
            spare_bytes >> 20,
            mib(need.all_bytes() - most_bytes),
        ));
    }
    let inodes = (memory.all_bytes / PAGE_BYTES / 2).max(need.inodes + INODES_SPARE);
    let Some(asked) = asked else {
        return Ok(Room { size_bytes: most_bytes - need.inodes * INODE_BYTES, inodes });
    };
    let size_bytes = asked.bytes(memory.all_bytes) / PAGE_BYTES * PAGE_BYTES;
    if need.bytes > size_bytes {
        return Err(format!(
            "it takes {} MiB, and xget.root.size= allows {} MiB: raise it or leave it out",
            mib(need.bytes),
            size_bytes >> 20
        ));
    }
    Ok(Room { size_bytes, inodes })
}

/// The size when all is there: half of what is left may be written.
pub fn final_bytes(used_bytes: u64, memory: Memory) -> u64 {
    let left_bytes = memory.available_bytes.saturating_sub(memory.spare_bytes()) / 2;
    (used_bytes + left_bytes) / PAGE_BYTES * PAGE_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use peer::content::manifest::{Entry, PIECE_LEN};
    use peer::testing::entry;

    const MIB: u64 = 1 << 20;
    const MEMORY: Memory =
        Memory { all_bytes: 1024 * MIB, available_bytes: 900 * MIB, passing_bytes: 0 };

    const NONE: Held = Held { taken: Need { bytes: 0, inodes: 0 }, is_begun: false };

    fn manifest(entries: Vec<Entry>) -> Manifest {
        Manifest::of_entries(PIECE_LEN, entries)
    }

    #[test]
    fn files_take_pages_and_names_take_inodes() {
        let file = |size| Entry { size, ..entry(0, "f", EntryKind::File) };
        let sparse = Entry { sparse: true, ..file(12 << 30) };
        let link =
            |len| Entry { link: vec![b'x'; len].into(), ..entry(0, "l", EntryKind::Symlink) };
        let all = manifest(vec![
            entry(0, "", EntryKind::Dir),
            file(0),
            file(1),
            file(4097),
            sparse,
            link(127),
            link(128),
            entry(0, "h", EntryKind::Hardlink(1)),
        ]);
        assert_eq!(Need::of(&all), Need { bytes: 4 * PAGE_BYTES, inodes: 7 });
    }

    #[test]
    fn what_does_not_fit_is_refused_with_figures() {
        let need = |mib| Need { bytes: mib * MIB, inodes: 1024 };
        let room_of = |mib| room(need(mib), NONE, MEMORY, None);
        assert_eq!(room_of(835).unwrap().size_bytes, 835 * MIB);
        let words = room_of(836).unwrap_err();
        for said in ["837 MiB", "900 MiB", "64 MiB", "1 MiB more", "squashfs"] {
            assert!(words.contains(said), "{said}: {words}");
        }
        // What the initramfs takes now the system has later, but for some.
        let less = |mib| Memory { passing_bytes: mib * MIB, ..MEMORY };
        assert!(room(need(855), NONE, less(20), None).is_ok());
        assert!(room(need(876), NONE, less(50), None).is_err());
        let none = Memory { all_bytes: 0, available_bytes: 0, passing_bytes: 0 };
        assert!(room(need(1), NONE, none, None).is_err());
    }

    #[test]
    fn neither_pages_nor_names_that_are_there_are_needed_twice() {
        // 98 MiB of names, in a machine that just has room.
        let need = Need { bytes: 738 * MIB, inodes: 98 * 1024 };
        assert!(room(need, NONE, MEMORY, None).is_ok());
        let more = Need { bytes: need.bytes + MIB, ..need };
        assert!(room(more, NONE, MEMORY, None).is_err());
        // Whatever part of it has come: less what it takes by now.
        let with = |share: u64| {
            let taken = Need { bytes: need.bytes / share, inodes: need.inodes / share };
            let available_bytes = MEMORY.available_bytes - taken.all_bytes();
            (Held { taken, is_begun: false }, Memory { available_bytes, ..MEMORY })
        };
        for share in [1, 2, 7] {
            let (held, memory) = with(share);
            let again = room(need, held, memory, None).unwrap();
            assert_eq!(again, room(need, NONE, MEMORY, None).unwrap(), "1/{share}");
            // All of something else beside it has only what is left.
            let left_mib = (memory.available_bytes - SPARE_BYTES) / MIB;
            let beside = |mib| Need { bytes: mib * MIB, inodes: 0 }.beside(held);
            assert!(room(beside(left_mib), held, memory, None).is_ok(), "1/{share}");
            assert!(room(beside(left_mib + 1), held, memory, None).is_err(), "1/{share}");
        }
    }

    #[test]
    fn what_had_room_is_not_refused_for_a_little_less_memory() {
        let need = Need { bytes: 835 * MIB, inodes: 1024 };
        let taken = Need { bytes: 800 * MIB, inodes: 1024 };
        let memory = Memory { available_bytes: 94 * MIB, ..MEMORY };
        let of = |is_begun, asked| room(need, Held { taken, is_begun }, memory, asked);
        assert!(of(false, None).unwrap_err().contains("5 MiB more"));
        assert_eq!(of(true, None).unwrap().size_bytes, need.bytes, "and no more than that");
        // What is said about the size still counts.
        assert!(of(true, Some(RootSize::Bytes(834 * MIB))).is_err());
    }

    #[test]
    fn a_size_that_was_asked_for_is_a_limit() {
        let need = Need { bytes: 100 * MIB, inodes: 10 };
        let sized = |asked| room(need, NONE, MEMORY, Some(asked));
        assert_eq!(sized(RootSize::Bytes(100 * MIB)).unwrap().size_bytes, 100 * MIB);
        assert_eq!(sized(RootSize::Percent(50)).unwrap().size_bytes, 512 * MIB);
        let words = sized(RootSize::Percent(5)).unwrap_err();
        assert!(words.contains("xget.root.size=") && words.contains("51 MiB"), "{words}");
    }

    #[test]
    fn names_have_room_whatever_the_memory() {
        let many = Need { bytes: 0, inodes: 500_000 };
        assert_eq!(room(many, NONE, MEMORY, None).unwrap().inodes, 565_536);
        let few = Need { bytes: 0, inodes: 5 };
        assert_eq!(room(few, NONE, MEMORY, None).unwrap().inodes, 131_072);
    }

    #[test]
    fn half_of_what_is_left_may_be_written() {
        let after = Memory { available_bytes: 264 * MIB, ..MEMORY };
        assert_eq!(final_bytes(400 * MIB, after), 500 * MIB);
        assert_eq!(final_bytes(400 * MIB, Memory { available_bytes: 0, ..MEMORY }), 400 * MIB);
    }
}
