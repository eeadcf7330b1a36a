// Threads: eight of them, each in another place of the kernel, none of which may return with an error of its own.
#include "workload.h"
#include <linux/futex.h>
#include <poll.h>
#include <sys/prctl.h>

enum { TICKING, NAPPING, SLEEPING, FUTEX, TIMED_FUTEX, POLLING, READING, SUSPENDED, OWNER, KINDS };
static const char *const names[KINDS] = {
    "ticking", "napping", "sleeping", "futex", "timed futex", "polling", "reading", "suspended", "owner",
};

static struct thread {
    pthread_t handle;
    atomic_int tid;
    atomic_long steps;          // goes up when the thread does what it is there for
    char stack[16 << 10];       // its alternate signal stack
} threads[KINDS];
static _Thread_local long own;  // in thread-local storage: which thread this is
static atomic_uint word, timed_word;
static atomic_int release_owner;
static int pipe_ends[2];
static pthread_mutex_t robust;
static const struct timespec hour = {3600, 0};

static pid_t tid(void) { return syscall(SYS_gettid); }

static void check_itself(long kind) {
    struct thread *self = &threads[kind];
    char name[16] = "";
    stack_t stack;
    sigset_t mask;
    prctl(PR_GET_NAME, name);
    sigaltstack(0, &stack);
    pthread_sigmask(SIG_BLOCK, 0, &mask);
    expect(own == kind + 1000, "%s: thread-local storage holds %ld", names[kind], own);
    expect(tid() == self->tid, "%s: thread id was %d, is %d", names[kind], self->tid, tid());
    expect(pthread_self() == self->handle, "%s: another pthread_self", names[kind]);
    expect(!strcmp(name, names[kind]), "%s: name is %s", names[kind], name);
    expect(stack.ss_sp == self->stack && stack.ss_size == sizeof self->stack, "%s: another signal stack", names[kind]);
    expect(sigismember(&mask, SIGRTMIN + 5 + kind) == 1, "%s: another signal mask", names[kind]);
}

static void on_signal(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    struct thread *self = &threads[own - 1000];
    char here;
    bool inside = &here >= self->stack && &here < self->stack + sizeof self->stack;
    expect(inside, "the handler does not run on its signal stack");
    expect(info->si_code == SI_TKILL && info->si_pid == getpid(), "the signal came from %d", info->si_pid);
    atomic_fetch_add(&self->steps, 1);
}

static long futex(atomic_uint *at, int operation, unsigned value, const struct timespec *limit) {
    return syscall(SYS_futex, at, operation, value, limit, 0, 0);
}

static void *live(void *argument) {
    long kind = (long)argument;
    struct thread *self = &threads[kind];
    own = kind + 1000;
    self->handle = pthread_self();
    prctl(PR_SET_NAME, names[kind]);
    stack_t stack = {.ss_sp = self->stack, .ss_size = sizeof self->stack};
    sigaltstack(&stack, 0);
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGRTMIN + 5 + kind);
    if (kind == SUSPENDED) sigaddset(&mask, SIGRTMIN);
    pthread_sigmask(SIG_BLOCK, &mask, 0);
    pthread_sigmask(SIG_BLOCK, 0, &mask);
    sigdelset(&mask, SIGRTMIN);
    if (kind == OWNER && pthread_mutex_lock(&robust)) expect(false, "owner: cannot lock");
    atomic_store(&self->tid, tid());
    volatile double sum = 0;
    for (;;) {
        long result = 0;
        unsigned seen = atomic_load(&word);
        char byte;
        errno = 0;
        switch (kind) {
        case TICKING:
            for (int i = 0; i < 100000; i++) sum += i;
            expect(sum == 4999950000.0, "ticking: arithmetic went wrong");
            sum = 0;
            break;
        case NAPPING: result = syscall(SYS_nanosleep, &(struct timespec){0, 5000000}, 0); break;
        case SLEEPING: result = syscall(SYS_nanosleep, &hour, 0); break;
        case FUTEX:
            do result = futex(&word, FUTEX_WAIT_PRIVATE, seen, 0);
            while (!result && atomic_load(&word) == seen);
            break;
        case TIMED_FUTEX:
            seen = atomic_load(&timed_word);
            do result = futex(&timed_word, FUTEX_WAIT_PRIVATE, seen, &hour);
            while (!result && atomic_load(&timed_word) == seen);
            break;
        case POLLING: {
            struct pollfd never = {.fd = pipe_ends[0], .events = POLLPRI};
            result = syscall(SYS_poll, &never, 1, 3600000);
            break;
        }
        case READING: result = read(pipe_ends[0], &byte, 1) == 1 && byte == 'x' ? 0 : -1; break;
        case SUSPENDED: result = sigsuspend(&mask) == -1 && errno == EINTR ? 0 : -1; break;
        case OWNER:
            while (!atomic_load(&release_owner)) futex((atomic_uint *)&release_owner, FUTEX_WAIT_PRIVATE, 0, 0);
            return 0;   // without unlocking: the kernel walks the robust list
        }
        bool lost = result == -1 && errno != EAGAIN;
        expect(!lost, "%s: returned with %s", names[kind], strerror(errno));
        expect(kind != SLEEPING && kind != POLLING, "%s: returned before its time", names[kind]);
        check_itself(kind);
        if (kind != SUSPENDED) atomic_fetch_add(&self->steps, 1);
    }
}

/// What was stopped in a call is on its way back into it for a moment, as is who has just made a step.
static bool waits(long kind) {
    char path[60];
    snprintf(path, sizeof path, "/proc/self/task/%d/syscall", threads[kind].tid);
    return slurp(path) && slurped[0] != 'r';
}

static void start(long kind) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 128 << 10);
    threads[kind].tid = 0;
    if (pthread_create(&threads[kind].handle, &attributes, live, (void *)kind)) give_up("pthread_create", __LINE__);
    if (!within(5, atomic_load(&threads[kind].tid))) give_up("a thread that starts", __LINE__);
    if (kind != TICKING) (void)within(1, waits(kind));
}

/// A nap of 5 ms takes seconds where the machine has too much to do. Who is lost never goes on, and says in which call.
static void expect_step(int kind, long before) {
    bool steps = within(20, atomic_load(&threads[kind].steps) > before);
    if (!steps) (void)waits(kind);
    expect(steps, "%s: does not go on: it is in %.*s", names[kind], (int)strcspn(slurped, " \n"), slurped);
}

static void check_owner(void) {
    atomic_store(&release_owner, 1);
    futex((atomic_uint *)&release_owner, FUTEX_WAKE_PRIVATE, 1, 0);
    expect(!pthread_join(threads[OWNER].handle, 0), "owner: cannot be joined");
    int locked = pthread_mutex_lock(&robust);
    expect(locked == EOWNERDEAD, "the robust mutex of a dead thread: %s", strerror(locked));
    pthread_mutex_consistent(&robust);
    pthread_mutex_unlock(&robust);
    atomic_store(&release_owner, 0);
    start(OWNER);
}

int main(void) {
    begin();
    must(pipe(pipe_ends));
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&robust, &attributes);
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigaction(SIGRTMIN, &action, 0);
    for (long kind = 0; kind < KINDS; kind++) start(kind);
    compared &= ~LAYOUT;   // a new thread may get a new arena
    ready();
    for (;;) {
        await_question();
        long before[KINDS];
        for (int kind = 0; kind < KINDS; kind++) {
            before[kind] = threads[kind].steps;
            if (kind != TICKING) expect(within(5, waits(kind)), "%s: does not wait", names[kind]);
        }
        expect_step(TICKING, before[TICKING]);
        expect_step(NAPPING, before[NAPPING]);
        atomic_fetch_add(&word, 1);
        expect(futex(&word, FUTEX_WAKE_PRIVATE, 9, 0) == 1, "futex: nobody waits");
        atomic_fetch_add(&timed_word, 1);
        expect(futex(&timed_word, FUTEX_WAKE_PRIVATE, 9, 0) == 1, "timed futex: nobody waits");
        expect(write(pipe_ends[1], "x", 1) == 1, "cannot write to the pipe");
        expect(!syscall(SYS_tgkill, getpid(), threads[SUSPENDED].tid, SIGRTMIN), "suspended: cannot be signalled");
        for (int kind = FUTEX; kind <= SUSPENDED; kind++)
            if (kind != POLLING) expect_step(kind, before[kind]);
        check_owner();
        for (int kind = NAPPING; kind < KINDS; kind++) expect(within(5, waits(kind)), "%s: does not wait again", names[kind]);
        verdict();
    }
}
