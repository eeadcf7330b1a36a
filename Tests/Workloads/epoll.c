// epoll sets: what is registered, with which events and data, nested, and one-shot registrations that have fired.
#include "workload.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

static int set, outer, shared_set, pipe_ends[2], event, timer, sockets[2], quiet, fired, edge;
static atomic_int *woken;

static void add(int to, int file, unsigned events, uint64_t data) {
    struct epoll_event registration = {.events = events, .data.u64 = data};
    must(epoll_ctl(to, EPOLL_CTL_ADD, file, &registration));
}

/// A thread that waits on an empty set, which its parent wakes through an eventfd.
static void *wait_for_events(void *unused) {
    for (;;) {
        struct epoll_event got = {0};
        int n = epoll_wait(shared_set, &got, 1, -1);
        if (n == -1 && errno == EINTR) continue;   // allowed: signal(7) says that a stop does this
        uint64_t value;
        expect(n == 1 && got.data.u64 == 0xabcdef0123456789, "a waiter got %d, data %lx", n, got.data.u64);
        expect(read(quiet, &value, 8) == 8, "nothing to read");
        atomic_fetch_add(woken, 1);
    }
    return unused;
}

static void become_waiter(void) {
    start_thread(wait_for_events, 0);
}

static void expect_events(int from, const char *name, int count, const uint64_t *data, const unsigned *events) {
    struct epoll_event got[10];
    int n = epoll_wait(from, got, 10, 0);
    expect(n == count, "%s: %d events, not %d", name, n, count);
    for (int i = 0; i < count; i++) {
        bool found = false;
        for (int j = 0; j < n; j++) found |= got[j].data.u64 == data[i] && got[j].events == events[i];
        expect(found, "%s: no event %x with data %lx", name, events[i], data[i]);
    }
}

static void check_edge(void) {
    struct epoll_event got[10];
    uint64_t one = 1;
    for (int n = epoll_wait(edge, got, 10, 0); n > 0; n = epoll_wait(edge, got, 10, 0)) {}   // what was ready at the start may tell again
    must(write(event, &one, 8));
    expect(epoll_wait(edge, got, 10, 0) == 1 && got[0].data.u64 == 6, "an edge is not told");
    expect(epoll_wait(edge, got, 10, 0) == 0, "an edge is told twice: it became a level");
}

int main(void) {
    begin();
    set = must(epoll_create1(EPOLL_CLOEXEC));
    outer = must(epoll_create1(0));
    shared_set = must(epoll_create1(0));
    edge = must(epoll_create1(0));
    must(pipe(pipe_ends));
    event = must(eventfd(1, 0));
    quiet = must(eventfd(0, EFD_NONBLOCK));
    fired = must(eventfd(1, 0));
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets));
    timer = must(timerfd_create(CLOCK_MONOTONIC, 0));
    struct itimerspec soon = {.it_value = {0, 1}};
    must(timerfd_settime(timer, 0, &soon, 0));
    must(write(pipe_ends[1], "x", 1));
    must(write(sockets[0], "x", 1));

    add(set, pipe_ends[0], EPOLLIN, 1);
    add(set, event, EPOLLIN | EPOLLOUT, 0x7700000000000002);
    add(set, timer, EPOLLIN | EPOLLPRI, 3);
    add(set, sockets[1], EPOLLIN | EPOLLRDHUP, 4);
    add(set, quiet, EPOLLIN, 5);
    add(set, fired, EPOLLIN | EPOLLONESHOT, 8);
    add(outer, set, EPOLLIN, 0x99);
    add(shared_set, quiet, EPOLLIN, 0xabcdef0123456789);
    add(edge, event, EPOLLIN | EPOLLET, 6);
    pause_ms(10);
    const uint64_t data[] = {1, 0x7700000000000002, 3, 4, 8};
    const unsigned events[] = {EPOLLIN, EPOLLIN | EPOLLOUT, EPOLLIN, EPOLLIN, EPOLLIN};
    expect_events(set, "before", 5, data, events);   // from now on the fifth is disarmed
    woken = must(mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    hire(become_waiter, 0);
    ready();
    for (;;) {
        await_question();
        expect_events(set, "set", 4, data, events);
        expect_events(outer, "outer set", 1, (uint64_t[]){0x99}, (unsigned[]){EPOLLIN});
        struct epoll_event again = {.events = EPOLLIN | EPOLLONESHOT, .data.u64 = 8};
        expect(!epoll_ctl(set, EPOLL_CTL_MOD, fired, &again), "the one-shot registration is gone");
        expect_events(set, "set with one armed again", 5, data, events);
        check_edge();
        int before = atomic_load(woken);
        uint64_t one = 1;
        must(write(quiet, &one, 8));
        expect(within(5, atomic_load(woken) == before + 1), "the waiting child is not woken");
        verdict();
    }
}
