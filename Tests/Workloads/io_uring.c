// Rings of io_uring in which nothing is under way: counters that have gone round, completions that nobody has read, entries
// that are not submitted, one ring of two processes, one in an epoll set, and a thread that sleeps in io_uring_enter(2).
// Whatever is submitted afterwards is done.
// needs kernel: 6.8
// seccomp: none
#include "ring.h"
#include <sys/epoll.h>

static struct ring modern, old, wide, shared, watched, awaited;
static int file, set;
static atomic_int awakenings;
static uint64_t unread;   // user_data of the first completion that nobody has read

enum { UNREAD = 3 };

static void leave_unread(void) {
    for (int i = 0; i < UNREAD; i++) {
        prepare(&modern, IORING_OP_NOP, -1, 0, 0, unread + i);
        expect(enter(&modern, 1, 0) == 1, "nop is not taken");
    }
}

static void read_unread(void) {
    for (int i = 0; i < UNREAD; i++) {
        struct io_uring_cqe *done = completion(&modern);
        expect(done && done->user_data == unread + i && !done->res && !done->flags, "completion %d is not what it was", i);
        if (done) take(&modern);
    }
    expect(!completion(&modern), "a completion too many");
    unread += 1000;
}

static void check_counters(struct ring *ring, const char *name) {
    const struct io_uring_params *made = &ring->params;
    expect(*word(ring, made->sq_off.ring_entries) == made->sq_entries && *word(ring, made->sq_off.ring_mask) == made->sq_entries - 1
           && *word(ring, made->cq_off.ring_entries) == made->cq_entries && *word(ring, made->cq_off.ring_mask) == made->cq_entries - 1,
           "%s: other sizes", name);
    expect(*word(ring, made->sq_off.tail) == ring->submitted, "%s: %u submitted, was %u", name,
           *word(ring, made->sq_off.tail), ring->submitted);
    expect(*word(ring, made->cq_off.head) == ring->completed, "%s: %u read, was %u", name,
           *word(ring, made->cq_off.head), ring->completed);
    expect(!*word(ring, made->sq_off.dropped) && !*word(ring, made->cq_off.overflow), "%s: something was lost", name);
}

static void use(struct ring *ring, const char *name) {
    check_counters(ring, name);
    char text[8] = "";
    prepare(ring, IORING_OP_READ, file, text, 5, 0x1111222233334444);
    expect_result(ring, 0x1111222233334444, 5, name);
    expect(!strcmp(text, "hello"), "%s: read \"%s\"", name, text);
    int pipes[2];
    must(pipe(pipes));
    prepare(ring, IORING_OP_POLL_ADD, pipes[0], 0, 0, 5)->poll32_events = POLLIN;
    expect(enter(ring, 1, 0) == 1 && !completion(ring), "%s: a poll that ends at once", name);
    must(write(pipes[1], "x", 1));
    expect(enter(ring, 0, 1) == 0, "%s: poll: %s", name, strerror(errno));
    struct io_uring_cqe *done = completion(ring);
    expect(done && done->user_data == 5 && done->res == POLLIN, "%s: poll does not tell of the pipe", name);
    if (done) take(ring);
    close(pipes[0]);
    close(pipes[1]);
    struct __kernel_timespec moment = {0, 2000000};
    prepare(ring, IORING_OP_TIMEOUT, -1, &moment, 1, 6);
    expect_result(ring, 6, -ETIME, name);
    do_nothing(ring, 2 * ring->params.cq_entries > 300 ? 300 : 2 * ring->params.cq_entries);
}

// The processes take turns; what they believe of the ring is read from it.
static void use_shared(void) {
    shared.submitted = *word(&shared, shared.params.sq_off.tail);
    shared.completed = *word(&shared, shared.params.cq_off.head);
    do_nothing(&shared, 7);
}

static void *sleep_in_ring(void *argument) {
    for (;;) {
        int result = enter(&awaited, 0, 1);
        expect(result == 0, "io_uring_enter ended with %s", strerror(errno));
        while (completion(&awaited)) {
            take(&awaited);
            atomic_fetch_add(&awakenings, 1);
        }
    }
    return argument;
}

int main(void) {
    compared &= ~(STATUS | THREADS);   // workers of the kernel's come and go
    begin();
    file = must(open("/state/text", O_RDWR | O_CREAT | O_TRUNC, 0644));
    must(write(file, "hello", 5));
    must(lseek(file, 0, SEEK_SET));
    open_ring(&modern, 64, 0, NO_SQARRAY, false);
    open_ring(&old, 4, 0, 0, true);
    open_ring(&wide, 8, 4096, 0, false);
    open_ring(&shared, 16, 0, 0, false);
    open_ring(&watched, 1, 0, NO_SQARRAY, false);
    open_ring(&awaited, 2, 0, 0, false);
    must(fcntl(old.file, F_SETFL, O_NONBLOCK));
    do_nothing(&modern, 5000);
    do_nothing(&old, 4099);
    unread = 0xfedcba9876543210;
    leave_unread();
    // Not submitted yet.
    prepare(&wide, IORING_OP_NOP, -1, 0, 0, 77);
    do_nothing(&shared, 21);
    set = must(epoll_create1(EPOLL_CLOEXEC));
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 9};
    must(epoll_ctl(set, EPOLL_CTL_ADD, watched.file, &event));
    start_thread(sleep_in_ring, 0);
    hire(0, use_shared);
    ready();
    for (;;) {
        await_question();
        expect(epoll_wait(set, &event, 1, 0) == 0, "a ring without completions is ready");
        prepare(&watched, IORING_OP_NOP, -1, 0, 0, 1);
        enter(&watched, 1, 0);
        expect(epoll_wait(set, &event, 1, 1000) == 1 && event.data.u64 == 9, "a completion is not told of by epoll");
        take(&watched);

        read_unread();
        use(&modern, "without array");
        leave_unread();
        use(&old, "with array");
        expect(fcntl(old.file, F_GETFL) & O_NONBLOCK, "O_NONBLOCK is gone");
        expect_result(&wide, 77, 0, "not submitted before");
        use(&wide, "many completions");
        prepare(&wide, IORING_OP_NOP, -1, 0, 0, 77);
        use_shared();

        int before = awakenings;
        prepare(&awaited, IORING_OP_NOP, -1, 0, 0, 8);
        expect(enter(&awaited, 1, 0) == 1, "nop is not taken");
        expect(within(5, awakenings == before + 1), "the thread that waits does not see a completion");
        verdict();
    }
}
