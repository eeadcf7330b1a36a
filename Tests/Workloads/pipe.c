// Pipes: what is in them, how much fits, who holds which end, and who waits at one.
#include "workload.h"

static int filled[2], small[2], full[2], ended[2], blocked[2], packets[2], framed[2];
static atomic_int *progress;   // shared: how many bytes the blocked writer has written

static void *write_forever(void *unused) {
    char page[PAGE];
    memset(page, 'b', sizeof page);
    for (;;) {
        ssize_t n = write(blocked[1], page, sizeof page);
        expect(n == sizeof page, "a blocked writer wrote %zd: %s", n, strerror(errno));
        atomic_fetch_add(progress, 1);
    }
    return unused;
}

static void become_writer(void) {
    close(blocked[0]);
    start_thread(write_forever, 0);
}

static void expect_content(int end, const char *what, const char *content) {
    char bytes[100] = "";
    ssize_t length = strlen(content), n = read(end, bytes, sizeof bytes - 1);
    expect(n == length && !memcmp(bytes, content, length), "%s: read %zd bytes '%s'", what, n, bytes);
}

static void fill(void) {
    char page[PAGE];
    memset(page, 'f', sizeof page);
    while (write(full[1], page, sizeof page) > 0) {}
}

static void check_full(void) {
    char page[PAGE];
    int pages = 0;
    expect(write(full[1], "x", 1) == -1 && errno == EAGAIN, "a full pipe takes more");
    while (read(full[0], page, sizeof page) == sizeof page && page[0] == 'f' && page[4095] == 'f') pages++;
    expect(pages == 16, "a full pipe held %d pages", pages);
    fill();
}

int main(void) {
    begin();
    must(pipe(filled));
    must(pipe2(small, O_NONBLOCK | O_CLOEXEC));
    must(pipe2(full, O_NONBLOCK));
    must(pipe(ended));
    must(pipe(blocked));
    must(pipe2(packets, O_DIRECT));
    must(pipe2(framed, O_DIRECT | O_NONBLOCK));
    must(write(framed[1], "one", 3));
    must(write(framed[1], "second", 6));
    must(fcntl(framed[1], F_SETFL, O_NONBLOCK));   // the next are no packets
    progress = must(mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    must(write(filled[1], "in the pipe", 11));
    must(fcntl(small[1], F_SETPIPE_SZ, 4096));
    must(fcntl(small[1], F_SETOWN, getpid()));
    must(fcntl(small[1], F_SETSIG, SIGRTMIN + 1));
    fill();
    must(write(ended[1], "the last words", 14));
    hire(become_writer, 0);
    close(ended[1]);   // only the child has it now
    if (!within(5, atomic_load(progress) == 16)) give_up("a blocked writer", __LINE__);
    int dead[2];
    must(pipe(dead));
    must(write(dead[1], "of the dead", 11));
    close(dead[1]);
    ready();
    for (;;) {
        await_question();
        expect_content(filled[0], "pipe", "in the pipe");
        must(write(filled[1], "in the pipe", 11));
        expect(fcntl(small[0], F_GETPIPE_SZ) == 4096, "the size is %d", fcntl(small[0], F_GETPIPE_SZ));
        expect(fcntl(small[1], F_GETOWN) == getpid(), "the owner is %d", fcntl(small[1], F_GETOWN));
        expect(fcntl(small[1], F_GETSIG) == SIGRTMIN + 1, "the owner's signal is %d", fcntl(small[1], F_GETSIG));
        uid_t setters[2] = {-1, -1};
        expect(!fcntl(small[1], 17, setters) && setters[0] == getuid() && setters[1] == geteuid(), "F_SETOWN was called by %d, %d", setters[0], setters[1]);
        struct stat is;
        char again[40];
        snprintf(again, sizeof again, "/proc/self/fd/%d", filled[1]);
        int reopened = open(again, O_WRONLY | O_CLOEXEC);
        must(fstat(filled[1], &is));
        expect(is.st_uid == geteuid() && is.st_gid == getegid() && reopened >= 0, "a pipe of %d:%d: %s", is.st_uid, is.st_gid, strerror(errno));
        close(reopened);
        char byte;
        expect(read(small[0], &byte, 1) == -1 && errno == EAGAIN, "an empty non-blocking pipe: %s", strerror(errno));
        check_full();
        if (questions == 1) expect_content(ended[0], "pipe of the child", "the last words");
        if (questions == 2) expect_content(dead[0], "pipe without a writer", "of the dead");
        if (questions > 2) expect_content(dead[0], "pipe without a writer", "");
        char packet[20];
        expect(read(framed[0], packet, 2) == 2 && read(framed[0], packet, 20) == 6, "the borders of packets");
        expect(read(framed[0], packet, 20) == -1 && errno == EAGAIN, "more than the packets");
        must(fcntl(framed[1], F_SETFL, O_NONBLOCK | O_DIRECT));
        must(write(framed[1], "one", 3));
        must(write(framed[1], "second", 6));
        must(fcntl(framed[1], F_SETFL, O_NONBLOCK));
        expect(!(fcntl(framed[1], F_GETFL) & O_DIRECT) && fcntl(packets[1], F_GETFL) & O_DIRECT, "O_DIRECT");
        int written = atomic_load(progress);
        char page[PAGE];
        expect(read(blocked[0], page, PAGE) == PAGE && page[0] == 'b', "the blocked pipe is damaged");
        expect(within(5, atomic_load(progress) == written + 1), "the blocked writer does not go on");
        verdict();
    }
}
