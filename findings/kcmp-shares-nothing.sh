#!/usr/bin/env bash
# Linux 6.18: kcmp(2) says that two processes share what neither of them has.
#
# Input: two children made by a plain fork (no CLONE_IO, no CLONE_SYSVSEM), asked with KCMP_IO and KCMP_SYSVSEM.
# Guessed: both answers are "not equal", as for KCMP_FILES: a fork without the clone flag does not share.
# Instead: both are 0, "equal", as long as neither process did disk I/O that made a context, or a semop with SEM_UNDO.
# After one such semop in one of the two KCMP_SYSVSEM says "not equal"; the other process's own undo list then makes
# no difference to that.
# Why it matters: a checkpoint that rebuilds sharing from kcmp alone would make the tasks with CLONE_SYSVSEM, and from
# then on the semaphore adjustments of the one would be undone only when the other ends.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

cat >"$dir/ask.c" <<'C'
#define _GNU_SOURCE
#include <linux/kcmp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/sem.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
static const char *answer(pid_t a, pid_t b, int what) {
    return syscall(SYS_kcmp, a, b, what, 0, 0) == 0 ? "equal" : "not equal";
}
int main(void) {
    int set = semget(IPC_PRIVATE, 1, 0600), pipes[2][2], done[2];
    pid_t child[2];
    if (set < 0 || pipe(done))
        return 1;
    for (int i = 0; i < 2; i++) {
        if (pipe(pipes[i]))
            return 1;
        child[i] = fork();
        if (child[i] == 0) {
            char byte;
            while (read(pipes[i][0], &byte, 1) == 1) {
                struct sembuf up = {.sem_num = 0, .sem_op = 1, .sem_flg = SEM_UNDO};
                semop(set, &up, 1);
                (void)!write(done[1], "d", 1);
            }
            _exit(0);
        }
    }
    for (int used = 0; used <= 2; used++) {
        char byte;
        if (used > 0 && (write(pipes[used - 1][1], "g", 1) != 1 || read(done[0], &byte, 1) != 1))
            return 1;
        printf("%d used SEM_UNDO: semaphore undo %s, files %s", used, answer(child[0], child[1], KCMP_SYSVSEM),
               answer(child[0], child[1], KCMP_FILES));
        printf(used == 0 ? ", I/O context %s\n" : "\n", answer(child[0], child[1], KCMP_IO));
    }
    for (int i = 0; i < 2; i++) {
        kill(child[i], SIGKILL);
        waitpid(child[i], 0, 0);
    }
    semctl(set, 0, IPC_RMID);
}
C
gcc -Wno-format-extra-args -o "$dir/ask" "$dir/ask.c"
got=$(unshare -i "$dir/ask")
seen='0 used SEM_UNDO: semaphore undo equal, files not equal, I/O context equal
1 used SEM_UNDO: semaphore undo not equal, files not equal
2 used SEM_UNDO: semaphore undo not equal, files not equal'
if [ "$got" != "$seen" ]; then
    printf 'CHANGED: kcmp on %s:\n%s\n' "$(uname -r)" "$got"
    exit 1
fi
echo 'same as seen: kcmp calls two processes equal that have no I/O context and no semaphore undo list at all'
