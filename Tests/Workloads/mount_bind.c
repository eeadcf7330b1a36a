// Binds that the program has made: of a directory, of a file, of what lies in a tmpfs of its own or of config.json, of /proc
// with all that is mounted in it, of a directory over itself, and over another; with what each of them forbids.
// capabilities: CAP_SYS_ADMIN
// seccomp: none
#include "mounts.h"

static int file, folder;

static void folder_at(const char *path) { must(mkdir(path, 0755)); }

static void bind_to(const char *from, const char *to, unsigned long more) { must(mount(from, to, 0, MS_BIND | more, 0)); }

static void expect_same(const char *one, const char *other) {
    struct stat first, second;
    expect(!stat(one, &first) && !stat(other, &second) && first.st_ino == second.st_ino && first.st_dev == second.st_dev, "%s is not %s", other, one);
}

int main(void) {
    begin();
    folder_at("/state/from"), folder_at("/state/from/deep"), folder_at("/state/to"), folder_at("/state/self"), folder_at("/state/memory");
    folder_at("/state/part"), folder_at("/state/proc"), folder_at("/state/shm"), folder_at("/dev/shm/deep"), folder_at("/state/twice");
    put("/state/from/file", "from"), put("/state/from/deep/file", "deep"), put("/state/onto", "hidden"), put("/state/self/file", "self");
    bind_to("/state/from", "/state/to", 0);
    must(mount(0, "/state/to", 0, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, 0));
    bind_to("/state/from/deep/file", "/state/onto", 0);
    bind_to("/state/self", "/state/self", 0);
    must(mount("t", "/state/memory", "tmpfs", MS_NOEXEC, "size=1m"));
    folder_at("/state/memory/deep"), folder_at("/state/memory/covered"), put("/state/memory/deep/file", "memory");
    bind_to("/state/memory/deep", "/state/part", 0);
    must(mount(0, "/state/part", 0, MS_REMOUNT | MS_BIND | MS_NODEV, 0));   // it may be executed from here
    bind_to("/state/self", "/state/memory/covered", 0);
    bind_to("/proc", "/state/proc", MS_REC);
    bind_to("/dev/shm/deep", "/state/shm", 0);
    put("/dev/shm/deep/file", "shm");
    bind_to("/state/from", "/state/twice", 0), bind_to("/state/from/deep", "/state/twice", 0);
    file = must(open("/state/to/file", O_RDONLY | O_CLOEXEC));
    folder = must(open("/state/part", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    must(chdir("/state/shm"));
    ready();
    for (;;) {
        await_question();
        char bytes[8] = "";
        expect(pread(file, bytes, 4, 0) == 4 && !strcmp(bytes, "from"), "the file has `%s`", bytes);
        expect(!faccessat(folder, "file", R_OK, 0), "the directory is another");
        expect(!access("file", R_OK), "the working directory is another");
        expect_same("/state/from/file", "/state/to/file"), expect_same("/state/from/deep/file", "/state/onto");
        expect_same("/state/memory/deep/file", "/state/part/file"), expect_same("/dev/shm/deep", "/state/shm");
        expect_same("/state/self/file", "/state/memory/covered/file"), expect_same("/state/from/deep", "/state/twice");
        expect_refusal("/state/to/new", EROFS);
        // It belongs to nobody in a user namespace.
        expect(access("/state/proc/sys/kernel/hostname", W_OK) < 0 && (errno == EROFS || errno == EACCES), "the copy of /proc/sys can be written to");
        expect(access("/state/proc/1/status", R_OK) == 0, "the copy of /proc shows another one");
        expect(!umount("/state/onto"), "the file's: %s", strerror(errno));
        int hidden = open("/state/onto", O_RDONLY | O_CLOEXEC);
        expect(read(hidden, bytes, 6) == 6 && !memcmp(bytes, "hidden", 6), "the file beneath has `%.6s`", bytes);
        close(hidden);
        bind_to("/state/from/deep/file", "/state/onto", 0);
        expect(!umount("/state/twice"), "the upper one: %s", strerror(errno));
        expect_same("/state/from", "/state/twice");
        bind_to("/state/from/deep", "/state/twice", 0);
        verdict();
    }
}
