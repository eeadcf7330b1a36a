// Signals: actions, masks, what waits for the process and for one thread, and a handler that has not returned yet.
#include "workload.h"

static atomic_int tid, handler_entered, handler_may_return, handler_returned;
static char thread_stack[32 << 10];
static sigset_t blocked;

static void on_alarm(int signal) { (void)signal; }

/// Stays in the handler, on the alternate stack, while the checkpoint is taken.
static void on_hold(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    char here;
    bool inside = &here >= thread_stack && &here < thread_stack + sizeof thread_stack;
    expect(inside, "the handler does not run on its signal stack");
    expect(info->si_value.sival_int == 77, "the handler's value is %d", info->si_value.sival_int);
    atomic_store(&handler_entered, 1);
    while (!atomic_load(&handler_may_return)) syscall(SYS_futex, &handler_may_return, 0, 0, 0, 0, 0);
}

static void *other_thread(void *unused) {
    stack_t stack = {.ss_sp = thread_stack, .ss_size = sizeof thread_stack};
    sigaltstack(&stack, 0);
    atomic_store(&tid, syscall(SYS_gettid));
    for (;;) {
        long kept = 0x123456789abcdef;
        sigset_t hold, before, after;
        sigemptyset(&hold);
        sigaddset(&hold, SIGRTMIN + 9);
        pthread_sigmask(SIG_SETMASK, 0, &before);
        pthread_sigmask(SIG_UNBLOCK, &hold, 0);   // the handler runs here
        pthread_sigmask(SIG_SETMASK, &before, &after);
        __asm__ volatile("" : "+r"(kept));
        expect(kept == 0x123456789abcdef, "a register changed over the handler");
        if (!atomic_load(&handler_entered)) { pause_ms(1); continue; }
        atomic_store(&handler_entered, 0);
        atomic_store(&handler_may_return, 0);
        atomic_fetch_add(&handler_returned, 1);
    }
    return unused;
}

static void queue_to_thread(int signal, int value) {
    siginfo_t info = {.si_signo = signal, .si_code = SI_QUEUE};
    info.si_pid = getpid(), info.si_uid = getuid(), info.si_value.sival_int = value;
    must(syscall(SYS_rt_tgsigqueueinfo, getpid(), tid, signal, &info));
}

static void enter_handler(void) {
    queue_to_thread(SIGRTMIN + 9, 77);
    if (!within(5, atomic_load(&handler_entered))) give_up("a handler that is entered", __LINE__);
}

static void leave_pending(void) {
    must(kill(getpid(), SIGTERM));
    must(kill(getpid(), SIGTERM));   // a standard signal waits once
    for (int i = 0; i < 3; i++) must(sigqueue(getpid(), SIGRTMIN + 2, (union sigval){.sival_int = 100 + i}));
    must(sigqueue(getpid(), SIGRTMAX, (union sigval){.sival_ptr = (void *)0x1122334455667788}));
    must(syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGUSR2));
    queue_to_thread(SIGRTMIN + 4, 55);
    pid_t child = must(fork());
    if (!child) _exit(5);
    must(waitpid(child, 0, 0));   // its SIGCHLD keeps waiting
}

static siginfo_t take(int signal) {
    sigset_t set;
    siginfo_t info = {0};
    sigemptyset(&set);
    sigaddset(&set, signal);
    int got = syscall(SYS_rt_sigtimedwait, &set, &info, &(struct timespec){0, 0}, 8);   // glibc would turn SI_TKILL into SI_USER
    expect(got == signal, "signal %d does not wait any more", signal);
    return info;
}

static void check_pending(void) {
    siginfo_t info = take(SIGTERM);
    expect(info.si_code == SI_USER && info.si_pid == getpid(), "SIGTERM has code %d from %d", info.si_code, info.si_pid);
    for (int i = 0; i < 3; i++) {
        info = take(SIGRTMIN + 2);
        expect(info.si_code == SI_QUEUE && info.si_value.sival_int == 100 + i, "queued signal %d has value %d", i, info.si_value.sival_int);
        expect(info.si_pid == getpid() && info.si_uid == getuid(), "a queued signal came from %d", info.si_pid);
    }
    info = take(SIGRTMAX);
    expect(info.si_value.sival_ptr == (void *)0x1122334455667788, "a queued pointer is %p", info.si_value.sival_ptr);
    info = take(SIGUSR2);
    expect(info.si_code == SI_TKILL, "the thread's signal has code %d", info.si_code);
    info = take(SIGCHLD);
    expect(info.si_code == CLD_EXITED && info.si_status == 5, "SIGCHLD has code %d, status %d", info.si_code, info.si_status);
    sigset_t rest;
    sigpending(&rest);
    for (int i = 1; i <= 64; i++) expect(sigismember(&rest, i) != 1, "signal %d waits, and nobody sent it", i);

    char path[60], *line;
    snprintf(path, sizeof path, "/proc/self/task/%d/status", tid);
    unsigned long expected = 1UL << (SIGRTMIN + 4 - 1), waiting = 0;
    if (slurp(path) && (line = strstr(slurped, "SigPnd:"))) waiting = strtoul(line + 7, 0, 16);
    expect(waiting == expected, "for the other thread wait %lx, not %lx", waiting, expected);
}

int main(void) {
    begin();
    sigemptyset(&blocked);
    int signals[] = {SIGTERM, SIGUSR2, SIGCHLD, SIGRTMIN + 2, SIGRTMIN + 4, SIGRTMIN + 9, SIGRTMAX};
    for (size_t i = 0; i < COUNT(signals); i++) sigaddset(&blocked, signals[i]);
    must(sigprocmask(SIG_BLOCK, &blocked, 0));
    struct sigaction action = {.sa_sigaction = on_hold, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
    sigaddset(&action.sa_mask, SIGHUP);
    sigaddset(&action.sa_mask, SIGRTMAX - 1);
    must(sigaction(SIGRTMIN + 9, &action, 0));
    action = (struct sigaction){.sa_handler = on_alarm, .sa_flags = SA_NODEFER | SA_RESETHAND | SA_NOCLDSTOP};
    must(sigaction(SIGALRM, &action, 0));
    signal(SIGHUP, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    static char stack_bytes[16 << 10];
    stack_t stack = {.ss_sp = stack_bytes, .ss_size = sizeof stack_bytes, .ss_flags = 1U << 31};   // SS_AUTODISARM
    must(sigaltstack(&stack, 0));
    start_thread(other_thread, 0);
    if (!within(5, atomic_load(&tid))) give_up("a thread that starts", __LINE__);
    enter_handler();
    leave_pending();
    ready();
    for (;;) {
        await_question();
        check_pending();
        int returned = atomic_load(&handler_returned);
        atomic_store(&handler_may_return, 1);
        syscall(SYS_futex, &handler_may_return, 1, 9, 0, 0, 0);
        expect(within(5, atomic_load(&handler_returned) > returned), "the handler does not return");
        leave_pending();
        enter_handler();
        verdict();
    }
}
