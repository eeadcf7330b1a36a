// What programs share that time from inside how long they stood still.
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t asked;
static void on_question(int signal) { asked = signal; }

static int64_t now(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

// Watches two clocks without a pause. On SIGUSR1 it writes to /state/gap: the largest gap in CLOCK_MONOTONIC, the largest in
// CLOCK_REALTIME, when that one ended (all in ns), and whether everything is still what it was; then it begins anew.
static int watch(int (*is_whole)(void)) {
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
                              is_whole() ? "whole" : "damaged");
        int file = open("/state/gap.new", O_WRONLY | O_CREAT | O_TRUNC, 0644);
        if (write(file, text, length) != length) return 1;
        close(file);
        rename("/state/gap.new", "/state/gap");
        asked = 0;
    }
}
