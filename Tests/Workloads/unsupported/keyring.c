// A key in the session keyring, the user's own keyring: a restored container has an empty one.
// refused: keyring
#include "workload.h"

enum { LINK = 8, READ = 11, USER = -4, SESSION = -3 };

static void check(void) {
    int keys[4];
    long size = syscall(SYS_keyctl, READ, SESSION, keys, sizeof keys);
    expect(size == sizeof *keys, "the session keyring: %ld %s", size, strerror(errno));
}

int main(void) {
    begin();
    must(syscall(SYS_keyctl, LINK, USER, SESSION));
    note("task %d\n", getpid());
    serve_checks(check);
}
