// What lies in a tmpfs of the container: files with holes and attributes, links, directories, a FIFO, a socket's name;
// one file is open and mapped, one directory is the working directory, and nothing is there that was not.
// tmpfs: /scratch
// capabilities: CAP_SYS_ADMIN CAP_CHOWN CAP_SETFCAP
#include "workload.h"
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/xattr.h>

// Version 2; user::rw-, user:1234:rw-, group::r--, mask::rw-, other::---. acl(5)
static const struct { uint32_t version; struct { uint16_t tag, may; uint32_t id; } entries[5]; } list = {
    2, {{1, 6, -1}, {2, 6, 1234}, {4, 4, -1}, {16, 6, -1}, {32, 0, -1}},
};
// VFS_CAP_REVISION_2: CAP_NET_BIND_SERVICE permitted. capabilities(7)
static const uint32_t capability[5] = {0x02000000, 1 << 10};
static const char *colour = "trusted.colour";

static struct stat root_then, deep_then;
static int file;
static char *mapped;

static void expect_kind(const char *path, mode_t mode, uid_t user, gid_t group) {
    struct stat is;
    if (lstat(path, &is)) return expect(false, "%s is gone", path);
    expect(is.st_mode == mode, "%s has mode %o", path, is.st_mode);
    expect(is.st_uid == user && is.st_gid == group, "%s belongs to %d:%d", path, is.st_uid, is.st_gid);
}

static bool same_time(struct timespec a, struct timespec b) { return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec; }

int main(void) {
    begin();
    umask(0);
    must(mkdir("/scratch/deep", 0751));
    must(mkdir("/scratch/deep/er", 01777));
    file = must(open("/scratch/deep/file", O_RDWR | O_CREAT | O_CLOEXEC, 0640));
    must(pwrite(file, "first", 5, 0));
    must(pwrite(file, "behind a hole", 13, 10 << 20));
    must(ftruncate(file, 20 << 20));
    must(lseek(file, 10 << 20, SEEK_SET));
    mapped = must(mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0));
    if (setxattr("/scratch/deep/file", colour, "blue", 4, 0) && errno == EPERM) {
        colour = "user.colour";   // in a user namespace nobody may set the other
        must(setxattr("/scratch/deep/file", colour, "blue", 4, 0));
    }
    must(link("/scratch/deep/file", "/scratch/twin"));
    must(symlink("/etc/nowhere", "/scratch/deep/er/link"));
    must(mkfifo("/scratch/fifo", 0606));
    int empty = must(open("/scratch/set-id", O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    must(fchmod(empty, 06755));
    close(empty);
    int other = must(open("/scratch/other's", O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    must(fsetxattr(other, "system.posix_acl_access", &list, sizeof list, 0));
    must(fchown(other, 7, 1005));
    must(fsetxattr(other, "security.capability", capability, sizeof capability, 0));
    close(other);
    struct sockaddr_un name = {AF_UNIX, "/scratch/socket"};
    int bound = must(socket(AF_UNIX, SOCK_STREAM, 0));
    must(bind(bound, (struct sockaddr *)&name, sizeof name));
    close(bound);
    must(chmod("/scratch/socket", 0620));
    must(chdir("/scratch/deep/er"));
    must(utimensat(AT_FDCWD, "/scratch/deep", (struct timespec[]){{1000000000, 123456789}, {1100000000, 987654321}}, 0));
    must(stat("/scratch/deep", &deep_then));
    must(stat("/scratch", &root_then));
    ready();
    for (;;) {
        await_question();
        struct stat is, twin;
        char bytes[16] = "", value[64];
        stat("/scratch/deep", &is);
        expect(same_time(is.st_mtim, deep_then.st_mtim), "a directory has other times");
        stat("/scratch", &is);
        expect(same_time(is.st_mtim, root_then.st_mtim) && is.st_mode == root_then.st_mode && is.st_nlink == root_then.st_nlink, "the top has changed");
        expect_kind("/scratch/deep", S_IFDIR | 0751, 0, 0);
        expect_kind("/scratch/deep/er", S_IFDIR | 01777, 0, 0);
        expect_kind("/scratch/fifo", S_IFIFO | 0606, 0, 0);
        expect_kind("/scratch/socket", S_IFSOCK | 0620, 0, 0);
        expect_kind("/scratch/set-id", S_IFREG | 06755, 0, 0);
        expect_kind("/scratch/other's", S_IFREG | 0660, 7, 1005);
        expect(getxattr("/scratch/other's", "system.posix_acl_access", value, 64) == sizeof list && !memcmp(value, &list, sizeof list), "the list of who may is another");
        expect(getxattr("/scratch/other's", "security.capability", value, 64) == sizeof capability && !memcmp(value, capability, sizeof capability), "the file's capabilities are others");
        expect_kind("/scratch/deep/er/link", S_IFLNK | 0777, 0, 0);
        expect(readlink("link", bytes, 16) == 12 && !memcmp(bytes, "/etc/nowhere", 12), "the link leads to %.16s", bytes);
        expect(!stat("/scratch/deep/file", &is) && !stat("/scratch/twin", &twin) && is.st_ino == twin.st_ino && is.st_nlink == 2, "the hard link is gone");
        expect(is.st_size == 20 << 20 && is.st_blocks <= 16, "%ld bytes take %ld blocks", (long)is.st_size, (long)is.st_blocks);
        expect(getxattr("/scratch/twin", colour, bytes, 16) == 4 && !memcmp(bytes, "blue", 4), "the attribute is gone");
        expect(pread(file, bytes, 13, 10 << 20) == 13 && !memcmp(bytes, "behind a hole", 13), "the content is %.13s", bytes);
        mapped[7] = '0' + questions % 10;
        int again = open("/scratch/twin", O_RDONLY | O_CLOEXEC);
        expect(pread(again, bytes, 8, 0) == 8 && !memcmp(bytes, "first", 5) && bytes[7] == '0' + questions % 10, "the mapping is of another file");
        close(again);
        verdict();
    }
}
