// Processes that share their descriptors (CLONE_FILES) or working directory and umask (CLONE_FS) without being threads: with
// their parent, with brothers whose parent does not, and with brothers whose parent and session leader are gone. Locks are a
// table's, and name who took them.
// checkpoint: --file-locks
#include "workload.h"
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

enum { PARENT, BROTHERS, ORPHANS, ALONE, TABLES };

static struct {
    atomic_int directories;   // how often the brothers' has changed
    atomic_ulong told[TABLES];
    pid_t child;
} *common;
static int meeting = 90, set = 91, locked = 92;   // numbers that no program has by itself

static int own(int table) { return 100 + table; }

/// One that leads to another file in each table, and one that only this table has.
static void open_own(int table) {
    must(dup2(must(eventfd(0, EFD_NONBLOCK)), meeting));
    must(dup2(meeting, own(table)));
}

static void expect_own(int table) {
    for (int other = 0; other < TABLES; other++)
        expect((fcntl(own(other), F_GETFD) >= 0) == (other == table), "table %d: descriptor %d", table, own(other));
}

/// Opens what the next one has to find, and what that closes must be closed here.
static void hand_over(int table) {
    expect_own(table);
    expect(fcntl(200, F_GETFD) < 0, "table %d: what another process has closed is open here", table);
    uint64_t value = atomic_fetch_add(&common->told[table], 1) + 1;
    expect(write(meeting, &value, sizeof value) == sizeof value, "table %d: write: %s", table, strerror(errno));
    expect(dup2(meeting, 200) == 200, "table %d: dup2: %s", table, strerror(errno));
}

static void take_over(int table) {
    expect_own(table);
    uint64_t value = 0;
    expect(read(200, &value, sizeof value) == sizeof value && value == common->told[table],
        "table %d: what another process has opened tells %ld", table, (long)value);
    expect(!close(200), "table %d: what another process has opened is not here", table);
}

static struct flock range(off_t start) {
    return (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = start, .l_len = 10};
}

static pid_t holder(off_t start) {
    struct flock lock = range(start);
    expect(!fcntl(locked, F_GETLK, &lock), "F_GETLK: %s", strerror(errno));
    return lock.l_type == F_UNLCK ? 0 : lock.l_pid;
}

// ---- with the parent ----

static void enter_child(void) {
    compared &= ~DESCRIPTORS;
    struct flock lock = range(100);
    must(fcntl(locked, F_SETLK, &lock));
}

static void check_child(void) {
    hand_over(PARENT);
    expect(!holder(0) && !holder(100), "a lock of the table's own is in its way");
}

// ---- with the parent's directory ----

static void enter_walker(void) {
    compared &= ~STATUS;
    open_own(ALONE);
}

static void check_walker(void) {
    expect_own(ALONE);
    expect(umask(0) == 0123, "the parent's umask is not the walker's");
    umask(0123);
    must(chdir("/dev"));
    expect(holder(0) == getppid() && holder(100) == common->child, "the locks are %d's and %d's", holder(0), holder(100));
}

// ---- brothers ----

static const char *directories(int round) { return round % 2 ? "/proc" : "/state"; }

static void check_left(void) {
    hand_over(BROTHERS);
    int round = atomic_fetch_add(&common->directories, 1) + 1;
    must(chdir(directories(round)));
    umask(round % 2 ? 027 : 077);
}

static void check_right(void) {
    struct epoll_event event;
    expect(epoll_wait(set, &event, 1, 0) == 1 && event.data.u32 == 4711, "the other one's set tells nothing");
    take_over(BROTHERS);
    expect(epoll_wait(set, &event, 1, 0) == 0, "the other one's set tells more than there is");
    char path[100] = "";
    expect(getcwd(path, sizeof path) && !strcmp(path, directories(common->directories)), "the brother is in %s", path);
    mode_t mask = umask(0);
    umask(mask);
    expect(mask == (common->directories % 2 ? 027 : 077), "the brother has umask %o", mask);
}

static void enter_left(void) {
    compared &= ~(DESCRIPTORS | STATUS);
    open_own(BROTHERS);
    must(dup2(must(epoll_create1(0)), set));
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = 4711};
    must(epoll_ctl(set, EPOLL_CTL_ADD, meeting, &event));
    must(chdir("/state"));
    hire_sharing(CLONE_PARENT | CLONE_FILES | CLONE_FS, 0, check_right);
}

// ---- orphans ----

static void check_elder(void) { hand_over(ORPHANS); }
static void check_younger(void) { take_over(ORPHANS); }

static void enter_elder(void) {
    compared &= ~DESCRIPTORS;
    open_own(ORPHANS);
    hire_sharing(CLONE_PARENT | CLONE_FILES, 0, check_younger);
}

int main(void) {
    begin();
    compared &= ~(DESCRIPTORS | STATUS);
    common = must(mmap(0, sizeof *common, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    must(chdir("/"));
    umask(0123);
    must(dup2(must(open("/state/locked", O_RDWR | O_CREAT | O_CLOEXEC, 0644)), locked));
    pid_t leader = must(fork());
    if (!leader) {
        must(setsid());
        hire(enter_elder, check_elder);
        _exit(0);
    }
    must(waitpid(leader, 0, 0));
    hire(enter_left, check_left);
    hire_sharing(CLONE_FS, enter_walker, check_walker);
    open_own(PARENT);
    struct flock lock = range(0);
    must(fcntl(locked, F_SETLK, &lock));
    common->child = hire_sharing(CLONE_FILES, enter_child, check_child)->pid;
    rehearse();
    take_over(PARENT);
    must(chdir("/"));
    ready();
    for (;;) {
        await_question();
        umask(0123);
        ask_crew();
        take_over(PARENT);
        char path[100] = "";
        expect(getcwd(path, sizeof path) && !strcmp(path, "/dev"), "the walker has gone to /dev without its parent");
        must(chdir("/"));
        answer();
    }
}
