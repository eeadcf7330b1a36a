// Filters that all threads of a process share (SECCOMP_FILTER_FLAG_TSYNC): one more, installed in the same way by any of
// them, must reach every other, also after a restore.
#include "workload.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>

// Calls that fail with EBADF or EINVAL where no filter refuses them.
static const int refused[] = {SYS_fchdir, SYS_fsync, SYS_fdatasync, SYS_flock, SYS_fchmod, SYS_fchown, SYS_ftruncate, SYS_syncfs};
static atomic_int rounds, seen;

static long install(int call) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EDOM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {COUNT(code), code};
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
}

static bool is_refused(int call) { return syscall(call, -1, 0, 0) == -1 && errno == EDOM; }

static void *other_thread(void *unused) {
    for (int round = 0;; round++) {
        while (atomic_load(&rounds) == round) pause_ms(1);
        for (int i = 0; i <= round; i++) expect(is_refused(refused[i]), "filter %d does not bind the other thread", i);
        expect(!is_refused(refused[round + 1]), "a call is refused before its time");
        atomic_store(&seen, round + 1);
    }
    return unused;
}

int main(void) {
    begin();
    compared &= ~(STATUS | THREADS);   // the number of filters
    must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    start_thread(other_thread, 0);
    must(install(refused[0]));
    atomic_store(&rounds, 1);
    if (!within(10, atomic_load(&seen) == 1)) give_up("a look at the first filter", __LINE__);
    ready();
    for (;;) {
        await_question();
        int round = atomic_load(&rounds);
        long answer = install(refused[round]);
        expect(!answer, "the filter cannot be given to thread %ld: %s", answer, strerror(errno));
        atomic_store(&rounds, round + 1);
        expect(within(10, atomic_load(&seen) == round + 1), "the other thread does not look");
        verdict();
    }
}
