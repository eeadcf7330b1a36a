// A thread in another UTS namespace than its process.
// capabilities: CAP_SYS_ADMIN
// seccomp: none
// refused: thread
#include "workload.h"

static atomic_int is_there;

static void *leave(void *nothing) {
    must(unshare(CLONE_NEWUTS));
    atomic_store(&is_there, 1);
    for (;;) pause_ms(1000);
    return nothing;
}

int main(void) {
    begin();
    start_thread(leave, 0);
    if (!within(10, atomic_load(&is_there))) give_up("a thread that leaves", __LINE__);
    note("task %d\n", getpid());
    serve_checks(0);
}
