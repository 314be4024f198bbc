//! What `--help` says, and what is to be typed in the place of others' options. The options are
//! read in the file above; a test there holds both together.

/// Of the program of an initramfs, where somebody at its shell fetches what is missing.
pub const HELP_OF_INIT: &str = "\
xget of an initramfs: /init, and what fetches

usage: xget -n MASTER[:PORT][,...] [OPTION...] SRC... DEST
    fetch from the master and its other clients
xget -n MASTER[:PORT] --worker [OPTION...] SRC... DEST
    serve others what is in DEST already, until a signal
xget --up [-n MASTER[:PORT]]
    tell the master that this node's system has booted

options: -p PORT, -r N, -s, -o, -q, --delete, --keep FILE, --keep-dirs,
--dry-run (DEST is there), --copy-dest DIR, --digest D, --trust KEY, --not-before DATE, --fsync,
--linger SECONDS, --max-clients N, --max-memory MIB, --no-sandbox, -D BITS, -V: `xget --help` of
the whole program
";

pub const HELP: &str = "\
xget: the same bytes onto every node of a cluster

usage: xget [-p PORT] [-m N] [--head N] [-x] [--daemon] [--log FILE] PATH
           serve a directory or a file
       xget -n MASTER[:PORT] [-r N] [-s] [-o] [-q] [--digest D] SRC... DEST
           fetch from the master and its other clients
       xget -n MASTER[:PORT] --worker [-q] SRC... DEST
           serve others what is in DEST already, until a signal
       xget get SRC... DEST
           the same from whoever on the network has it, who has 1.5 s to say so
           after the first: xget get --help
       xget find SRC...
           list those who have it: xget find --help
       xget --print-digest PATH [SRC...] [--exclude PATTERN]
           print what --digest would have to be
       xget --sign KEY DIR [SRC...] [--exclude PATTERN]
           sign what DIR has now, for who fetches with --trust: these, or all of it and
           each thing in it; --print-statement in the place of --sign KEY prints what
           would be signed
       xget --up [-n MASTER[:PORT]]
           tell the master that this node's system has booted
       xget ls [-l] [-R] [-n MASTER[:PORT]] [PATTERN...]
           list what a master serves
       xget status [-n MASTER[:PORT]] [--follow]
           who fetches what, how far, from whom
       xget add [-C DIR] [--sha256 HEX] URL [NAME]
           at the head: fetch a URL into the served directory
       xget run [-n MASTER[:PORT]] -- COMMAND ARG...
           run a command whose words `file:NAME` are files of the master
       A verb has a help of its own: xget ls --help. It is the first word; a
       directory of that name is served as ./ls

SRC is a path below what the master serves; `.` is everything. It lands in the
directory DEST under its base name; of `dir/.` the contents land in DEST. A file can
go onto a DEST that is a block device, or to standard output where DEST is `-`
(xget -n HEAD image.tar.zst - | zstd -d | tar x): as it is, nothing is unpacked.
SRC may be a pattern, in quotes: `*` and `?` fit what is in a name (a dot that it
begins with, too), `[a-z]` one of these, `**/` any directories; `\\*` is a name's own
`*`. What is called just what was typed goes before what that fits: SRC `a[1].txt` is
the file `a[1].txt` where there is one, else it fits `a1.txt`.

serving
  -p PORT            listen here (20004)
  -m N               most clients that one client feeds, 1 to 16 (4)
  --head N           the head's link is N times as fast as a node's (1)
  -x                 stay on one file system
  --daemon           go into the background once ready
  --log FILE         append what is said to FILE, too; all there is of a daemon
  --no-discovery     who asks the network for something does not find this master
  --free-mounts      with --key: who mounts the plain tree (aname=files) needs no key
  --cache FILE       where digests are kept between starts, in a directory that has nothing
                     else; --no-cache: nowhere
  --user NAME        become this user once all is open; files that root alone may read
                     are served nevertheless

fetching
  -n MASTER[:PORT]   name, IPv4 address or [IPv6] address of the master (of one link:
                     [fe80::1%2]:20004, with the number that `ip link` has); `A,B`: B is
                     a spare, asked where A has not what is wanted, or is lost
  -p PORT            the master's port, where MASTER does not say it (20004)
  -r N               tries again when the master cannot be reached (20)
  -s                 do not keep modes, owners and all that takes root
  -o                 as -s; kept from the original
  -q                 print only errors
  --delete           what SRC does not have is deleted, once all else is verified and
                     in place; until all is verified nothing is changed. What is
                     mounted below DEST stays. Lists what changed
  --keep FILE        what fits a pattern in FILE (as in a .gitignore, without `!`) is
                     neither changed nor deleted; may repeat
  --exclude PATTERN  leave out what fits: not fetched, listed or deleted; may repeat. As rsync:
                     `name`, `*.o` at any depth, `/a/b` from the top of what lands in DEST,
                     `name/` directories alone
  --keep-dirs        directories that are there stay as they are: for what goes over
                     something else, as a layer over a root
  --dry-run          list what would change, and write nothing
  --worker           change nothing in DEST, and serve what is right there; looks again
                     every 10 minutes (--linger SECONDS)
  --copy-dest DIR    what DIR has at the same paths is copied where it is right
  --digest D         what must come: blake3:HEX of everything fetched (see
                     --print-digest) or of the one file, or sha256:HEX of the
                     one file
  --trust KEY        what comes is signed by this public key of signify(1), or nothing is
                     written; a file, or the key itself; may repeat, and one will do
  --not-before DATE  and that since this day (YYYY-MM-DD), or second since 1970 (10 digits)
  --fsync            end with status 0 when all is on the disk, and not when it
                     is written alone: for what must survive a crash
  --force, --discard, --verify
                     where DEST is a block device: written to though it is in use;
                     what holds nothing is given back to it; read back at the end
  --window MIB       where DEST is `-`: keep so much of it in memory, for who reads
                     slowly and for others (64, at least 8)
  --spool DIR        ... keep all of it in a file without a name in DIR, and serve it
  --linger SECONDS   serve others at most this long after the fetch; without
                     it, until twice the time of the fetch has passed. 0 leaves
                     at once

both
  --key FILE         the key of the cluster: who does not have it is not let in, and is not
                     taken for a master (XGET_KEY, else /etc/xget/key if it is there);
                     --no-key, or an empty XGET_KEY: none
  --max-clients N    connections of others at a time, as far as the limit of open
                     files allows (16384)
  --max-memory MIB   memory that they may make us hold (a master 192, and
                     64 or an eighth of what is free for parts of the tree;
                     a client 64)
  --no-sandbox       open, and call of the kernel, whatever this user may: without it what
                     is served and DEST alone, as far as the kernel has Landlock and seccomp
  -D BITS            debug: 1 general, 2 client, 4 server, 8 9P server, 16 9P
                     client messages
  -h, --help         this text
  -V, --version      the version

exit status, a class of failures each, of which the text says the one:
  0  every file is verified and in place
  1  interrupted, or something unexpected: start it again
  2  usage: mend the command line
  3  no master answers, it cannot be reached or was lost: try again later
  4  a source is missing, unreadable or changed, fits no or two names, or masters
     differ: see to what is served
  5  wrong bytes or digest: see who serves them; nothing wrong is in place
  6  the destination, or another limit of this machine: no room, a device in use or
     too small, a pipe that is closed, no permission: see to this machine
";

/// Options of xget 1.2.3, of xbootfs before it and of rsync, which are none here, and what to
/// type in their place.
const OF_OTHERS: &[(&[&str], &str)] = &[
    (&["-w"], "it did nothing in xget 1.2.3; leave it out, with its number"),
    (
        &["-f"],
        "for xbootfs's `-f FILE` serve the file or its directory (xget PATH), and fetch it by its \
         name (xget -n HEAD FILE DEST)",
    ),
    (
        &[
            "-a",
            "-c",
            "-A",
            "-H",
            "-S",
            "-X",
            "--archive",
            "--checksum",
            "--numeric-ids",
            "--partial",
        ],
        "rsync's is always on here; leave it out (-s is without)",
    ),
    (
        &["-v", "-i", "--progress", "--itemize-changes"],
        "leave it out; --delete and --dry-run list what changes",
    ),
    (&["-z", "--compress"], "nothing is compressed on the way; leave it out"),
    (
        &["-e", "--rsh"],
        "nothing goes over ssh; a master is named by -n HEAD[:PORT], and serves by xget DIR",
    ),
    (
        &["--bwlimit", "--limit-rate"],
        "no rate is set here: the network shares its links among all; `tc` sets one for a \
         machine (tc qdisc add dev DEV root tbf ...)",
    ),
    (&["-u", "--update"], "what is at the master is what comes, however old; leave it out"),
    (&["--files-from"], "give the names as SRC... (xargs), or patterns"),
    (
        &["--backup", "-b"],
        "nothing is kept of what is replaced: copy it first (cp -al), or fetch into another DEST \
         with --copy-dest",
    ),
];

/// What to type in the place of an option of others.
pub fn in_place_of(option: &str) -> Option<&'static str> {
    let mut others = OF_OTHERS.iter();
    others.find(|(options, _)| options.contains(&option)).map(|(_, instead)| *instead)
}
