// What Swift cannot import by itself: variadic and returning-twice calls, macros with casts, and kernel
// structures and constants newer than the C library's headers. No logic lives here.
#ifndef STASIS_CLINUX_H
#define STASIS_CLINUX_H

// _GNU_SOURCE stays undefined: with it the C library's structures would differ from those that Swift's own Glibc
// module was built with. What it would have declared stands at the end.
#include <arpa/inet.h>
#include <cpuid.h>
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <link.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/if_addr.h>
#include <linux/kcmp.h>
#include <linux/magic.h>
#include <linux/netlink.h>
#include <linux/openat2.h>
#include <linux/rtnetlink.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <linux/sock_diag.h>
#include <linux/time_types.h>
#include <linux/unix_diag.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <pty.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/user.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

// syscall(2) is variadic. Returns -1 and sets errno, as the C library's does.
static inline long clinux_syscall(long number, long a0, long a1, long a2, long a3, long a4, long a5) {
    return syscall(number, a0, a1, a2, a3, a4, a5);
}

// open(2), ioctl(2), fcntl(2) and prctl(2) are variadic.
static inline int clinux_openat(int dir, const char *path, int flags, mode_t mode) { return openat(dir, path, flags, mode); }
static inline int clinux_ioctl(int fd, unsigned long request, unsigned long argument) { return ioctl(fd, request, argument); }
static inline int clinux_fcntl(int fd, int command, long argument) { return fcntl(fd, command, argument); }
static inline int clinux_prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d) {
    return prctl(option, a, b, c, d);
}
static inline long clinux_ptrace(long request, pid_t pid, unsigned long address, unsigned long data) {
    return syscall(SYS_ptrace, request, pid, address, data);
}

// CPUID is an instruction: where component `bit` of the XSAVE area lies; size 0 if the processor has none.
static inline void clinux_xsave_component(uint32_t bit, uint32_t *offset, uint32_t *size) {
    uint32_t c, d;
    __cpuid_count(0xd, bit, *size, *offset, c, d);
}

// errno is a macro.
static inline int clinux_errno(void) { return errno; }

// CMSG_* and W* are macros.
static inline size_t clinux_cmsg_space(size_t n) { return CMSG_SPACE(n); }
static inline size_t clinux_cmsg_len(size_t n) { return CMSG_LEN(n); }
static inline struct cmsghdr *clinux_cmsg_first(struct msghdr *m) { return CMSG_FIRSTHDR(m); }
static inline unsigned char *clinux_cmsg_data(struct cmsghdr *c) { return CMSG_DATA(c); }
static inline unsigned clinux_major(dev_t d) { return gnu_dev_major(d); }
static inline unsigned clinux_minor(dev_t d) { return gnu_dev_minor(d); }
static inline dev_t clinux_makedev(unsigned major, unsigned minor) { return gnu_dev_makedev(major, minor); }

// linux/mount.h (6.x) collides with sys/mount.h of this C library, so what it lacks is declared here.
#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif
#ifndef OPEN_TREE_CLOEXEC
#define OPEN_TREE_CLOEXEC O_CLOEXEC
#endif
#define CLINUX_SYS_open_tree 428
#define CLINUX_SYS_move_mount 429
#define CLINUX_SYS_fsopen 430
#define CLINUX_SYS_fsconfig 431
#define CLINUX_SYS_fsmount 432
#define CLINUX_SYS_fspick 433
#define CLINUX_SYS_pidfd_open 434
#define CLINUX_SYS_clone3 435
#define CLINUX_SYS_close_range 436
#define CLINUX_SYS_openat2 437
#define CLINUX_SYS_pidfd_getfd 438
#define CLINUX_SYS_mount_setattr 442
#define CLINUX_SYS_pidfd_send_signal 424
struct clinux_mount_attr { uint64_t attr_set, attr_clr, propagation, userns_fd; };

// linux/fs.h 6.7: PAGEMAP_SCAN, the fast way to ask which pages are there (Documentation/admin-guide/mm/pagemap.rst).
struct clinux_page_region { uint64_t start, end, categories; };
struct clinux_pm_scan_arg {
    uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
    uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define CLINUX_PAGEMAP_SCAN _IOWR('f', 16, struct clinux_pm_scan_arg)
static inline unsigned long clinux_pagemap_scan(void) { return CLINUX_PAGEMAP_SCAN; }  // a macro with a cast
#define CLINUX_PAGE_IS_WPALLOWED (1 << 0)
#define CLINUX_PAGE_IS_WRITTEN (1 << 1)
#define CLINUX_PAGE_IS_FILE (1 << 2)
#define CLINUX_PAGE_IS_PRESENT (1 << 3)
#define CLINUX_PAGE_IS_SWAPPED (1 << 4)
#define CLINUX_PAGE_IS_PFNZERO (1 << 5)
#define CLINUX_PAGE_IS_HUGE (1 << 6)
#define CLINUX_PAGE_IS_GUARD (1 << 8)

// linux/mman.h: advice of madvise(2) that this C library does not have.
#define CLINUX_SYS_process_madvise 440
#define CLINUX_MADV_PAGEOUT 21
#define CLINUX_MADV_COLLAPSE 25
#define CLINUX_MADV_GUARD_INSTALL 102

// Maps `file`, which holds what this static program was started from, where the program's own file is mapped. Pages that
// the program has changed keep their contents. `pagemap` is its own /proc/self/pagemap. The one thread runs on meanwhile.
int clinux_remap_executable(int file, int pagemap);

// linux/ptrace.h: structures that sys/ptrace.h of this C library does not have.
struct clinux_ptrace_rseq_configuration { uint64_t rseq_abi_pointer; uint32_t rseq_abi_size, signature, flags, pad; };
struct clinux_ptrace_peeksiginfo_args { uint64_t off; uint32_t flags; int32_t nr; };
struct clinux_seccomp_metadata { uint64_t filter_off, flags; };

// linux/prctl.h: PR_SET_MM_MAP (needs CONFIG_CHECKPOINT_RESTORE), prctl(2).
struct clinux_prctl_mm_map {
    uint64_t start_code, end_code, start_data, end_data, start_brk, brk, start_stack;
    uint64_t arg_start, arg_end, env_start, env_end, auxv;
    uint32_t auxv_size, exe_fd;
};

// linux/bpf.h has these as parts of a union without names.
struct clinux_bpf_load { uint32_t prog_type, insn_cnt; uint64_t insns, license; uint32_t log_level, log_size; uint64_t log_buf; };
struct clinux_bpf_attach { uint32_t target_fd, attach_bpf_fd, attach_type, attach_flags; };

// linux/sched.h: clone3(2), kernel 5.5 for set_tid, 5.7 for cgroup.
struct clinux_clone_args {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};

// clone(2) is variadic, and declared only under _GNU_SOURCE. The child has the caller's memory and a stack of its own; the
// caller stands still until it has ended.
int clone(int (*body)(void *), void *stack, int flags, void *argument, ...);
static inline int clinux_clone_sharing_memory(int (*body)(void *), void *stack_end, void *argument) {
    return clone(body, stack_end, 0x100 | 0x4000 | SIGCHLD, argument);  // CLONE_VM, CLONE_VFORK
}

// Declared by the C library only under _GNU_SOURCE.
#define CLINUX_O_PATH 010000000
#define CLINUX_O_TMPFILE 020200000
#define CLINUX_O_DIRECT 040000
#define CLINUX_AT_EMPTY_PATH 0x1000
#define CLINUX_AT_RECURSIVE 0x8000
#define CLINUX_AT_STATX_DONT_SYNC 0x4000
#define CLINUX_F_SETPIPE_SZ 1031
#define CLINUX_F_GETPIPE_SZ 1032
#define CLINUX_F_SETSIG 10
#define CLINUX_F_GETSIG 11
#define CLINUX_F_SETOWN_EX 15
#define CLINUX_F_GETOWN_EX 16
#define CLINUX_F_GETOWNER_UIDS 17
#define CLINUX_F_ADD_SEALS 1033
#define CLINUX_F_GET_SEALS 1034
#define CLINUX_SEEK_DATA 3
#define CLINUX_SEEK_HOLE 4
#define CLINUX_MNT_DETACH 2
#define CLINUX_P_PIDFD 3

// net/if.h and linux/if.h collide; of struct ifreq only the flags are used (netdevice(7)).
struct clinux_ifreq_flags { char name[16]; short flags; char padding[22]; };
#define CLINUX_SIOCGIFFLAGS 0x8913
#define CLINUX_SIOCSIFFLAGS 0x8914

// si_status is a macro over a union; poll(2) takes its name from the structure in Swift.
static inline int clinux_siginfo_status(siginfo_t info) { return info.si_status; }
static inline pid_t clinux_siginfo_pid(siginfo_t info) { return info.si_pid; }
static inline int clinux_poll(struct pollfd *set, unsigned long count, int timeout) { return poll(set, count, timeout); }
#define CLINUX_CLD_EXITED 1

// asm-generic/ioctls.h builds these with casts.
#define CLINUX_TIOCGPTN 0x80045430
#define CLINUX_TIOCSPTLCK 0x40045431
#define CLINUX_TIOCGPTPEER 0x5441

// linux/nsfs.h builds it with casts. ioctl_ns(2).
#define CLINUX_NS_GET_PARENT 0xb702

// environ is a mutable global, which Swift 6 refuses to touch.
extern char **environ;
static inline char **clinux_environ(void) { return environ; }

// linux/memfd.h, memfd_create(2).
#define CLINUX_MFD_CLOEXEC 1
#define CLINUX_MFD_ALLOW_SEALING 2
#define CLINUX_MFD_EXEC 0x10

// The commit that the program was built from, in a section of its own: hack/lib.sh fills it in when it installs, so that
// a commit does not make everything be compiled again.
extern const char clinux_commit[48];
static inline const char *clinux_built_from(void) { return clinux_commit; }

#endif
