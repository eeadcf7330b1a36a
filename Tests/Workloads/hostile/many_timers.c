// 4,300 POSIX timers in one process, each with a period of its own.
#include "workload.h"

static timer_t timers[4300];

int main(void) {
    begin();
    sigset_t alarms;
    sigemptyset(&alarms);
    sigaddset(&alarms, SIGRTMIN + 1);
    must(sigprocmask(SIG_BLOCK, &alarms, 0));
    for (size_t i = 0; i < COUNT(timers); i++) {
        struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 1, .sigev_value.sival_int = i};
        struct itimerspec setting = {.it_value.tv_sec = 100000, .it_interval.tv_sec = i + 1};
        must(timer_create(CLOCK_MONOTONIC, &event, &timers[i]));
        must(timer_settime(timers[i], 0, &setting, 0));
    }
    ready();
    for (;;) {
        await_question();
        for (size_t i = 0; i < COUNT(timers); i++) {
            struct itimerspec now = {0};
            expect(!timer_gettime(timers[i], &now), "timer %zu is gone: %s", i, strerror(errno));
            expect(now.it_interval.tv_sec == (time_t)i + 1, "timer %zu has a period of %ld s", i, now.it_interval.tv_sec);
            expect(now.it_value.tv_sec > 90000, "timer %zu ends in %ld s", i, now.it_value.tv_sec);
        }
        verdict();
    }
}
