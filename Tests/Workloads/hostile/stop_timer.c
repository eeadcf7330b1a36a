// POSIX timers that send SIGSTOP to the first process, as often as the arguments say: COUNT and PERIOD in microseconds.
// Inside the pid namespace nothing stops that process, but whoever traces it is told of each. Without arguments they wait
// for a thousand seconds: for a test that changes their image.
#include "workload.h"

static timer_t timers[1000];
static int count = 16;
static struct itimerspec setting = {.it_value.tv_sec = 1000, .it_interval.tv_nsec = 1000000};

static void check(void) {
    for (int i = 0; i < count; i++) {
        struct itimerspec now = {0};
        expect(!timer_gettime(timers[i], &now), "timer %d is gone: %s", i, strerror(errno));
        expect(now.it_interval.tv_nsec == setting.it_interval.tv_nsec, "timer %d has a period of %ld ns", i, now.it_interval.tv_nsec);
    }
}

static void *other_thread(void *unused) {
    for (;;) pause();
    return unused;
}

int main(int words, char **word) {
    begin();
    compared &= ~PENDING;
    if (words > 2) {
        count = atoi(word[1]);
        setting.it_interval.tv_nsec = setting.it_value.tv_nsec = atol(word[2]) * 1000;
        setting.it_value.tv_sec = 0;
    }
    for (int i = 0; i < 3; i++) start_thread(other_thread, 0);
    for (int i = 0; i < count; i++) {
        struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGSTOP};
        must(timer_create(CLOCK_MONOTONIC, &event, &timers[i]));
    }
    for (int i = 0; i < count; i++) must(timer_settime(timers[i], 0, &setting, 0));
    serve_checks(check);
}
