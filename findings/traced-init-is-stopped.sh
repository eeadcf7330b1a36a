#!/usr/bin/env bash
# Linux 6.18: the first process of a pid namespace, which no SIGSTOP from inside it stops, is stopped by one that came while it
# was traced, as soon as its tracer lets it go.
#
# Input: an init of its own pid namespace. A child of its sends it SIGSTOP, once while nobody traces it, and once while a
# tracer outside has it in a ptrace stop; then the tracer detaches without a signal.
# Guessed: it goes on both times. pid_namespaces(7): only signals for which init has a handler can be sent to it from inside,
# SIGKILL and SIGSTOP among those that are ignored.
# Instead: for a tracee nothing is ignored when it is sent, so the second SIGSTOP is queued; and when it is taken from the
# queue, the kernel trusts that a SIGSTOP there comes from outside.
# Why it matters: a program with a timer that sends SIGSTOP runs as a container's init for ever, until a debugger or a
# checkpoint has looked at it. stasis takes such a stop back (Tests/Workloads/hostile/stop_timer.c).
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

cat >"$dir/ask.c" <<'C'
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>
static char state(pid_t process) {
    char path[40], line[300];
    snprintf(path, sizeof path, "/proc/%d/stat", process);
    FILE *file = fopen(path, "r");
    if (!file || !fgets(line, sizeof line, file))
        return '?';
    fclose(file);
    return strrchr(line, ')')[2];
}
/// What it comes to within a second and stays in.
static char settled(pid_t process) {
    usleep(200000);
    return state(process);
}
int main(void) {
    int go[2], done[2];
    char byte = 0;
    if (pipe(go) || pipe(done) || unshare(CLONE_NEWPID))
        return 1;
    pid_t init = fork();
    if (init == 0) {
        if (fork() == 0) {
            while (read(go[0], &byte, 1) == 1) {
                kill(1, SIGSTOP);
                (void)!write(done[1], &byte, 1);
            }
            _exit(0);
        }
        for (;;)
            pause();
    }
    (void)!write(go[1], &byte, 1);
    (void)!read(done[0], &byte, 1);
    printf("sent to an init that is not traced: %s\n", settled(init) == 'T' ? "stopped" : "goes on");
    int status;
    if (ptrace(PTRACE_SEIZE, init, 0, 0) || ptrace(PTRACE_INTERRUPT, init, 0, 0) || waitpid(init, &status, __WALL) != init)
        return 1;
    (void)!write(go[1], &byte, 1);
    (void)!read(done[0], &byte, 1);
    if (ptrace(PTRACE_DETACH, init, 0, 0))
        return 1;
    printf("sent while it was traced, and let go: %s\n", settled(init) == 'T' ? "stopped" : "goes on");
    kill(init, SIGKILL);
    waitpid(init, &status, 0);
}
C
gcc -o "$dir/ask" "$dir/ask.c"
got=$("$dir/ask")
seen='sent to an init that is not traced: goes on
sent while it was traced, and let go: stopped'
if [ "$got" != "$seen" ]; then
    printf 'CHANGED: on %s:\n%s\n' "$(uname -r)" "$got"
    exit 1
fi
echo 'same as seen: an init is stopped by the SIGSTOP from inside that came while it was traced'
