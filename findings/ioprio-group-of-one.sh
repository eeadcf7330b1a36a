#!/usr/bin/env bash
# Linux 6.18: ioprio_get(2) tells two I/O priorities for one and the same process.
#
# Input: a process that never set its I/O priority, alone in its process group.
# Guessed: IOPRIO_WHO_PGRP gives the highest priority of the group's members (so says ioprio_set(2)), so with one
# member it gives the same as IOPRIO_WHO_PROCESS.
# Instead: WHO_PROCESS gives 0 (class "none", nothing was set), WHO_PGRP gives 0x4004 (best effort, level 4), which is
# derived from the nice value. With nice 19 the second one is 0x4007, the first one is still 0.
# Why it matters: only WHO_PROCESS tells a dump that nothing was set. What WHO_PGRP gives, put back with ioprio_set,
# would cut the process's I/O priority off from its nice value.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

cat >"$dir/ask.c" <<'C'
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
int main(void) {
    for (int nice_value = 0; nice_value <= 19; nice_value += 19) {
        pid_t child = fork();
        if (child == 0)
            for (;;)
                pause();
        if (setpgid(child, child) || setpriority(PRIO_PROCESS, child, nice_value))
            return 1;
        printf("nice %d: process %#lx, group %#lx\n", nice_value, syscall(SYS_ioprio_get, 1, child),
               syscall(SYS_ioprio_get, 2, child));
        kill(child, SIGKILL);
        waitpid(child, 0, 0);
    }
}
C
gcc -o "$dir/ask" "$dir/ask.c"
got=$("$dir/ask")
seen='nice 0: process 0, group 0x4004
nice 19: process 0, group 0x4007'
if [ "$got" != "$seen" ]; then
    printf 'CHANGED: I/O priority on %s:\n%s\n' "$(uname -r)" "$got"
    exit 1
fi
echo 'same as seen: ioprio_get tells "none" of a process and "best effort" of the group that holds only this process'
