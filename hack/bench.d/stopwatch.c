// stopwatch MIB [PROCESSES]
//
// Holds MIB of memory that cannot be compressed, and watches two clocks without a pause. On SIGUSR1 it writes to
// /state/gap: the largest gap in CLOCK_MONOTONIC, the largest in CLOCK_REALTIME, when that one ended (all in ns), and
// whether its memory is still what it was; then it begins anew. Of further PROCESSES, which wait, the last holds an inotify
// descriptor.
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t asked;
static void on_question(int signal) { asked = signal; }

static int64_t now(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static uint64_t digest(const uint64_t *words, size_t count) {
    uint64_t hash = 0;
    for (size_t i = 0; i < count; i++) hash = hash * 31 + words[i];
    return hash;
}

int main(int argc, char **argv) {
    if (argc < 2) return 2;
    size_t size = (size_t)atol(argv[1]) << 20;
    uint64_t *words = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), random = 88172645463325252ULL;
    if (words == MAP_FAILED) return 1;
    for (size_t i = 0; i < size / 8; i++) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        words[i] = random;
    }
    uint64_t whole = digest(words, size / 8);
    for (int i = argc > 2 ? atoi(argv[2]) : 0; i > 0; i--) {
        if (fork()) continue;
        if (i == 1) inotify_init();
        for (;;) pause();
    }
    signal(SIGUSR1, on_question);
    close(open("/state/ready", O_WRONLY | O_CREAT, 0644));
    for (;;) {
        int64_t largest[2] = {0, 0}, ended = 0, last[2] = {now(CLOCK_MONOTONIC), now(CLOCK_REALTIME)};
        while (!asked) {
            int64_t is[2] = {now(CLOCK_MONOTONIC), now(CLOCK_REALTIME)};
            if (is[0] - last[0] > largest[0]) largest[0] = is[0] - last[0];
            if (is[1] - last[1] > largest[1]) largest[1] = is[1] - last[1], ended = is[1];
            last[0] = is[0], last[1] = is[1];
        }
        char text[200];
        int length = snprintf(text, sizeof text, "%ld %ld %ld %s\n", (long)largest[0], (long)largest[1], (long)ended,
                              digest(words, size / 8) == whole ? "whole" : "damaged");
        int file = open("/state/gap.new", O_WRONLY | O_CREAT | O_TRUNC, 0644);
        if (write(file, text, length) != length) return 1;
        close(file);
        rename("/state/gap.new", "/state/gap");
        asked = 0;
    }
}
