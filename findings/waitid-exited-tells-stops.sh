#!/usr/bin/env bash
# Linux 6.18: waitid(2) with WEXITED alone tells a tracer of the stops of its tracees too.
#
# Input: a child that is seized with ptrace(2) and interrupted; then waitid(P_ALL, WEXITED | WNOHANG | WNOWAIT), which asks
# for children that have ended, and for nothing else.
# Guessed: no child, as for one that was stopped by SIGSTOP and is not traced: WSTOPPED was not given.
# Instead: the tracee is told, with CLD_TRAPPED. WSTOPPED decides for children that are not traced only.
# Why it matters: a checkpointer that buries its dead between two looks at a task, and trusts that what this call names is
# dead, takes another task's stop away, and waits for it for ever. stasis did so for an hour; it looks at si_code now.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

cat >"$dir/ask.c" <<'C'
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>
static void ask(const char *who) {
    siginfo_t told;
    memset(&told, 0, sizeof told);
    int result = waitid(P_ALL, 0, &told, WEXITED | WNOHANG | WNOWAIT);
    printf("%s: waitid %d, %s", who, result, told.si_pid ? "a child" : "no child");
    printf(told.si_pid ? ", code %d\n" : "\n", told.si_code);
}
static void await_state(pid_t child, char wanted) {
    char path[40], line[200], state = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", child);
    while (state != wanted) {
        FILE *file = fopen(path, "r");
        if (!file || !fgets(line, sizeof line, file))
            return;
        fclose(file);
        state = strrchr(line, ')')[2];
        usleep(1000);
    }
}
int main(void) {
    pid_t child = fork();
    if (child == 0)
        for (;;)
            pause();
    kill(child, SIGSTOP);
    await_state(child, 'T');
    ask("stopped by SIGSTOP, not traced");
    kill(child, SIGCONT);
    if (ptrace(PTRACE_SEIZE, child, 0, 0) || ptrace(PTRACE_INTERRUPT, child, 0, 0))
        return 1;
    await_state(child, 't');
    ask("traced and interrupted");
    kill(child, SIGKILL);
    waitpid(child, 0, __WALL);
}
C
gcc -Wno-format-extra-args -o "$dir/ask" "$dir/ask.c"
got=$("$dir/ask")
seen='stopped by SIGSTOP, not traced: waitid 0, no child
traced and interrupted: waitid 0, a child, code 4'
if [ "$got" != "$seen" ]; then
    printf 'CHANGED: waitid on %s:\n%s\n' "$(uname -r)" "$got"
    exit 1
fi
echo 'same as seen: waitid(WEXITED) tells of a tracee that has stopped and not ended'
