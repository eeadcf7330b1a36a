// Holds 200 MiB in one of several ways, for what a checkpoint adds to it: private, forked (shared copy-on-write by six
// processes), shared, huge, swapped or shared_swapped.
#include "workload.h"

enum { SIZE = 200 << 20, HUGE = 2 << 20, PAGE_OUT = 21 };

/// What goes out stays in memory until it is written. Then it must come in once more to be given up.
static bool is_out(char *memory) {
    static unsigned char residency[SIZE / PAGE];
    size_t count = 0;
    for (size_t page = 0; page < SIZE / PAGE; page++) count += ((volatile char *)memory)[page * PAGE] != 0;
    must(madvise(memory, SIZE, PAGE_OUT));
    must(mincore(memory, SIZE, residency));
    for (size_t page = count = 0; page < SIZE / PAGE; page++) count += residency[page] & 1;
    return count < SIZE / PAGE / 100;
}

int main(int count, char **arguments) {
    const char *kind = count > 1 ? arguments[1] : "";
    bool is_shared = !strcmp(kind, "shared"), is_huge = !strcmp(kind, "huge");
    begin();
    char *memory = must(mmap(0, SIZE + HUGE, PROT_READ | PROT_WRITE, (is_shared ? MAP_SHARED : MAP_PRIVATE) | MAP_ANONYMOUS, -1, 0));
    memory = (char *)(((uintptr_t)memory + HUGE - 1) & -(uintptr_t)HUGE);
    if (!is_shared) must(madvise(memory, SIZE, is_huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE));
    uint64_t random = 88172645463325252ULL;
    for (size_t i = 0; i < SIZE / 8; i += 64) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        ((uint64_t *)memory)[i] = random;
    }
    if (!strcmp(kind, "swapped") && !within(60, is_out(memory))) give_up("swapping out", __LINE__);
    for (int i = 0; !strcmp(kind, "forked") && i < 5; i++) hire(0, 0);
    ready();
    for (;;) pause();
}
