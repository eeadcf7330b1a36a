// `cost FILE PROGRAM...`: runs a program and writes into FILE how many KiB of memory it had at most, and how many
// microseconds a processor was at work for it.
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    pid_t child = fork();
    if (child == 0) {
        execvp(argv[2], argv + 2);
        _exit(127);
    }
    int status;
    struct rusage usage;
    if (wait4(child, &status, 0, &usage) != child) return 2;
    FILE *file = fopen(argv[1], "w");
    if (!file) return 2;
    struct timeval user = usage.ru_utime, system = usage.ru_stime;
    long time = (user.tv_sec + system.tv_sec) * 1000000 + user.tv_usec + system.tv_usec;
    fprintf(file, "%ld %ld\n", usage.ru_maxrss, time);
    fclose(file);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
