// Runs a program and lets it meet a fault at one of its changes of a directory: `at_call N kill PROGRAM...` kills it before
// the Nth call that links, renames, removes or syncs; `at_call N ERRNO PROGRAM...` fails that call. `at_call N stop PROGRAM...`
// sends it SIGTERM before its Nth kill(2). Exits with 99 if there are fewer, else as the program does (137 if it was killed).
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

static int stops;

static int is_counted(long call) {
    if (stops) return call == SYS_kill;
    return call == SYS_linkat || call == SYS_renameat || call == SYS_renameat2 || call == SYS_unlinkat ||
           call == SYS_mkdirat || call == SYS_fsync || call == SYS_syncfs;
}

int main(int argc, char **argv) {
    if (argc < 4) return 2;
    long wanted = atol(argv[1]), seen = 0;
    stops = strcmp(argv[2], "stop") == 0;
    int fault = atoi(argv[2]);
    pid_t child = fork();
    if (child == 0) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        raise(SIGSTOP);
        execvp(argv[3], argv + 3);
        _exit(127);
    }
    int status;
    waitpid(child, &status, 0);
    // No PTRACE_O_TRACEFORK: its children are none of ours.
    ptrace(PTRACE_SETOPTIONS, child, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL);
    ptrace(PTRACE_SYSCALL, child, 0, 0);
    for (;;) {
        pid_t task = waitpid(-1, &status, __WALL);
        if (task < 0) return 2;
        if (WIFEXITED(status) || WIFSIGNALED(status)) {
            if (task != child) continue;
            if (seen < wanted) return 99;
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        }
        int stop = WSTOPSIG(status);
        if (stop == (SIGTRAP | 0x80)) {
            struct __ptrace_syscall_info info;
            long size = ptrace(PTRACE_GET_SYSCALL_INFO, task, sizeof info, &info);
            if (size > 0 && info.op == PTRACE_SYSCALL_INFO_ENTRY && is_counted(info.entry.nr) && ++seen == wanted) {
                if (fault == 0) {
                    kill(child, stops ? SIGTERM : SIGKILL);
                    if (stops) ptrace(PTRACE_SYSCALL, task, 0, 0);
                    continue;
                }
                struct user_regs_struct registers;
                ptrace(PTRACE_GETREGS, task, 0, &registers);
                registers.orig_rax = -1;
                ptrace(PTRACE_SETREGS, task, 0, &registers);
                ptrace(PTRACE_SYSCALL, task, 0, 0);
                waitpid(task, &status, __WALL);
                ptrace(PTRACE_GETREGS, task, 0, &registers);
                registers.rax = -fault;
                ptrace(PTRACE_SETREGS, task, 0, &registers);
            }
            stop = 0;
        } else if (stop == SIGTRAP || stop == SIGSTOP) {
            stop = 0;  // a new thread, or execve
        }
        ptrace(PTRACE_SYSCALL, task, 0, stop);
    }
}
