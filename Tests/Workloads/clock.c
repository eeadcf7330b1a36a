// The monotonic clocks: they go on where they stood, however long the container was an image.
// dormant: the harness waits two seconds between checkpoint and restore
#include "workload.h"

static const struct { clockid_t id; const char *name; } clocks[] = {
    {CLOCK_MONOTONIC, "CLOCK_MONOTONIC"}, {CLOCK_BOOTTIME, "CLOCK_BOOTTIME"}, {CLOCK_MONOTONIC_RAW, "CLOCK_MONOTONIC_RAW"},
    {CLOCK_MONOTONIC_COARSE, "CLOCK_MONOTONIC_COARSE"},
};

/// The kernel's own answer, past the vdso.
static long long asked_of_kernel(clockid_t clock) {
    struct timespec t;
    syscall(SYS_clock_gettime, clock, &t);
    return t.tv_sec * SECOND + t.tv_nsec;
}

static atomic_llong last[COUNT(clocks)], largest[COUNT(clocks)];

/// Watches the clocks all the time: the largest step that any of them made is the verdict.
static void *watch(void *unused) {
    for (;;) {
        for (size_t i = 0; i < COUNT(clocks); i++) {
            long long is = now(clocks[i].id), step = is - last[i];
            expect(step >= 0, "%s went back by %lld ms", clocks[i].name, -step / 1000000);
            if (step > largest[i]) largest[i] = step;
            last[i] = is;
        }
        pause_ms(1);
    }
    return unused;
}

int main(void) {
    begin();
    for (size_t i = 0; i < COUNT(clocks); i++) last[i] = now(clocks[i].id);
    long long real = now(CLOCK_REALTIME);
    start_thread(watch, 0);
    ready();
    for (;;) {
        await_question();
        pause_ms(20);
        for (size_t i = 0; i < COUNT(clocks); i++) {
            expect(largest[i] < SECOND, "%s jumped by %lld ms", clocks[i].name, largest[i] / 1000000);
            long long gap = asked_of_kernel(clocks[i].id) - now(clocks[i].id);
            expect(gap > -SECOND && gap < SECOND, "%s: the vdso is %lld ms away from the kernel", clocks[i].name, gap / 1000000);
            largest[i] = 0;
        }
        expect(now(CLOCK_REALTIME) > real, "CLOCK_REALTIME went back");
        real = now(CLOCK_REALTIME);
        verdict();
    }
}
