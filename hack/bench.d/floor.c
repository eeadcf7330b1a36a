// floor NAME ROOTFS PROGRAM: what a container costs the kernel, and nothing else: no configuration, no state, no check, no
// library. The same namespaces, cgroup, mounts, devices, masks and root as `hack/bench` asks of the runtimes, on pure
// cgroup v2, with the network namespace made beside the mounts, as stasis does it. The program is run, waited for, and
// the cgroup removed.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define DO(call) ((call) < 0 ? (perror(#call), _exit(1)) : (void)0)
#define EACH(item, list) (unsigned item = 0; item < sizeof(list) / sizeof *(list); item++)

static const struct { const char *type, *place, *options; unsigned long flags; } mounts[] = {
    {"proc", "proc", "", 0},
    {"tmpfs", "dev", "mode=755,size=65536k", MS_NOSUID | MS_STRICTATIME},
    {"devpts", "dev/pts", "newinstance,ptmxmode=0666,mode=0620,gid=5", MS_NOSUID | MS_NOEXEC},
    {"tmpfs", "dev/shm", "mode=1777,size=65536k", MS_NOSUID | MS_NOEXEC | MS_NODEV},
    {"mqueue", "dev/mqueue", "", MS_NOSUID | MS_NOEXEC | MS_NODEV},
    {"sysfs", "sys", "", MS_NOSUID | MS_NOEXEC | MS_NODEV | MS_RDONLY},
    {"cgroup2", "sys/fs/cgroup", "", MS_NOSUID | MS_NOEXEC | MS_NODEV | MS_RDONLY},
};
static const char *folders[] = {"dev/pts", "dev/shm", "dev/mqueue"};
static const struct { const char *path; int major, minor; } devices[] = {
    {"dev/null", 1, 3}, {"dev/zero", 1, 5}, {"dev/full", 1, 7}, {"dev/random", 1, 8}, {"dev/urandom", 1, 9}, {"dev/tty", 5, 0},
};
static const struct { const char *target, *path; } links[] = {
    {"/proc/self/fd", "dev/fd"}, {"/proc/self/fd/0", "dev/stdin"}, {"/proc/self/fd/1", "dev/stdout"},
    {"/proc/self/fd/2", "dev/stderr"}, {"pts/ptmx", "dev/ptmx"},
};
static const char *readonly[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};
static const char *masked[] = {
    "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
    "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi",
};

// The descriptor on its way with a message of one byte.
struct message {
    char byte, control[CMSG_SPACE(sizeof(int))];
    struct iovec bytes;
    struct msghdr header;
};

static struct msghdr *prepare(struct message *m) {
    m->byte = 'n';
    m->bytes = (struct iovec){&m->byte, 1};
    m->header = (struct msghdr){
        .msg_iov = &m->bytes, .msg_iovlen = 1, .msg_control = m->control, .msg_controllen = sizeof m->control};
    return &m->header;
}

static void make_network(int channel) {
    int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    DO(unshare(CLONE_NEWNET));
    int socket_ = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq loopback = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    DO(ioctl(socket_, SIOCSIFFLAGS, &loopback));
    close(socket_);
    int made = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    DO(setns(own, CLONE_NEWNET));
    struct message message;
    struct msghdr *header = prepare(&message);
    struct cmsghdr *part = CMSG_FIRSTHDR(header);
    *part = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof made)};
    memcpy(CMSG_DATA(part), &made, sizeof made);
    DO(sendmsg(channel, header, 0));
    close(made);
    close(own);
}

static void join_network(int channel) {
    struct message message;
    struct msghdr *header = prepare(&message);
    int made;
    DO(recvmsg(channel, header, MSG_CMSG_CLOEXEC));
    memcpy(&made, CMSG_DATA(CMSG_FIRSTHDR(header)), sizeof made);
    DO(setns(made, CLONE_NEWNET));
    close(made);
}

static void become_container(const char *root, int channel) {
    DO(unshare(CLONE_NEWCGROUP));
    DO(setsid());
    umask(0);
    DO(mount("", "/", "", MS_REC | MS_SLAVE, NULL));
    DO(mount(root, root, "", MS_BIND | MS_REC, NULL));
    DO(mount("", root, "", MS_PRIVATE, NULL));
    DO(chdir(root));
    for EACH (i, mounts) {
        if (strcmp(mounts[i].type, "sysfs") == 0) join_network(channel);
        DO(mount(mounts[i].type, mounts[i].place, mounts[i].type, mounts[i].flags, mounts[i].options));
        if (strcmp(mounts[i].place, "dev") == 0) for EACH (f, folders) DO(mkdir(folders[f], 0755));
    }
    for EACH (i, devices) DO(mknod(devices[i].path, S_IFCHR | 0666, makedev(devices[i].major, devices[i].minor)));
    for EACH (i, links) DO(symlink(links[i].target, links[i].path));
    DO(syscall(SYS_pivot_root, ".", "."));
    DO(umount2(".", MNT_DETACH));
    DO(chdir("/"));
    DO(sethostname("runc", 4));
    // What is not there needs no cover.
    for EACH (i, readonly) {
        if (mount(readonly[i], readonly[i], "", MS_BIND | MS_REC, NULL) == 0)
            DO(mount("", readonly[i], "", MS_REMOUNT | MS_BIND | MS_RDONLY, NULL));
    }
    for EACH (i, masked) {
        if (mount("/dev/null", masked[i], "", MS_BIND, NULL) < 0 && errno == ENOTDIR)
            DO(mount("tmpfs", masked[i], "tmpfs", MS_RDONLY, ""));
    }
}

int main(int argc, char **argv) {
    if (argc < 4) return 2;
    char cgroup[200], go = 'g';
    snprintf(cgroup, sizeof cgroup, "/sys/fs/cgroup/%s", argv[1]);
    DO(mkdir(cgroup, 0755));
    int channel[2];
    DO(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel));
    struct clone_args request = {
        .flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_INTO_CGROUP, .exit_signal = SIGCHLD,
        .cgroup = open(cgroup, O_PATH | O_DIRECTORY | O_CLOEXEC)};
    pid_t pid = syscall(SYS_clone3, &request, sizeof request);
    DO(pid);
    if (pid == 0) {
        become_container(argv[2], channel[1]);
        DO(write(channel[1], &go, 1));
        DO(read(channel[1], &go, 1));
        execl(argv[3], argv[3], NULL);
        _exit(1);
    }
    close(channel[1]);
    make_network(channel[0]);
    DO(read(channel[0], &go, 1));
    DO(write(channel[0], &go, 1));
    int status;
    DO(waitpid(pid, &status, 0));
    DO(rmdir(cgroup));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}
