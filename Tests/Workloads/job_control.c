// Processes that are stopped: by SIGSTOP, and as a terminal's keys do it, by SIGTSTP. Their parent is told which it was, in
// waitid(2), and SIGCONT wakes them.
#include "workload.h"

static const int signals[] = {SIGSTOP, SIGTSTP, SIGTTIN};
static pid_t stopped[COUNT(signals)];
static atomic_long *steps;

/// Leaves the stop to be told again.
static int stop_signal(pid_t process) {
    siginfo_t told = {0};
    if (waitid(P_PID, process, &told, WSTOPPED | WNOHANG | WNOWAIT) || told.si_pid != process) return 0;
    return told.si_status;
}

static void stop(int i) {
    kill(stopped[i], signals[i]);
    expect(within(10, stop_signal(stopped[i]) == signals[i]), "process %d: stopped by signal %d", i, stop_signal(stopped[i]));
}

static void check(int i) {
    expect(within(10, stop_signal(stopped[i]) == signals[i]), "process %d is stopped by signal %d, not %d", i,
        stop_signal(stopped[i]), signals[i]);
    long before = atomic_load(&steps[i]);
    pause_ms(10);
    expect(atomic_load(&steps[i]) == before, "stopped process %d goes on", i);
    kill(stopped[i], SIGCONT);
    expect(within(10, atomic_load(&steps[i]) > before), "process %d does not go on after SIGCONT", i);
    waitid(P_PID, stopped[i], &(siginfo_t){0}, WSTOPPED | WCONTINUED | WNOHANG);
    stop(i);
}

int main(void) {
    begin();
    compared &= ~PENDING;   // SIGCHLD
    steps = must(mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    for (int i = 0; i < (int)COUNT(signals); i++) {
        stopped[i] = must(fork());
        // A group of its own, with a parent beside it in the session: else SIGTSTP stops nobody.
        if (!stopped[i]) {
            setpgid(0, 0);
            for (;;) {
                atomic_fetch_add(&steps[i], 1);
                pause_ms(1);
            }
        }
        setpgid(stopped[i], stopped[i]);
        if (!within(10, atomic_load(&steps[i]))) give_up("a process", __LINE__);
        stop(i);
    }
    if (my_faults[0]) give_up(my_faults, __LINE__);
    ready();
    for (;;) {
        await_question();
        for (int i = 0; i < (int)COUNT(signals); i++) check(i);
        verdict();
    }
}
