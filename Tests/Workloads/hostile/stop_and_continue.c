// Sends SIGSTOP and SIGCONT to others without end. After the SIGCONT each must go on, whoever interfered between the two.
#include "workload.h"

static struct target { pid_t pid; atomic_long steps; atomic_int stuck, rounds; } *targets;
enum { TARGETS = 12 };

static void count_steps(struct target *target) {
    for (;;) {
        atomic_fetch_add(&target->steps, 1);
        usleep(50);
    }
}

/// By looks, not by a clock: whoever is frozen for a while has not looked meanwhile.
static bool goes_on(struct target *target, int looks) {
    long before = atomic_load(&target->steps);
    while (atomic_load(&target->steps) <= before + 1 && looks-- > 0) usleep(500);
    return looks > 0;
}

static void *stop_and_continue(void *argument) {
    struct target *target = argument;
    for (unsigned seed = target->pid;; atomic_fetch_add(&target->rounds, 1)) {
        kill(target->pid, SIGSTOP);
        usleep(rand_r(&seed) % 200);
        kill(target->pid, SIGCONT);
        if (goes_on(target, 4000)) continue;
        atomic_fetch_add(&target->stuck, 1);
        kill(target->pid, SIGCONT);
    }
    return 0;
}

int main(void) {
    begin();
    compared &= ~PENDING;   // SIGCHLD of what stops and goes on
    targets = must(mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    for (int i = 0; i < TARGETS; i++) {
        pid_t pid = must(fork());
        if (!pid) count_steps(&targets[i]);
        targets[i].pid = pid;
    }
    for (int i = 0; i < TARGETS; i++) start_thread(stop_and_continue, &targets[i]);
    ready();
    for (;;) {
        await_question();
        for (int i = 0; i < TARGETS; i++) {
            int rounds = atomic_load(&targets[i].rounds);
            expect(within(10, atomic_load(&targets[i].rounds) > rounds + 1), "nobody stops and continues process %d", targets[i].pid);
            int stuck = atomic_exchange(&targets[i].stuck, 0);
            expect(!stuck, "process %d stayed stopped after SIGCONT %d times", targets[i].pid, stuck);
        }
        verdict();
    }
}
