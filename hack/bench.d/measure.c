// measure FILE COUNT COMMAND...: runs COUNT copies of the command at once, with {} in its words replaced by the copy's
// number, and writes to FILE when they started (CLOCK_REALTIME, ns), how long all took (ns), their largest peak of memory
// (KiB) and the largest status. It is small, because a command's peak counts from that of its parent.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long now(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000000000L + t.tv_nsec;
}

static char **numbered(char **words, int count, int number) {
    char **copy = calloc(count + 1, sizeof *copy);
    for (int i = 0; i < count; i++) {
        char *place = strstr(words[i], "{}");
        copy[i] = words[i];
        if (place && asprintf(&copy[i], "%.*s%d%s", (int)(place - words[i]), words[i], number, place + 2) < 0) exit(1);
    }
    return copy;
}

int main(int argc, char **argv) {
    if (argc < 4) return 2;
    int count = atoi(argv[2]), worst = 0;
    char **commands[count];
    for (int i = 0; i < count; i++) commands[i] = numbered(argv + 3, argc - 3, i);
    long peak = 0, start = now(CLOCK_REALTIME), from = now(CLOCK_MONOTONIC);
    for (int i = 0; i < count; i++) {
        pid_t pid = vfork();
        if (pid == 0) {
            execvp(commands[i][0], commands[i]);
            _exit(127);
        }
        if (pid < 0) return 1;
    }
    for (int i = 0; i < count; i++) {
        int status;
        struct rusage usage;
        if (wait4(-1, &status, 0, &usage) < 0) return 1;
        int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
        if (code > worst) worst = code;
        if (usage.ru_maxrss > peak) peak = usage.ru_maxrss;
    }
    long to = now(CLOCK_MONOTONIC);
    FILE *file = fopen(argv[1], "w");
    if (!file) return 1;
    fprintf(file, "%ld %ld %ld %d\n", start, to - from, peak, worst);
    return fclose(file);
}
