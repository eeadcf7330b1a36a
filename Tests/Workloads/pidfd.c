// pidfds: of this process, a child, one that has ended and was not waited for, and such as are gone; flags, and by another
// process.
#include "workload.h"
#include <poll.h>
#include <sys/ioctl.h>

static int self, child, zombie, again, thread, killed, killed_too, exited;
static pid_t zombie_id;

static int open_pidfd(pid_t pid, int flags) { return syscall(SYS_pidfd_open, pid, flags); }

static int polled(int pidfd) {
    struct pollfd one = {pidfd, POLLIN, 0};
    must(poll(&one, 1, 0));
    return one.revents;
}

static ino_t inode(int file) {
    struct stat is;
    must(fstat(file, &is));
    return is.st_ino;
}

static pid_t start(int code, int signal) {
    pid_t pid = must(fork());
    if (pid) return pid;
    if (signal) kill(getpid(), signal);
    _exit(code);
}

static void expect_process(int pidfd, const char *what, pid_t pid) {
    char path[60];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", pidfd);
    slurp(path);
    char *line = strstr(slurped, "\nPid:\t");
    expect(line && atoi(line + 6) == pid, "%s: is of process %d instead of %d", what, line ? atoi(line + 6) : 0, pid);
}

static void expect_alive(int pidfd, const char *what, pid_t pid) {
    expect(!syscall(SYS_pidfd_send_signal, pidfd, 0, 0, 0), "%s: %s", what, strerror(errno));
    expect(!polled(pidfd), "%s: has ended", what);
    expect_process(pidfd, what, pid);
}

/// How a process ended that nobody waits for any more, where the kernel tells (6.15).
static void expect_end(int pidfd, const char *what, int code) {
    static bool tells, known;
    union { uint64_t mask; struct { char before[60]; int32_t code; } end; char bytes[64]; } information = {8};
    siginfo_t none;
    expect(polled(pidfd) & POLLIN, "%s: seems to run: %x", what, polled(pidfd));
    expect(syscall(SYS_pidfd_send_signal, pidfd, 0, 0, 0) == -1 && errno == ESRCH, "%s: takes signals", what);
    expect(waitid(P_PIDFD, pidfd, &none, WEXITED) == -1 && errno == ECHILD, "%s: can be waited for", what);
    expect_process(pidfd, what, -1);
    bool told = !ioctl(pidfd, _IOWR(0xff, 11, char[64]), &information) && information.mask & 8;
    if (!known) tells = told;
    known = true;
    expect(told == tells && (!told || information.end.code == code), "%s: ended with %x instead of %x", what, information.end.code, code);
}

static void check_here(void) {
    expect_alive(self, "the first process", 1);
    expect_alive(child, "the child", crew->seats[0].pid);
    expect_end(killed, "killed", SIGKILL);
}

int main(void) {
    begin();
    self = must(open_pidfd(getpid(), 0));
    pid_t pid = start(0, SIGKILL);
    killed = must(open_pidfd(pid, 0));
    killed_too = must(open_pidfd(pid, O_NONBLOCK));
    must(waitpid(pid, 0, 0));
    pid = start(42, 0);
    exited = must(open_pidfd(pid, 0));
    must(waitpid(pid, 0, 0));
    zombie_id = start(7, 0);
    zombie = must(open_pidfd(zombie_id, O_NONBLOCK));
    again = must(dup(zombie));
    thread = open_pidfd(getpid(), O_EXCL);   // PIDFD_THREAD, from kernel 6.9
    hire(0, 0);
    child = must(open_pidfd(crew->seats[0].pid, 0));
    hire(0, check_here);
    if (!within(5, polled(zombie))) give_up("a process that ends", __LINE__);
    ready();
    for (;;) {
        await_question();
        check_here();
        if (thread >= 0) {
            expect_alive(thread, "the first thread", 1);
            expect(fcntl(thread, F_GETFL) & O_EXCL, "PIDFD_THREAD is gone: %o", fcntl(thread, F_GETFL));
        }
        expect(fcntl(zombie, F_GETFL) & O_NONBLOCK && !(fcntl(self, F_GETFL) & O_NONBLOCK), "flags %o, %o", fcntl(zombie, F_GETFL), fcntl(self, F_GETFL));
        expect(fcntl(killed_too, F_GETFL) & O_NONBLOCK, "flags %o", fcntl(killed_too, F_GETFL));
        expect_end(killed_too, "killed, by another descriptor", SIGKILL);
        expect_end(exited, "exited", 42 << 8);
        if (inode(self) != inode(child)) {   // from kernel 6.9
            expect(inode(killed) == inode(killed_too) && inode(killed) != inode(exited), "inodes of processes that ended");
            int new = must(open_pidfd(zombie_id, 0));
            expect(inode(new) == inode(zombie), "the zombie is another process");
            close(new);
        }
        siginfo_t end = {0};
        expect(!waitid(P_PIDFD, again, &end, WEXITED | WNOWAIT) && end.si_pid == zombie_id && end.si_status == 7, "the zombie: %d ended with %d", end.si_pid, end.si_status);
        verdict();
    }
}
