// A file on which one process holds a lock that another one must not get.
// refused: lock
#include "workload.h"
#include <sys/file.h>

static int file;

static void check_child(void) {
    int other = open("/state/locked", O_RDWR | O_CLOEXEC);
    expect(flock(other, LOCK_EX | LOCK_NB) == -1 && errno == EWOULDBLOCK, "the lock is gone");
    close(other);
}

int main(void) {
    begin();
    hire(0, check_child);
    file = must(open("/state/locked", O_RDWR | O_CREAT, 0644));
    must(flock(file, LOCK_EX));
    note("descriptor %d\n", file);
    ready();
    for (;;) {
        await_question();
        verdict();
    }
}
