// A System V segment that a process has attached which has gone to another IPC namespace since.
// capabilities: CAP_SYS_ADMIN
// seccomp: none
// refused: segment
#include "workload.h"
#include <sys/ipc.h>
#include <sys/shm.h>

static char *bytes;

static void leave(void) {
    must(unshare(CLONE_NEWIPC));
    bytes[0] = 'x';
}

static void check(void) { expect(bytes[0] == 'x', "the segment has lost its content"); }

int main(void) {
    begin();
    int segment = must(shmget(IPC_PRIVATE, PAGE, 0600));
    bytes = must((char *)shmat(segment, 0, 0));
    struct seat *child = hire(leave, check);
    note("task %d\n", child->pid);
    ready();
    for (;;) {
        await_question();
        check();
        verdict();
    }
}
