// A thread with a table of descriptors of its own: unshare(2) CLONE_FILES.
// refused: descriptors
#include "workload.h"

static atomic_int number;

static void *go_apart(void *unused) {
    must(unshare(CLONE_FILES));
    atomic_store(&number, must(dup(0)));
    for (;;) pause();
    return unused;
}

int main(void) {
    begin();
    start_thread(go_apart, 0);
    if (!within(10, atomic_load(&number))) give_up("a thread that goes apart", __LINE__);
    note("task %d\n", getpid());
    ready();
    for (;;) {
        await_question();
        expect(fcntl(atomic_load(&number), F_GETFD) == -1, "the threads share their descriptors");
        verdict();
    }
}
