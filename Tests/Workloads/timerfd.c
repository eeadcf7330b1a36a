// Timer descriptors: periodic and once, monotonic and real time, ticks that nobody has read, and a reader that waits.
#include "workload.h"
#include <sys/timerfd.h>

static int periodic, far_off, real, absolute, cancelled, expired, unarmed, waited;
static atomic_int ticks;

static int arm(clockid_t clock, int flags, int set_flags, long long first, long long every) {
    int timer = must(timerfd_create(clock, flags));
    struct itimerspec setting = {{every / SECOND, every % SECOND}, {first / SECOND, first % SECOND}};
    must(timerfd_settime(timer, set_flags, &setting, 0));
    return timer;
}

static void *wait_for_ticks(void *unused) {
    for (;;) {
        uint64_t n = 0;
        expect(read(waited, &n, 8) == 8 && n >= 1, "a waiting reader: %s", strerror(errno));
        atomic_fetch_add(&ticks, 1);
    }
    return unused;
}

static long long left(int timer, long long every) {
    struct itimerspec now;
    expect(!timerfd_gettime(timer, &now), "timerfd_gettime");
    long long interval = now.it_interval.tv_sec * SECOND + now.it_interval.tv_nsec;
    expect(interval == every, "the interval of %d is %lld ns, not %lld", timer, interval, every);
    return now.it_value.tv_sec * SECOND + now.it_value.tv_nsec;
}

int main(void) {
    begin();
    periodic = arm(CLOCK_MONOTONIC, 0, 0, 100000000, 100000000);
    far_off = arm(CLOCK_MONOTONIC, TFD_NONBLOCK, 0, 3600 * SECOND, 7 * SECOND);
    real = arm(CLOCK_REALTIME, TFD_CLOEXEC, 0, 3600 * SECOND, 0);
    absolute = arm(CLOCK_REALTIME, 0, TFD_TIMER_ABSTIME, now(CLOCK_REALTIME) + 3600 * SECOND, 0);
    cancelled = arm(CLOCK_REALTIME, 0, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, now(CLOCK_REALTIME) + 3600 * SECOND, 0);
    expired = arm(CLOCK_MONOTONIC, 0, 0, 1000000, 0);
    unarmed = must(timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK));
    waited = arm(CLOCK_MONOTONIC, 0, 0, 50000000, 50000000);
    start_thread(wait_for_ticks, 0);
    pause_ms(250);
    uint64_t n;
    long long start = now(CLOCK_MONOTONIC), last_left = 3600 * SECOND;
    ready();
    for (;;) {
        await_question();
        int before = atomic_load(&ticks);
        expect(read(periodic, &n, 8) == 8 && n >= 1, "the periodic timer has no ticks");
        long long spent = now(CLOCK_MONOTONIC) - start;
        expect((long long)n <= (spent + SECOND) / 100000000 + 4, "%lu ticks in %lld ms", n, spent / 1000000);
        long long rest = left(far_off, 7 * SECOND);
        expect(rest <= last_left && rest > last_left - spent - 2 * SECOND, "3600 s became %lld ms after %lld ms", rest / 1000000, spent / 1000000);
        expect(read(far_off, &n, 8) == -1 && errno == EAGAIN, "a timer ran off before its time");
        rest = left(real, 0);
        expect(rest > 3500 * SECOND && rest <= 3600 * SECOND, "the real-time timer has %lld ms", rest / 1000000);
        rest = left(absolute, 0);
        expect(rest > 3500 * SECOND && rest <= 3600 * SECOND, "the absolute timer has %lld ms", rest / 1000000);
        rest = left(cancelled, 0);
        expect(rest > 3500 * SECOND && rest <= 3600 * SECOND, "the one that a new time cancels has %lld ms", rest / 1000000);
        char path[40];
        snprintf(path, sizeof path, "/proc/self/fdinfo/%d", cancelled);
        slurp(path);
        expect(strstr(slurped, "settime flags: 03"), "a new time of the clock does not cancel it");
        snprintf(path, sizeof path, "/proc/self/fdinfo/%d", absolute);
        slurp(path);
        expect(strstr(slurped, "settime flags: 01"), "it does not end at a time of the clock");
        expect(left(unarmed, 0) == 0, "an unarmed timer runs");
        expect(read(expired, &n, 8) == 8 && n == 1, "the expired timer has another count");
        struct itimerspec again = {.it_value = {0, 1000000}};
        timerfd_settime(expired, 0, &again, 0);
        expect(within(5, atomic_load(&ticks) > before + 1), "the waiting reader gets no ticks");
        pause_ms(250);
        start = now(CLOCK_MONOTONIC), last_left = left(far_off, 7 * SECOND);
        verdict();
    }
}
