// What every workload shares: how it says that it is ready, how it is asked, how it answers, and the facts about a
// process that no checkpoint may change.
//
//   begin();  ...set up...  ready();
//   for (;;) { await_question();  expect(what, "what went wrong");  verdict(); }
//
// ready() writes /state/ready. SIGUSR1 asks; verdict() appends "PASS n" or "FAIL n: why; why" to /state/verdict.
// Between two questions the container may be checkpointed and restored any number of times.
#pragma once
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define PAGE 4096UL
#define SECOND 1000000000LL

static void expect(bool holds, const char *format, ...) __attribute__((format(printf, 2, 3)));
#include "facts.h"

// ---- a crew: other processes of the workload, each asked by its parent's parent through one shared page ----

struct seat {
    pid_t pid;
    atomic_int present, answered;
    char faults[400];
};

struct crew {
    atomic_int round, count;
    atomic_bool rehearsing;   // facts are taken note of, and not compared
    struct seat seats[40];
};

static struct crew *crew;
static struct seat *my_seat;   // null in the first process
static char my_faults[2000];
static atomic_flag faults_lock = ATOMIC_FLAG_INIT;
static int questions;

/// Notes what is wrong, and goes on: one verdict lists everything.
static void expect(bool holds, const char *format, ...) {
    if (holds) return;
    char text[300];
    va_list values;
    va_start(values, format);
    vsnprintf(text, sizeof text, format, values);
    va_end(values);
    while (atomic_flag_test_and_set(&faults_lock)) sched_yield();
    char *faults = my_seat ? my_seat->faults : my_faults;
    size_t room = my_seat ? sizeof my_seat->faults : sizeof my_faults, used = strlen(faults);
    if (used < room - 1) snprintf(faults + used, room - used, "%s%s", used ? "; " : "", text);
    atomic_flag_clear(&faults_lock);
}

/// For set-up only: a workload that cannot start says so where ready would be looked for.
#define must(call)                                                                                                    \
    ({                                                                                                                \
        __auto_type result = (call);                                                                                  \
        if (result == (__typeof__(result))-1) give_up(#call, __LINE__);                                               \
        result;                                                                                                       \
    })

static void append(const char *path, const char *text) {
    int file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (file < 0 || write(file, text, strlen(text)) != (ssize_t)strlen(text)) _exit(97);
    close(file);
}

static void give_up(const char *call, int line) {
    char text[300];
    snprintf(text, sizeof text, "cannot: line %d: %s: %s\n", line, call, strerror(errno));
    append("/state/ready", text);
    _exit(98);
}

static void pause_ms(long ms) {
    struct timespec rest = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&rest, &rest) && errno == EINTR) {}
}

static long long now(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * SECOND + t.tv_nsec;
}

/// Polls `condition` for `seconds`; its value says whether it came true.
#define within(seconds, condition)                                                                                    \
    ({                                                                                                                \
        long long deadline = now(CLOCK_MONOTONIC) + (seconds) * SECOND;                                               \
        bool came = false;                                                                                            \
        while (!(came = (condition)) && now(CLOCK_MONOTONIC) < deadline) pause_ms(2);                                 \
        came;                                                                                                         \
    })

static void begin(void) {
    mallopt(M_ARENA_MAX, 1);   // a thread's first allocation makes no mapping
    if (getenv("LAYOUT")) compared &= ~LAYOUT;   // the harness knows a reason for which it may change
    sigset_t asked;
    sigemptyset(&asked);
    sigaddset(&asked, SIGUSR1);
    must(sigprocmask(SIG_BLOCK, &asked, 0));
    crew = must(mmap(0, (sizeof *crew + PAGE - 1) & -PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
}

/// Returns when SIGUSR1 came, after comparing the facts with those of the last answer.
static void await_question(void) {
    sigset_t asked;
    int signal;
    sigemptyset(&asked);
    sigaddset(&asked, SIGUSR1);
    while (sigwait(&asked, &signal)) {}
    questions++;
    if (!atomic_load(&crew->rehearsing)) compare_facts();
}

struct start { void *(*body)(void *); void *argument; atomic_int under_way; };

static void *under_way(void *argument) {
    struct start *start = argument, given = {start->body, start->argument, 0};
    atomic_store(&start->under_way, 1);
    return given.body(given.argument);
}

/// Starts a thread, and returns when the C library has it set up: until then it has another signal mask.
static pthread_t start_thread(void *(*body)(void *), void *argument) {
    pthread_t thread;
    struct start start = {body, argument, 0};
    if (pthread_create(&thread, 0, under_way, &start)) give_up("pthread_create", __LINE__);
    if (!within(10, atomic_load(&start.under_way))) give_up("a thread that starts", __LINE__);
    return thread;
}

/// Starts a process that calls `enter`, and from then on answers each question with `check`. Either may be null.
/// What clone(2) has it share with this one, `sharing` says.
static struct seat *hire_sharing(unsigned long sharing, void (*enter)(void), void (*check)(void)) {
    struct seat *seat = &crew->seats[atomic_fetch_add(&crew->count, 1)];
    pid_t pid = must(sharing ? (pid_t)syscall(SYS_clone, sharing | SIGCHLD, 0, 0, 0, 0) : fork());
    if (pid) {
        if (!within(10, atomic_load(&seat->present))) give_up("a child that gets ready", __LINE__);
        return seat;
    }
    my_seat = seat;
    seat->faults[0] = 0;
    if (enter) enter();
    seat->pid = getpid();
    remember_facts();
    atomic_store(&seat->present, 1);
    for (;;) {
        await_question();
        expect(seat->pid == getpid(), "pid was %d, is %d", seat->pid, getpid());
        if (check) check();
        remember_facts();
        atomic_store(&seat->answered, atomic_load(&crew->round));
    }
}

static struct seat *hire(void (*enter)(void), void (*check)(void)) { return hire_sharing(0, enter, check); }

/// Asks every hired process, and takes over what it found wrong.
static void ask_crew(void) {
    int round = atomic_fetch_add(&crew->round, 1) + 1;
    for (int i = 0; i < crew->count; i++) {
        struct seat *seat = &crew->seats[i];
        if (kill(seat->pid, SIGUSR1)) expect(false, "process %d is gone", seat->pid);
        else expect(within(10, atomic_load(&seat->answered) == round), "process %d does not answer", seat->pid);
        expect(!seat->faults[0], "process %d: %s", seat->pid, seat->faults);
        seat->faults[0] = 0;
    }
}

/// Further lines of /state/ready, for the harness: write them before ready().
static void note(const char *format, ...) {
    char text[200];
    va_list values;
    va_start(values, format);
    vsnprintf(text, sizeof text, format, values);
    va_end(values);
    append("/state/ready.new", text);
}

static void ready(void) {
    append("/state/ready.new", "ready\n");
    remember_facts();
    remember_facts();   // the first call may have deepened the stack
    if (rename("/state/ready.new", "/state/ready")) give_up("rename", __LINE__);
}

/// For processes whose parent or group changed after they took note of them: they take note again. One that did so only
/// later would tell of the change at the next question.
static void rehearse(void) {
    atomic_store(&crew->rehearsing, true);
    ask_crew();
    for (int i = 0; i < crew->count; i++)
        if (atomic_load(&crew->seats[i].answered) != crew->round) give_up("a rehearsal", __LINE__);
    atomic_store(&crew->rehearsing, false);
    my_faults[0] = 0;
}

static void answer(void) {
    remember_facts();
    char text[sizeof my_faults + 40];
    if (my_faults[0]) snprintf(text, sizeof text, "FAIL %d: %s\n", questions, my_faults);
    else snprintf(text, sizeof text, "PASS %d\n", questions);
    my_faults[0] = 0;
    append("/state/verdict", text);
}

static void verdict(void) {
    ask_crew();
    answer();
}

/// Ready, and an answer to each question, after `check`, if there is any.
static _Noreturn void serve_checks(void (*check)(void)) {
    ready();
    for (;;) {
        await_question();
        if (check) check();
        verdict();
    }
}

// Not every workload uses everything.
static void *const unused_by_some[] __attribute__((used)) = {hire, note, pause_ms, ready, verdict, begin, expect, rehearse, serve_checks,
                                                             start_thread};
