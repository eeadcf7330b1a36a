// Regular files, directories and memory devices: offsets, flags, and which descriptors share one open file.
#include "workload.h"
#include <dirent.h>

enum { FAR = 700 };
static int plain, twin, apart, appending, directory, null, zero, random_device, full, far_away, only_path, read_only, write_only;
static struct seat *child;
static int names_left;

static off_t offset(int file) { return lseek(file, 0, SEEK_CUR); }

static void write_text(const char *path, const char *text) {
    int file = must(open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644));
    must(write(file, text, strlen(text)));
    close(file);
}

/// Reads names one small step at a time; how many there are until the end.
static int read_names(int limit) {
    char room[64];
    int count = 0;
    while (count < limit) {
        long n = syscall(SYS_getdents64, directory, room, sizeof room);
        if (n <= 0) break;
        for (char *at = room; at < room + n; at += ((struct dirent64 *)at)->d_reclen) count++;
    }
    return count;
}

static void child_moves(int signal) {
    (void)signal;
    lseek(twin, 1, SEEK_CUR);   // its parent's offset too, since the fork
}
static void become_child(void) {
    signal(SIGUSR2, child_moves);
    compared &= ~OFFSETS;   // its parent moves them, too
}

static void check_sharing(void) {
    off_t at = offset(plain);
    lseek(plain, 3, SEEK_CUR);
    expect(offset(twin) == at + 3, "a dup'ed descriptor does not share its offset");
    expect(offset(far_away) == at + 3, "descriptor %d does not share its offset", FAR);
    expect(offset(apart) == 5, "a file that was opened apart moved to %ld", offset(apart));
    kill(child->pid, SIGUSR2);
    expect(within(5, offset(plain) == at + 4), "the child's descriptor does not share the offset");
    lseek(plain, at, SEEK_SET);
    int flags = fcntl(twin, F_GETFL);
    fcntl(plain, F_SETFL, flags ^ O_NONBLOCK);
    expect(fcntl(twin, F_GETFL) == (flags ^ O_NONBLOCK), "a dup'ed descriptor does not share its flags");
    fcntl(plain, F_SETFL, flags);
}

static void check_files(void) {
    char bytes[16] = "";
    expect(read(apart, bytes, 3) == 3 && !memcmp(bytes, "fgh", 3), "reads %.3s", bytes);
    lseek(apart, 5, SEEK_SET);
    lseek(appending, 0, SEEK_SET);
    expect(write(appending, "+", 1) == 1 && offset(appending) == 10 + questions, "O_APPEND is lost: %ld", offset(appending));
    expect(write(read_only, "x", 1) == -1 && errno == EBADF, "a read-only file can be written");
    expect(read(write_only, bytes, 1) == -1 && errno == EBADF, "a write-only file can be read");
    expect(read(only_path, bytes, 1) == -1 && errno == EBADF, "an O_PATH descriptor can be read");
    expect((fcntl(apart, F_GETFD) & FD_CLOEXEC) && !(fcntl(plain, F_GETFD) & FD_CLOEXEC), "close-on-exec changed");
    int below = openat(directory, "name3", O_RDONLY);
    expect(below > 2, "cannot open below the directory");
    close(below);
    expect(access("here", F_OK) == 0, "the working directory is another");
}

static void check_devices(void) {
    char bytes[16];
    memset(bytes, 1, sizeof bytes);
    expect(read(null, bytes, 16) == 0 && write(null, bytes, 16) == 16, "/dev/null is not itself");
    expect(read(zero, bytes, 16) == 16 && !bytes[0] && !bytes[15], "/dev/zero is not itself");
    expect(write(full, bytes, 16) == -1 && errno == ENOSPC, "/dev/full is not itself");
    expect(read(random_device, bytes, 16) == 16 && memcmp(bytes, bytes + 8, 8), "/dev/urandom is not itself");
}

int main(void) {
    begin();
    must(mkdir("/state/folder", 0755));
    for (int i = 0; i < 12; i++) {
        char path[40];
        snprintf(path, sizeof path, "/state/folder/name%d", i);
        write_text(path, "");
    }
    must(mkdir("/state/work", 0755));
    must(mkdir("/state/work/deeper", 0755));
    must(chdir("/state/work/deeper"));
    write_text("here", "");
    write_text("/state/file", "abcdefghijklmnopqrstuvwxyz");
    write_text("/state/log", "0123456789");
    plain = must(open("/state/file", O_RDWR));
    lseek(plain, 7, SEEK_SET);
    twin = must(dup(plain));
    far_away = must(dup2(plain, FAR));
    apart = must(open("/state/file", O_RDONLY | O_CLOEXEC));
    lseek(apart, 5, SEEK_SET);
    appending = must(open("/state/log", O_RDWR | O_APPEND));
    read_only = must(open("/state/log", O_RDONLY | O_NOFOLLOW));
    write_only = must(open("/state/log", O_WRONLY | O_SYNC));
    only_path = must(open("/state/file", O_PATH));
    lseek(read_only, 1L << 40, SEEK_SET);   // far behind the end
    must(open("/state/named so (deleted)", O_RDWR | O_CREAT, 0644));   // a name like any other; the facts hold it
    directory = must(open("/state/folder", O_RDONLY | O_DIRECTORY));
    null = must(open("/dev/null", O_RDWR));
    zero = must(open("/dev/zero", O_RDONLY));
    full = must(open("/dev/full", O_WRONLY));
    random_device = must(open("/dev/urandom", O_RDONLY));
    names_left = 14 - read_names(5);
    child = hire(become_child, 0);
    ready();
    for (;;) {
        await_question();
        check_sharing();
        check_files();
        check_devices();
        int left = read_names(100);
        expect(left == names_left, "%d names are left in the directory, not %d", left, names_left);
        lseek(directory, 0, SEEK_SET);
        names_left = 14 - read_names(5);
        verdict();
    }
}
