// FIFOs: in the root file system and on a tmpfs, with a name and without; open for reading, writing and both; with content,
// packets and a size; readers that never had a writer and such as lost theirs; ends in other processes; who waits in open(2)
// for the other side. And places (O_PATH) of files that are not to be opened.
// tmpfs: /memory
#include "workload.h"
#include <poll.h>
#include <sys/ioctl.h>

static const char *const folders[] = {"/state", "/memory"};

/// What is held in one folder.
struct held {
    int both, reader, second, writer, lonely, hung, gone, gone_writer, packets, alone_writer;
};
static struct held held[2];
static int places[3];
static atomic_int *opened;   // shared: how often a child has come out of open(2)
static char name[80];

static const char *at(int folder, const char *file) {
    snprintf(name, sizeof name, "%s/%s", folders[folder], file);
    return name;
}

static int make(int folder, const char *file, int flags) {
    mkfifo(at(folder, file), 0640);
    return must(open(at(folder, file), flags | O_CLOEXEC));
}

static void set_up(int folder) {
    struct held *h = &held[folder];
    h->both = make(folder, "both", O_RDWR);
    must(write(h->both, "in both", 7));
    h->reader = make(folder, "apart", O_RDONLY | O_NONBLOCK);
    h->second = make(folder, "apart", O_RDONLY | O_NONBLOCK);
    must(fcntl(h->second, F_SETFL, 0));
    h->writer = make(folder, "apart", O_WRONLY | O_APPEND);
    must(fcntl(h->writer, F_SETPIPE_SZ, 4096));
    must(write(h->writer, "first second", 12));
    h->hung = make(folder, "hung", O_RDONLY | O_NONBLOCK);
    close(make(folder, "hung", O_WRONLY));
    h->lonely = make(folder, "hung", O_RDONLY | O_NONBLOCK);
    h->gone = make(folder, "gone", O_RDONLY | O_NONBLOCK);
    h->gone_writer = make(folder, "gone", O_WRONLY);
    must(write(h->gone_writer, "without a name", 14));
    must(unlink(at(folder, "gone")));
    h->packets = make(folder, "packets", O_RDWR | O_NONBLOCK);
    must(fcntl(h->packets, F_SETFL, O_NONBLOCK | O_DIRECT));
    must(write(h->packets, "one", 3));
    must(write(h->packets, "second", 6));
    int other = make(folder, "writer", O_RDONLY | O_NONBLOCK);
    h->alone_writer = make(folder, "writer", O_WRONLY);
    must(write(h->alone_writer, "for whoever comes", 17));
    close(other);
}

static void expect_content(int end, const char *what, const char *content) {
    char bytes[100] = "";
    ssize_t length = strlen(content), n = read(end, bytes, length);
    expect(n == length && !memcmp(bytes, content, length), "%s: read %zd bytes '%s': %s", what, n, bytes, strerror(errno));
}

static int polled(int end) {
    struct pollfd poll_one = {end, POLLIN | POLLOUT, 0};
    must(poll(&poll_one, 1, 0));
    return poll_one.revents;
}

static void check(int folder) {
    struct held *h = &held[folder];
    struct stat is, path;
    expect_content(h->both, "both", "in both");
    must(write(h->both, "in both", 7));
    expect(fcntl(h->both, F_GETFL) == (O_RDWR | 0100000), "flags of both: %o", fcntl(h->both, F_GETFL));
    must(fstat(h->both, &is));
    must(stat(at(folder, "both"), &path));
    expect(is.st_ino == path.st_ino && is.st_dev == path.st_dev && S_ISFIFO(is.st_mode), "both is another file");
    expect((is.st_mode & 07777) == 0640, "the mode is %o", is.st_mode);

    expect(fcntl(h->reader, F_GETFL) == (O_RDONLY | O_NONBLOCK | 0100000), "flags of reader: %o", fcntl(h->reader, F_GETFL));
    expect(fcntl(h->second, F_GETFL) == (O_RDONLY | 0100000), "flags of second: %o", fcntl(h->second, F_GETFL));
    expect(fcntl(h->writer, F_GETFL) == (O_WRONLY | O_APPEND | 0100000), "flags of writer: %o", fcntl(h->writer, F_GETFL));
    expect(fcntl(h->writer, F_GETPIPE_SZ) == 4096, "the size is %d", fcntl(h->writer, F_GETPIPE_SZ));
    expect_content(h->reader, "reader", "first ");
    expect_content(h->second, "second", "second");
    char byte;
    expect(read(h->reader, &byte, 1) == -1 && errno == EAGAIN, "more in it, or no writer: %s", strerror(errno));
    must(write(h->writer, "first second", 12));

    expect(polled(h->hung) == POLLHUP, "a reader whose writer left: %x", polled(h->hung));
    expect(polled(h->lonely) == 0, "a reader that never had a writer: %x", polled(h->lonely));
    expect(read(h->lonely, &byte, 1) == 0, "a reader without a writer: %s", strerror(errno));

    must(fstat(h->gone, &is));
    expect(is.st_nlink == 0 && S_ISFIFO(is.st_mode) && (is.st_mode & 07777) == 0640, "gone: %u links, %o", (unsigned)is.st_nlink, is.st_mode);
    struct stat other;
    must(fstat(h->gone_writer, &other));
    expect(other.st_ino == is.st_ino, "its ends are two FIFOs");
    expect(access(at(folder, "gone"), F_OK) == -1 && errno == ENOENT, "it has a name");
    expect_content(h->gone, "gone", "without a name");
    must(write(h->gone_writer, "without a name", 14));

    char bytes[20];
    expect(fcntl(h->packets, F_GETFL) & O_DIRECT, "packets: no O_DIRECT");
    expect(read(h->packets, bytes, 20) == 3 && read(h->packets, bytes, 2) == 2, "packets: their borders");
    expect(read(h->packets, bytes, 20) == -1 && errno == EAGAIN, "packets: what was not read of one is there");
    must(write(h->packets, "one", 3));
    must(write(h->packets, "second", 6));

    expect(polled(h->alone_writer) & POLLERR, "a writer has a reader: %x", polled(h->alone_writer));
    int late = open(at(folder, "writer"), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    expect_content(late, "what a writer left", "for whoever comes");
    must(write(h->alone_writer, "for whoever comes", 17));
    close(late);
}

// ---- a child that waits in open(2) for somebody who writes, and for one who reads ----

static void *open_again_and_again(void *flags) {
    bool reads = flags;
    for (;;) {
        int end = open(reads ? "/state/wait-read" : "/memory/wait-write", (reads ? O_RDONLY : O_WRONLY) | O_CLOEXEC);
        if (end < 0) continue;
        if (reads) {
            char byte;
            while (read(end, &byte, 1) > 0) {}
        }
        close(end);
        atomic_fetch_add(&opened[reads], 1);
    }
    return 0;
}

static void become_waiter(void) {
    for (int folder = 0; folder < 2; folder++)   // other descriptors than its parent's
        must(dup2(held[folder].both, 60 + folder));
    start_thread(open_again_and_again, (void *)1);
    start_thread(open_again_and_again, 0);
}

static void check_waiter(void) {
    struct stat is, was;
    must(fstat(60, &is));
    must(fstat(held[0].both, &was));
    expect(is.st_ino == was.st_ino, "the child's end is another FIFO");
}

static void check_waiting(void) {
    int before[2] = {atomic_load(&opened[0]), atomic_load(&opened[1])};
    pause_ms(20);
    expect(before[0] == atomic_load(&opened[0]), "open(2) for writing has not waited");
    expect(before[1] == atomic_load(&opened[1]), "open(2) for reading has not waited");
    int writer = must(open("/state/wait-read", O_WRONLY | O_CLOEXEC)), reader = must(open("/memory/wait-write", O_RDONLY | O_CLOEXEC));
    close(writer);
    expect(within(5, atomic_load(&opened[1]) > before[1]), "who waited for a writer goes on waiting");
    expect(within(5, atomic_load(&opened[0]) > before[0]), "who waited for a reader goes on waiting");
    close(reader);
}

static void check_places(void) {
    static const mode_t kinds[] = {S_IFIFO, S_IFLNK, S_IFCHR};
    for (int i = 0; i < 3; i++) {
        struct stat is;
        must(fstat(places[i], &is));
        expect((is.st_mode & S_IFMT) == kinds[i], "place %d: mode %o", i, is.st_mode);
        expect(fcntl(places[i], F_GETFL) & O_PATH, "place %d: flags %o", i, fcntl(places[i], F_GETFL));
    }
}

int main(void) {
    begin();
    opened = must(mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    for (int folder = 0; folder < 2; folder++) set_up(folder);
    must(mkfifo("/state/wait-read", 0600));
    must(mkfifo("/memory/wait-write", 0600));
    must(symlink("nowhere", "/state/link"));
    static const char *const paths[] = {"/state/both", "/state/link", "/dev/zero"};
    for (int i = 0; i < 3; i++) places[i] = must(open(paths[i], O_PATH | O_NOFOLLOW | O_CLOEXEC));
    hire(become_waiter, check_waiter);
    ready();
    for (;;) {
        await_question();
        for (int folder = 0; folder < 2; folder++) check(folder);
        check_waiting();
        check_places();
        verdict();
    }
}
