// Lies in wait for processes that a runtime brings into this pid namespace, and tries to look into them while they are still the
// runtime's. Whoever can read where /proc/PID/exe leads can have its memory, root, working directory and descriptors, too: it is
// the same check, ptrace(2) "Ptrace access mode checking". What it got stands in /state/caught.
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(void) {
    close(open("/state/ready", O_WRONLY | O_CREAT | O_CLOEXEC, 0666));
    // Ids are given in order: the latest process is always the one to watch, and then the next.
    for (pid_t next = 2;; ) {
        char path[64], program[PATH_MAX];
        snprintf(path, sizeof path, "/proc/%d/exe", next);
        ssize_t size = readlink(path, program, sizeof program - 1);
        if (size > 0) {
            program[size] = 0;
            if (strcmp(program, "/bin/true")) {
                int file = open("/state/caught", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
                dprintf(file, "process %d ran %s\n", next, program);
                close(file);
            }
        }
        for (pid_t later = next + 1; later < next + 8; later++) {
            snprintf(path, sizeof path, "/proc/%d", later);
            if (!access(path, F_OK)) next = later;
        }
    }
}
