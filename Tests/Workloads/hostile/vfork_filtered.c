// A filter that refuses getppid, and processes that do nothing but try it: one by itself, one in children of vfork that take
// their time. Whenever a call passes, somebody has switched the filter off under a program that runs.
#include "workload.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>

static struct { atomic_long tried, passed; } *alone, *in_vfork;
static long long until;

static void refuse_getppid(void) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EDOM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {COUNT(code), code};
    must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
}

static void try_until(__typeof__(alone) counts, long long end) {
    do {
        for (int i = 0; i < 1000; i++) {
            if (syscall(SYS_getppid) != -1 || errno != EDOM) atomic_fetch_add(&counts->passed, 1);
            atomic_fetch_add(&counts->tried, 1);
        }
    } while (now(CLOCK_MONOTONIC) < end);
}

static void *try_alone(void *unused) {
    for (;;) {
        try_until(alone, 0);
        usleep(100);
    }
    return unused;
}

static void *make_children(void *unused) {
    for (;;) {
        until = now(CLOCK_MONOTONIC) + SECOND / 5;
        pid_t child = vfork();
        if (!child) {
            try_until(in_vfork, until);
            _exit(0);
        }
        if (waitpid(child, 0, 0) != child) expect(false, "a child of vfork is lost");
    }
    return unused;
}

static void check(__typeof__(alone) counts, const char *where) {
    long tried = atomic_load(&counts->tried), passed = atomic_exchange(&counts->passed, 0);
    expect(!passed, "%ld refused calls passed %s", passed, where);
    expect(within(10, atomic_load(&counts->tried) > tried), "nobody tries %s", where);
}

static void check_alone(void) { check(alone, "in a process"); }
static void check_vfork(void) { check(in_vfork, "in a child of vfork"); }
static void enter_alone(void) { start_thread(try_alone, 0); }
static void enter_vfork(void) { start_thread(make_children, 0); }

int main(void) {
    begin();
    refuse_getppid();
    alone = must(mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    in_vfork = alone + 1;
    hire(enter_alone, check_alone);
    hire(enter_vfork, check_vfork);
    serve_checks(0);
}
