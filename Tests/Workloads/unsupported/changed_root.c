// A process that has gone into another root directory, with a file of its own open there.
// refused: chroot
// capabilities: CAP_SYS_CHROOT
// seccomp: none
#include "workload.h"

static atomic_int *steps;

static void go_there_and_count(void) {
    must(mkdir("/state/root", 0755));
    must(chroot("/state/root"));
    must(chdir("/"));
    must(open("/file", O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    for (;; pause_ms(1)) atomic_fetch_add(steps, 1);
}

int main(void) {
    begin();
    steps = must(mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    pid_t child = must(fork());
    if (child == 0) go_there_and_count();
    if (!within(5, atomic_load(steps))) give_up("a child in another root", __LINE__);
    note("task %d\n", child);
    ready();
    for (;;) {
        await_question();
        int before = atomic_load(steps);
        expect(within(5, atomic_load(steps) > before), "the child has stopped");
        expect(!access("/state/root/file", F_OK), "another root directory");
        verdict();
    }
}
