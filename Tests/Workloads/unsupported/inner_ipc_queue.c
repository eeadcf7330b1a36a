// A message queue in an IPC namespace that is a child's own.
// capabilities: CAP_SYS_ADMIN
// seccomp: none
// refused: queue
#include "workload.h"
#include <sys/ipc.h>
#include <sys/msg.h>

static int queue;

static void leave(void) {
    must(unshare(CLONE_NEWIPC));
    queue = must(msgget(IPC_PRIVATE, 0600));
}

static void check(void) {
    struct msqid_ds found;
    expect(!msgctl(queue, IPC_STAT, &found), "the queue is gone: %s", strerror(errno));
}

int main(void) {
    begin();
    struct seat *child = hire(leave, check);
    note("task %d\n", child->pid);
    serve_checks(0);
}
