// calls LIST PROGRAM BASE COMMAND...: runs a copy of PROGRAM in which each function begins with a breakpoint, and
// appends to LIST the address of each function that it, or a process that it makes, calls, in the order of the first
// calls. BASE is the address of the file's first byte, were all of it mapped as its code is. A process that executes
// another program is let go.
#include <err.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int count, char **words) {
    if (count < 5) errx(2, "usage: calls LIST PROGRAM BASE COMMAND...");
    FILE *list = fopen(words[1], "a");
    int program = open(words[2], O_RDONLY);
    struct stat status;
    if (!list || program < 0 || fstat(program, &status)) err(1, "%s, %s", words[1], words[2]);
    const unsigned char *original = mmap(NULL, status.st_size, PROT_READ, MAP_PRIVATE, program, 0);
    if (original == MAP_FAILED) err(1, "%s", words[2]);
    unsigned long base = strtoul(words[3], NULL, 16);

    pid_t first = fork();
    if (first == 0) {
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        execv(words[4], words + 4);
        err(127, "%s", words[4]);
    }
    int end, result = 1;
    waitpid(first, &end, 0);
    long children = PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK;
    long options = children | PTRACE_O_EXITKILL | PTRACE_O_TRACEEXEC;
    if (ptrace(PTRACE_SETOPTIONS, first, NULL, options)) err(1, "ptrace");
    ptrace(PTRACE_CONT, first, NULL, 0);
    for (pid_t task; (task = waitpid(-1, &end, __WALL)) > 0;) {
        if (!WIFSTOPPED(end)) {
            if (task == first) result = WIFEXITED(end) ? WEXITSTATUS(end) : 128 + WTERMSIG(end);
            continue;
        }
        int signal = WSTOPSIG(end), event = end >> 16;
        struct user_regs_struct registers;
        if (event == PTRACE_EVENT_EXEC) {
            ptrace(PTRACE_DETACH, task, NULL, 0);
            continue;
        }
        if (event || signal == SIGSTOP) {
            signal = 0;
        } else if (signal == SIGTRAP && ptrace(PTRACE_GETREGS, task, NULL, &registers) == 0) {
            unsigned long address = registers.rip - 1, word;
            if (address - base >= (unsigned long)status.st_size) errx(1, "a trap outside of the program: %lx", address);
            fprintf(list, "%lx\n", address);
            word = ptrace(PTRACE_PEEKTEXT, task, address, NULL);
            ptrace(PTRACE_POKETEXT, task, address, (word & ~0xfful) | original[address - base]);
            registers.rip = address;
            ptrace(PTRACE_SETREGS, task, NULL, &registers);
            signal = 0;
        }
        ptrace(PTRACE_CONT, task, NULL, signal);
    }
    return fclose(list) ? 1 : result;
}
