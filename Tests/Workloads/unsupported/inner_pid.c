// A process whose children are to be born in another pid namespace than its own.
// capabilities: CAP_SYS_ADMIN
// seccomp: none
// refused: pid_for_children
#include "workload.h"

static void leave(void) { must(unshare(CLONE_NEWPID)); }

int main(void) {
    begin();
    struct seat *child = hire(leave, 0);
    note("task %d\n", child->pid);
    serve_checks(0);
}
