// Interval timers: setitimer's three and those of timer_create, with their ids, targets and overruns.
// needs kernel: 6.15
#include "workload.h"
#include <sys/time.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static atomic_int alarms, virtual_alarms, profile_alarms, posix_ticks, thread_ticks, thread_id;

static void on_signal(int signal, siginfo_t *info, void *context) {
    (void)context;
    if (signal == SIGALRM) atomic_fetch_add(&alarms, 1);
    if (signal == SIGVTALRM) atomic_fetch_add(&virtual_alarms, 1);
    if (signal == SIGPROF) atomic_fetch_add(&profile_alarms, 1);
    if (signal == SIGRTMIN) {
        expect(info->si_code == SI_TIMER && info->si_value.sival_int == 1234, "a timer's value is %d", info->si_value.sival_int);
        atomic_fetch_add(&posix_ticks, 1);
    }
    if (signal == SIGRTMIN + 1) {
        expect(syscall(SYS_gettid) == thread_id, "the thread's timer signalled thread %ld", syscall(SYS_gettid));
        atomic_fetch_add(&thread_ticks, 1);
    }
}

static void *other_thread(void *unused) {
    atomic_store(&thread_id, syscall(SYS_gettid));
    for (volatile long spin = 0;; spin++) if (spin % 1000000 == 0) pause_ms(1);   // uses the processor, for the virtual timers
    return unused;
}

static int create(clockid_t clock, int notify, int signal, int value, long long first, long long every) {
    struct sigevent event = {.sigev_notify = notify, .sigev_signo = signal, .sigev_value.sival_int = value};
    if (notify == SIGEV_THREAD_ID) event.sigev_notify_thread_id = thread_id;
    int id = -1;   // the kernel's, not the C library's
    must(syscall(SYS_timer_create, clock, &event, &id));
    struct itimerspec setting = {{every / SECOND, every % SECOND}, {first / SECOND, first % SECOND}};
    must(syscall(SYS_timer_settime, id, 0, &setting, 0));
    return id;
}

static long long left(int id) {
    struct itimerspec now = {0};
    expect(!syscall(SYS_timer_gettime, id, &now), "timer %d is gone", id);
    return now.it_value.tv_sec * SECOND + now.it_value.tv_nsec;
}

static void handle(int signal) {
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
    must(sigaction(signal, &action, 0));
}

int main(void) {
    begin();
    sigset_t pending;
    sigemptyset(&pending);
    sigaddset(&pending, SIGRTMIN + 2);
    must(sigprocmask(SIG_BLOCK, &pending, 0));
    int handled[] = {SIGALRM, SIGVTALRM, SIGPROF, SIGRTMIN, SIGRTMIN + 1};
    for (size_t i = 0; i < COUNT(handled); i++) handle(handled[i]);
    start_thread(other_thread, 0);
    if (!within(5, atomic_load(&thread_id))) give_up("a thread that starts", __LINE__);
    struct itimerval every = {{0, 50000}, {0, 50000}};
    must(setitimer(ITIMER_REAL, &every, 0));
    must(setitimer(ITIMER_VIRTUAL, &every, 0));
    must(setitimer(ITIMER_PROF, &every, 0));
    int ticking = create(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN, 1234, 50000000, 50000000);
    int removed = create(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN, 1234, 3600 * SECOND, 0);
    int threads = create(CLOCK_REALTIME, SIGEV_THREAD_ID, SIGRTMIN + 1, 0, 50000000, 50000000);
    int silent = create(CLOCK_BOOTTIME, SIGEV_NONE, 0, 0, 3600 * SECOND, 0);
    int unarmed = create(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN, 1234, 0, 0);
    int late = create(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN + 2, 99, 1000000, 0);   // its signal waits, blocked
    must(syscall(SYS_timer_delete, removed));
    pause_ms(10);
    compared &= ~PENDING;   // they come and go with the ticks
    ready();
    for (;;) {
        await_question();
        expect(syscall(SYS_timer_gettime, removed, &(struct itimerspec){0}) == -1, "timer %d came back", removed);
        expect(left(silent) > 3500 * SECOND && left(silent) <= 3600 * SECOND, "the silent timer has %lld ms", left(silent) / 1000000);
        expect(left(unarmed) == 0, "an unarmed timer runs");
        expect(left(late) == 0, "a timer that ran off runs again");
        siginfo_t info = {0};
        expect(sigtimedwait(&pending, &info, &(struct timespec){0, 0}) == SIGRTMIN + 2, "the signal of a timer does not wait");
        expect(info.si_code == SI_TIMER && info.si_value.sival_int == 99, "the waiting timer signal has code %d, value %d", info.si_code, info.si_value.sival_int);
        int before[] = {alarms, virtual_alarms, profile_alarms, posix_ticks, thread_ticks};
        expect(within(5, alarms > before[0] + 1), "ITIMER_REAL does not tick");
        expect(within(5, virtual_alarms > before[1]), "ITIMER_VIRTUAL does not tick");
        expect(within(5, profile_alarms > before[2]), "ITIMER_PROF does not tick");
        expect(within(5, posix_ticks > before[3] + 1), "timer %d does not tick", ticking);
        expect(within(5, thread_ticks > before[4] + 1), "timer %d does not tick", threads);
        must(syscall(SYS_timer_settime, late, 0, &(struct itimerspec){.it_value = {0, 1000000}}, 0));
        pause_ms(10);
        verdict();
    }
}
