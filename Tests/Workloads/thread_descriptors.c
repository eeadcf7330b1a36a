// Threads with tables of descriptors of their own: unshare(2) CLONE_FILES. One keeps what the process had, one has files
// that nobody else has, one has nothing.
// needs kernel: 6.9
#include "workload.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

enum { PLAIN, COPY, OWN, EMPTY, KINDS };
static struct { atomic_int asked, answered; } threads[KINDS];
static int file, counter, ends[2], pair[2], set, memory, high = 700;
static unsigned char *view;

/// What the copy has besides: all that the process had open then.
static void check(int kind) {
    int numbers[64], count = numbers_in("/proc/thread-self/fd", numbers, 64);
    if (kind == EMPTY) expect(!count, "a table that was empty has %d descriptors", count);
    if (kind == PLAIN) expect(fcntl(high, F_GETFD) == -1, "the process has a socket of a thread's");
    if (kind == COPY) {
        expect(count == 7, "a copied table has %d descriptors", count);
        expect(lseek(file, 0, SEEK_CUR) == 5, "a shared file stands at %ld", (long)lseek(file, 0, SEEK_CUR));
        expect(fcntl(file, F_GETFD) == FD_CLOEXEC, "a copied descriptor has lost FD_CLOEXEC");
        struct flock lock = {.l_type = F_WRLCK};
        expect(!fcntl(file, F_OFD_GETLK, &lock) && lock.l_type == F_UNLCK, "a lock that nobody took");
        uint64_t value = 0;
        expect(read(counter, &value, 8) == 8 && value == 3, "an eventfd has %lu", (unsigned long)value);
        value = 3;
        expect(write(counter, &value, 8) == 8, "an eventfd cannot be written");
    }
    if (kind == OWN) {
        char text[8] = "";
        expect(count == 6, "a table of its own has %d descriptors", count);
        expect(read(ends[0], text, 8) == 4 && !memcmp(text, "mine", 4), "a pipe says '%.8s'", text);
        expect(write(ends[1], "mine", 4) == 4, "a pipe cannot be written");
        memset(text, 0, 8);
        expect(recv(high, text, 8, MSG_PEEK | MSG_DONTWAIT) == 4 && !memcmp(text, "pair", 4), "a socket says '%.8s'", text);
        struct epoll_event event = {};
        expect(epoll_wait(set, &event, 1, 1000) == 1 && event.data.u32 == 77, "epoll tells %u", event.data.u32);
        struct stat status;
        expect(!fstat(memory, &status) && status.st_size == PAGE && view[10] == 42, "a memory file has changed");
    }
}

static void *live(void *argument) {
    int kind = (long)argument;
    if (kind != PLAIN) must(unshare(CLONE_FILES));
    if (kind == EMPTY) must(syscall(SYS_close_range, 0, ~0U, 0));
    if (kind == OWN) {
        must(syscall(SYS_close_range, 0, ~0U, 0));
        must(pipe(ends));
        must(write(ends[1], "mine", 4));
        must(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
        must(dup2(pair[0], high));
        must(close(pair[0]));
        must(write(pair[1], "pair", 4));
        must(dup2(must(epoll_create1(0)), 500));
        must(close(pair[0]));   // where the set was made
        set = 500;
        must(epoll_ctl(set, EPOLL_CTL_ADD, high, &(struct epoll_event){.events = EPOLLIN, .data.u32 = 77}));
        memory = must(memfd_create("own", 0));
        must(ftruncate(memory, PAGE));
        view = must(mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0));
        view[10] = 42;
    }
    for (int asked = 0;;) {
        atomic_store(&threads[kind].answered, asked);
        while (atomic_load(&threads[kind].asked) == asked) pause_ms(1);
        check(kind);
        asked = atomic_load(&threads[kind].asked);
    }
    return 0;
}

static void ask(int kind) {
    int round = atomic_fetch_add(&threads[kind].asked, 1) + 1;
    expect(within(10, atomic_load(&threads[kind].answered) == round), "thread %d does not answer", kind);
}

int main(void) {
    begin();
    file = must(open("/state/file", O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    must(write(file, "12345", 5));
    counter = must(eventfd(3, 0));
    // Which is elsewhere in the process's own table.
    must(dup2(file, 9));
    must(dup2(counter, 20));
    for (long kind = 0; kind < KINDS; kind++) {
        atomic_store(&threads[kind].answered, -1);
        start_thread(live, (void *)kind);
        if (!within(10, !atomic_load(&threads[kind].answered))) give_up("a thread that goes apart", __LINE__);
    }
    must(dup2(counter, 9));
    must(close(20));
    must(open("/dev/zero", O_RDONLY));
    ready();
    for (;;) {
        await_question();
        for (int kind = 0; kind < KINDS; kind++) ask(kind);
        char byte = 1;
        uint64_t value = 0;
        expect(read(9, &value, 8) == 8 && value == 3 && write(9, &value, 8) == 8, "descriptor 9 is no eventfd");
        expect(read(counter + 1, &byte, 1) == 1 && !byte, "descriptor %d gives no zeros", counter + 1);
        verdict();
    }
}
