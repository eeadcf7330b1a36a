// A process that has gone into another root directory, with a file of its own open there.
// refused: chroot
// capabilities: CAP_SYS_CHROOT
// seccomp: none
#include "workload.h"

static atomic_int *is_there;

static void go_there(void) {
    must(mkdir("/state/root", 0755));
    must(mkdir("/state/root/folder", 0755));
    must(chroot("/state/root"));
    must(chdir("/folder"));
    must(open("/folder/file", O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    atomic_store(is_there, getpid());
}

static void check_root(void) { expect(!access("/folder/file", F_OK), "another root directory"); }

int main(void) {
    begin();
    is_there = must(mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    hire(go_there, check_root);
    if (!within(5, atomic_load(is_there))) give_up("a child in another root", __LINE__);
    note("task %d\n", atomic_load(is_there));
    ready();
    for (;;) {
        await_question();
        verdict();
    }
}
