// A process whose first thread has ended, while another one goes on. To /proc it looks like one that has ended.
// refused: ended while others
#include "workload.h"

static atomic_long *steps;

static void *count_steps(void *unused) {
    for (;;) {
        atomic_fetch_add(steps, 1);
        pause_ms(1);
    }
    return unused;
}

static bool has_lost_its_leader(pid_t process) {
    char path[40];
    snprintf(path, sizeof path, "/proc/%d/stat", process);
    return slurp(path) && strstr(slurped, ") Z ");
}

int main(void) {
    begin();
    steps = must(mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    pid_t child = must(fork());
    if (!child) {
        start_thread(count_steps, 0);
        syscall(SYS_exit, 0);   // of this thread alone
    }
    if (!within(10, has_lost_its_leader(child))) give_up("a first thread that ends", __LINE__);
    note("task %d\n", child);
    ready();
    for (;;) {
        await_question();
        long before = atomic_load(steps);
        expect(within(10, atomic_load(steps) > before), "the other thread does not go on");
        verdict();
    }
}
