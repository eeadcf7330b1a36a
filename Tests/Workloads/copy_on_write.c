// Memory that relatives share copy-on-write: a parent, children and a grandchild, each of which has written, given up,
// protected, unmapped or grown a part of it. What nobody has written is one page for all of them, before and after.
#include "workload.h"

#include <sys/prctl.h>

enum { PAGES = 2048 };

static char *memory, *sparse, *heap, *grown;
static size_t heap_size;
static int role;   // 0: the parent; from 1 on: those who were forked

static long pattern(long page) { return page * 0x9e3779b97f4a7c15L + 17; }

/// Pages that were written by a process after it was born.
static bool is_own(long page) { return page % 16 == role; }
static bool is_empty(long page) { return role == 2 && page >= 300 && page < 400; }
static bool is_unmapped(long page) { return role == 3 && page >= 700 && page < 800; }

/// proc_pid_pagemap(5): bit 63, present; bit 56, mapped by nobody else.
static bool is_shared(const void *address) {
    int file = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    uint64_t word = 0;
    ssize_t count = pread(file, &word, 8, (uintptr_t)address / PAGE * 8);
    close(file);
    return count == 8 && word >> 63 && !(word >> 56 & 1);
}

static void write_own(void) {
    for (long page = 0; page < PAGES; page++) {
        if (is_own(page) && !is_unmapped(page)) *(long *)(memory + page * PAGE) = -page - role;
    }
}

static void enter_as(int number) {
    role = number;
    if (role == 2) must(madvise(memory + 300 * PAGE, 100 * PAGE, MADV_DONTNEED));
    if (role == 3) must(munmap(memory + 700 * PAGE, 100 * PAGE));
    write_own();
    if (role == 4) must(mprotect(memory + 900 * PAGE, 50 * PAGE, PROT_READ));
    if (role == 1) {
        // The heap of a child grows where its parent's ends.
        grown = must(sbrk(64 * PAGE));
        memset(grown, 'g', 64 * PAGE);
    }
    if (role == 2) sparse[0] = 'x', sparse[5 * PAGE] = 'y';
}

static void check(void) {
    long wrong = -1;
    int shared = 0, could_be = 0;
    for (long page = 0; page < PAGES; page++) {
        if (is_unmapped(page)) continue;
        long expected = is_empty(page) && !is_own(page) ? 0 : is_own(page) ? -page - role : pattern(page);
        if (*(long *)(memory + page * PAGE) != expected) wrong = page;
        // What only the parent has written its children share among themselves: no longer after a restore.
        if (is_own(page) || is_empty(page) || page % 16 == 0) continue;
        could_be++;
        shared += is_shared(memory + page * PAGE);
    }
    expect(wrong < 0, "page %ld is %ld", wrong, wrong < 0 ? 0 : *(long *)(memory + wrong * PAGE));
    expect(shared == could_be, "of %d pages %d are shared", could_be, shared);
    long own = role == 0 ? 16 : role;
    // The fifth has a child that was born with what it had written.
    expect(is_shared(memory + (own + 16) * PAGE) == (role == 5), "page %ld, which was written", own + 16);
    for (size_t i = 0; i < heap_size; i += PAGE) {
        if (*(long *)(heap + i) == pattern(i)) continue;
        expect(false, "the heap differs at %zu", i);
        break;
    }
    if (role == 1) expect(grown[0] == 'g' && grown[63 * PAGE] == 'g', "the grown heap differs");
    char first = role == 2 ? 'x' : 's', last = role == 2 ? 'y' : 0;
    expect(sparse[0] == first && sparse[5 * PAGE] == last && sparse[99 * PAGE] == 's', "the sparse memory differs");
    if (role == 4) {
        // A handler would be heavier: the kernel refuses to write there.
        int pipe[2];
        expect(pipe2(pipe, O_CLOEXEC) == 0 && write(pipe[1], "x", 1) == 1 && read(pipe[0], memory + 900 * PAGE, 1) < 0,
               "protected memory can be written");
        close(pipe[0]), close(pipe[1]);
    }
    // It is still everybody's own: what is written here nobody else sees.
    memory[(own == 0 ? 16 : own) * PAGE + 100] = (char)questions;
}

static void enter_first(void) { enter_as(1); }
static void enter_second(void) { enter_as(2); }
static void enter_third(void) { enter_as(3); }
static void enter_fourth(void) { enter_as(4); }

/// Its own child was born of what it had written.
static void enter_fifth(void) {
    enter_as(5);
    pid_t grandchild = must(fork());
    if (grandchild == 0) {
        must(prctl(PR_SET_PDEATHSIG, SIGKILL));
        for (;;) pause();
    }
}

int main(void) {
    begin();
    // Small pages: of a huge one that is shared in part nobody can tell.
    memory = must(mmap(0, (PAGES + 512) * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    must(madvise(memory, (PAGES + 512) * PAGE, MADV_NOHUGEPAGE));
    for (long page = 0; page < PAGES; page++) *(long *)(memory + page * PAGE) = pattern(page);
    sparse = must(mmap(0, 100 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    for (int i = 0; i < 100; i++) {
        if (i != 5) sparse[i * PAGE] = 's';
    }
    heap_size = 256 * PAGE;
    heap = must(sbrk(heap_size));
    for (size_t i = 0; i < heap_size; i += PAGE) *(long *)(heap + i) = pattern(i);
    hire(enter_first, check);
    hire(enter_second, check);
    hire(enter_third, check);
    hire(enter_fourth, check);
    hire(enter_fifth, check);
    // The parent's own pages are written last.
    write_own();
    serve_checks(check);
}
