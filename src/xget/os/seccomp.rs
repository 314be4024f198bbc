//! Which system calls this process may make from now on (seccomp(2), bpf(4)).
//!
//! A list of what is refused, and not of what is let pass: libraries differ in what they call,
//! and what is listed here has no place in a transfer of files. Knows the numbers and how the
//! kernel wants them.

#![allow(unsafe_code)]

use nix::errno::Errno;

/// What is refused with EPERM, whatever its arguments are.
// Other programs.
const CALLS: &[libc::c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_process_madvise,
    libc::SYS_move_pages,
    libc::SYS_migrate_pages,
    // What processes share by number or name, whoever may open which files.
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_semget,
    libc::SYS_semop,
    libc::SYS_semtimedop,
    libc::SYS_semctl,
    libc::SYS_msgget,
    libc::SYS_msgsnd,
    libc::SYS_msgrcv,
    libc::SYS_msgctl,
    libc::SYS_mq_open,
    libc::SYS_mq_unlink,
    // What is mounted where, and other views of it.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_open_tree,
    OPEN_TREE_ATTR,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    // Files by number, past every directory: what CAP_DAC_READ_SEARCH would allow.
    libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init,
    // Other kernels, and parts of this one.
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_userfaultfd,
    libc::SYS_personality,
    // The machine.
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_settimeofday,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_syslog,
    libc::SYS_acct,
    libc::SYS_vhangup,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
];

/// What besides is refused to who only reads: it takes a path and opens nothing, and so Landlock
/// does not hold it back. The mode of a file that is made is none of these.
const CHANGES: &[libc::c_long] = &[
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    FCHMODAT2,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    SETXATTRAT,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    REMOVEXATTRAT,
    FILE_SETATTR,
    libc::SYS_utimensat,
    // Before Linux 6.2 there is no right for it.
    libc::SYS_truncate,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chmod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lchown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_utime,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_utimes,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_futimesat,
];

/// The same numbers on every architecture; not every libc has names for them.
const FCHMODAT2: libc::c_long = 452;
const SETXATTRAT: libc::c_long = 463;
const REMOVEXATTRAT: libc::c_long = 466;
const OPEN_TREE_ATTR: libc::c_long = 467;
const FILE_SETATTR: libc::c_long = 469;

/// The same, a quarter as long.
static REFUSED: [u16; CALLS.len()] = short(CALLS);
static REFUSED_TO_READERS: [u16; CHANGES.len()] = short(CHANGES);

const fn short<const COUNT: usize>(calls: &[libc::c_long]) -> [u16; COUNT] {
    let (mut numbers, mut at) = ([0; COUNT], 0);
    while at < COUNT {
        numbers[at] = calls[at] as u16;
        at += 1;
    }
    numbers
}

/// Flags of clone(2) that are refused: a user namespace gives every capability.
const NAMESPACES: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u32;
/// Sockets that are let pass: peers, links. And, to ask for the names of links, those of AF_UNIX that
/// carry datagrams: at the others services listen that do what root says.
const SOCKETS: &[u32] = &[libc::AF_INET as u32, libc::AF_INET6 as u32, libc::AF_NETLINK as u32];
/// SOCK_TYPE_MASK of linux/net.h: above it are flags.
const KIND_OF_SOCKET: u32 = 0xf;
/// Requests of ioctl(2) that are refused: to type on the operator's terminal.
const TYPING: &[u32] = &[libc::TIOCSTI as u32, 0x541c];

/// AUDIT_ARCH_* of linux/audit.h.
#[cfg(target_arch = "x86_64")]
const ARCH: Option<u32> = Some(0xc000_003e);
#[cfg(target_arch = "aarch64")]
const ARCH: Option<u32> = Some(0xc000_00b7);
#[cfg(target_arch = "riscv64")]
const ARCH: Option<u32> = Some(0xc000_00f3);
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
const ARCH: Option<u32> = None;
/// From this number on it is a call of x32, another architecture by the name of this one.
const X32: u32 = 0x4000_0000;

const SET_MODE_FILTER: u32 = 1;
/// Without it older kernels (up to 5.15) slow down all that the process computes.
const SPEC_ALLOW: u32 = 4;

/// `struct seccomp_data`: its fields, by where they are. Of arguments the lower half counts:
/// all that are looked at are 32 bits wide.
const NUMBER_AT: u32 = 0;
const ARCH_AT: u32 = 4;
const fn argument_at(number: u32) -> u32 {
    let low = if cfg!(target_endian = "big") { 4 } else { 0 };
    16 + number * 8 + low
}

const PASS: u32 = libc::SECCOMP_RET_ALLOW;
const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;
const fn errno(number: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | number as u32
}
const REFUSE: u32 = errno(libc::EPERM);

/// A program that the kernel runs before each call.
#[derive(Default)]
struct Program(Vec<libc::sock_filter>);

impl Program {
    fn add(&mut self, code: u32, k: u32, (jt, jf): (u8, u8)) {
        self.0.push(libc::sock_filter { code: code as u16, jt, jf, k });
    }

    fn load(&mut self, at: u32) {
        self.add(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, at, (0, 0));
    }

    fn end(&mut self, verdict: u32) {
        self.add(libc::BPF_RET | libc::BPF_K, verdict, (0, 0));
    }

    /// Ends where what was loaded compares so with `k`.
    fn end_if(&mut self, comparison: u32, k: u32, verdict: u32) {
        self.add(libc::BPF_JMP | comparison | libc::BPF_K, k, (0, 1));
        self.end(verdict);
    }

    fn end_if_is(&mut self, k: u32, verdict: u32) {
        self.end_if(libc::BPF_JEQ, k, verdict);
    }

    /// What is judged by an argument: `rest` ends the program.
    fn judge(&mut self, call: libc::c_long, argument: u32, rest: impl FnOnce(&mut Program)) {
        let at = self.0.len();
        self.add(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, call as u32, (0, 0));
        self.load(argument_at(argument));
        rest(self);
        // Fewer than twenty steps each.
        self.0[at].jf = (self.0.len() - at - 1) as u8;
    }
}

fn program(arch: u32, changes: bool) -> Vec<libc::sock_filter> {
    let mut program = Program::default();
    program.load(ARCH_AT);
    program.add(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, arch, (1, 0));
    program.end(KILL);
    program.load(NUMBER_AT);
    if cfg!(target_arch = "x86_64") {
        // No call: one that a tracer has left out.
        program.end_if_is(u32::MAX, PASS);
        program.end_if(libc::BPF_JGE, X32, KILL);
    }
    // Its flags are in memory, where they cannot be looked at: libraries go on by clone(2).
    program.end_if_is(libc::SYS_clone3 as u32, errno(libc::ENOSYS));
    let to_readers: &[u16] = if changes { &[] } else { &REFUSED_TO_READERS };
    for call in REFUSED.iter().chain(to_readers) {
        program.end_if_is((*call).into(), REFUSE);
    }
    program.judge(libc::SYS_clone, 0, |program| {
        program.end_if(libc::BPF_JSET, NAMESPACES, REFUSE);
        program.end(PASS);
    });
    for call in [libc::SYS_socket, libc::SYS_socketpair] {
        program.judge(call, 0, |program| {
            SOCKETS.iter().for_each(|family| program.end_if_is(*family, PASS));
            program.add(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, libc::AF_UNIX as u32, (1, 0));
            program.end(REFUSE);
            program.load(argument_at(1));
            program.add(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, KIND_OF_SOCKET, (0, 0));
            program.end_if_is(libc::SOCK_DGRAM as u32, PASS);
            program.end(REFUSE);
        });
    }
    // Limits of other processes.
    program.judge(libc::SYS_prlimit64, 0, |program| {
        program.end_if_is(0, PASS);
        program.end(REFUSE);
    });
    program.judge(libc::SYS_ioctl, 1, |program| {
        TYPING.iter().for_each(|request| program.end_if_is(*request, REFUSE));
        program.end(PASS);
    });
    program.end(PASS);
    program.0
}

/// Refuses this thread, and what it begins, what is listed above, for ever; unless it `changes`
/// files, that by which attributes of files are changed, too. To be called when no new privileges
/// can be had ([`super::privileges::gain_no_more`]).
///
/// # Errors
/// The kernel has no filters (ENOSYS, EINVAL), or none for this architecture are known here.
pub fn refuse(changes: bool) -> Result<(), Errno> {
    let mut steps = program(ARCH.ok_or(Errno::ENOSYS)?, changes);
    let filter = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    let set = |flags: u32| {
        // SAFETY: `filter` points to as many steps as it says, and outlives the call.
        let set =
            unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, flags, &raw const filter) };
        Errno::result(set).map(drop)
    };
    match set(SPEC_ALLOW) {
        // Before Linux 4.17 there was no such flag, nor what it is about.
        Err(Errno::EINVAL) => set(0),
        set => set,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::privileges;
    use crate::os::scratch::Dir;
    use nix::sys::signal::Signal;
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork};
    use std::fs::{self, File, Permissions};
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::unix::fs::{PermissionsExt, chown, fchown, lchown};
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
    use std::time::SystemTime;

    /// In a thread of its own, to which alone calls are refused.
    fn refused<T: Send>(changes: bool, then: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                privileges::gain_no_more().unwrap();
                refuse(changes).unwrap();
                then()
            });
            thread.join().unwrap()
        })
    }

    /// With arguments of which no call makes anything, should it be let pass.
    fn call(number: libc::c_long, arguments: [i64; 4]) -> Result<i64, Errno> {
        let [a, b, c, d] = arguments;
        // SAFETY: no argument is an address of anything.
        Errno::result(unsafe { libc::syscall(number, a, b, c, d) })
    }

    #[test]
    fn what_is_listed_is_refused_and_by_us() {
        let outcomes =
            refused(true, || REFUSED.map(|number| (number, call(number.into(), [-1; 4]))));
        for (number, outcome) in outcomes {
            assert_eq!(outcome, Err(Errno::EPERM), "system call {number}");
        }
        // Of root it is the filter that refuses: without it other errors come first.
        assert_ne!(call(libc::SYS_open_by_handle_at, [-1; 4]), Err(Errno::EPERM));
        assert_ne!(call(libc::SYS_execve, [-1; 4]), Err(Errno::EPERM));
    }

    #[test]
    fn who_only_reads_changes_no_file_by_its_path_or_descriptor() {
        let dir = Dir::new();
        let path = dir.write("f", b"f");
        let open = File::options().write(true).open(&path).unwrap();
        let changes = || {
            let mode = Permissions::from_mode(0o644);
            [
                fs::set_permissions(&path, mode.clone()),
                open.set_permissions(mode),
                chown(&path, None, None),
                lchown(&path, None, None),
                fchown(&open, None, None),
                open.set_modified(SystemTime::UNIX_EPOCH),
            ]
            .map(|outcome| outcome.map_err(|error| error.raw_os_error()))
        };
        assert_eq!(refused(true, changes), [Ok(()); 6], "who changes files needs these");
        assert_eq!(refused(false, changes), [Err(Some(libc::EPERM)); 6]);
        for number in REFUSED_TO_READERS {
            let called = |changes| refused(changes, || call(number.into(), [-1; 4]));
            assert_ne!(called(true), Err(Errno::EPERM), "system call {number}");
            assert_eq!(called(false), Err(Errno::EPERM), "system call {number}");
        }
        // A file is made with its mode for all that.
        refused(false, || fs::write(dir.join("made"), b"m")).unwrap();
    }

    #[test]
    fn streams_of_this_machine_and_limits_of_others_are_refused() {
        let dir = Dir::new();
        let path = dir.join("service");
        let _service = UnixListener::bind(&path).unwrap();
        let own = std::process::id().into();
        UnixStream::connect(&path).unwrap();
        refused(true, || {
            let refusal = Some(libc::EPERM);
            assert_eq!(UnixStream::connect(&path).unwrap_err().raw_os_error(), refusal);
            assert_eq!(UnixStream::pair().unwrap_err().raw_os_error(), refusal);
            for kind in [libc::SOCK_SEQPACKET, libc::SOCK_RAW, libc::SOCK_STREAM] {
                let kind = i64::from(kind | libc::SOCK_NONBLOCK);
                let made = call(libc::SYS_socket, [libc::AF_UNIX.into(), kind, 0, 0]);
                assert_eq!(made, Err(Errno::EPERM));
            }
            // It asks for names of links, and cannot be made a stream.
            let asks = UnixDatagram::unbound().unwrap();
            assert!(asks.connect(&path).is_err());
            let nofile = i64::from(libc::RLIMIT_NOFILE);
            assert_eq!(call(libc::SYS_prlimit64, [own, nofile, 0, 0]), Err(Errno::EPERM));
            assert_eq!(call(libc::SYS_prlimit64, [0, nofile, 0, 0]), Ok(0));
        });
    }

    #[test]
    fn arguments_decide_about_children_sockets_and_terminals() {
        refused(true, || {
            let flag = i64::from(libc::CLONE_NEWUSER);
            assert_eq!(call(libc::SYS_clone, [flag, 0, 0, 0]), Err(Errno::EPERM));
            assert_eq!(call(libc::SYS_clone3, [0; 4]), Err(Errno::ENOSYS));
            std::thread::spawn(|| {}).join().unwrap();
            for family in [libc::AF_PACKET, libc::AF_VSOCK, libc::AF_ALG] {
                let made = call(libc::SYS_socket, [family.into(), libc::SOCK_DGRAM.into(), 0, 0]);
                assert_eq!(made, Err(Errno::EPERM), "{family}");
            }
            for request in [libc::TIOCSTI as i64, 0x541c] {
                assert_eq!(call(libc::SYS_ioctl, [-1, request, 0, 0]), Err(Errno::EPERM));
            }
            // The upper half of a request does not count for the kernel, either.
            let wide = libc::TIOCSTI as i64 | 1 << 32;
            assert_eq!(call(libc::SYS_ioctl, [-1, wide, 0, 0]), Err(Errno::EPERM));
            assert_eq!(call(libc::SYS_ioctl, [-1, libc::FIONREAD as i64, 0, 0]), Err(Errno::EBADF));
        });
    }

    #[test]
    fn what_a_transfer_takes_is_let_pass() {
        refused(true, || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let _out = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            listener.accept().unwrap();
            UdpSocket::bind("[::1]:0").unwrap();
            assert!(nix::ifaddrs::getifaddrs().is_ok());
            assert!(nix::net::if_::if_nametoindex("lo").is_ok());
            assert!(std::fs::read("/etc/passwd").is_ok());
        });
    }

    /// How a child ends that makes this call.
    fn child(number: libc::c_long) -> WaitStatus {
        // What takes memory is done before there is a child of a process with threads.
        let mut steps = program(ARCH.unwrap(), true);
        let filter = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
        // SAFETY: the child makes system calls alone, and ends by one.
        unsafe {
            match fork().unwrap() {
                ForkResult::Child => {
                    libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
                    libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, 0, &raw const filter);
                    libc::syscall(number);
                    libc::_exit(7)
                }
                ForkResult::Parent { child } => waitpid(child, None).unwrap(),
            }
        }
    }

    #[test]
    fn calls_of_another_architecture_end_the_process() {
        assert!(matches!(child(libc::SYS_getpid), WaitStatus::Exited(_, 7)));
        if cfg!(target_arch = "x86_64") {
            let ended = child(libc::SYS_getpid | i64::from(X32));
            assert!(matches!(ended, WaitStatus::Signaled(_, Signal::SIGSYS, _)), "{ended:?}");
        }
    }
}
