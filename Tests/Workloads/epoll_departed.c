// Registrations of epoll whose descriptor was closed, or leads to another file now, or whose set came to a process that
// never had it: they live on while somebody has the file open, and go by the number that it had.
#include "workload.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>

enum { FILES = 5, ABOVE = 300, APART };

static int set, inner, files[FILES], crowded, taken, apart;

static void add(int to, int file, int number, uint64_t data) {
    must(dup2(file, number));
    struct epoll_event registration = {.events = EPOLLIN, .data.u64 = data};
    must(epoll_ctl(to, EPOLL_CTL_ADD, number, &registration));
}

static void signal_event(int file) {
    uint64_t one = 1;
    expect(write(file, &one, 8) == 8, "cannot write to an eventfd");
}

/// Which of the data tell of an event, as a set of bits.
static uint64_t told(int of) {
    struct epoll_event got[20];
    int n = epoll_wait(of, got, 20, 0);
    uint64_t bits = 0;
    for (int i = 0; i < n; i++) {
        expect(!(bits & 1ull << got[i].data.u64), "%lu is told twice", got[i].data.u64);
        bits |= 1ull << got[i].data.u64;
    }
    return bits;
}

static void expect_told(int of, uint64_t bits, const char *when) {
    uint64_t got = told(of);
    expect(got == bits, "%s: %lx is told instead of %lx", when, got, bits);
}

/// A file that only this child has by a descriptor: the set knows it by a number that its parent has no more.
static void keep_apart(void) {
    close(APART);
}

static void signal_or_read(void) {
    static bool is_signalled;
    uint64_t count;
    if (is_signalled) expect(read(apart, &count, 8) == 8, "nothing to read");
    else signal_event(apart);
    is_signalled = !is_signalled;
}

int main(void) {
    begin();
    set = must(epoll_create1(EPOLL_CLOEXEC));
    inner = must(epoll_create1(0));
    for (int i = 0; i < FILES; i++) files[i] = must(eventfd(0, EFD_NONBLOCK));
    // Five files by one number, of which the third has it in the end.
    crowded = must(dup(files[0]));
    for (int i = 0; i < FILES; i++) add(set, files[i], crowded, i);
    must(dup2(files[2], crowded));
    must(fcntl(crowded, F_SETFD, FD_CLOEXEC));
    // One by a number among others and one by a high one, both closed.
    int closed = must(dup(files[0]));
    add(set, files[1], closed, 10);
    close(closed);
    add(set, files[3], ABOVE, 11);
    close(ABOVE);
    // A set in a set, by a number that is a file's now.
    add(inner, files[4], ABOVE, 1);
    close(ABOVE);
    taken = must(dup(inner));
    add(set, inner, taken, 12);
    must(dup2(files[0], taken));
    // By the number that is the other set's own.
    int home = must(dup(inner));
    add(set, files[2], inner, 13);
    must(dup2(home, inner));
    close(home);
    apart = must(eventfd(0, EFD_NONBLOCK));
    add(set, apart, APART, 14);
    hire(keep_apart, signal_or_read);
    close(APART);
    close(apart);
    ready();
    for (;;) {
        await_question();
        expect_told(set, 0, "at rest");
        const uint64_t whole[FILES] = {1 << 0, 1 << 1 | 1 << 10, 1 << 2 | 1 << 13, 1 << 3 | 1 << 11, 1 << 4 | 1 << 12};
        for (int i = 0; i < FILES; i++) {
            uint64_t count;
            signal_event(files[i]);
            expect_told(set, whole[i], "a file");
            expect(read(files[i], &count, 8) == 8, "nothing to read");
        }
        struct epoll_event third = {.events = EPOLLIN, .data.u64 = 2}, any = third;
        expect(!epoll_ctl(set, EPOLL_CTL_MOD, crowded, &third), "the registration by its own number is gone");
        expect(epoll_ctl(set, EPOLL_CTL_MOD, taken, &any) == -1 && errno == ENOENT, "a file has another's registration");
        expect(fcntl(crowded, F_GETFD) == FD_CLOEXEC && fcntl(ABOVE, F_GETFD) == -1, "a number is another's");
        ask_crew();
        expect_told(set, 1 << 14, "a file of another process");
        verdict();
    }
}
