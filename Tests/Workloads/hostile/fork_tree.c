// Processes that fork, end and signal each other as fast as they can: whoever wants to stop them meets a trap of ptrace's at
// every turn.
#include "workload.h"

static atomic_long *made;
static long seen;

static void on_signal(int signal) { (void)signal; }

static void fork_without_end(atomic_long *count) {
    for (;;) {
        pid_t parent = getpid(), child = fork();
        if (child < 0) { usleep(1000); continue; }
        if (!child) {
            kill(parent, SIGUSR2);
            pid_t grandchild = fork();
            if (grandchild > 0) waitpid(grandchild, 0, 0);
            else kill(parent, SIGUSR2);
            _exit(0);
        }
        while (waitpid(child, 0, 0) < 0 && errno == EINTR) {}
        atomic_fetch_add(count, 1);
    }
}

int main(void) {
    begin();
    compared &= ~PENDING;
    made = must(mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    struct sigaction action = {.sa_handler = on_signal};
    must(sigaction(SIGUSR2, &action, 0));
    for (int i = 0; i < 6; i++) if (!must(fork())) fork_without_end(made);
    ready();
    for (;;) {
        await_question();
        expect(within(10, atomic_load(made) > seen), "after %ld forks came no other", seen);
        seen = atomic_load(made) + 10;
        verdict();
    }
}
