// stopwatch MIB [PROCESSES]
//
// Holds MIB of memory that cannot be compressed, and watches the clocks (watch.h). Of further PROCESSES, which wait, the last
// holds an io_uring that no checkpoint takes.
#include "watch.h"
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static uint64_t *words, whole;
static size_t size;

static uint64_t digest(void) {
    uint64_t hash = 0;
    for (size_t i = 0; i < size / 8; i++) hash = hash * 31 + words[i];
    return hash;
}

static int is_whole(void) { return digest() == whole; }

int main(int argc, char **argv) {
    if (argc < 2) return 2;
    size = (size_t)atol(argv[1]) << 20;
    uint64_t random = 88172645463325252ULL;
    words = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (words == MAP_FAILED) return 1;
    for (size_t i = 0; i < size / 8; i++) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        words[i] = random;
    }
    whole = digest();
    for (int i = argc > 2 ? atoi(argv[2]) : 0; i > 0; i--) {
        if (fork()) continue;
        // struct io_uring_params, with IORING_SETUP_SINGLE_ISSUER
        if (i == 1) syscall(SYS_io_uring_setup, 1, (char[120]){[9] = 0x10});
        for (;;) pause();
    }
    return watch(is_whole);
}
