// Two orphans of one session whose leader has ended, adopted by two processes: by the first one, and by a subreaper below it.
// refused: such a place
#include "workload.h"

static pid_t *ids;   // the session's leader, the orphan of each adopter

/// Waits for a line of the plot to come true.
static void await(bool *line) {
    if (!within(10, *(volatile bool *)line)) _exit(95);
}

static void rest(void) {
    for (;;) pause_ms(100);
}

int main(void) {
    begin();
    ids = must(mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    bool *lines = (bool *)(ids + 10);
    if (!must(fork())) {
        must(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
        if (!must(fork())) {
            ids[0] = must(setsid());
            // The subreaper's: a grandchild whose parent ends beneath it.
            if (!must(fork())) {
                if (!must(fork())) {
                    ids[1] = getpid();
                    rest();
                }
                _exit(0);
            }
            wait(0);
            if (!within(10, ids[1])) _exit(95);
            // The other's: it is born when the subreaper is none for a moment.
            lines[0] = true;
            await(&lines[1]);
            if (!must(fork())) {
                ids[2] = getpid();
                rest();
            }
            _exit(0);
        }
        await(&lines[0]);
        must(prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0));
        lines[1] = true;
        wait(0);
        lines[2] = true;
        rest();
    }
    if (!within(10, lines[2])) give_up("the plot", __LINE__);
    note("task %d\n", ids[1]);
    ready();
    for (;;) {
        await_question();
        for (int i = 1; i < 3; i++) expect(getsid(ids[i]) == ids[0], "orphan %d is in session %d", i, getsid(ids[i]));
        verdict();
    }
}
