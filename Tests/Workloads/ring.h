// A ring of io_uring without a library.
#pragma once
#include "workload.h"
#include <linux/io_uring.h>
#include <poll.h>

#define NO_SQARRAY (1U << 16)

struct ring {
    int file;
    struct io_uring_params params;
    char *base, *completions_base;
    struct io_uring_sqe *entries;
    unsigned submitted, completed;   // as libraries do it: what this process believes
};

static unsigned *word(struct ring *ring, unsigned place) { return (unsigned *)(ring->base + place); }

/// Maps it; `apart` as old programs do it, with a mapping for each queue.
static void open_ring(struct ring *ring, unsigned entries, unsigned completions, unsigned flags, bool apart) {
    ring->params = (struct io_uring_params){.sq_thread_idle = 1, .flags = flags | (completions ? IORING_SETUP_CQSIZE : 0), .cq_entries = completions};
    ring->file = must(syscall(SYS_io_uring_setup, entries, &ring->params));
    struct io_uring_params *made = &ring->params;
    size_t first = made->cq_off.cqes + made->cq_entries * sizeof(struct io_uring_cqe);
    size_t second = flags & NO_SQARRAY ? 0 : made->sq_off.array + made->sq_entries * sizeof(unsigned);
    size_t size = first > second ? first : second;
    ring->base = must(mmap(0, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring->file, IORING_OFF_SQ_RING));
    ring->completions_base = apart
        ? must(mmap(0, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring->file, IORING_OFF_CQ_RING)) : ring->base;
    ring->entries = must(mmap(0, made->sq_entries * sizeof *ring->entries, PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_POPULATE, ring->file, IORING_OFF_SQES));
}

/// Fills the next entry, and does not submit it. With an array the entries are taken from the last to the first.
static struct io_uring_sqe *prepare(struct ring *ring, int operation, int file, void *address, unsigned length, uint64_t data) {
    unsigned mask = ring->params.sq_entries - 1, place = ring->submitted & mask;
    if (!(ring->params.flags & NO_SQARRAY)) {
        word(ring, ring->params.sq_off.array)[place] = mask - place;
        place = mask - place;
    }
    struct io_uring_sqe *entry = &ring->entries[place];
    *entry = (struct io_uring_sqe){.opcode = operation, .fd = file, .addr = (uintptr_t)address, .len = length, .user_data = data};
    atomic_store((_Atomic unsigned *)word(ring, ring->params.sq_off.tail), ++ring->submitted);
    return entry;
}

static int enter(struct ring *ring, unsigned submit, unsigned wait) {
    unsigned wake = ring->params.flags & IORING_SETUP_SQPOLL ? IORING_ENTER_SQ_WAKEUP : 0;
    return syscall(SYS_io_uring_enter, ring->file, submit, wait, wake | (wait ? IORING_ENTER_GETEVENTS : 0), 0, 0);
}

/// The next completion that is not read; null if there is none.
static struct io_uring_cqe *completion(struct ring *ring) {
    unsigned tail = atomic_load((_Atomic unsigned *)(ring->completions_base + ring->params.cq_off.tail));
    if (tail == ring->completed) return 0;
    struct io_uring_cqe *all = (struct io_uring_cqe *)(ring->completions_base + ring->params.cq_off.cqes);
    return &all[ring->completed & (ring->params.cq_entries - 1)];
}

static void take(struct ring *ring) {
    atomic_store((_Atomic unsigned *)(ring->completions_base + ring->params.cq_off.head), ++ring->completed);
}

/// Submits what was prepared, and expects one completion with this result.
static void expect_result(struct ring *ring, uint64_t data, int result, const char *what) {
    int taken = enter(ring, 1, 1);
    expect(taken == 1, "%s: io_uring_enter took %d (%s)", what, taken, strerror(errno));
    struct io_uring_cqe *done = completion(ring);
    expect(done, "%s: no completion", what);
    if (!done) return;
    expect(done->user_data == data && done->res == result, "%s: %d for %llx", what, done->res, (unsigned long long)done->user_data);
    take(ring);
}

static void do_nothing(struct ring *ring, unsigned times) {
    for (unsigned i = 0; i < times; i++) {
        prepare(ring, IORING_OP_NOP, -1, 0, 0, i);
        expect_result(ring, i, 0, "nop");
    }
}
