// A thread whose system calls come back to itself (PR_SET_SYSCALL_USER_DISPATCH): those of an agent would, too.
// refused: dispatched
// needs kernel: 6.4
#include "workload.h"

static volatile char selector;   // SYSCALL_DISPATCH_FILTER_ALLOW
static atomic_ulong turns;

static void *turn(void *unused) {
    must(prctl(59, 1, 0, 0, &selector));   // PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON
    // No call is made from here on: the first one would end the program by SIGSYS.
    for (selector = 1;; atomic_fetch_add(&turns, 1)) {}
    return unused;
}

int main(void) {
    begin();
    start_thread(turn, 0);
    if (!within(10, selector)) give_up("a thread that turns", __LINE__);
    note("task %d\n", getpid());
    ready();
    for (;;) {
        await_question();
        unsigned long before = atomic_load(&turns);
        expect(within(10, atomic_load(&turns) != before), "the thread stands");
        verdict();
    }
}
