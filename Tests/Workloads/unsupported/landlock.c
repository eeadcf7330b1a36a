// A process in a Landlock domain: a restored one would be without.
// refused: landlock
// needs kernel: 5.13
#include "workload.h"

static struct { uint64_t files; } handled = { 1 << 7 };   // LANDLOCK_ACCESS_FS_MAKE_DIR

static void check(void) {
    int result = mkdir("/state/folder", 0700);
    expect(result < 0 && errno == EACCES, "a directory: %d %s", result, strerror(errno));
}

int main(void) {
    begin();
    must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    int rules = must(syscall(SYS_landlock_create_ruleset, &handled, sizeof handled, 0));
    must(syscall(SYS_landlock_restrict_self, rules, 0));
    close(rules);
    note("task %d\n", getpid());
    serve_checks(check);
}
