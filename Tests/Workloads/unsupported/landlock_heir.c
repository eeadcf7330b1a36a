// A process that has its Landlock domain from a thread that made it, and is gone; nobody else is in one. It is another user's,
// and shows itself to nobody.
// refused: landlock
// capabilities: CAP_SYS_ADMIN CAP_SETUID CAP_SETGID
// needs kernel: 5.13
#include "workload.h"

static struct { uint64_t files; } handled = { 1 << 7 };   // LANDLOCK_ACCESS_FS_MAKE_DIR
static struct { atomic_int pid, refused; } *shared;

static void *enter(void *unused) {
    int rules = must(syscall(SYS_landlock_create_ruleset, &handled, sizeof handled, 0));
    must(syscall(SYS_landlock_restrict_self, rules, 0));
    close(rules);
    pid_t child = must(fork());
    if (child > 0) return unused;
    must(setresgid(1001, 1001, 1001));
    must(setresuid(1000, 1000, 1000));
    must(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0));
    atomic_store(&shared->pid, getpid());
    for (;; pause_ms(10))
        if (mkdir("/state/anybodys/folder", 0700) < 0 && errno == EACCES) atomic_fetch_add(&shared->refused, 1);
}

static void check(void) {
    int before = atomic_load(&shared->refused);
    expect(within(10, atomic_load(&shared->refused) != before), "the heir makes a directory, or does not try");
}

int main(void) {
    begin();
    shared = must(mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    must(mkdir("/state/anybodys", 0700));
    must(chmod("/state/anybodys", 0777));
    must(pthread_join(start_thread(enter, 0), 0));
    if (!within(10, atomic_load(&shared->pid))) give_up("an heir", __LINE__);
    note("task %d\n", atomic_load(&shared->pid));
    serve_checks(check);
}
