// Files and directories without a name: written and read through several open files, mapped, of any owner and mode, made
// by O_TMPFILE, with holes, in a directory that is gone, under a name that another file has now; a working directory that
// was removed; and a file that has lost its first name, but has another one. Extended attributes, where the file system has them.
// tmpfs: /memory
// capabilities: CAP_CHOWN CAP_FOWNER
#include "workload.h"
#include <sys/xattr.h>

enum { LARGE = 3 << 20, HOLE = 64 << 20, MANY = 300 };

static const char *const places[] = {"/state", "/memory"};

/// What is held of one file system.
struct held {
    int plain, reader, appender, taken, new_owner, nameless, orphan, sparse, semaphore, large, many[MANY];
    char *shared, *private;
    bool has_attributes;
};
static const char attribute[] = "two\0parts";
static struct held held[2];

static int make(const char *folder, const char *name, int flags) {
    char path[80];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return must(open(path, flags | O_CREAT | O_CLOEXEC, 0644));
}

static void drop(const char *folder, const char *name) {
    char path[80];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    must(unlink(path));
}

static void set_up(struct held *h, const char *folder) {
    char path[80], again[80];
    h->plain = make(folder, "plain", O_RDWR);
    h->appender = make(folder, "plain", O_WRONLY | O_APPEND);
    h->reader = make(folder, "plain", O_RDONLY | O_NOFOLLOW);
    must(write(h->plain, "first second", 12));
    h->has_attributes = !fsetxattr(h->plain, "user.parts", attribute, sizeof attribute, 0);
    if (!h->has_attributes && errno != EOPNOTSUPP) give_up("fsetxattr", __LINE__);
    must(lseek(h->reader, 6, SEEK_SET));
    drop(folder, "plain");

    for (int i = 0; i < MANY; i++) {
        h->many[i] = make(folder, "many", O_RDWR);
        must(lseek(h->many[i], i, SEEK_SET));
    }
    drop(folder, "many");

    h->taken = make(folder, "taken", O_RDWR);
    must(write(h->taken, "old", 3));
    drop(folder, "taken");
    int newer = make(folder, "taken", O_RDWR);
    must(write(newer, "newer", 5));
    close(newer);

    h->new_owner = make(folder, "owned", O_RDWR);
    must(fchown(h->new_owner, 33, 44));
    must(fchmod(h->new_owner, 0640));
    struct timespec times[2] = {{1000000001, 2000}, {1000000003, 4000}};
    must(futimens(h->new_owner, times));
    drop(folder, "owned");

    h->nameless = must(open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    must(write(h->nameless, "never had one", 13));
    if (h->has_attributes) must(fsetxattr(h->nameless, "user.empty", "", 0, 0));

    snprintf(path, sizeof path, "%s/gone", folder);
    must(mkdir(path, 0700));
    h->orphan = make(path, "orphan", O_RDWR);
    must(write(h->orphan, "alone", 5));
    drop(path, "orphan");
    must(rmdir(path));

    h->sparse = make(folder, "sparse", O_RDWR);
    must(pwrite(h->sparse, "end", 3, HOLE));
    drop(folder, "sparse");

    h->semaphore = make(folder, "sem.xyz", O_RDWR);
    must(write(h->semaphore, "one name left", 13));
    snprintf(path, sizeof path, "%s/sem.xyz", folder);
    snprintf(again, sizeof again, "%s/sem.named", folder);
    must(link(path, again));
    must(unlink(path));

    h->large = make(folder, "large", O_RDWR);
    must(ftruncate(h->large, LARGE));
    h->shared = must(mmap(0, LARGE, PROT_READ | PROT_WRITE, MAP_SHARED, h->large, 0));
    for (long i = 0; i < LARGE; i += 8) *(long *)(h->shared + i) = i;
    h->private = must(mmap(0, LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, h->large, 0));
    h->private[PAGE] = 'p';
    drop(folder, "large");
}

static void expect_text(int file, const char *text, const char *what) {
    char bytes[40] = "";
    ssize_t length = pread(file, bytes, sizeof bytes - 1, 0);
    expect(length == (ssize_t)strlen(text) && !strcmp(bytes, text), "%s: `%s`, not `%s`", what, bytes, text);
}

static void check(struct held *h, const char *folder) {
    char text[40], path[80];
    struct stat status;
    // Every question adds a letter, which all three open files of it see.
    snprintf(text, sizeof text, "first second%.*s", questions - 1, "xxxxxxxxxxxxxxxx");
    expect_text(h->plain, text, "the plain one");
    expect(write(h->appender, "x", 1) == 1, "cannot append");
    strcat(text, "x");
    expect_text(h->reader, text, "the reader's");
    expect(lseek(h->reader, 0, SEEK_CUR) == 6, "the reader is elsewhere");
    int flags[] = {fcntl(h->reader, F_GETFL), fcntl(h->appender, F_GETFL), fcntl(h->nameless, F_GETFL)};
    expect(flags[0] & O_NOFOLLOW && flags[1] & O_APPEND && (flags[2] & O_TMPFILE) == O_TMPFILE, "flags %o, %o, %o",
           flags[0], flags[1], flags[2]);
    expect(fcntl(h->plain, F_GETFD) == FD_CLOEXEC, "the plain one stays open in other programs");
    expect(fstat(h->plain, &status) == 0 && status.st_nlink == 0, "%ld names", (long)status.st_nlink);

    struct stat first;
    must(fstat(h->many[0], &first));
    for (int i = 0; i < MANY; i++) {
        bool is_one = !fstat(h->many[i], &status) && status.st_ino == first.st_ino && lseek(h->many[i], 0, SEEK_CUR) == i;
        if (is_one) continue;
        expect(false, "open file %d of many is another one, or elsewhere", i);
        break;
    }

    expect_text(h->taken, "old", "the one whose name was taken");
    snprintf(path, sizeof path, "%s/taken", folder);
    int newer = open(path, O_RDONLY | O_CLOEXEC);
    expect_text(newer, "newer", "the one that took the name");
    close(newer);

    expect(fstat(h->new_owner, &status) == 0 && status.st_uid == 33 && status.st_gid == 44 && status.st_mode == 0100640,
           "owner %d:%d, mode %o", status.st_uid, status.st_gid, status.st_mode);
    expect(status.st_mtim.tv_sec == 1000000003 && status.st_mtim.tv_nsec == 4000, "written at %ld.%09ld",
           (long)status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
    char value[16];
    expect(!h->has_attributes || (fgetxattr(h->plain, "user.parts", value, sizeof value) == sizeof attribute &&
                                  !memcmp(value, attribute, sizeof attribute)), "an attribute has gone");
    expect(!h->has_attributes || fgetxattr(h->nameless, "user.empty", value, sizeof value) == 0, "an empty attribute has gone");
    expect_text(h->nameless, "never had one", "the one without a name");
    expect_text(h->orphan, "alone", "the one in a directory that is gone");
    expect_text(h->semaphore, "one name left", "the one with another name");
    expect(fstat(h->semaphore, &status) == 0 && status.st_nlink == 1, "%ld names", (long)status.st_nlink);

    char end[4] = "";
    expect(pread(h->sparse, end, 3, HOLE) == 3 && !strcmp(end, "end"), "the sparse file ends with `%s`", end);
    expect(fstat(h->sparse, &status) == 0 && status.st_blocks < 1024, "the hole takes %ld blocks", (long)status.st_blocks);

    for (long i = 0; i < LARGE; i += 8) {
        if (*(long *)(h->shared + i) == i) continue;
        expect(false, "word %ld is %ld", i / 8, *(long *)(h->shared + i));
        break;
    }
    expect(h->private[PAGE] == 'p' && *(long *)(h->private + 2 * PAGE) == (long)(2 * PAGE), "the private mapping differs");
    long mark = questions;
    expect(pwrite(h->large, &mark, 8, 3 * PAGE) == 8 && *(long *)(h->shared + 3 * PAGE) == mark,
           "mapping and file are two");
    mark = 3 * PAGE;
    pwrite(h->large, &mark, 8, 3 * PAGE);
}

int main(void) {
    begin();
    for (int i = 0; i < 2; i++) set_up(&held[i], places[i]);
    must(mkdir("/state/here", 0750));
    must(chdir("/state/here"));
    must(rmdir("/state/here"));
    // Where a name cannot be had again, facts.h sees another one.
    compared &= ~(LAYOUT | DESCRIPTORS);
    ready();
    for (;;) {
        await_question();
        for (int i = 0; i < 2; i++) check(&held[i], places[i]);
        struct stat status;
        expect(stat(".", &status) == 0 && (status.st_mode & 07777) == 0750, "the directory has mode %o", status.st_mode);
        verdict();
    }
}
