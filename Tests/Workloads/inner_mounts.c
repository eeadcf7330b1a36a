// Mount namespaces of processes inside: one with mounts of its own, some of the container's changed and taken away, which
// another process has joined and gone beneath another root there; a copy of that with more; one that goes on to share mounts
// with the container's, and one that gets those alone. Working directories, files and programs from before and after.
// capabilities: CAP_SYS_ADMIN CAP_SYS_CHROOT
// seccomp: none
#include "mounts.h"
#include "namespaces.h"

static struct seat *maker, *guest, *heir, *peer, *slave;
static int file, before, place;

static void folder(const char *path) { must(mkdir(path, 0755)); }

static void expect_own(void) {
    struct stat found, other;
    expect_text("/state/memory/file", "memory"), expect_text("/state/to/file", "from"), expect_text("/state/hidden/file", "hidden");
    expect_refusal("/state/to/new", EROFS), expect_refusal("/dev/shm/new", EROFS);
    expect(!access("/state/proc/self/status", R_OK), "proc is gone");
    expect(!stat("/state/from", &found) && !stat("/state/memory/bound", &other) && found.st_ino == other.st_ino, "the bind is another");
}

static void expect_files(void) {
    char bytes[8] = "";
    expect(pread(file, bytes, 6, 0) == 6 && !strcmp(bytes, "memory"), "the file has `%s`", bytes);
    expect(pread(before, bytes, 6, 0) == 6 && !strcmp(bytes, "hidden"), "the file from before has `%s`", bytes);
    expect(!access("deep/inside", F_OK), "the working directory is another");
}

static void leave(void) {
    before = must(open("/state/hidden/file", O_RDONLY | O_CLOEXEC));
    must(unshare(CLONE_NEWNS));
    must(mount(0, "/", 0, MS_PRIVATE | MS_REC, 0));
    must(mount("own", "/state/memory", "tmpfs", MS_NOEXEC, "size=1m"));
    put("/state/memory/file", "memory"), folder("/state/memory/deep"), put("/state/memory/deep/inside", ""), folder("/state/memory/bound");
    must(mount("/state/from", "/state/to", 0, MS_BIND, 0)), must(mount(0, "/state/to", 0, MS_REMOUNT | MS_BIND | MS_RDONLY, 0));
    must(mount("/state/from", "/state/memory/bound", 0, MS_BIND, 0));
    must(mount(0, "/dev/shm", 0, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, 0));
    must(mount("p", "/state/proc", "proc", 0, 0)), folder("/state/memory/proc"), must(mount("/state/proc", "/state/memory/proc", 0, MS_BIND, 0));
    must(umount("/dev/mqueue"));
    file = must(open("/state/memory/file", O_RDWR | O_CLOEXEC));
    must(chdir("/state/memory"));
}

static void check_maker(void) { expect_own(), expect_files(); }

static void join(void) {
    join_namespace(maker->pid, "mnt");
    must(chroot("/state/memory"));
    must(chdir("/deep"));
}

static void check_guest(void) {
    expect_text("/file", "memory");
    expect(!access("inside", F_OK) && access("/state", F_OK) < 0, "it has another root or working directory");
}

static void inherit(void) {
    before = must(open("/state/hidden/file", O_RDONLY | O_CLOEXEC));
    join_namespace(maker->pid, "mnt");
    must(unshare(CLONE_NEWNS));
    file = must(open("/state/memory/file", O_RDWR | O_CLOEXEC));
    must(mount("more", "/state/hidden", "tmpfs", 0, "size=1m")), put("/state/hidden/file", "more");
    must(umount("/state/proc"));
    must(chdir("/state/memory"));
}

static void check_heir(void) {
    expect_files();
    expect_text("/state/memory/file", "memory"), expect_text("/state/hidden/file", "more");
    expect(access("/state/proc/self", F_OK) < 0, "what was taken away is there");
}

static void share(void) {
    compared &= ~MOUNTS;   // while it is asked, it has what others have mounted
    must(unshare(CLONE_NEWNS));
}

static void follow(void) {
    compared &= ~MOUNTS;
    must(unshare(CLONE_NEWNS));
    must(mount(0, "/state/shared", 0, MS_SLAVE, 0));
    must(mount("s", "/state/shared/own", "tmpfs", 0, "size=4k")), put("/state/shared/own/mark", "");
}

/// Main has mounted something: both have it. The peer's is seen by main and the slave, the slave's by nobody.
static void check_peer(void) {
    expect(!access("/state/shared/in/mark", F_OK), "what the container has mounted is not here");
    expect(access("/state/shared/own/mark", F_OK) < 0, "what the slave has mounted is here");
    expect(!mount("n", "/state/shared/back", "tmpfs", 0, "size=4k"), "cannot mount: %s", strerror(errno));
    put("/state/shared/back/mark", "");
}

static void check_slave(void) {
    expect(!access("/state/shared/in/mark", F_OK), "what the container has mounted is not here");
    expect(!access("/state/shared/back/mark", F_OK), "what the peer has mounted is not here");
    expect(!access("/state/shared/own/mark", F_OK), "what it has mounted itself is gone");
}

static void check(void) {
    struct seat *seats[] = {maker, guest, heir, peer, slave};
    for (int i = 0; i < 5; i++)
        for (int j = -1; j < i; j++) {
            bool same = namespace_of(seats[i]->pid, "mnt") == namespace_of(j < 0 ? getpid() : seats[j]->pid, "mnt");
            expect(same == (i == 1 && j == 0), "processes %d and %d are%s in one namespace", i, j, same ? "" : " not");
        }
    expect(access("/state/memory/file", F_OK) < 0 && access("/state/to/file", F_OK) < 0, "the container has what others have mounted");
    expect_text("/state/hidden/file", "hidden");
    pid_t visitor = fork();
    if (!visitor) _exit(setns(place, CLONE_NEWNS) || access("/state/memory/file", F_OK));
    int status = -1;
    expect(waitpid(visitor, &status, 0) == visitor && !status, "the descriptor leads elsewhere");
    expect(!mount("n", "/state/shared/in", "tmpfs", 0, "size=4k"), "cannot mount: %s", strerror(errno));
    put("/state/shared/in/mark", "");
}

int main(void) {
    begin();
    const char *const folders[] = {"/state/from", "/state/to", "/state/memory", "/state/hidden", "/state/proc", "/state/shared"};
    for (size_t i = 0; i < COUNT(folders); i++) folder(folders[i]);
    put("/state/from/file", "from"), put("/state/hidden/file", "hidden");
    must(mount("s", "/state/shared", "tmpfs", 0, "size=1m")), must(mount(0, "/state/shared", 0, MS_SHARED, 0));
    folder("/state/shared/in"), folder("/state/shared/own"), folder("/state/shared/back");
    maker = hire(leave, check_maker), guest = hire(join, check_guest), heir = hire(inherit, check_heir);
    peer = hire(share, check_peer), slave = hire(follow, check_slave);
    char path[60];
    snprintf(path, sizeof path, "/proc/%d/ns/mnt", maker->pid);
    place = must(open(path, O_RDONLY | O_CLOEXEC));
    ready();
    for (;;) {
        await_question();
        check();
        ask_crew();
        expect(!access("/state/shared/back/mark", F_OK), "what the peer has mounted is not here");
        expect(!umount("/state/shared/in") && !umount("/state/shared/back"), "cannot unmount: %s", strerror(errno));
        answer();
    }
}
